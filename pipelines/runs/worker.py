"""Executes Dagster runs in this process: `python -m pipelines.runs.worker`, with a task as JSON on each line.

A separate process, so that its output goes to a log and a signal stops only the run. It ends with its input.
"""

import signal
import sys
from typing import Any

import dagster as dg
import msgspec

from assets.framework.event_log import keep_connections_open
from pipelines.runs.instance import open_instance
from pipelines.runs.local_launcher import build_process_tags
from resources.errors import LedgerError
from resources.redaction import RedactedStream


class WorkerTask(msgspec.Struct):
    """A run: its id, the keys of its assets (empty: all), its tags, and the config of its ops."""

    run_id: str
    assets: list[str]
    tags: dict[str, str]
    config: dict[str, Any]


def main() -> None:
    """Execute the tasks in the standard input one after the other.

    Raises:
        LedgerError: the settings are invalid, or the Dagster instance cannot be used.
    """
    sys.stdout, sys.stderr = RedactedStream(sys.stdout), RedactedStream(sys.stderr)
    from pipelines.definitions import defs  # noqa: PLC0415 (raises an error of the settings into the log)

    # a shell starts background jobs with SIGINT ignored, which subprocesses inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = defs.resolve_implicit_global_asset_job_def()
    with open_instance() as instance:
        for line in sys.stdin:
            task = msgspec.json.decode(line, type=WorkerTask)
            with keep_connections_open(instance):
                job.execute_in_process(
                    instance=instance,
                    run_id=task.run_id,
                    tags=task.tags | build_process_tags(),
                    run_config={"ops": task.config},
                    asset_selection=[dg.AssetKey.from_user_string(key) for key in task.assets] or None,
                    raise_on_error=False,
                )


if __name__ == "__main__":
    try:
        main()
    except LedgerError as error:
        sys.exit(str(error))
