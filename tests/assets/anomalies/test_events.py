"""Events: where they begin and end, and that they do not depend on the order or partition of the days."""

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
RECREATED_ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/6b86b273"

LINES: dict[str, tuple[int | None, str | None]] = {
    ".": (0, "NO_ANOMALY_DETECTED"),
    "A": (1, "ANOMALY_DETECTED"),
    "o": (0, "MACHINE_OFF"),
    "a": (1, None),
    ",": (0, None),
    "?": (None, None),
}


def build_line(
    at: datetime, symbol: str, *, execution: datetime | None = None, **values: Any
) -> dict[str, Any]:
    prediction, reason = LINES[symbol]
    return {
        "scheduler_arn": ARN,
        "scheduler_name": "pump-1",
        "data_start_time": execution or at - timedelta(minutes=(at.minute % 5) or 5),
        "timestamp": at,
        "prediction": prediction,
        "prediction_reason": reason,
        "anomaly_score": None,
        "model_version": 1,
    } | values


def build_lines(
    picture: str, start: datetime = MIDNIGHT + timedelta(hours=3), **values: Any
) -> list[dict[str, Any]]:
    """Build one line per minute from the symbols in `LINES`; a blank is a minute without a line."""
    return [
        build_line(start + number * MINUTE, symbol, **values)
        for number, symbol in enumerate(picture)
        if symbol != " "
    ]


