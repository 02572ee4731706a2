"""A downstream partition is recomputed if, and only if, the content of its upstream partition changed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.framework.automation import CONTINUED_TAG, EXCLUSIVE_TAG, TABLE_TAG, upstream_content_changed
from pipelines.runs.instance import TUNING

START = datetime(2026, 10, 8, 0, 5, tzinfo=UTC)
DAILY = dg.DailyPartitionsDefinition("2026-10-01", end_date="2026-11-01", timezone="UTC", end_offset=1)
UPSTREAM, DAYS, WHOLE, COMPARED = (dg.AssetKey(name) for name in ("upstream", "days", "whole", "compared"))


BACKFILL = {EXCLUSIVE_TAG: "true"}

DURING_RUN: list[Callable[[], None]] = []
"""Callbacks inside the next run of a downstream asset."""


@dg.asset(name="upstream", partitions_def=DAILY)
def upstream() -> None:
    """Reported by the tests."""


@dg.asset(
    name="days",
    tags={TABLE_TAG: "days"},
    deps=[UPSTREAM],
    partitions_def=DAILY,
    automation_condition=upstream_content_changed(),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def days_asset() -> None:
    """One partition per upstream partition."""
    while DURING_RUN:
        DURING_RUN.pop()()


@dg.asset(name="whole", deps=[UPSTREAM], automation_condition=upstream_content_changed(required=()))
def whole_asset() -> None:
    """An unpartitioned table over all days; some days were never extracted."""


@dg.asset(
    name="compared",
    deps=[
        dg.AssetDep(UPSTREAM, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-2, end_offset=2)),
        DAYS,
    ],
    partitions_def=DAILY,
    automation_condition=upstream_content_changed(required=["days"]),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def compared_asset() -> None:
    """One partition per day of `days`, computed with the neighbors of that day."""


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("blocking", asset=UPSTREAM, blocking=True),
        dg.AssetCheckSpec("warning", asset=UPSTREAM),
    ]
)
def checks() -> Iterator[dg.AssetCheckResult]:
    """Reported by the tests."""
    yield from ()


DEFINITIONS = dg.Definitions(
    assets=[upstream, days_asset, whole_asset, compared_asset], asset_checks=[checks]
)


class Automation:
    """An instance and the state of the sensor; each evaluation is a minute later."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.now = START
        self.cursor: Any = None

    def evaluate(self, asset: dg.AssetKey = DAYS) -> list[str | None]:
        """Return the partitions that the sensor requests."""
        self.now += timedelta(minutes=1)
        result = dg.evaluate_automation_conditions(
            DEFINITIONS,
            self.instance,
            asset_selection=dg.AssetSelection.assets(asset),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return sorted(result.get_requested_partitions(asset), key=str)

    def evaluate_up_to_twice(self, asset: dg.AssetKey = DAYS) -> list[str | None]:
        """Return the requests of this or the next evaluation: the one after a request requests no retry."""
        return self.evaluate(asset) or self.evaluate(asset)

    def materialize_upstream(self, version: str, *days: str) -> None:
        """Record upstream partitions with a data version."""
        tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
        for day in days:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(UPSTREAM, partition=day, tags=tags)
            )

    def change_upstream(self, day: str, tags: dict[str, str]) -> None:
        """Materialize an upstream partition in a run; its data version is new."""
        assert dg.materialize([upstream], partition_key=day, instance=self.instance, tags=tags).success

    def record_check(self, name: str, *, passed: bool) -> None:
        """Record the result of an upstream check."""
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=UPSTREAM, check_name=name, passed=passed, metadata={})
        )

    def run(self, day: str, tags: dict[str, str] | None = None) -> bool:
        """Run the downstream asset for a day; return whether it succeeded."""
        return dg.materialize(
            [upstream, days_asset],
            selection=[days_asset],
            partition_key=day,
            instance=self.instance,
            raise_on_error=False,
            tags=tags,
        ).success


def fail() -> None:
    raise RuntimeError("no luck")


@pytest.fixture
def automation() -> Iterator[Automation]:
    DURING_RUN.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        automation = Automation(instance)
        assert automation.evaluate() == []
        yield automation


def test_changed_days_of_any_age_are_requested_once_per_change(automation: Automation) -> None:
    automation.materialize_upstream("1", "2026-10-01", "2026-10-07")
    assert automation.evaluate() == ["2026-10-01", "2026-10-07"]
    assert automation.evaluate() == []
    assert automation.run("2026-10-01") and automation.run("2026-10-07")
    assert automation.evaluate() == []

    automation.materialize_upstream("1", "2026-10-01", "2026-10-07")
    assert automation.evaluate() == [], "the content is the same"
    automation.materialize_upstream("2", "2026-10-01")
    assert automation.evaluate() == ["2026-10-01"]


