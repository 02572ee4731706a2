"""Runs commands in this process with real settings, a real lake and a real Dagster instance."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.executions.coverage import compute_settle_time, merge_coverage
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.cli import app
from resources.lake.lake import Lake
from sandbox.fleet import Fleet
from sandbox.service import Handle, serving

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
"""The fixed time of the simulated service."""

SETTLE_AFTER = timedelta(hours=3)


@dataclass(frozen=True)
class Done:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The parsed standard output."""
        return json.loads(self.out)

    @property
    def text(self) -> str:
        """The standard output without the line breaks of a narrow terminal."""
        return " ".join(self.out.split())


Ledger = Callable[..., Done]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ledger:
    """Run `ledger` with its own settings and Dagster home."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("LEDGER_CONFIG", str(tmp_path / "ledger.toml"))

    def command(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["ledger", *words])
        capsys.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return command


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Write the settings: sources as TOML lines, and the range of the history."""

    def write(
        *sources: str, start: str = "2026-10-05", end: str | None = "2026-10-09", more: str = ""
    ) -> Path:
        file = tmp_path / "ledger.toml"
        bounds = f'start_date = "{start}"\n' + (f'end_date = "{end}"\n' if end else "")
        listed = "".join(f"[[sources]]\n{source}\n" for source in sources)
        file.write_text(f'[lake]\nuri = "lake"\n[history]\n{bounds}{more}\n{listed}')
        return file

    return write


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a profile for each account; the sandbox reads the account from the access key."""
    file = tmp_path / "credentials"
    file.write_text(
        "".join(
            f"[{account}]\naws_access_key_id={account}\naws_secret_access_key=x\n"
            for account in ("111122223333", "123456789012")
        )
    )
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def service(small_fleet: Fleet, accounts: None) -> Iterator[Handle]:  # noqa: ARG001 (provides its credentials)
    with serving(small_fleet, NOW, s3=False) as handle:
        yield handle


def api(url: str, account: str = "111122223333", region: str = "us-east-1", more: str = "") -> str:
    """Return the settings of an API source."""
    return f'kind = "api"\nprofile = "{account}"\nregion = "{region}"\nendpoint_url = "{url}"\n{more}'


def record(lake: Lake, day: date, names: Sequence[str], through: datetime | None = None) -> None:
    """Write the coverage of a day as a run does, and a day without executions."""
    answered = through or compute_settle_time(day, SETTLE_AFTER)
    arns = {
        f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{name}/1": name
        for name in names
    }

    def covered(existing: pa.Table) -> pa.Table:
        return merge_coverage(
            INFERENCE_EXECUTIONS.schema.empty_table(),
            existing,
            settles_at=compute_settle_time(day, SETTLE_AFTER),
            now=answered,
            query_times=dict.fromkeys(arns, answered),
            names=arns,
        )

    lake.update(INFERENCE_EXECUTIONS, day, lambda existing: existing)
    lake.update(EXTRACTION_COVERAGE, day, covered)
