"""The part of the Kubernetes API that K8sRunLauncher calls, on loopback; a Job's container is a process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml


class _Container:
    """A process, and the CPU time of it and its children when it has ended."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.exit_code: int | None = None
        self.cpu_seconds = 0.0
        self._waiter = threading.Thread(target=self._wait)
        self._waiter.start()

    def _wait(self) -> None:
        _, status, usage = os.wait4(self._process.pid, 0)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)

    @property
    def is_alive(self) -> bool:
        return self.exit_code is None

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def join(self) -> None:
        self._waiter.join()


class KubernetesApi:
    """Jobs by name: their manifests, and the processes that execute them.

    Args:
        environment: environment of the processes, which replaces that of the manifest; None: start nothing.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.manifests: dict[str, dict[str, Any]] = {}
        self.containers: dict[str, _Container] = {}
        self._environment = environment

    def create_job(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Validate a manifest as the server does, and start its container."""
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        name = manifest["metadata"]["name"]
        self.manifests[name] = manifest
        if self._environment is not None:
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            program = shutil.which(container["args"][0], path=str(Path(sys.executable).parent))
            command = [str(program), *container["args"][1:]]
            self.containers[name] = _Container(command, self._environment)
        return manifest

    def get_status(self, name: str) -> dict[str, Any]:
        """Return the status of a Job: active, succeeded or failed."""
        container = self.containers.get(name)
        code = container.exit_code if container else None
        started = {"startTime": datetime.now(UTC).isoformat()}
        if code is None:
            return {"active": 1, **started}
        return {"succeeded": 1, **started} if code == 0 else {"failed": 1, **started}

    def delete_job(self, name: str) -> None:
        """Stop the container as Kubernetes does: SIGTERM."""
        if name in self.containers:
            self.containers[name].send_signal(signal.SIGTERM)

    def kill(self, name: str) -> None:
        """End the container at once, as the loss of its node does."""
        self.containers[name].send_signal(signal.SIGKILL)

    def list_active(self) -> list[str]:
        """Return the names of the Jobs whose container runs, the oldest first."""
        return [name for name, container in self.containers.items() if container.is_alive]

    def stop(self) -> None:
        """End all processes."""
        for container in self.containers.values():
            if container.is_alive:
                container.send_signal(signal.SIGKILL)
            container.join()


class _Handler(BaseHTTPRequestHandler):
    api: KubernetesApi

    def log_message(self, *_: object) -> None:
        """Write no log."""

    def do_POST(self) -> None:
        manifest = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._respond(201, self.api.create_job(manifest))

    def do_DELETE(self) -> None:
        self.api.delete_job(urlsplit(self.path).path.split("/")[-1])
        self._respond(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        words = url.path.split("/")
        if "jobs" not in words:  # pods and events: there are none
            self._respond(200, {"kind": "PodList", "apiVersion": "v1", "items": []})
            return
        selector = parse_qs(url.query).get("fieldSelector", [""])[0]
        name = words[words.index("jobs") + 1] if words[-1] != "jobs" else selector.rpartition("=")[2]
        if words[-1] == "jobs":
            self._respond(200, {"kind": "JobList", "apiVersion": "batch/v1", "items": self._list(name)})
        elif name in self.api.manifests:
            self._respond(200, self._list(name)[0])
        else:
            self._respond(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

    def _list(self, name: str) -> list[dict[str, Any]]:
        manifests = [manifest for key, manifest in self.api.manifests.items() if name in {"", key}]
        return [m | {"status": self.api.get_status(m["metadata"]["name"])} for m in manifests]

    def _respond(self, status: int, body: Mapping[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def run_kubernetes_api(
    folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[KubernetesApi, Path]]:
    """Serve the API; yields it and the kubeconfig file that leads to it."""
    api = KubernetesApi(environment)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    config = folder / "kubeconfig"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [
                    {"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
                ],
                "users": [{"name": "test", "user": {}}],
            }
        )
    )
    try:
        yield api, config
    finally:
        api.stop()
        server.shutdown()
        server.server_close()
        thread.join()