def test_a_change_during_a_run_is_not_lost(automation: Automation) -> None:
    automation.materialize_upstream("1", "2026-10-07")
    assert automation.evaluate() == ["2026-10-07"]
    requested = []
    DURING_RUN.append(
        lambda: (
            automation.materialize_upstream("2", "2026-10-07"),
            requested.append(automation.evaluate()),
        )[0]
    )

    assert automation.run("2026-10-07")

    assert requested == [[]], "no second run at the same time"
    assert automation.evaluate() == ["2026-10-07"]
    assert automation.run("2026-10-07")
    assert [automation.evaluate() for _ in range(3)] == [[], [], []]


def test_days_that_a_backfill_has_processed_are_not_requested(automation: Automation) -> None:
    """The backfill materializes the upstream days first, and then these days in another run."""
    requested = []
    automation.materialize_upstream("1", "2026-10-07")
    automation.record_check("blocking", passed=False)  # as long as the run of the upstream days is active
    requested.append(automation.evaluate())
    automation.record_check("blocking", passed=True)
    DURING_RUN.append(lambda: requested.append(automation.evaluate()))

    assert automation.run("2026-10-07", BACKFILL)

    assert [*requested, *(automation.evaluate() for _ in range(3))] == [[], [], [], [], []]
    automation.materialize_upstream("2", "2026-10-07")
    assert automation.evaluate() == ["2026-10-07"]


@pytest.mark.parametrize("evaluated_during_run", [False, True], ids=["evaluated after", "evaluated during"])
def test_a_change_during_a_run_of_a_backfill_is_not_lost(
    automation: Automation, *, evaluated_during_run: bool
) -> None:
    def change() -> None:
        automation.materialize_upstream("2", "2026-10-07")
        if evaluated_during_run:
            assert automation.evaluate() == []

    automation.materialize_upstream("1", "2026-10-07")
    DURING_RUN.append(change)

    assert automation.run("2026-10-07", BACKFILL)

    assert automation.evaluate_up_to_twice() == ["2026-10-07"]
    assert automation.run("2026-10-07", BACKFILL)
    assert [automation.evaluate() for _ in range(2)] == [[], []]


@pytest.mark.parametrize("evaluated_during_run", [False, True], ids=["evaluated after", "evaluated during"])
@pytest.mark.parametrize("is_continued", [False, True])
def test_a_day_is_not_requested_if_a_later_stage_of_the_backfill_that_changed_it_computes_it(
    automation: Automation, *, evaluated_during_run: bool, is_continued: bool
) -> None:
    """The sensor sees the change of a short stage only while or after the run of the next one is active."""
    automation.record_check("warning", passed=True)
    assert automation.evaluate() == [], "Dagster ignores tags until an evaluation has seen an event"
    automation.change_upstream("2026-10-07", BACKFILL | ({CONTINUED_TAG: "true"} if is_continued else {}))
    if evaluated_during_run:
        DURING_RUN.append(lambda: automation.evaluate() and None)

    assert automation.run("2026-10-07", BACKFILL)

    assert automation.evaluate_up_to_twice() == ([] if is_continued else ["2026-10-07"])


def test_a_change_by_a_stopped_backfill_is_not_lost_if_another_one_computes_the_day(
    automation: Automation,
) -> None:
    """The other one began beside it, and has read the day before the change."""
    automation.record_check("warning", passed=True)
    automation.materialize_upstream("1", "2026-10-07")
    assert automation.evaluate() == ["2026-10-07"]
    change = BACKFILL | {CONTINUED_TAG: "true"}
    DURING_RUN.append(lambda: automation.change_upstream("2026-10-07", change))

    assert automation.run("2026-10-07", {"ledger/backfill": "the other one"})

    assert automation.evaluate_up_to_twice() == ["2026-10-07"]
    assert [automation.evaluate() for _ in range(2)] == [[], []]


def test_a_day_waits_for_the_next_stage_of_a_backfill_for_one_evaluation(automation: Automation) -> None:
    """The sensor can look in the seconds between two stages."""
    automation.record_check("warning", passed=True)
    assert automation.evaluate() == []
    automation.change_upstream("2026-10-07", BACKFILL | {CONTINUED_TAG: "true"})

    assert [automation.evaluate() for _ in range(3)] == [[], ["2026-10-07"], []], "no stage followed"