def build_predictions(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    schema = pa.schema([ANOMALY_PREDICTIONS.schema.field(name) for name in PREDICTION_COLUMNS])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def build_contributions(rows: Sequence[Mapping[str, Any]] = ()) -> pa.Table:
    schema = pa.schema([SENSOR_CONTRIBUTIONS.schema.field(name) for name in CONTRIBUTION_COLUMNS])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def join_tables(fragments: Sequence[pa.Table], rule: EventRule = EventRule()) -> pa.Table:  # noqa: B008 (frozen)
    return join_events(pa.concat_tables(fragments), rule, ANOMALY_EVENTS.schema.empty_table(), NOW)


def find_events(rows: Sequence[Mapping[str, Any]], rule: EventRule = EventRule()) -> list[dict[str, Any]]:  # noqa: B008
    return sorted(
        join_tables([build_fragments(build_predictions(rows), [build_contributions()])], rule).to_pylist(),
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
def test_where_events_begin_and_end(picture: str, expected: list[tuple[int, int, str]]) -> None:
    start = MIDNIGHT + timedelta(hours=3, minutes=12)

    events = find_events(build_lines(QUIET + picture))

    minutes = [
        ((event["start_time"] - start) // MINUTE, (event["end_time"] - start) // MINUTE, event["state"])
        for event in events
    ]
    assert minutes == expected


def test_an_event_after_a_gap_is_marked() -> None:
    events = find_events(build_lines(f"{QUIET}A..   AA."))

    assert [event["began_after_gap"] for event in events] == [False, True]


def test_an_event_at_the_start_of_the_data_is_marked() -> None:
    assert [event["began_after_gap"] for event in find_events(build_lines("AA" + QUIET))] == [True]


def test_the_length_of_a_gap_is_measured_in_usual_steps() -> None:
    rows = build_lines(f"{QUIET}AA  AA{QUIET}")

    assert len(find_events(rows)) == 2
    assert len(find_events(rows, EventRule(gap_steps=3))) == 1


def test_the_minimum_duration_applies_to_whole_events_across_midnight() -> None:
    rows = build_lines(f"{QUIET}AAA.", MIDNIGHT) + build_lines(
        f"{QUIET}AAAAAA{QUIET}", MIDNIGHT + timedelta(hours=23, minutes=45)
    )

    events = find_events(rows, EventRule(min_duration=timedelta(minutes=6)))

    assert [event["points"] for event in events] == [6]
    assert events[0]["start_time"].date() != events[0]["end_time"].date()


def test_of_duplicate_timestamps_the_later_execution_wins_within_a_day_and_across_midnight() -> None:
    for edge in (MIDNIGHT + timedelta(hours=5), MIDNIGHT):
        rows = build_lines("." * 20 + "AAAAA", edge - 24 * MINUTE)
        later = build_line(edge, ".", execution=edge)
        assert [event["points"] for event in find_events([*rows, later])] == [4]
        assert [event["points"] for event in find_events(rows)] == [5]


def test_a_recreated_scheduler_has_separate_events() -> None:
    rows = build_lines(f"{QUIET}AA") + build_lines(
        f"AA{QUIET}", MIDNIGHT + timedelta(hours=3, minutes=14), scheduler_arn=RECREATED_ARN
    )

    events = find_events(rows)

    assert [(event["scheduler_arn"], event["state"]) for event in events] == [
        (ARN, "open"),
        (RECREATED_ARN, "closed"),
    ]


def test_an_event_continues_across_a_model_switch_with_the_version_at_its_start() -> None:
    rows = build_lines(f"{QUIET}AA") + build_lines(
        f"AA{QUIET}", MIDNIGHT + timedelta(hours=3, minutes=14), model_version=2
    )

    (event,) = find_events(rows)

    assert (event["points"], event["model_version"]) == (4, 1)


def test_the_id_depends_on_scheduler_and_start_and_stays_while_the_event_grows() -> None:
    (young,) = find_events(build_lines(f"{QUIET}AA"))
    (old,) = find_events(build_lines(f"{QUIET}AAAA."))

    assert young["event_id"] == old["event_id"] == compute_event_id(ARN, young["start_time"])
    assert compute_event_id(RECREATED_ARN, young["start_time"]) != old["event_id"]


def test_scores_and_top_sensors_come_from_the_points_of_the_event() -> None:
    rows = build_lines(f"{QUIET}AAA{QUIET}")
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

    (event,) = join_tables(
        [build_fragments(build_predictions(rows), [build_contributions(shares)])]
    ).to_pylist()

    assert (event["peak_score"], event["mean_score"], event["sensors"]) == (0.9, 0.75, 3)
    assert json.loads(event["top_sensors"])[0] == {
        "diagnostic_name": "pump\\a",
        "component": "pump",
        "sensor": "a",
        "contribution": 0.75,
        "times_even_share": 2.25,
    }
    assert json.loads(event["top_sensors"])[2]["component"] is None


def test_no_fragment_crosses_midnight_when_a_window_does() -> None:
    rows = build_lines("." * 6, MIDNIGHT - 3 * MINUTE, execution=MIDNIGHT - 5 * MINUTE)

    fragments = build_fragments(build_predictions(rows), [build_contributions()]).to_pylist()

    spans = [(row["first_time"].date(), row["last_time"].date(), row["points"]) for row in fragments]
    assert spans == [
        (MIDNIGHT.date() - timedelta(days=1),) * 2 + (3,),
        (MIDNIGHT.date(),) * 2 + (3,),
    ]


def test_no_lines_give_no_events() -> None:
    assert find_events([]) == []


# --- The law of events ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SchedulerTraits:
    """The properties of a generated scheduler; durations in minutes."""

    sampling: int
    window: int
    noise: float
    stickiness: float
    overlap: float
    scored: bool
    diagnosed: bool
    switch: int


def generate_history(luck: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Generate lines and contributions of some days around midnight.

    They contain duplicates, gaps, times with the machine off, model versions, and lines without a state.
    """
    rows: list[dict[str, Any]] = []
    for arn in luck.choice([[ARN], [ARN, RECREATED_ARN]]):
        traits = SchedulerTraits(
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
            MIDNIGHT + timedelta(days=day, minutes=place + number * traits.window)
            for day in range(luck.randrange(1, 4))
            for place in luck.choices((-60, -30, -5, 0, 0, 30, 240), k=luck.randrange(5))
            for number in range(luck.randrange(1, 8))
        }
        for number, start in enumerate(sorted(executions)):
            rows += generate_execution(luck, traits, start, scheduler_arn=arn, is_new=number >= traits.switch)
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


def generate_execution(
    luck: random.Random, traits: SchedulerTraits, start: datetime, *, is_new: bool, scheduler_arn: str
) -> Iterator[dict[str, Any]]:
    if luck.random() < traits.noise:
        return
    symbol = luck.choice("...Ao")
    reach = 60 if luck.random() < traits.overlap else traits.window
    for minute in range(luck.choice((0, traits.sampling)), reach + 1, traits.sampling):
        if luck.random() > traits.stickiness:
            symbol = luck.choice("..AAAoa,?")
        if luck.random() < traits.noise / 2:
            continue
        jitter = timedelta(seconds=luck.random() < traits.noise / 9)
        row = build_line(
            start + minute * MINUTE + jitter, symbol, execution=start, scheduler_arn=scheduler_arn
        )
        row["model_version"] = 2 if is_new else luck.choice((None, 1, 1, 1))
        row["diagnosed"] = traits.diagnosed
        if traits.scored and symbol in "A.":
            row["anomaly_score"] = round(luck.random(), 5)
        yield row


def select_days(rows: Sequence[Mapping[str, Any]], days: set[Any]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["data_start_time"].date() in days]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    gap_steps=st.sampled_from([1.0, 2.0, 3.5]),
    min_minutes=st.sampled_from([0, 3]),
)
def test_events_of_any_partition_and_order_equal_one_pass_and_the_reference(
    seed: int, gap_steps: float, min_minutes: int
) -> None:
    luck = random.Random(seed)  # noqa: S311 (build_lines, not encrypted)
    rows, shares = generate_history(luck)
    rule = EventRule(gap_steps, min_minutes * MINUTE)
    days = sorted({row["data_start_time"].date() for row in rows})
    groups: dict[int, set[Any]] = {}
    for day in days:
        groups.setdefault(luck.randrange(3), set()).add(day)
    fragments = []
    for group in luck.sample(list(groups.values()), len(groups)):
        shuffled = luck.sample(select_days(rows, group), len(select_days(rows, group)))
        contributed = select_days(shares, group)
        cut = luck.randrange(len(contributed) + 1)
        batches = map(build_contributions, (contributed[:cut], contributed[cut:]))
        fragments.append(build_fragments(build_predictions(shuffled), batches))

    one_pass = join_tables([build_fragments(build_predictions(rows), [build_contributions(shares)])], rule)
    in_parts = join_tables(fragments, rule) if fragments else one_pass

    assert compute_content_version(ANOMALY_EVENTS, in_parts) == compute_content_version(
        ANOMALY_EVENTS, one_pass
    )
    expected = event_reference.build_events(
        event_reference.build_points(rows, shares), gap_steps, min_minutes * MINUTE
    )
    events = sorted(
        map(event_reference.normalize_event, one_pass.to_pylist()),
        key=lambda row: (row["scheduler_arn"], row["start_time"]),
    )
    for event, reference in zip(events, expected, strict=True):
        mean, reference_mean = event.pop("mean_score"), reference.pop("mean_score")
        assert mean == pytest.approx(reference_mean) if mean is not None else reference_mean is None
        assert event == reference


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_events_do_not_overlap_and_contain_every_anomalous_point(seed: int) -> None:
    rows, _ = generate_history(random.Random(seed))  # noqa: S311 (build_lines, not encrypted)

    events = find_events(rows)

    for event, following in pairwise(events):
        if event["scheduler_arn"] == following["scheduler_arn"]:
            assert event["end_time"] <= following["start_time"]
    points = [point for of_scheduler in event_reference.build_points(rows).values() for point in of_scheduler]
    assert sum(event["points"] for event in events) == sum(point.state == "anomalous" for point in points)
