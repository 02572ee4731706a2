"""Weeks of sparse points: health and events do not depend on the order of days or on late lines."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.anomalies.events import EventRule, join_events
from assets.anomalies.fragments import build_fragments
from assets.anomalies.top_sensors import CONTRIBUTION_COLUMNS
from assets.framework.row_content import compute_content_version
from assets.health.equipment_health import (
    LOOK_BACK_DAYS,
    NEEDS_DAYS_AFTER,
    NEEDS_DAYS_BEFORE,
    build_equipment_health,
)
from assets.tables import ANOMALY_EVENTS, PARTITION
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry
from tests.support.health_reference import build_health_rows
from tests.support.report_world import build_contributions_table, build_predictions_table, select_days

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
FIRST = date(2026, 8, 20)
DAYS = [FIRST + number * DAY for number in range(48)]
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler"
SCHEDULERS = ("fan-1", "fan-2", "mill-1")
REGISTRY = EquipmentRegistry([EquipmentEntry(Equipment("Extractor", "Seoul", "high"), ("fan-?",))])
REASONS = {"normal": "NO_ANOMALY_DETECTED", "anomalous": "ANOMALY_DETECTED", "off": "MACHINE_OFF"}

Rows = list[dict[str, Any]]


def generate_history(luck: random.Random) -> tuple[Rows, Rows]:
    """Generate lines and contributions of seven weeks of three schedulers, two of them on one machine.

    They contain silences of hours and of weeks, times with the machine off, events across midnight, lines
    that occur in two windows, and model versions that change.
    """
    predictions: Rows = []
    for name in SCHEDULERS:
        step = luck.choice((20, 30, 30, 60)) * MINUTE
        hours = luck.choice((1, 1, 3))  # from one window to the next
        overlaps = luck.random() < 0.3
        at = datetime(FIRST.year, FIRST.month, FIRST.day, luck.randrange(24), tzinfo=UTC)
        state, version, silent_until = "normal", luck.choice((None, 1)), at
        while at.date() <= DAYS[-1]:
            if luck.random() < 0.004:
                silent_until = at + luck.choice((5, 30, 24 * 9, 24 * 31)) * HOUR
            if luck.random() < 0.002:
                version = luck.choice((None, (version or 1) + 1))
            if at >= silent_until and luck.random() < 0.97:
                for number in range(HOUR // step + overlaps):
                    if luck.random() < 0.1:
                        state = luck.choice(("normal", "normal", "anomalous", "off"))
                    if luck.random() < 0.95:
                        predictions.append(build_line(name, at, at + number * step, state, version))
            at += hours * HOUR
    return predictions, [share for row in predictions for share in generate_contributions(luck, row)]


def build_line(name: str, start: datetime, at: datetime, state: str, version: int | None) -> dict[str, Any]:
    return {
        "scheduler_arn": f"{ARN}/{name}/0",
        "scheduler_name": name,
        "data_start_time": start,
        "timestamp": at,
        "prediction": int(state == "anomalous"),
        "prediction_reason": REASONS[state],
        "anomaly_score": None,
        "model_version": version,
    }


def generate_contributions(luck: random.Random, row: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if row["prediction"] and luck.random() < 0.5:
        key = {name: row[name] for name in CONTRIBUTION_COLUMNS[:3]}
        for sensor in ("a", "b"):
            yield key | {"diagnostic_name": f"p\\{sensor}", "contribution": round(luck.random(), 5)}


class IncrementalLake:
    """Fragments and health by day, computed for some days at a time as in the assets."""

    def __init__(self, rule: EventRule) -> None:
        self._rule = rule
        self._fragments: dict[date, pa.Table] = {}
        self._health: dict[date, list[dict[str, Any]]] = {}

    def update_fragments(self, predictions: Rows, contributions: Rows, days: Sequence[date]) -> None:
        """Rebuild the fragments of some days together."""
        fragments = build_fragments(
            build_predictions_table(select_days(predictions, days)),
            [build_contributions_table(select_days(contributions, days))],
        )
        for day in days:
            self._fragments[day] = fragments.filter(pc.equal(fragments[PARTITION], day))

    def compute_health(self, days: Sequence[date]) -> None:
        """Compute the health of consecutive days from the days of fragments that it needs, and no more."""
        needed = range(-NEEDS_DAYS_BEFORE, len(days) + NEEDS_DAYS_AFTER)
        tables = [self._fragments.get(days[0] + number * DAY) for number in needed]
        empty = next(iter(self._fragments.values())).slice(0, 0)
        fragments = pa.concat_tables([empty, *filter(None, tables)])
        rows = build_equipment_health(days, fragments, {}, REGISTRY, self._rule, NOW).to_pylist()
        for day in days:
            self._health[day] = [row for row in rows if row[PARTITION] == day]

    def join_events(self, existing: pa.Table | None = None) -> pa.Table:
        fragments = pa.concat_tables(self._fragments.values())
        return join_events(fragments, self._rule, existing or ANOMALY_EVENTS.schema.empty_table(), NOW)

    def read_health(self) -> list[dict[str, Any]]:
        """Return all rows, with decoded JSON and without the columns of the registry."""
        rows = [row for day in DAYS for row in self._health[day]]
        for row in rows:
            row["top_sensors"] = json.loads(row["top_sensors"]) if row["top_sensors"] else None
            equipment = REGISTRY.find_equipment(row["scheduler_arns"].split(",")[0])
            assert (row.pop("site"), row.pop("criticality")) == (equipment.site, equipment.criticality)
        return rows


def split_into_ranges(luck: random.Random, days: Sequence[date]) -> list[list[date]]:
    """Split days into ranges of consecutive days, in random order."""
    ranges: list[list[date]] = []
    for day in days:
        if ranges and ranges[-1][-1] + DAY == day and luck.random() < 0.7:
            ranges[-1].append(day)
        else:
            ranges.append([day])
    return luck.sample(ranges, len(ranges))


def find_affected_days(changed: Iterable[date]) -> list[date]:
    """Return the days whose health depends on the changed days, which automation requests."""
    affected = {
        day + number * DAY for day in changed for number in range(-NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE + 1)
    }
    return sorted(affected & set(DAYS))


@settings(deadline=None, max_examples=1)
@example(seed=1538, rule=EventRule())  # a day with two points takes a shorter step from the day before
@given(seed=st.integers(0, 2**32), rule=st.sampled_from([EventRule(), EventRule(3.5, 40 * MINUTE)]))
def test_weeks_in_any_order_and_with_late_lines_equal_the_reference(seed: int, rule: EventRule) -> None:
    luck = random.Random(seed)  # noqa: S311 (drawn, not encrypted)
    predictions, contributions = generate_history(luck)
    late_days = set(luck.sample(DAYS, luck.randrange(1, 4)))
    late = {
        (row["scheduler_arn"], row["data_start_time"])
        for row in predictions
        if row["data_start_time"].date() in late_days and luck.random() < 0.5
    }
    on_time = [row for row in predictions if (row["scheduler_arn"], row["data_start_time"]) not in late]
    lake, one_pass = IncrementalLake(rule), IncrementalLake(rule)
    for day_range in split_into_ranges(luck, DAYS):
        lake.update_fragments(on_time, contributions, day_range)
    for day_range in split_into_ranges(luck, DAYS):
        lake.compute_health(day_range)
    before = lake.join_events()

    for day_range in split_into_ranges(luck, sorted(late_days)):
        lake.update_fragments(predictions, contributions, day_range)
    for day_range in split_into_ranges(luck, find_affected_days(late_days)):
        lake.compute_health(day_range)

    one_pass.update_fragments(predictions, contributions, DAYS)
    one_pass.compute_health(DAYS)
    rows = lake.read_health()
    assert rows == one_pass.read_health()
    expected = list(build_health_rows(predictions, contributions, REGISTRY, DAYS, rule))
    assert len(rows) == len(expected)
    for row, reference in zip(rows, expected, strict=True):
        assert row == {
            name: pytest.approx(value) if isinstance(value, float) else value
            for name, value in reference.items()
        }
    after = compute_content_version(ANOMALY_EVENTS, lake.join_events(before))
    assert after == compute_content_version(ANOMALY_EVENTS, one_pass.join_events())


def test_a_late_day_affects_days_beyond_the_look_back() -> None:
    """An event of the next day then begins on the late day, so it is no longer in the look-back."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, 1, tzinfo=UTC)
    hours = [start + number * HOUR for number in range(24 * 40)]
    predictions = [
        build_line("mill-1", at, at, "anomalous" if 22 <= number <= 26 else "normal", 1)
        for number, at in enumerate(hours)
    ]
    incomplete = [
        row for row in predictions if row["timestamp"].date() != FIRST or row["timestamp"].hour < 20
    ]
    lake, affected = IncrementalLake(EventRule()), FIRST + (LOOK_BACK_DAYS + 1) * DAY
    lake.update_fragments(incomplete, [], DAYS)
    lake.compute_health([affected])
    (before,) = lake._health[affected]

    lake.update_fragments(predictions, [], [FIRST])
    lake.compute_health([affected])

    (after,) = lake._health[affected]
    assert (before["events_per_day_28d"], after["events_per_day_28d"]) == (1 / 28, 0)
    assert affected in find_affected_days([FIRST])


@pytest.mark.parametrize(("silent_days", "switched"), [(27, True), (28, False)])
def test_a_model_switch_after_a_silence_counts_only_within_the_look_back(
    silent_days: int, switched: bool
) -> None:
    """The row is the same when the day is computed alone, from no more days than the look-back."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    again = start + (silent_days + 1) * DAY
    predictions = [
        build_line("mill-1", at, at, "normal", 1) for at in (start + number * HOUR for number in range(24))
    ]
    predictions += [build_line("mill-1", at, at, "normal", 2) for at in (again, again + HOUR)]
    lake = IncrementalLake(EventRule())
    lake.update_fragments(predictions, [], DAYS)
    lake.compute_health(DAYS)
    (in_a_range,) = lake._health[again.date()]

    lake.compute_health([again.date()])

    (alone,) = lake._health[again.date()]
    assert alone == in_a_range
    assert (alone["model_version"], alone["model_switched"]) == (2, switched)
