"""Weeks of coarse points: health looks back over months, and no order of days and no late row changes it."""

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
from tests.support import health_reference
from tests.support.report_world import contributions_table, of_days, predictions_table

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
FIRST = date(2026, 8, 20)
DAYS = [FIRST + number * DAY for number in range(48)]
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler"
SCHEDULERS = ("fan-1", "fan-2", "mill-1")
REGISTRY = EquipmentRegistry([EquipmentEntry(Equipment("Extractor", "Seoul", "high"), ("fan-?",))])
REASONS = {"normal": "NO_ANOMALY_DETECTED", "anomalous": "ANOMALY_DETECTED", "off": "MACHINE_OFF"}

Rows = list[dict[str, Any]]


def history(luck: random.Random) -> tuple[Rows, Rows]:
    """Seven weeks of three schedulers, two of them on one machine: silences of hours and of weeks, machines
    off, events across midnights, lines that stand in two windows, models that are replaced."""
    predictions: Rows = []
    for name in SCHEDULERS:
        step = luck.choice((20, 30, 30, 60)) * MINUTE
        hours = luck.choice((1, 1, 3))  # from one window to the next
        late_lines = luck.random() < 0.3
        at = datetime(FIRST.year, FIRST.month, FIRST.day, luck.randrange(24), tzinfo=UTC)
        state, version, silent_until = "normal", luck.choice((None, 1)), at
        while at.date() <= DAYS[-1]:
            if luck.random() < 0.004:
                silent_until = at + luck.choice((5, 30, 24 * 9, 24 * 31)) * HOUR
            if luck.random() < 0.002:
                version = luck.choice((None, (version or 1) + 1))
            if at >= silent_until and luck.random() < 0.97:
                for number in range(HOUR // step + late_lines):
                    if luck.random() < 0.1:
                        state = luck.choice(("normal", "normal", "anomalous", "off"))
                    if luck.random() < 0.95:
                        row = line(name, at, at + number * step, state, version)
                        predictions.append(row)
            at += hours * HOUR
    return predictions, [share for row in predictions for share in shares(luck, row)]


def line(name: str, start: datetime, at: datetime, state: str, version: int | None) -> dict[str, Any]:
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


def shares(luck: random.Random, row: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if row["prediction"] and luck.random() < 0.5:
        key = {name: row[name] for name in CONTRIBUTION_COLUMNS[:3]}
        for sensor in ("a", "b"):
            yield key | {"diagnostic_name": f"p\\{sensor}", "contribution": round(luck.random(), 5)}


class Lake:
    """Fragments and health by day, made a day or some days at a time, as the assets make them."""

    def __init__(self, rule: EventRule) -> None:
        self._rule = rule
        self._fragments: dict[date, pa.Table] = {}
        self._health: dict[date, list[dict[str, Any]]] = {}

    def take_in(self, predictions: Rows, contributions: Rows, days: Sequence[date]) -> None:
        """Make the fragments of some days again, together."""
        made = build_fragments(
            predictions_table(of_days(predictions, days)), contributions_table(of_days(contributions, days))
        )
        for day in days:
            self._fragments[day] = made.filter(pc.equal(made[PARTITION], day))

    def compute(self, days: Sequence[date]) -> None:
        """Make the health of some days, which have no holes, out of no more days than it needs."""
        needed = range(-NEEDS_DAYS_BEFORE, len(days) + NEEDS_DAYS_AFTER)
        pieces = [self._fragments.get(days[0] + number * DAY) for number in needed]
        empty = next(iter(self._fragments.values())).slice(0, 0)
        made = build_equipment_health(
            days, pa.concat_tables([empty, *filter(None, pieces)]), {}, REGISTRY, self._rule, NOW
        ).to_pylist()
        for day in days:
            self._health[day] = [row for row in made if row[PARTITION] == day]

    def events(self, existing: pa.Table | None = None) -> pa.Table:
        nothing = ANOMALY_EVENTS.schema.empty_table()
        return join_events(pa.concat_tables(self._fragments.values()), self._rule, existing or nothing, NOW)

    def health(self) -> list[dict[str, Any]]:
        rows = [row for day in DAYS for row in self._health[day]]
        for row in rows:
            row["top_sensors"] = json.loads(row["top_sensors"]) if row["top_sensors"] else None
            of = REGISTRY.find_equipment(row["scheduler_arns"].split(",")[0])
            assert (row.pop("site"), row.pop("criticality")) == (of.site, of.criticality)
        return rows


def pieces_of(luck: random.Random, days: Sequence[date]) -> list[list[date]]:
    """Cut days, which may have holes, into ranges without any, and shuffle these."""
    ranges: list[list[date]] = []
    for day in days:
        if ranges and ranges[-1][-1] + DAY == day and luck.random() < 0.7:
            ranges[-1].append(day)
        else:
            ranges.append([day])
    return luck.sample(ranges, len(ranges))


def concerned(changed: Iterable[date]) -> list[date]:
    """The days of health that are made of a day of fragments: those that automation asks for."""
    found = {
        day + number * DAY for day in changed for number in range(-NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE + 1)
    }
    return sorted(found & set(DAYS))


@settings(deadline=None, max_examples=5)
@example(seed=1538, rule=EventRule())  # a day of two points takes the shorter step of the day before
@given(seed=st.integers(0, 2**32), rule=st.sampled_from([EventRule(), EventRule(3.5, 40 * MINUTE)]))
def test_weeks_in_any_order_and_with_late_rows_are_those_of_plain_python(seed: int, rule: EventRule) -> None:
    luck = random.Random(seed)  # noqa: S311 (drawn, not encrypted)
    predictions, contributions = history(luck)
    late_days = set(luck.sample(DAYS, luck.randrange(1, 4)))
    late = {
        (row["scheduler_arn"], row["data_start_time"])
        for row in predictions
        if row["data_start_time"].date() in late_days and luck.random() < 0.5
    }
    on_time = [row for row in predictions if (row["scheduler_arn"], row["data_start_time"]) not in late]
    lake, once = Lake(rule), Lake(rule)
    for some in pieces_of(luck, DAYS):
        lake.take_in(on_time, contributions, some)
    for some in pieces_of(luck, DAYS):
        lake.compute(some)
    before = lake.events()

    for some in pieces_of(luck, sorted(late_days)):
        lake.take_in(predictions, contributions, some)
    for some in pieces_of(luck, concerned(late_days)):
        lake.compute(some)

    once.take_in(predictions, contributions, DAYS)
    once.compute(DAYS)
    told = lake.health()
    assert told == once.health()
    expected = list(health_reference.health(predictions, contributions, REGISTRY, DAYS, rule))
    assert len(told) == len(expected)
    for one, other in zip(told, expected, strict=True):
        assert one == {
            name: pytest.approx(value) if isinstance(value, float) else value for name, value in other.items()
        }
    after = compute_content_version(ANOMALY_EVENTS, lake.events(before))
    assert after == compute_content_version(ANOMALY_EVENTS, once.events())


def test_a_late_day_reaches_as_far_as_the_look_back_and_the_steps_that_are_carried() -> None:
    """Beyond four weeks: an event that a late day joins to one of its own began on the next day before."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, 1, tzinfo=UTC)
    hours = [start + number * HOUR for number in range(24 * 40)]
    predictions = [
        line("mill-1", at, at, "anomalous" if 22 <= number <= 26 else "normal", 1)
        for number, at in enumerate(hours)
    ]
    less = [row for row in predictions if row["timestamp"].date() != FIRST or row["timestamp"].hour < 20]
    lake, then = Lake(EventRule()), FIRST + (LOOK_BACK_DAYS + 1) * DAY
    lake.take_in(less, [], DAYS)
    lake.compute([then])
    (before,) = lake._health[then]

    lake.take_in(predictions, [], [FIRST])
    lake.compute([then])

    (after,) = lake._health[then]
    assert (before["events_per_day_28d"], after["events_per_day_28d"]) == (1 / 28, 0)
    assert then in concerned([FIRST])


@pytest.mark.parametrize(("silent_days", "switched"), [(27, True), (28, False)])
def test_a_model_that_takes_over_after_a_silence_counts_as_far_as_the_look_back_reaches(
    silent_days: int, switched: bool
) -> None:
    """Whoever asks for the day alone sees no more than that, and must be told the same."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    again = start + (silent_days + 1) * DAY
    predictions = [
        line("mill-1", at, at, "normal", 1) for at in (start + number * HOUR for number in range(24))
    ]
    predictions += [line("mill-1", at, at, "normal", 2) for at in (again, again + HOUR)]
    lake = Lake(EventRule())
    lake.take_in(predictions, [], DAYS)
    lake.compute(DAYS)
    (in_a_range,) = lake._health[again.date()]

    lake.compute([again.date()])

    (alone,) = lake._health[again.date()]
    assert alone == in_a_range
    assert (alone["model_version"], alone["model_switched"]) == (2, switched)
