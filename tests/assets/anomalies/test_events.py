"""Events: what begins and ends one, and that no order or partition of the days changes any."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.anomalies.events import EventRule, compute_event_id, join_events
from assets.anomalies.fragments import PREDICTION_COLUMNS, build_fragments
from assets.anomalies.top_sensors import CONTRIBUTION_COLUMNS
from assets.framework.row_content import compute_content_version
from assets.tables import ANOMALY_EVENTS, ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS
from tests.support import event_reference

MIDNIGHT = datetime(2026, 10, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/5feceb66"
REBORN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/6b86b273"

SAYS: dict[str, tuple[int | None, str | None]] = {
    ".": (0, "NO_ANOMALY_DETECTED"),
    "A": (1, "ANOMALY_DETECTED"),
    "o": (0, "MACHINE_OFF"),
    "a": (1, None),
    ",": (0, None),
    "?": (None, None),
}


def line(at: datetime, says: str, *, execution: datetime | None = None, **more: Any) -> dict[str, Any]:
    prediction, reason = SAYS[says]
    return {
        "scheduler_arn": ARN,
        "scheduler_name": "pump-1",
        "data_start_time": execution or at - timedelta(minutes=(at.minute % 5) or 5),
        "timestamp": at,
        "prediction": prediction,
        "prediction_reason": reason,
        "anomaly_score": None,
        "model_version": 1,
    } | more


def drawn(picture: str, start: datetime = MIDNIGHT + timedelta(hours=3), **more: Any) -> list[dict[str, Any]]:
    """A point a minute; a blank is a minute without one."""
    return [line(start + number * MINUTE, says, **more) for number, says in enumerate(picture) if says != " "]


def predictions(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    schema = pa.schema([ANOMALY_PREDICTIONS.schema.field(name) for name in PREDICTION_COLUMNS])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def contributions(rows: Sequence[Mapping[str, Any]] = ()) -> pa.Table:
    schema = pa.schema([SENSOR_CONTRIBUTIONS.schema.field(name) for name in CONTRIBUTION_COLUMNS])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def joined(made: Sequence[pa.Table], rule: EventRule = EventRule()) -> pa.Table:  # noqa: B008 (frozen)
    return join_events(pa.concat_tables(made), rule, ANOMALY_EVENTS.schema.empty_table(), NOW)


def found(rows: Sequence[Mapping[str, Any]], rule: EventRule = EventRule()) -> list[dict[str, Any]]:  # noqa: B008
    return sorted(
        joined([build_fragments(predictions(rows), contributions())], rule).to_pylist(),
        key=lambda row: (row["scheduler_arn"], row["start_time"]),
    )


QUIET = "." * 12


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("AAA..", [(0, 3, "closed")]),
        ("AAAo.", [(0, 3, "closed")]),
        ("AAA", [(0, 3, "open")]),
        ("AAA   .", [(0, 3, "cut")]),
        ("AAA   AA.", [(0, 3, "cut"), (6, 8, "closed")]),
        ("AA AA.", [(0, 5, "closed")]),
        ("A.A.", [(0, 1, "closed"), (2, 3, "closed")]),
        ("AoA", [(0, 1, "closed"), (2, 3, "open")]),
        ("aa,", [(0, 2, "closed")]),
        ("AA?A.", [(0, 4, "closed")]),
        ("AA??A.", [(0, 2, "cut"), (4, 5, "closed")]),
        ("....", []),
        ("oooo", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_begins_and_ends_an_event(picture: str, expected: list[tuple[int, int, str]]) -> None:
    start = MIDNIGHT + timedelta(hours=3, minutes=12)

    told = found(drawn(QUIET + picture))

    minutes = [
        ((one["start_time"] - start) // MINUTE, (one["end_time"] - start) // MINUTE, one["state"])
        for one in told
    ]
    assert minutes == expected


def test_an_event_after_a_gap_may_have_begun_earlier() -> None:
    told = found(drawn(f"{QUIET}A..   AA."))

    assert [one["began_after_gap"] for one in told] == [False, True]


def test_an_event_with_which_the_data_begins_may_have_begun_earlier() -> None:
    assert [one["began_after_gap"] for one in found(drawn("AA" + QUIET))] == [True]


def test_the_gap_rule_counts_in_usual_steps() -> None:
    rows = drawn(f"{QUIET}AA  AA{QUIET}")

    assert len(found(rows)) == 2
    assert len(found(rows, EventRule(gap_steps=3))) == 1


def test_a_minimum_applies_to_whole_events_and_not_to_their_parts_on_either_side_of_midnight() -> None:
    rows = drawn(f"{QUIET}AAA.", MIDNIGHT) + drawn(
        f"{QUIET}AAAAAA{QUIET}", MIDNIGHT + timedelta(hours=23, minutes=45)
    )

    whole = found(rows, EventRule(min_duration=timedelta(minutes=6)))

    assert [one["points"] for one in whole] == [6]
    assert whole[0]["start_time"].date() != whole[0]["end_time"].date()


def test_of_doubles_the_later_execution_counts_on_one_day_and_across_midnight() -> None:
    for edge in (MIDNIGHT + timedelta(hours=5), MIDNIGHT):
        rows = drawn("." * 20 + "AAAAA", edge - 24 * MINUTE)
        later = line(edge, ".", execution=edge)
        assert [one["points"] for one in found([*rows, later])] == [4]
        assert [one["points"] for one in found(rows)] == [5]


def test_a_scheduler_that_is_created_again_has_events_of_its_own() -> None:
    rows = drawn(f"{QUIET}AA") + drawn(
        f"AA{QUIET}", MIDNIGHT + timedelta(hours=3, minutes=14), scheduler_arn=REBORN
    )

    told = found(rows)

    assert [(one["scheduler_arn"], one["state"]) for one in told] == [(ARN, "open"), (REBORN, "closed")]


def test_a_model_switch_goes_through_an_event_and_the_version_is_that_of_its_start() -> None:
    rows = drawn(f"{QUIET}AA") + drawn(
        f"AA{QUIET}", MIDNIGHT + timedelta(hours=3, minutes=14), model_version=2
    )

    (told,) = found(rows)

    assert (told["points"], told["model_version"]) == (4, 1)


def test_an_id_is_of_scheduler_and_start_and_stays_while_the_event_grows() -> None:
    (young,) = found(drawn(f"{QUIET}AA"))
    (old,) = found(drawn(f"{QUIET}AAAA."))

    assert young["event_id"] == old["event_id"] == compute_event_id(ARN, young["start_time"])
    assert compute_event_id(REBORN, young["start_time"]) != old["event_id"]


def test_scores_and_contributors_are_those_of_the_points_of_the_event() -> None:
    rows = drawn(f"{QUIET}AAA{QUIET}")
    for row, score in zip(rows[12:15], (0.6, 0.9, None), strict=True):
        row["anomaly_score"] = score
    shares = [
        {
            **{name: row[name] for name in CONTRIBUTION_COLUMNS[:3]},
            "diagnostic_name": name,
            "contribution": value,
        }
        for row in rows[11:14]
        for name, value in (("pump\\a", 0.75), ("pump\\b", 0.25), ("c", 0.0))
    ]

    (told,) = joined([build_fragments(predictions(rows), contributions(shares))]).to_pylist()

    assert (told["peak_score"], told["mean_score"], told["sensors"]) == (0.9, 0.75, 3)
    assert json.loads(told["top_sensors"])[0] == {
        "diagnostic_name": "pump\\a",
        "component": "pump",
        "sensor": "a",
        "contribution": 0.75,
        "times_even_share": 2.25,
    }
    assert json.loads(told["top_sensors"])[2]["component"] is None


def test_no_run_of_points_crosses_a_midnight_though_a_window_does() -> None:
    rows = drawn("." * 6, MIDNIGHT - 3 * MINUTE, execution=MIDNIGHT - 5 * MINUTE)

    made = build_fragments(predictions(rows), contributions()).to_pylist()

    assert [(one["first_time"].date(), one["last_time"].date(), one["points"]) for one in made] == [
        (MIDNIGHT.date() - timedelta(days=1),) * 2 + (3,),
        (MIDNIGHT.date(),) * 2 + (3,),
    ]


def test_nothing_gives_no_events() -> None:
    assert found([]) == []


# --- The law ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chances:
    """What a made-up scheduler is like."""

    sampling: int
    window: int
    noise: float
    stickiness: float
    overlap: float
    scored: bool
    diagnosed: bool
    switch: int


def history(luck: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Executions of some days around midnights: doubles, gaps, machines off, versions, odd lines."""
    rows: list[dict[str, Any]] = []
    for arn in luck.choice([[ARN], [ARN, REBORN]]):
        chances = Chances(
            luck.choice((1, 1, 2, 5, 15)),
            luck.choice((5, 15, 60)),
            luck.choice((0.0, 0.1, 0.6)),
            luck.choice((0.5, 0.9, 0.98)),
            luck.choice((0.0, 0.3)),
            luck.random() < 0.5,
            luck.random() < 0.5,
            luck.randrange(60),
        )
        executions = {
            MIDNIGHT + timedelta(days=day, minutes=place + number * chances.window)
            for day in range(luck.randrange(1, 4))
            for place in luck.choices((-60, -30, -5, 0, 0, 30, 240), k=luck.randrange(5))
            for number in range(luck.randrange(1, 8))
        }
        for number, start in enumerate(sorted(executions)):
            rows += execution(luck, chances, start, scheduler_arn=arn, is_new=number >= chances.switch)
    shares = [
        {
            **{name: row[name] for name in CONTRIBUTION_COLUMNS[:3]},
            "diagnostic_name": name,
            "contribution": share,
        }
        for row in rows
        if row.pop("diagnosed") and row["prediction"]
        for name, share in (("p\\x", round(luck.random(), 5)), ("p\\y", round(luck.random(), 5)), ("z", 0.1))
        if luck.random() < 0.9
    ]
    return rows, shares


