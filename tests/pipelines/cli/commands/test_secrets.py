"""Secrets of settings and environment appear in no output of a project: text, logs, tables, pages, files."""

import base64
import gzip
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sandbox.fleet import Fleet
from sandbox.service import run_sandbox
from tests.support.command_line import RunLedger
from tests.support.live_service import NOW
from tests.support.receiver import Receiver

ACCOUNT = "111122223333"
RANGE = ("--from", "2026-10-06", "--to", "2026-10-06")
SECRETS = {
    name: f"Zq7{name}Hunter42"
    for name in ("endpoint", "storage", "proxy", "key", "token", "webhook", "bearer", "slack", "postgres")
}
PLANTED = [
    *SECRETS.values(),
    *(base64.b64encode(f"operator:{SECRETS[name]}".encode()).decode() for name in ("endpoint", "storage")),
]
POSTGRES = "storage:\n  postgres:\n    postgres_url: postgresql+psycopg2://dagster:{}@127.0.0.1:9/dagster\n"


def write_project(folder: Path, endpoint: str, receiver: Receiver) -> None:
    host = receiver.url.partition("/services")[0]
    (folder / "dumps").mkdir()
    (folder / "ledger.toml").write_text(
        f"""\
[lake]
uri = "lake"
[history]
start_date = "2026-10-06"
end_date = "2026-10-08"
[report]
folder = "reports"
[alerts]
webhook_url = "{host}/hook/{SECRETS["webhook"]}"
allow_private_addresses = true
urls = [
    "json://operator:{SECRETS["bearer"]}@127.0.0.1:1/x?+Authorization=Bearer+{SECRETS["bearer"]}",
    "slack://T1JJ3T3L2/A1BRTD4JD/{SECRETS["slack"]}/#plant",
]
[[sources]]
kind = "archive"
uri = "dumps/"
[[sources]]
kind = "api"
profile = "plant"
region = "us-east-1"
endpoint_url = "{endpoint}"
schedulers = ["pump-*"]
"""
    )
    (folder / "credentials").write_text(
        f"[plant]\naws_access_key_id = {ACCOUNT}\naws_secret_access_key = {SECRETS['key']}\n"
        f"aws_session_token = {SECRETS['token']}\n"
    )


@pytest.fixture
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["key"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRETS["token"])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://operator:{SECRETS['storage']}@127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", f"http://operator:{SECRETS['proxy']}@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def read_texts(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the content of each file: databases as statements, Parquet as cells, gzip unpacked."""
    given = {folder / name for name in ("ledger.toml", "credentials", "home/dagster.yaml")}
    for file in folder.rglob("*"):
        if not file.is_file() or file in given:
            continue
        data = file.read_bytes()
        yield file, data
        if file.suffix == ".parquet":
            yield file, str(pq.read_table(file, partitioning=None).to_pylist()).encode()
        elif file.suffix == ".gz":
            with suppress(EOFError, gzip.BadGzipFile):
                yield file, gzip.decompress(data)
        elif data.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(file)) as database:
                yield file, "\n".join(database.iterdump()).encode()


@pytest.mark.slow
@pytest.mark.usefixtures("_environment")
def test_no_output_of_a_whole_life_has_a_secret(
    ledger: RunLedger, tmp_path: Path, small_fleet: Fleet, receiver: Receiver, dumps: tuple[Path, object]
) -> None:
    texts: dict[str, str] = {}

    def run(*arguments: str) -> int:
        done = ledger(*arguments)
        texts[f"{len(texts)} {' '.join(arguments)}"] = done.out + done.err
        return done.code

    with run_sandbox(small_fleet, NOW, s3=False) as service:
        address = service.url.removeprefix("http://")
        write_project(tmp_path, f"http://operator:{SECRETS['endpoint']}@{address}", receiver)
        run("import", str(next((dumps[0] / ACCOUNT).glob("eu-west-1/*"))), "--yes")
        assert run("record", "--to", str(tmp_path / "recording"), "--from", "2026-10-06") == 0
        assert run("backfill", *RANGE, "--yes", "--only", "executions") == 0
        service.inject("hangup")
        run("backfill", "--from", "2026-10-07", "--to", "2026-10-07", "--yes")
        run("doctor")
    run("backfill", *RANGE, "--yes")  # neither the service nor S3 can be reached
    run("doctor", "--json")
    run("record", "--to", f"s3://plant/{ACCOUNT}/")
    run("alerts", "test")
    receiver.statuses += [500] * 9
    run("alerts", "test", "--json")
    for command in ("status", "report", "certify", "views"):
        run(command)
    run("sql", "FROM result_objects", "--format", "csv")
    run("forget", "--scheduler", "pump-1", "--yes")
    (tmp_path / "home" / "dagster.yaml").write_text(POSTGRES.format(SECRETS["postgres"]))
    run("doctor")
    run("backfill", *RANGE, "--yes")

    leaks = [(name, secret) for name, text in texts.items() for secret in PLANTED if secret in text]
    leaks += [
        (str(file), secret)
        for file, data in read_texts(tmp_path)
        for secret in PLANTED
        if secret.encode() in data
    ]
    assert not leaks
    assert receiver.bodies  # a notification was sent
    assert any("127.0.0.1" in text for text in texts.values())  # errors named the places
