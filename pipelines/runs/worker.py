"""One extraction as a process of its own: `python -m pipelines.runs.worker ORDER`, with the order as JSON.

A process of its own, because a run prints its log, and has to be stopped by a signal without taking the
command line with it.
"""

import signal
import sys
from typing import Any

import dagster as dg
import msgspec


class WorkerTask(msgspec.Struct):
    """What to run: the id of the run, its assets (none: all), its tags, and the config of its ops."""

    run_id: str
    assets: list[str]
    tags: dict[str, str]
    config: dict[str, Any]


def main(order: str) -> int:
    """Run it; 0: all is recorded, 1: Dagster's run failed and says why."""
    from pipelines.definitions import defs  # noqa: PLC0415 (what is wrong with the settings ends up in the log)

    # a shell starts background jobs with Ctrl-C ignored, and so would this be
    signal.signal(signal.SIGINT, signal.default_int_handler)
    task = msgspec.json.decode(order, type=WorkerTask)
    with dg.DagsterInstance.get() as instance:
        done = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            run_id=task.run_id,
            tags=task.tags,
            run_config={"ops": task.config},
            asset_selection=[dg.AssetKey(name) for name in task.assets] or None,
            raise_on_error=False,
        )
    return 0 if done.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