def execution(
    luck: random.Random, chances: Chances, start: datetime, *, is_new: bool, scheduler_arn: str
) -> Iterator[dict[str, Any]]:
    if luck.random() < chances.noise:
        return
    says = luck.choice("...Ao")
    reach = 60 if luck.random() < chances.overlap else chances.window
    for minute in range(luck.choice((0, chances.sampling)), reach + 1, chances.sampling):
        if luck.random() > chances.stickiness:
            says = luck.choice("..AAAoa,?")
        if luck.random() < chances.noise / 2:
            continue
        jitter = timedelta(seconds=luck.random() < chances.noise / 9)
        row = line(start + minute * MINUTE + jitter, says, execution=start, scheduler_arn=scheduler_arn)
        row["model_version"] = 2 if is_new else luck.choice((None, 1, 1, 1))
        row["diagnosed"] = chances.diagnosed
        if chances.scored and says in "A.":
            row["anomaly_score"] = round(luck.random(), 5)
        yield row


def of_day(rows: Sequence[Mapping[str, Any]], days: set[Any]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["data_start_time"].date() in days]


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32), gap_steps=st.sampled_from([1.0, 2.0, 3.5]), least=st.sampled_from([0, 3]))
def test_events_of_any_partition_and_order_are_those_of_one_pass_and_of_plain_python(
    seed: int, gap_steps: float, least: int
) -> None:
    luck = random.Random(seed)  # noqa: S311 (drawn, not encrypted)
    rows, shares = history(luck)
    rule = EventRule(gap_steps, least * MINUTE)
    days = sorted({row["data_start_time"].date() for row in rows})
    groups: dict[int, set[Any]] = {}
    for day in days:
        groups.setdefault(luck.randrange(3), set()).add(day)
    made = []
    for group in luck.sample(list(groups.values()), len(groups)):
        shuffled = luck.sample(of_day(rows, group), len(of_day(rows, group)))
        made.append(build_fragments(predictions(shuffled), contributions(of_day(shares, group))))

    one_pass = joined([build_fragments(predictions(rows), contributions(shares))], rule)
    in_parts = joined(made, rule) if made else one_pass

    assert compute_content_version(ANOMALY_EVENTS, in_parts) == compute_content_version(
        ANOMALY_EVENTS, one_pass
    )
    expected = event_reference.events(event_reference.points(rows, shares), gap_steps, least * MINUTE)
    told = sorted(
        map(event_reference.comparable, one_pass.to_pylist()),
        key=lambda row: (row["scheduler_arn"], row["start_time"]),
    )
    for one, other in zip(told, expected, strict=True):
        mean, other_mean = one.pop("mean_score"), other.pop("mean_score")
        assert mean == pytest.approx(other_mean) if mean is not None else other_mean is None
        assert one == other


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_events_never_touch_and_every_anomalous_point_is_in_one(seed: int) -> None:
    rows, _ = history(random.Random(seed))  # noqa: S311 (drawn, not encrypted)

    told = found(rows)

    for one, other in pairwise(told):
        if one["scheduler_arn"] == other["scheduler_arn"]:
            assert one["end_time"] <= other["start_time"]
    every = [point for each in event_reference.points(rows).values() for point in each]
    assert sum(one["points"] for one in told) == sum(point.state == "anomalous" for point in every)
