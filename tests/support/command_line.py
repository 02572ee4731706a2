"""What a `ledger` command printed, and the settings and coverage it reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from json import loads
from typing import Any

import pyarrow as pa
import pytest

from assets.executions.coverage import compute_settle_time, merge_coverage
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.cli import app
from resources.lake.lake import Lake

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
"""The fixed time of the service."""

SETTLE_AFTER = timedelta(hours=3)


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The parsed JSON of the standard output."""
        return loads(self.out)

    @property
    def text(self) -> str:
        """The standard output without the line breaks of a narrow terminal."""
        return " ".join(self.out.split())


RunLedger = Callable[..., CommandResult]


def run_in_this_process(arguments: Sequence[str], capture: pytest.CaptureFixture[str]) -> CommandResult:
    """Run `ledger` with arguments, without the start of another process."""
    capture.readouterr()
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["ledger", *arguments])
        try:
            app.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    captured = capture.readouterr()
    return CommandResult(code, captured.out, captured.err)


def build_api_toml(url: str, account: str = "111122223333", region: str = "us-east-1", more: str = "") -> str:
    """Return the TOML of an `api` source."""
    return f'kind = "api"\nprofile = "{account}"\nregion = "{region}"\nendpoint_url = "{url}"\n{more}'


def record_complete_day(lake: Lake, day: date, names: Sequence[str], through: datetime | None = None) -> None:
    """Write an empty day and its coverage, as a run does after the service has answered."""
    answered = through or compute_settle_time(day, SETTLE_AFTER)
    arns = {
        f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{name}/1": name
        for name in names
    }

    def add_coverage(existing: pa.Table) -> pa.Table:
        return merge_coverage(
            {},
            existing,
            settles_at=compute_settle_time(day, SETTLE_AFTER),
            now=answered,
            query_times=dict.fromkeys(arns, answered),
            names=arns,
        )

    lake.update(INFERENCE_EXECUTIONS, day, lambda existing: existing)
    lake.update(EXTRACTION_COVERAGE, day, add_coverage)
