"""The options `schedulers`, `skip_settled` and `max_calls` of a run."""

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.executions import assets as execution_assets
from assets.tables import EXTRACTION_COVERAGE
from sandbox.fleet import Fleet
from sandbox.service import Handle
from tests.support.code_location import DAYS, Location
from tests.support.live_service import NOW, PLACES, BuildLiveLocation, get_visible_statuses, read_statuses
from tests.support.run_results import (
    LIST_EXECUTIONS,
    build_options,
    build_resume_options,
    get_failure_message,
    read_failure_metadata,
    read_output_metadata,
    read_rows,
)

LATER = datetime(2026, 10, 9, 6, tzinfo=UTC)
"""All days of the small fleet are settled at this time."""


def read_coverage(location: Location, day: date) -> dict[str, Any]:
    """Return `complete_through` by scheduler name."""
    table = location.lake.read(EXTRACTION_COVERAGE, day, ["scheduler_name", "complete_through"])
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize("by", ["arn", "pattern"])
def test_only_selected_schedulers_are_queried_and_the_others_keep_their_rows(
    live: BuildLiveLocation,
    service: Handle,
    small_fleet: Fleet,
    by: str,
) -> None:
    early = datetime(2026, 10, 7, 12, tzinfo=UTC)
    service.set_clock(early)
    live(service.url, PLACES[:1], clock=early).run()
    service.set_clock(NOW)
    location = live(service.url, PLACES[:1])
    others = {key: row for key, row in read_rows(location.lake).items() if row["scheduler_name"] != "pump-1"}
    before = Counter(service.requests(operation=LIST_EXECUTIONS))
    pump = next(
        scheduler
        for scheduler in small_fleet.schedulers
        if scheduler.name == "pump-1" and "us-east-1" in scheduler.arn
    )

    result = location.run(**build_options(schedulers=[{"arn": pump.arn, "pattern": "p*-1"}[by]]))

    assert result.success
    calls = Counter(service.requests(operation=LIST_EXECUTIONS)) - before
    assert {kind.scheduler for kind in calls} == {"pump-1"}
    recorded = read_rows(location.lake)
    assert {key: row for key, row in recorded.items() if row["scheduler_name"] != "pump-1"} == others
    mine = {
        key: status for key, status in get_visible_statuses(small_fleet, NOW).items() if key[0] == pump.arn
    }
    assert {key: row["status"] for key, row in recorded.items() if key[0] == pump.arn} == mine
    through = read_coverage(location, date(2026, 10, 7))
    assert through.pop("pump-1") == datetime(2026, 10, 8, 3, tzinfo=UTC)
    assert set(through.values()) == {early}, "no other day is marked as complete"


def test_an_unknown_scheduler_fails_the_run_and_lists_the_existing_ones(
    live: BuildLiveLocation,
    service: Handle,
) -> None:
    location = live(service.url, PLACES)

    result = location.run(**build_options(schedulers=["pump-1", "punp-2"]))

    assert not result.success
    assert 'a scheduler that matches "punp-2"' in str(read_failure_metadata(result)["failed_sources"])
    assert "pump-2" in str(read_failure_metadata(result)["failed_sources"]), "the existing names"
    assert {row["scheduler_name"] for row in read_rows(location.lake).values()} == {"pump-1"}
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_settled_days_are_skipped_for_each_scheduler(
    live: BuildLiveLocation,
    service: Handle,
) -> None:
    service.inject("deny:ListInferenceExecutions:scheduler=pump-2")
    first = live(service.url, PLACES[:1]).run(DAYS[0], DAYS[2])
    assert not first.success
    service.clear_faults()
    before, listings = (
        service.count(operation=LIST_EXECUTIONS),
        service.count(operation="ListInferenceSchedulers"),
    )
    location = live(service.url, PLACES[:1])

    second = location.run(DAYS[0], DAYS[3], **build_options(skip_settled=True))

    assert second.success
    calls = service.count(operation=LIST_EXECUTIONS) - before
    pump_2 = service.count(operation=LIST_EXECUTIONS, scheduler="pump-2", outcome="ok")
    today_only = len(read_coverage(location, DAYS[3])) - 1
    assert calls == pump_2 + today_only, "all days of pump-2, today of the others"
    assert service.count(operation="ListInferenceSchedulers") - listings == 1
    assert read_output_metadata(second)["calls"] == calls + 1

    third = location.run(DAYS[0], DAYS[3], **build_options(skip_settled=True))
    assert third.success
    assert list(location.get_materializations(third)) == [DAYS[3].isoformat()], (
        "completely settled days are not processed"
    )

    service.set_clock(LATER)
    live(service.url, PLACES[:1], clock=LATER).run(**build_options(skip_settled=True))
    before = service.count(operation=LIST_EXECUTIONS)
    last = live(service.url, PLACES[:1], clock=LATER).run(**build_options(skip_settled=True))
    assert last.success
    assert service.count(operation=LIST_EXECUTIONS) == before
    assert location.get_materializations(last) == {}


def test_counted_calls_equal_those_of_the_service(live: BuildLiveLocation, service: Handle) -> None:
    service.inject("throttle:share=0.2", "internal:share=0.1", "hangup:share=0.1")

    result = live(service.url, PLACES).run()

    assert result.success
    assert read_output_metadata(result)["calls"] == service.count()
    assert read_output_metadata(result)["throttled"] == service.count(outcome="ThrottlingException") > 0


def test_a_call_limit_ends_a_run_and_a_resumed_run_continues(
    live: BuildLiveLocation,
    service: Handle,
    small_fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(execution_assets, "DAYS_PER_BATCH", 2)
    now = datetime.now(UTC)  # resuming depends on the start time of the earlier run in Dagster
    assert live(service.url, PLACES[:1], now, lake=tmp_path / "in-one-go").run().success
    in_one_go = service.count(operation=LIST_EXECUTIONS)
    service.reset()
    location = live(service.url, PLACES[:1], now)

    result = location.run(**build_options(max_calls=5))

    runs = [result]
    assert service.count() == read_failure_metadata(result)["calls"] == 5
    assert "the budget of 5 calls is spent" in get_failure_message(result)
    assert f"ledger backfill --from {DAYS[0]} --to {DAYS[3]} --resume {result.run_id}" in get_failure_message(
        result
    )
    while not result.success and len(runs) < 9:
        kept = read_rows(location.lake)
        result = location.run(**build_options(max_calls=5), **build_resume_options(result.run_id))
        assert read_rows(location.lake).items() >= kept.items(), "recorded rows stay"
        runs.append(result)
    assert result.success, get_failure_message(result)
    assert not any(event.is_step_up_for_retry for run in runs for event in run.all_events)
    assert read_statuses(location) == {
        key: status
        for key, status in get_visible_statuses(small_fleet, NOW).items()
        if key[0].split(":")[3:5] == ["us-east-1", "111122223333"]
    }
    broken_off = len(runs) - 1
    assert service.count(operation=LIST_EXECUTIONS) - in_one_go <= 2 * broken_off, (
        "each restart repeats at most one chain of pages"
    )


def test_a_too_small_call_limit_is_reported(
    live: BuildLiveLocation,
    service: Handle,
) -> None:
    location = live(service.url, PLACES[:1])

    result = location.run(**build_options(max_calls=1))

    assert "raise limits.max_calls_per_run in ledger.toml" in get_failure_message(result)
    assert location.get_materializations(result) == {}, "a day without a query is not recorded as empty"
    assert read_rows(location.lake) == {}
