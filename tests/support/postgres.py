"""A PostgreSQL server for tests, on loopback."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Postgres:
    """A server, and the variables of deploy/dagster.yaml that lead to it."""

    port: int
    programs: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        values = {"USERNAME": "ledger", "PASSWORD": "none", "HOST": "127.0.0.1", "DB": "postgres"}
        return {f"DAGSTER_PG_{name}": value for name, value in values.items()}

    def create_database(self, name: str) -> None:
        """Create an empty database, for an instance of its own."""
        words = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "ledger", name]
        subprocess.run([self.programs / "createdb", *words], check=True)

    def restart(self) -> None:
        """End all connections at once, as a crash does, and start again."""
        self._control("--mode", "immediate", "stop")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._control("--wait", "--log", self.folder / "log", "-o", options, "start")

    def stop(self) -> None:
        self._control("--mode", "immediate", "stop")

    def _control(self, *words: str | Path) -> None:
        run_as_server(self.programs / "pg_ctl", "--pgdata", self.folder / "data", *words)


def find_programs() -> Path:
    """Return the folder of the PostgreSQL programs."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL on this machine (initdb)")
    return folders[-1]


def run_as_server(*command: str | Path) -> None:
    """Run a PostgreSQL program, which refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    if user and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL cannot run as root, and there is no user postgres")
    subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Start a server with an empty database."""
    pytest.importorskip("dagster_postgres", reason="pip install -e '.[deploy]'")
    programs = find_programs()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest makes its own folders private
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    words = ["--pgdata", folder / "data", "--username", "ledger", "--auth", "trust", "--no-sync"]
    run_as_server(programs / "initdb", *words)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Postgres(port, programs, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
