"""Five weeks of a fleet with every fault of the sandbox."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.faults import KINDS
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import run_sandbox
from tests.support.code_location import Location
from tests.support.live_service import PLACES
from tests.support.run_results import get_failure_message, read_rows
from tests.support.truth import build_row

START, END = datetime(2026, 9, 3, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC)
FIRST, LAST = date(2026, 9, 3), date(2026, 10, 7)
"""More days than one batch of a run."""

FAULTS = (
    # first, because the first of several errors wins; twice, because it can meet a lost connection
    "deny:ListInferenceExecutions:scheduler=turbine-2:count=2",
    "throttle:share=0.03",
    "internal:share=0.02",
    "unavailable:share=0.02",
    "reset:share=0.02",
    "drop:share=0.02",
    "hangup:share=0.01",
    "slow:share=0.02:seconds=0.05",
    "truncate:ListInferenceExecutions:share=0.03",
    "repeat-token:ListInferenceExecutions:share=0.03",
    "expire-token:ListInferenceExecutions:share=0.05",
    "empty-page:ListInferenceExecutions:share=0.05",
    "shift:ListInferenceExecutions:share=0.3",
    "shuffle:ListInferenceExecutions:share=0.5",
)


def list_expected_rows(of: Fleet, clock: datetime) -> dict[tuple[str, object], dict[str, Any]]:
    actual = (
        build_row(summary, "api")
        for scheduler in of.list_schedulers(clock)
        for summary in scheduler.executions(clock)
        if START <= summary["DataStartTime"] < END
    )
    return {(row["scheduler_arn"], row["data_start_time"]): row for row in actual}


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.long), "s3"])
def lake_uri(request: pytest.FixtureRequest, accounts: None) -> str:  # noqa: ARG001 (before the keys of the lake)
    return str(request.getfixturevalue(f"{request.param}_lake_uri"))


@pytest.mark.slow
@pytest.mark.usefixtures("accounts")
def test_a_storm_of_faults_ends_with_the_executions_of_the_service(
    lake_uri: str, instance: dg.DagsterInstance
) -> None:
    assert {fault.split(":")[0] for fault in FAULTS} == set(KINDS), "all faults are used"
    of, clock = build_fleet(seed=3, history=History(START, END)), datetime(2026, 10, 8, 12, tzinfo=UTC)
    with run_sandbox(of, clock, s3=False, faults=FAULTS, paging="offset") as handle:
        sources = tuple(
            ApiSettings(profile=account, region=region, endpoint_url=handle.url) for account, region in PLACES
        )
        settings = Settings(
            lake=LakeSettings(uri=lake_uri),
            history=HistorySettings(start_date=FIRST, end_date=date(2026, 10, 8)),
            sources=sources,
        )
        location = Location(build_defs(settings=settings), instance, Lake(lake_uri))
        result = location.run(FIRST, LAST)
        assert not result.success, "one scheduler is denied at first"
        attempts, messages = 1, [get_failure_message(result)]
        while not result.success and attempts < 5:
            resume = dict.fromkeys(("dagster/parent_run_id", "dagster/root_run_id"), result.run_id)
            result = location.run(FIRST, LAST, tags={"dagster/is_resume_retry": "true"} | resume)
            attempts += 1
            messages.append("success" if result.success else get_failure_message(result))
        struck = {word for kind in handle.requests() for word in kind.faults.split("+") if word}

    assert result.success, messages
    assert struck == set(KINDS)
    recorded = read_rows(location.lake)
    for row in recorded.values():
        del row["recorded_at"], row["unrecognized"]
    assert recorded == list_expected_rows(of, clock)
