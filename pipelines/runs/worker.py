"""Runs one extraction in this process: `python -m pipelines.runs.worker TASK`, with the task as JSON.

A separate process, so that its output goes to a log and a signal stops only the run.
"""

import signal
import sys
from typing import Any

import dagster as dg
import msgspec


class WorkerTask(msgspec.Struct):
    """A run: its id, the names of its assets (empty: all), its tags, and the config of its ops."""

    run_id: str
    assets: list[str]
    tags: dict[str, str]
    config: dict[str, Any]


def main(text: str) -> int:
    """Run the task; return 0 if the Dagster run succeeded, else 1."""
    from pipelines.definitions import defs  # noqa: PLC0415 (raises an error of the settings into the log)

    # a shell starts background jobs with SIGINT ignored, which subprocesses inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    task = msgspec.json.decode(text, type=WorkerTask)
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            run_id=task.run_id,
            tags=task.tags,
            run_config={"ops": task.config},
            asset_selection=[dg.AssetKey(name) for name in task.assets] or None,
            raise_on_error=False,
        )
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
