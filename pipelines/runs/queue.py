"""Enqueues runs in the Dagster instance; the daemon starts them with the run launcher of the deployment."""

import asyncio
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.submit_asset_runs import RunRequestExecutionData, submit_asset_run
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget, WorkspaceLoadTarget

from pipelines.runs.instance import HOME_VARIABLE
from pipelines.runs.local_launcher import LocalRunLauncher
from pipelines.runs.worker import WorkerTask
from resources.config.loader import CHECKOUT, find_config_file
from resources.errors import ConfigurationError, LedgerError

_WORKSPACE = "workspace.yaml"
_QUEUE_DAEMON = "QUEUED_RUN_COORDINATOR"  # importing the daemon for its name takes long


class CodeServerError(LedgerError):
    """The code server of the assets cannot be reached, or could not load them."""


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
            CodeServerError: the workspace has no such assets now.
        """
        keys = [dg.AssetKey.from_user_string(key) for key in task.assets]
        self._require_assets(keys)
        request = dg.RunRequest(
            asset_selection=keys,
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

    def retry(self, run: dg.DagsterRun) -> None:
        """Start the retry of a failed run that Dagster has lost; if it exists, start no other one.

        Dagster stores the event of a failure before the status of its run. If its daemon reads the event
        between both, it starts no retry, and never reads the event again.

        Raises:
            CodeServerError: the workspace has no such assets now.
        """
        from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (  # noqa: PLC0415 (takes long)
            retry_run,
        )

        self._require_assets(list(run.asset_selection or ()))
        retry_run(run, self._context)

    def _require_assets(self, keys: Sequence[dg.AssetKey]) -> None:
        """Load the workspace again if it lacks assets, because a code server can restart.

        Raises:
            CodeServerError: the workspace still lacks them.
        """
        if self._has_assets(keys):
            return
        self._context.refresh_workspace()
        if not self._has_assets(keys):
            entries = self._context.create_request_context().get_code_location_entries()
            errors = [entry.load_error.message.strip() for entry in entries.values() if entry.load_error]
            raise CodeServerError(
                f"Cannot enqueue a run: no code location has {keys[0].to_user_string()}",
                where="; ".join(errors) or f"{len(entries)} code locations of the workspace",
                next_step="start the code server, and resume the backfill",
            )

    def _has_assets(self, keys: Sequence[dg.AssetKey]) -> bool:
        graph = self._context.create_request_context().asset_graph
        return all(graph.has(key) for key in keys)


def is_code_server_error(error: Exception) -> bool:
    """Return whether a code server cannot be reached, which can be because it restarts."""
    return isinstance(error, CodeServerError | DagsterUserCodeUnreachableError)


def find_workspace_file() -> Path:
    """Return the workspace file next to the settings, or that of the checkout."""
    own = find_config_file().with_name(_WORKSPACE)
    return own if own.exists() else CHECKOUT / _WORKSPACE


def require_daemon(instance: dg.DagsterInstance) -> None:
    """Verify that queued runs will start.

    Raises:
        ConfigurationError: the daemon sends no heartbeat.
    """
    status = instance.get_daemon_statuses([_QUEUE_DAEMON])
    if not all(daemon.healthy for daemon in status.values()):
        raise ConfigurationError(
            "Cannot enqueue runs: the Dagster daemon sends no heartbeat",
            where=f"the Dagster instance at {os.environ.get(HOME_VARIABLE, '?')}",
            next_step="start it (ledger dev, or dagster-daemon run), or remove --workers",
        )


def require_own_runs(instance: dg.DagsterInstance) -> None:
    """Verify that run monitoring accepts runs that a command executes itself.

    Raises:
        ConfigurationError: it would report them as failed, because they have no Job or task.
    """
    if not instance.run_monitoring_enabled:
        return
    launcher = instance.run_launcher
    if launcher.supports_check_run_worker_health and not isinstance(launcher, LocalRunLauncher):
        raise ConfigurationError(
            "Cannot execute the runs in this process: run monitoring looks for them with"
            f" {type(launcher).__name__}",
            where=f"the Dagster instance at {os.environ.get(HOME_VARIABLE, '?')}",
            next_step="add --workers 1; the daemon then starts the runs",
        )


@contextmanager
def _write_stdout_to_stderr() -> Iterator[None]:
    """Let subprocesses that start here, such as code servers with their logs, leave stdout to the output."""
    own_stdout = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(own_stdout, 1)
        os.close(own_stdout)


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
    # Dagster warns with a stack trace when a code server restarts
    warnings.filterwarnings("ignore", message="Error loading repository location", category=UserWarning)
    with _write_stdout_to_stderr():
        workspace_context = WorkspaceProcessContext(instance, target)
    with workspace_context as context:
        entries = context.create_request_context().get_code_location_entries()
        for name, entry in entries.items():
            if entry.load_error is not None:
                raise LedgerError(
                    f"Cannot load code location {name}: {entry.load_error.message.strip()}",
                    where=str(workspace),
                    next_step="start the code server, or fix the error that it logs",
                )
        yield RunQueue(instance, context)
