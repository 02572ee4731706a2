"""What depends on a day is computed again when, and only when, the content of that day changed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.framework.automation import upstream_content_changed

BEGIN = datetime(2026, 10, 8, 0, 5, tzinfo=UTC)
DAILY = dg.DailyPartitionsDefinition("2026-10-01", end_date="2026-11-01", timezone="UTC", end_offset=1)
UPSTREAM, DAYS, WHOLE = (dg.AssetKey(name) for name in ("upstream", "days", "whole"))


INSIDE: list[Callable[[], None]] = []
"""What happens inside the next run of a downstream asset."""


@dg.asset(name="upstream", partitions_def=DAILY)
def upstream() -> None:
    """Told of by hand."""


@dg.asset(
    name="days",
    deps=[UPSTREAM],
    partitions_def=DAILY,
    automation_condition=upstream_content_changed(),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def of_days() -> None:
    """A day for a day."""
    while INSIDE:
        INSIDE.pop()()


@dg.asset(name="whole", deps=[UPSTREAM], automation_condition=upstream_content_changed(needs_all=False))
def of_all_days() -> None:
    """One table out of all days, some of which were never extracted."""


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("right", asset=UPSTREAM, blocking=True),
        dg.AssetCheckSpec("nice", asset=UPSTREAM),
    ]
)
def checks() -> Iterator[dg.AssetCheckResult]:
    """Told of by hand."""
    yield from ()


DEFINITIONS = dg.Definitions(assets=[upstream, of_days, of_all_days], asset_checks=[checks])


class World:
    """An instance, and the sensor's cursor, a minute later at each look."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.now = BEGIN
        self.cursor: Any = None

    def look(self, of: dg.AssetKey = DAYS) -> list[str | None]:
        """What the sensor requests now."""
        self.now += timedelta(minutes=1)
        told = dg.evaluate_automation_conditions(
            DEFINITIONS,
            self.instance,
            asset_selection=dg.AssetSelection.assets(of),
            evaluation_time=self.now,
            cursor=self.cursor,
        )
        self.cursor = told.cursor
        return sorted(told.get_requested_partitions(of), key=str)

    def change(self, version: str, *days: str) -> None:
        """Record days of the upstream with some content."""
        tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
        for day in days:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(UPSTREAM, partition=day, tags=tags)
            )

    def find(self, check: str, *, passed: bool) -> None:
        """Record what a check of the upstream found."""
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=UPSTREAM, check_name=check, passed=passed, metadata={})
        )

    def compute(self, day: str) -> bool:
        """Run the downstream asset for a day; tell whether it went well."""
        return dg.materialize(
            [upstream, of_days],
            selection=[of_days],
            partition_key=day,
            instance=self.instance,
            raise_on_error=False,
        ).success

    def soon(self) -> list[str | None]:
        """What it requests now or at the next look: the one right after a request asks for no retry."""
        return self.look() or self.look()


def fail() -> None:
    raise RuntimeError("no luck")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    INSIDE.clear()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = World(instance)
        assert made.look() == []
        yield made


def test_changed_days_are_asked_for_at_any_age_and_each_change_once(world: World) -> None:
    world.change("1", "2026-10-01", "2026-10-07")
    assert world.look() == ["2026-10-01", "2026-10-07"]
    assert world.look() == []
    assert world.compute("2026-10-01") and world.compute("2026-10-07")
    assert world.look() == []

    world.change("1", "2026-10-01", "2026-10-07")
    assert world.look() == [], "the same content again"
    world.change("2", "2026-10-01")
    assert world.look() == ["2026-10-01"]


def test_a_change_that_lands_while_a_run_is_under_way_is_not_lost(world: World) -> None:
    world.change("1", "2026-10-07")
    assert world.look() == ["2026-10-07"]
    seen = []
    INSIDE.append(lambda: (world.change("2", "2026-10-07"), seen.append(world.look()))[0])

    assert world.compute("2026-10-07")

    assert seen == [[]], "not a second run beside the first"
    assert world.look() == ["2026-10-07"]
    assert world.compute("2026-10-07")
    assert [world.look() for _ in range(3)] == [[], [], []]


@pytest.mark.parametrize("watched", [False, True], ids=["seen after it ended", "seen while it ran"])
def test_a_failed_day_is_asked_for_once_more_and_not_for_ever(world: World, *, watched: bool) -> None:
    def run() -> None:
        INSIDE.extend([fail, *([lambda: world.look() and None] if watched else [])])
        assert not world.compute("2026-10-07")

    world.change("1", "2026-10-07")
    assert world.look() == ["2026-10-07"]
    run()
    assert world.soon() == ["2026-10-07"]
    run()
    assert [world.look() for _ in range(4)] == [[], [], [], []]

    world.change("2", "2026-10-07")
    assert world.look() == ["2026-10-07"], "new content is a new reason"
    run()
    assert world.soon() == ["2026-10-07"], "with a second chance of its own"
    assert world.compute("2026-10-07")
    assert [world.look() for _ in range(2)] == [[], []]


def test_a_day_that_is_not_there_upstream_waits_for_it(world: World) -> None:
    world.now = BEGIN + timedelta(days=2)
    assert world.look() == [], "two new days, and nothing upstream"

    world.change("1", "2026-10-09")

    assert world.look() == ["2026-10-09"]


def test_what_looks_back_over_all_days_waits_for_none_that_was_never_extracted(world: World) -> None:
    world.cursor = None
    assert world.look(WHOLE) == []
    world.change("1", "2026-10-07")
    assert world.look(WHOLE) == [None]
    assert world.look(WHOLE) == []
    world.change("1", "2026-10-07")
    assert world.look(WHOLE) == []
    world.change("2", "2026-10-02")
    assert world.look(WHOLE) == [None]


def test_where_a_blocking_check_fails_all_waits_for_its_mend_and_is_kept(world: World) -> None:
    world.change("1", "2026-10-01", "2026-10-07")
    world.find("right", passed=False)
    world.find("nice", passed=True)
    assert [world.look() for _ in range(3)] == [[], [], []]

    world.find("right", passed=True)
    assert world.look() == ["2026-10-01", "2026-10-07"]
    assert world.look() == []


def test_a_check_that_only_warns_keeps_nothing_from_being_computed(world: World) -> None:
    world.change("1", "2026-10-07")
    world.find("right", passed=True)
    world.find("nice", passed=False)
    assert world.look() == ["2026-10-07"]
