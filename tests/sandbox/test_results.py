"""Results: every age of the line, and the planted truth in it."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.events import find_events, has_succeeded
from sandbox.fleet import History, build_fleet
from sandbox.planted_anomalies import get_ground_truth, list_sensors
from sandbox.result_formats import BARE, EMPTY, FIRST, LATEST, REASONED, RESULT_FORMATS, SCORED
from sandbox.results import build_content, build_lines, get_contributions, list_row_times
from sandbox.schedulers import Scheduler, Slot

END = datetime(2026, 10, 8, tzinfo=UTC)
HISTORY = History(END - timedelta(days=8), END)
FLEET = build_fleet(1, HISTORY)
MINUTE = timedelta(minutes=1)


def named(name: str, region: str | None = None) -> Scheduler:
    return [one for one in FLEET.schedulers if one.name == name and region in (None, one.region)][-1]


OF_AGE = {
    BARE: named("blower-1"),
    FIRST: named("compressor-1"),
    REASONED: named("pump-1", "eu-west-1"),
    SCORED: named("pump-2"),
    EMPTY: named("compressor-2"),
    LATEST: named("pump-1", "us-east-1"),
}


def slots(one: Scheduler, age: Any = None) -> Iterator[Slot]:
    for slot in one.slots(one.created_at, END):
        if has_succeeded(one, END, slot) and age in (None, one.get_result_format(slot.window.start)):
            yield slot


def at(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def written() -> dict[str, list[dict[str, Any]]]:
    """All lines of each age, parsed from their bytes."""
    return {
        age.name: [
            json.loads(line) for slot in slots(one, age) for line in build_content(one, slot).splitlines()
        ]
        for age, one in OF_AGE.items()
    }


class TestLines:
    @pytest.mark.parametrize("age", RESULT_FORMATS, ids=lambda age: age.name)
    def test_members_of_each_kind_of_line(self, written: dict[str, list[dict[str, Any]]], age: Any) -> None:
        kinds = {
            (
                line["prediction"],
                line.get("prediction_reason"),
                *list(line)[2:],
                bool(line.get("diagnostics")),
            )
            for line in written[age.name]
        }
        reason, score, each = "prediction_reason", "anomaly_score", "diagnostics"
        anomaly, normal, off = "ANOMALY_DETECTED", "NO_ANOMALY_DETECTED", (0, "MACHINE_OFF", reason, False)
        assert (
            kinds
            == {
                "bare": {(0, None, False), (1, None, False)},
                "first": {(0, None, False), (1, None, each, True)},
                "reasoned": {(0, normal, reason, False), (1, anomaly, reason, each, True), off},
                "scored": {(0, normal, reason, score, False), (1, anomaly, reason, score, each, True), off},
                "empty": {
                    (0, normal, reason, score, each, False),
                    (1, anomaly, reason, score, each, True),
                    off,
                },
                "latest": {
                    (0, normal, reason, score, each, True),
                    (1, anomaly, reason, score, each, True),
                    off,
                },
            }[age.name]
        )

    @pytest.mark.parametrize("age", RESULT_FORMATS, ids=lambda age: age.name)
    def test_lines_tell_the_truth(self, written: dict[str, list[dict[str, Any]]], age: Any) -> None:
        one = OF_AGE[age]
        told = get_ground_truth(one, HISTORY.start, END)
        found = Counter[str]()
        for line in written[age.name]:
            is_anomalous = any(thing.start <= at(line) <= thing.end for thing in told.anomalies)
            is_off = any(thing.start <= at(line) <= thing.end for thing in told.off)
            assert line["prediction"] == is_anomalous
            if age.has_reason:
                assert (line["prediction_reason"] == "MACHINE_OFF") == is_off
            found.update(anomalous=is_anomalous, off=is_off)
        assert found["anomalous"]
        assert found["off"] or age is FIRST

    def test_a_score_is_above_one_half_in_an_anomaly_only(
        self, written: dict[str, list[dict[str, Any]]]
    ) -> None:
        scores: dict[int, list[float]] = {0: [], 1: []}
        for line in (*written["scored"], *written["latest"], *written["empty"]):
            if "anomaly_score" in line:
                scores[line["prediction"]].append(line["anomaly_score"])
        assert 0 <= min(scores[0]) < max(scores[0]) < 0.5 < min(scores[1]) < max(scores[1]) <= 1
        assert max(scores[1]) > 0.9

    def test_values_have_five_decimals_and_names_a_backslash(
        self, written: dict[str, list[dict[str, Any]]]
    ) -> None:
        for line in written["latest"][:500]:
            for each in line.get("diagnostics", []):
                assert list(each) == ["name", "value"]
                assert round(each["value"], 5) == each["value"]
                component, backslash, sensor = each["name"].partition("\\")
                assert (component, backslash, sensor[:6]) == ("pump-sensors", "\\", "Sensor")

    def test_contributions_sum_to_one(self, written: dict[str, list[dict[str, Any]]]) -> None:
        for line in written["latest"]:
            if line.get("diagnostics"):
                assert sum(each["value"] for each in line["diagnostics"]) == pytest.approx(1, abs=2e-4)

    def test_the_sensors_of_an_anomaly_stand_out(self) -> None:
        one = OF_AGE[LATEST]
        for anomaly in get_ground_truth(one, HISTORY.start, END).anomalies:
            told = get_contributions(one, anomaly.start)
            assert (
                tuple(sorted(told, key=lambda name: -told[name]))[: len(anomaly.sensors)] == anomaly.sensors
            )

    def test_a_line_in_bytes(self) -> None:
        one = OF_AGE[SCORED]
        first = build_content(one, next(slots(one))).split(b"\n")[0]
        assert first.startswith(
            b'{"timestamp": "2026-09-30T00:01:00.000000", "prediction": 0, "prediction_reason"'
        )

    def test_a_file_ends_with_a_newline(self) -> None:
        one = OF_AGE[LATEST]
        assert all(build_content(one, slot).endswith(b"}\n") for slot in list(slots(one))[:50])

    def test_one_scheduler_has_three_hundred_sensors(self) -> None:
        boiler = named("boiler-1")
        told = build_lines(boiler, next(slots(boiler)))
        assert len(told[0]["diagnostics"]) == 300
        assert Counter(len(list_sensors(one.plant)) for one in FLEET.schedulers) == {30: 14, 300: 1}

    def test_a_scheduler_grows_up_in_the_middle_of_its_history(self) -> None:
        ages = [
            named("compressor-1").get_result_format(slot.window.start).name
            for slot in slots(named("compressor-1"))
        ]
        assert list(dict.fromkeys(ages)) == ["first", "reasoned", "latest"]


class TestRows:
    def test_a_window_has_a_row_a_minute_most_of_the_time(self) -> None:
        for one in (OF_AGE[LATEST], OF_AGE[SCORED]):
            counts = Counter(len(list_row_times(one, slot)) for slot in slots(one))
            assert counts[5] > 0.9 * counts.total()
            assert counts[4]

    def test_rows_lie_in_the_window_without_its_start_and_once_without_its_end(self) -> None:
        for age, one in OF_AGE.items():
            found = [(slot.window, row) for slot in slots(one, age) for row in list_row_times(one, slot)]
            assert all(window.start <= row <= window.end for window, row in found)
            assert any(window.start == row for window, row in found) is age.has_start
            assert any(window.end == row for window, row in found) is not age.has_start

    def test_there_is_no_row_twice_and_none_in_an_outage(self) -> None:
        for one in FLEET.schedulers:
            found = [row for slot in slots(one) for row in list_row_times(one, slot)]
            assert all(before < after for before, after in pairwise(found))
            # A window that lies in two outages keeps one row.
            assert sum(one.plant.is_in_outage(row) for row in found) <= 1

    def test_sampling_may_be_slower(self) -> None:
        boiler = named("boiler-1")
        found = list_row_times(boiler, next(slots(boiler)))
        assert {after - before for before, after in pairwise(found)} == {timedelta(minutes=5)}


class TestTruth:
    def test_the_same_each_time(self) -> None:
        again = build_fleet(1, HISTORY)
        for one, other in zip(FLEET.schedulers, again.schedulers, strict=True):
            assert get_ground_truth(one, HISTORY.start, END) == get_ground_truth(other, HISTORY.start, END)
            slot = next(slots(one))
            build_content.cache_clear()
            assert build_content(one, slot) == b"".join(
                json.dumps(line).encode() + b"\n" for line in build_lines(other, slot)
            )

    def test_another_seed_tells_another_story(self) -> None:
        other = build_fleet(2, HISTORY).schedulers[0]
        assert get_ground_truth(FLEET.schedulers[0], HISTORY.start, END) != get_ground_truth(
            other, HISTORY.start, END
        )

    def test_there_is_enough_of_everything(self) -> None:
        told = [get_ground_truth(one, HISTORY.start, END) for one in FLEET.schedulers]
        anomalies = [anomaly for each in told for anomaly in each.anomalies]
        minutes = [(anomaly.end - anomaly.start) / MINUTE for anomaly in anomalies]
        assert sum(each < 5 for each in minutes) > 5
        assert sum(each > 60 for each in minutes) > 20
        assert any(anomaly.start.date() != anomaly.end.date() for anomaly in anomalies)
        assert sum(bool(each.anomalies and each.off) for each in told) >= len(told) - 2
        assert {len(anomaly.sensors) for anomaly in anomalies} == {2, 3, 4}

    def test_nothing_touches(self) -> None:
        for one in FLEET.schedulers:
            told = get_ground_truth(one, HISTORY.start, END)
            things = sorted((thing.start, thing.end) for thing in (*told.anomalies, *told.off))
            assert all(start <= end for start, end in things)
            assert all(before[1] + 2 * MINUTE <= after[0] for before, after in pairwise(things))

    @settings(deadline=None, max_examples=60)
    @given(minutes=st.tuples(st.integers(0, 11_520), st.integers(0, 11_520)).map(sorted))
    def test_a_part_of_the_time_is_what_overlaps_it(self, minutes: list[int]) -> None:
        start, end = (HISTORY.start + minute * MINUTE for minute in minutes)
        one = FLEET.schedulers[0]
        whole = get_ground_truth(one, HISTORY.start - timedelta(days=1), END + timedelta(days=1))
        assert get_ground_truth(one, start, end).anomalies == tuple(
            thing for thing in whole.anomalies if thing.start <= end and start <= thing.end
        )


class TestEvents:
    def test_events_are_what_the_lines_say(self, written: dict[str, list[dict[str, Any]]]) -> None:
        for age in (REASONED, SCORED, EMPTY, LATEST):
            one = OF_AGE[age]
            anomalous = [at(line) for line in written[age.name] if line["prediction"]]
            for anomaly in get_ground_truth(one, HISTORY.start, END).anomalies:
                seen = [row for row in anomalous if anomaly.contains(row)]
                found = [
                    event
                    for event in find_events(one, END, HISTORY.start, END)
                    if anomaly.contains(event.start)
                ]
                if seen and seen[-1] - seen[0] > timedelta(minutes=5):
                    (event,) = found
                    assert (event.start, event.end) == (seen[0], seen[-1])
                else:
                    assert not found
