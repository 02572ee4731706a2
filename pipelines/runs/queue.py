"""Enqueues runs in the Dagster instance; the daemon starts them with the run launcher of the deployment."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.execution.submit_asset_runs import RunRequestExecutionData, submit_asset_run
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget, WorkspaceLoadTarget

from pipelines.runs.worker import WorkerTask
from resources.errors import LedgerError


class RunQueue:
    """The queue of an instance, for the assets of one workspace."""

    def __init__(self, instance: dg.DagsterInstance, context: WorkspaceProcessContext) -> None:
        """Use an open workspace; see `open_queue`."""
        self._instance = instance
        self._context = context
        self._snapshots: dict[JobSubsetSelector, RunRequestExecutionData] = {}

    def submit(self, task: WorkerTask) -> None:
        """Enqueue a run of some assets over the days that its tags name.

        Raises:
            LedgerError: the workspace has no such assets.
        """
        request = dg.RunRequest(
            asset_selection=[dg.AssetKey.from_user_string(name) for name in task.assets],
            tags=task.tags,
            run_config={"ops": task.config},
        )
        # as Dagster's backfill daemon does; the package is pinned, and the tests run it
        asyncio.run(
            submit_asset_run(
                task.run_id,
                request,
                0,
                self._instance,
                self._context,
                self._context.create_request_context(),
                self._snapshots,
                {},
                logging.getLogger(__name__),
            )
        )


@contextmanager
def open_queue(instance: dg.DagsterInstance, workspace: Path | WorkspaceLoadTarget) -> Iterator[RunQueue]:
    """Load the workspace that the daemon uses.

    Args:
        instance: the instance that the daemon uses.
        workspace: its workspace.yaml, or another target.

    Raises:
        LedgerError: the file cannot be read, or its code location cannot be loaded.
    """
    target = WorkspaceFileTarget([str(workspace)]) if isinstance(workspace, Path) else workspace
    if isinstance(workspace, Path) and not workspace.exists():
        raise LedgerError(
            "Cannot read the workspace: no such file",
            where=str(workspace),
            next_step="add --workspace FILE; it is the file that the daemon uses",
        )
    with WorkspaceProcessContext(instance, target) as context:
        entries = context.create_request_context().get_code_location_entries()
        for name, entry in entries.items():
            if entry.load_error is not None:
                raise LedgerError(
                    f"Cannot load code location {name}: {entry.load_error.message.strip()}",
                    where=str(workspace),
                    next_step="start the code server, or fix the error that it logs",
                )
        yield RunQueue(instance, context)
