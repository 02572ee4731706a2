"""What a run may be told: some schedulers, no settled days, so many calls; on a real service over HTTP."""

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.executions import assets as execution_assets
from assets.framework.metadata import read_metadata
from assets.tables import EXTRACTION_COVERAGE
from sandbox.fleet import Fleet
from sandbox.service import Handle
from tests.pipelines.conftest import DAYS, Location
from tests.pipelines.end_to_end.test_live import (  # noqa: F401 (fixtures)
    NOW,
    PLACES,
    Live,
    _accounts,
    live,
    service,
    statuses,
    visible,
)
from tests.pipelines.runs.test_runs import failure, numbers, rows

ASKED = "ListInferenceExecutions"
LATER = datetime(2026, 10, 9, 6, tzinfo=UTC)
"""All days of the small fleet are settled, and the fleet runs on."""


def options(**config: Any) -> dict[str, Any]:
    return {"run_config": {"ops": {"inference_executions": {"config": config}}}}


def resumed(run_id: str) -> dict[str, Any]:
    of = dict.fromkeys(("dagster/parent_run_id", "dagster/root_run_id"), run_id)
    return {"tags": {"dagster/is_resume_retry": "true"} | of}


def coverage(location: Location, day: date) -> dict[str, Any]:
    """By name, up to when a day is proven."""
    table = location.lake.read(EXTRACTION_COVERAGE, day, ["scheduler_name", "complete_through"])
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The numbers of a run that failed."""
    event = next(event for event in result.all_events if event.is_step_failure)
    metadata = event.step_failure_data.user_failure_data.metadata
    return read_metadata(metadata)


@pytest.mark.parametrize("by", ["name", "arn", "pattern"])
def test_some_schedulers_alone_are_asked_and_the_others_keep_what_they_have(
    live: Live,  # noqa: F811
    service: Handle,  # noqa: F811
    small_fleet: Fleet,
    by: str,
) -> None:
    early = datetime(2026, 10, 7, 12, tzinfo=UTC)
    service.set_clock(early)
    live(service.url, PLACES[:1], clock=early).run()
    service.set_clock(NOW)
    location = live(service.url, PLACES[:1])
    others = {key: row for key, row in rows(location.lake).items() if row["scheduler_name"] != "pump-1"}
    before = Counter(service.requests(operation=ASKED))
    pump = next(one for one in small_fleet.schedulers if one.name == "pump-1" and "us-east-1" in one.arn)

    result = location.run(**options(schedulers=[{"name": "pump-1", "arn": pump.arn, "pattern": "p*-1"}[by]]))

    assert result.success
    asked = Counter(service.requests(operation=ASKED)) - before
    assert {kind.scheduler for kind in asked} == {"pump-1"}
    recorded = rows(location.lake)
    assert {key: row for key, row in recorded.items() if row["scheduler_name"] != "pump-1"} == others
    mine = {key: status for key, status in visible(small_fleet, NOW).items() if key[0] == pump.arn}
    assert {key: row["status"] for key, row in recorded.items() if key[0] == pump.arn} == mine
    through = coverage(location, date(2026, 10, 7))
    assert through.pop("pump-1") == datetime(2026, 10, 8, 3, tzinfo=UTC)
    assert set(through.values()) == {early}, "no other day is marked as complete"


def test_a_name_that_no_scheduler_has_fails_the_run_and_says_which_there_are(
    live: Live,  # noqa: F811
    service: Handle,  # noqa: F811
) -> None:
    location = live(service.url, PLACES)

    result = location.run(**options(schedulers=["pump-1", "punp-2"]))

    assert not result.success
    assert 'No scheduler matches "punp-2"' in str(told(result)["failed_sources"])
    assert "pump-2" in str(told(result)["failed_sources"]), "what there is"
    assert {row["scheduler_name"] for row in rows(location.lake).values()} == {"pump-1"}
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_settled_days_are_left_out_scheduler_by_scheduler(
    live: Live,  # noqa: F811
    service: Handle,  # noqa: F811
) -> None:
    service.inject("deny:ListInferenceExecutions:scheduler=pump-2")
    first = live(service.url, PLACES[:1]).run(DAYS[0], DAYS[2])
    assert not first.success
    service.heal()
    before, listings = service.count(operation=ASKED), service.count(operation="ListInferenceSchedulers")
    location = live(service.url, PLACES[:1])

    second = location.run(DAYS[0], DAYS[3], **options(skip_settled=True))

    assert second.success
    asked = service.count(operation=ASKED) - before
    pump_2 = service.count(operation=ASKED, scheduler="pump-2", outcome="ok")
    today_only = len(coverage(location, DAYS[3])) - 1
    assert asked == pump_2 + today_only, "pump-2 of all days, the others of today"
    assert service.count(operation="ListInferenceSchedulers") - listings == 1
    assert numbers(second)["calls"] == asked + 1

    third = location.run(DAYS[0], DAYS[3], **options(skip_settled=True))
    assert third.success
    assert list(location.days_of(third)) == [DAYS[3].isoformat()], (
        "whole days that are settled are not touched"
    )

    service.set_clock(LATER)
    live(service.url, PLACES[:1], clock=LATER).run(**options(skip_settled=True))
    before = service.count(operation=ASKED)
    last = live(service.url, PLACES[:1], clock=LATER).run(**options(skip_settled=True))
    assert last.success
    assert service.count(operation=ASKED) == before
    assert location.days_of(last) == {}


def test_calls_are_counted_as_the_service_counts_them(live: Live, service: Handle) -> None:  # noqa: F811
    service.inject("throttle:share=0.2", "internal:share=0.1", "hangup:share=0.1")

    result = live(service.url, PLACES).run()

    assert result.success
    assert numbers(result)["calls"] == service.count()
    assert numbers(result)["throttled"] == service.count(outcome="ThrottlingException") > 0


def test_a_budget_ends_a_run_between_two_calls_and_a_resumed_run_goes_on_from_there(
    live: Live,  # noqa: F811
    service: Handle,  # noqa: F811
    small_fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(execution_assets, "DAYS_PER_BATCH", 2)
    now = datetime.now(UTC)  # resuming goes by when Dagster started the earlier run
    assert live(service.url, PLACES[:1], now, lake=tmp_path / "in-one-go").run().success
    in_one_go = service.count(operation=ASKED)
    service.reset()
    location = live(service.url, PLACES[:1], now)

    result = location.run(**options(max_calls=5))

    runs = [result]
    assert service.count() == told(result)["calls"] == 5
    assert "the budget of 5 calls is spent" in failure(result)
    assert f"ledger backfill --from {DAYS[0]} --to {DAYS[3]} --resume {result.run_id}" in failure(result)
    while not result.success and len(runs) < 9:
        kept = rows(location.lake)
        result = location.run(**options(max_calls=5), **resumed(result.run_id))
        assert rows(location.lake).items() >= kept.items(), "what came is kept"
        runs.append(result)
    assert result.success, failure(result)
    assert not any(event.is_step_up_for_retry for run in runs for event in run.all_events)
    assert statuses(location) == {
        key: status
        for key, status in visible(small_fleet, NOW).items()
        if key[0].split(":")[3:5] == ["us-east-1", "111122223333"]
    }
    broken_off = len(runs) - 1
    assert service.count(operation=ASKED) - in_one_go <= 2 * broken_off, "no more than a chain is asked anew"


def test_a_budget_that_does_not_reach_for_one_scheduler_says_so(
    live: Live,  # noqa: F811
    service: Handle,  # noqa: F811
) -> None:
    location = live(service.url, PLACES[:1])

    result = location.run(**options(max_calls=1))

    assert "raise limits.max_calls_per_run in ledger.toml" in failure(result)
    assert location.days_of(result) == {}, "a day that nobody asked for is not recorded as one without rows"
    assert rows(location.lake) == {}
