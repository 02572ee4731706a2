"""The run launcher of one machine, which also recognizes runs whose process no longer exists.

Dagster detects that the process of a run ended, but only while the code server runs. After a power loss, a
reboot or the end of the code server, run monitoring calls this launcher.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData
from dagster_shared.serdes import deserialize_value

from assets.framework.metadata import HIDDEN_PREFIX

BOOT_TAG, PROCESS_TAG = f"{HIDDEN_PREFIX}boot_id", f"{HIDDEN_PREFIX}process"
"""Tags: the boot of the machine that started the run; host name and process id of an interactive run."""

PROCESS_START_TAG = f"{HIDDEN_PREFIX}process_start"
"""Tag: the start of the process of the run. Ids are used again, in a container soon."""

_PROCESSES = Path("/proc")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_SILENT_CHECKS = 3
"""Run monitoring checks every 30 seconds, and a code server restarts in less than a minute."""

_LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


def read_boot_tag() -> dict[str, str]:
    """Return the tag of the current boot, which containers share with their host; empty if it is unknown."""
    return {BOOT_TAG: _BOOT_ID.read_text().strip()} if _BOOT_ID.exists() else {}


def build_process_tags() -> dict[str, str]:
    """Return the tags of a run that this process executes."""
    process = {PROCESS_TAG: f"{socket.gethostname()} {os.getpid()}"}
    return process | _read_process_start_tag(os.getpid()) | read_boot_tag()


class LocalRunLauncher(DefaultRunLauncher):
    """Starts runs as processes of the code server, and checks that they still exist."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """See `DefaultRunLauncher`; there is no configuration."""
        super().__init__(inst_data)
        self._silent_checks: dict[str, int] = {}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the run, and record the boot of the machine."""
        self._instance.add_run_tags(context.dagster_run.run_id, read_boot_tag())
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring calls `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return FAILED if the process of a started run does not exist any more; in doubt, RUNNING."""
        boot_id = read_boot_tag().get(BOOT_TAG)
        if boot_id != run.tags.get(BOOT_TAG, boot_id):
            return _fail("The machine was restarted while the run was active.")
        if GRPC_INFO_TAG in run.tags:
            server = json.loads(run.tags[GRPC_INFO_TAG])
            is_local = "socket" in server or server.get("host") in _LOCAL_HOSTS
            return (
                self._check_process(run, self._find_pid(run)) if is_local else self._ask_server(run, server)
            )
        host, _, pid = run.tags.get(PROCESS_TAG, "").partition(" ")
        return self._check_process(run, int(pid) if host == socket.gethostname() else None)

    def _check_process(self, run: dg.DagsterRun, pid: int | None) -> CheckRunHealthResult:
        """Compare the process with the one that the first check has found."""
        if pid is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if not _is_alive(pid):
            return _fail(f"The process of the run (pid {pid}) does not exist any more.")
        found = _read_process_start_tag(pid)
        if found and PROCESS_START_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, found)
        elif found and found[PROCESS_START_TAG] != run.tags[PROCESS_START_TAG]:
            return _fail(f"The process of the run does not exist any more; pid {pid} is another one.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _find_pid(self, run: dg.DagsterRun) -> int | None:
        """Return the id in the event with which the process of the run reported its start."""
        for entry in self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            metadata = event.engine_event_data.metadata if event else {}
            if "pid" in metadata:
                return int(str(metadata["pid"].value))
        return None

    def _ask_server(self, run: dg.DagsterRun, server: dict[str, Any]) -> CheckRunHealthResult:
        """Ask a code server in another container, which may be restarting."""
        client = DagsterGrpcClient(
            host=server["host"], port=server.get("port"), use_ssl=bool(server.get("use_ssl", False))
        )
        try:
            reply = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=10)
        except Exception as error:  # noqa: BLE001 (gRPC raises many types)
            silent = self._silent_checks[run.run_id] = self._silent_checks.get(run.run_id, 0) + 1
            if silent <= _MAX_SILENT_CHECKS:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            return _fail(f"The code server did not answer {silent} checks: {error}")
        self._silent_checks.pop(run.run_id, None)
        if deserialize_value(reply, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return _fail("The code server was restarted and does not execute the run.")


def _fail(reason: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.FAILED, reason)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_process_start_tag(pid: int) -> dict[str, str]:
    """Return the tag with the start of a process in clock ticks since the boot; empty if it is unknown."""
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_text()
    except OSError:  # not Linux, hidden from this user, or ended just now
        return {}
    return {PROCESS_START_TAG: fields.rpartition(")")[2].split()[19]}  # a name can have spaces