@pytest.mark.parametrize("evaluated_during_run", [False, True], ids=["evaluated after", "evaluated during"])
def test_a_failed_day_is_requested_once_more_and_not_endlessly(
    automation: Automation, *, evaluated_during_run: bool
) -> None:
    def run_and_fail() -> None:
        DURING_RUN.extend([fail, *([lambda: automation.evaluate() and None] if evaluated_during_run else [])])
        assert not automation.run("2026-10-07")

    automation.materialize_upstream("1", "2026-10-07")
    assert automation.evaluate() == ["2026-10-07"]
    run_and_fail()
    assert automation.evaluate_up_to_twice() == ["2026-10-07"]
    run_and_fail()
    assert [automation.evaluate() for _ in range(4)] == [[], [], [], []]

    automation.materialize_upstream("2", "2026-10-07")
    assert automation.evaluate() == ["2026-10-07"], "new content is requested again"
    run_and_fail()
    assert automation.evaluate_up_to_twice() == ["2026-10-07"], "and gets its own retry"
    assert automation.run("2026-10-07")
    assert [automation.evaluate() for _ in range(2)] == [[], []]


def test_days_that_exist_before_the_first_evaluation_are_requested_once(automation: Automation) -> None:
    days = [f"2026-10-0{day}" for day in range(1, 8)]
    automation.materialize_upstream("1", *days)
    assert automation.run(days[0])
    automation.cursor = None  # as when the daemon starts

    assert automation.evaluate_up_to_twice() == days[1:]
    assert [automation.evaluate() for _ in range(3)] == [[], [], []], "nothing ran, and nothing changed"


def test_a_change_during_an_evaluation_is_requested_once(
    automation: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content of one day changes, and another day is new."""
    automation.materialize_upstream("1", "2026-10-06")
    assert automation.run("2026-10-06")
    assert automation.evaluate() == ["2026-10-06"] and automation.evaluate() == []
    settle = "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS"
    monkeypatch.setenv(settle, TUNING[settle])
    storage = automation.instance.event_log_storage
    find_last_event = storage.get_maximum_record_id

    def store_after_the_search() -> int | None:
        last = find_last_event()
        automation.materialize_upstream("2", "2026-10-06", "2026-10-07")
        return last

    with monkeypatch.context() as patch:
        patch.setattr(storage, "get_maximum_record_id", store_after_the_search)
        requested = [*automation.evaluate()]

    assert requested + automation.evaluate() == ["2026-10-06", "2026-10-07"]
    assert [automation.evaluate() for _ in range(2)] == [[], []]


def test_a_day_waits_until_its_upstream_day_is_materialized(automation: Automation) -> None:
    automation.now = START + timedelta(days=2)
    assert automation.evaluate() == [], "two new days without upstream data"

    automation.materialize_upstream("1", "2026-10-09")

    assert automation.evaluate() == ["2026-10-09"]


def test_an_unpartitioned_asset_does_not_wait_for_days_that_were_never_extracted(
    automation: Automation,
) -> None:
    automation.cursor = None
    assert automation.evaluate(WHOLE) == []
    automation.materialize_upstream("1", "2026-10-07")
    automation.cursor = None
    assert automation.evaluate_up_to_twice(WHOLE) == [None], "also if the daemon starts after that"
    assert automation.evaluate(WHOLE) == []
    automation.materialize_upstream("1", "2026-10-07")
    assert automation.evaluate(WHOLE) == []
    automation.materialize_upstream("2", "2026-10-02")
    assert automation.evaluate(WHOLE) == [None]


def test_a_failed_blocking_check_holds_changes_back_until_it_passes(automation: Automation) -> None:
    automation.materialize_upstream("1", "2026-10-01", "2026-10-07")
    automation.record_check("blocking", passed=False)
    automation.record_check("warning", passed=True)
    assert [automation.evaluate() for _ in range(3)] == [[], [], []]

    automation.record_check("blocking", passed=True)
    assert automation.evaluate() == ["2026-10-01", "2026-10-07"]
    assert automation.evaluate() == []


def test_a_failed_warning_check_does_not_block(automation: Automation) -> None:
    automation.materialize_upstream("1", "2026-10-07")
    automation.record_check("blocking", passed=True)
    automation.record_check("warning", passed=False)
    assert automation.evaluate() == ["2026-10-07"]


def test_a_day_without_a_required_upstream_waits_although_its_neighbors_changed(
    automation: Automation,
) -> None:
    automation.materialize_upstream("1", "2026-10-04", "2026-10-05")
    automation.run("2026-10-04")
    automation.run("2026-10-05")
    assert automation.evaluate_up_to_twice(COMPARED) == ["2026-10-04", "2026-10-05"]
    assert automation.evaluate(COMPARED) == []

    automation.materialize_upstream("1", "2026-10-06")
    assert "2026-10-06" not in automation.evaluate_up_to_twice(COMPARED)
    automation.run("2026-10-06")

    assert automation.evaluate_up_to_twice(COMPARED) == ["2026-10-06"]
