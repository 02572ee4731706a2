"""Result lines: each format, and the planted anomalies in them."""

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


def get_scheduler(name: str, region: str | None = None) -> Scheduler:
    return [
        scheduler
        for scheduler in FLEET.schedulers
        if scheduler.name == name and region in (None, scheduler.region)
    ][-1]


BY_FORMAT = {
    BARE: get_scheduler("blower-1"),
    FIRST: get_scheduler("compressor-1"),
    REASONED: get_scheduler("pump-1", "eu-west-1"),
    SCORED: get_scheduler("pump-2"),
    EMPTY: get_scheduler("compressor-2"),
    LATEST: get_scheduler("pump-1", "us-east-1"),
}


def list_successful_slots(scheduler: Scheduler, result_format: Any = None) -> Iterator[Slot]:
    for slot in scheduler.slots(scheduler.created_at, END):
        if has_succeeded(scheduler, END, slot) and result_format in (
            None,
            scheduler.get_result_format(slot.window.start),
        ):
            yield slot


def parse_timestamp(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def lines_by_format() -> dict[str, list[dict[str, Any]]]:
    """All parsed lines of each result format."""
    return {
        result_format.name: [
            json.loads(line)
            for slot in list_successful_slots(scheduler, result_format)
            for line in build_content(scheduler, slot).splitlines()
        ]
        for result_format, scheduler in BY_FORMAT.items()
    }


class TestLines:
    @pytest.mark.parametrize("result_format", RESULT_FORMATS, ids=lambda result_format: result_format.name)
    def test_each_kind_of_line_has_the_members_of_its_format(
        self, lines_by_format: dict[str, list[dict[str, Any]]], result_format: Any
    ) -> None:
        kinds = {
            (
                line["prediction"],
                line.get("prediction_reason"),
                *list(line)[2:],
                bool(line.get("diagnostics")),
            )
            for line in lines_by_format[result_format.name]
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
            }[result_format.name]
        )

    @pytest.mark.parametrize("result_format", RESULT_FORMATS, ids=lambda result_format: result_format.name)
    def test_lines_match_the_planted_truth(
        self, lines_by_format: dict[str, list[dict[str, Any]]], result_format: Any
    ) -> None:
        scheduler = BY_FORMAT[result_format]
        truth = get_ground_truth(scheduler, HISTORY.start, END)
        counts = Counter[str]()
        for line in lines_by_format[result_format.name]:
            is_anomalous = any(
                interval.start <= parse_timestamp(line) <= interval.end for interval in truth.anomalies
            )
            is_off = any(interval.start <= parse_timestamp(line) <= interval.end for interval in truth.off)
            assert line["prediction"] == is_anomalous
            if result_format.has_reason:
                assert (line["prediction_reason"] == "MACHINE_OFF") == is_off
            counts.update(anomalous=is_anomalous, off=is_off)
        assert counts["anomalous"]
        assert counts["off"] or result_format is FIRST

    def test_a_score_is_above_one_half_in_an_anomaly_only(
        self, lines_by_format: dict[str, list[dict[str, Any]]]
    ) -> None:
        scores: dict[int, list[float]] = {0: [], 1: []}
        for line in (*lines_by_format["scored"], *lines_by_format["latest"], *lines_by_format["empty"]):
            if "anomaly_score" in line:
                scores[line["prediction"]].append(line["anomaly_score"])
        assert 0 <= min(scores[0]) < max(scores[0]) < 0.5 < min(scores[1]) < max(scores[1]) <= 1
        assert max(scores[1]) > 0.9

    def test_contributions_have_five_decimals_and_names_with_a_backslash(
        self, lines_by_format: dict[str, list[dict[str, Any]]]
    ) -> None:
        for line in lines_by_format["latest"][:500]:
            for each in line.get("diagnostics", []):
                assert list(each) == ["name", "value"]
                assert round(each["value"], 5) == each["value"]
                component, backslash, sensor = each["name"].partition("\\")
                assert (component, backslash, sensor[:6]) == ("pump-sensors", "\\", "Sensor")

    def test_contributions_sum_to_one(self, lines_by_format: dict[str, list[dict[str, Any]]]) -> None:
        for line in lines_by_format["latest"]:
            if line.get("diagnostics"):
                assert sum(each["value"] for each in line["diagnostics"]) == pytest.approx(1, abs=2e-4)

    def test_the_sensors_of_an_anomaly_have_the_largest_contributions(self) -> None:
        scheduler = BY_FORMAT[LATEST]
        for anomaly in get_ground_truth(scheduler, HISTORY.start, END).anomalies:
            contributions = get_contributions(scheduler, anomaly.start)
            assert (
                tuple(sorted(contributions, key=lambda name: -contributions[name]))[: len(anomaly.sensors)]
                == anomaly.sensors
            )

    def test_a_line_has_the_bytes_of_the_service(self) -> None:
        scheduler = BY_FORMAT[SCORED]
        first = build_content(scheduler, next(list_successful_slots(scheduler))).split(b"\n")[0]
        assert first.startswith(
            b'{"timestamp": "2026-09-30T00:01:00.000000", "prediction": 0, "prediction_reason"'
        )

    def test_a_file_ends_with_a_newline(self) -> None:
        scheduler = BY_FORMAT[LATEST]
        assert all(
            build_content(scheduler, slot).endswith(b"}\n")
            for slot in list(list_successful_slots(scheduler))[:50]
        )

    def test_one_scheduler_has_three_hundred_sensors(self) -> None:
        boiler = get_scheduler("boiler-1")
        lines = build_lines(boiler, next(list_successful_slots(boiler)))
        assert len(lines[0]["diagnostics"]) == 300
        assert Counter(len(list_sensors(scheduler.plant)) for scheduler in FLEET.schedulers) == {
            30: 14,
            300: 1,
        }

    def test_the_format_of_a_scheduler_changes_in_its_history(self) -> None:
        ages = [
            get_scheduler("compressor-1").get_result_format(slot.window.start).name
            for slot in list_successful_slots(get_scheduler("compressor-1"))
        ]
        assert list(dict.fromkeys(ages)) == ["first", "reasoned", "latest"]


class TestRows:
    def test_a_window_usually_has_a_row_for_each_minute(self) -> None:
        for scheduler in (BY_FORMAT[LATEST], BY_FORMAT[SCORED]):
            counts = Counter(
                len(list_row_times(scheduler, slot)) for slot in list_successful_slots(scheduler)
            )
            assert counts[5] > 0.9 * counts.total()
            assert counts[4]

    def test_rows_exclude_the_start_of_the_window_or_in_one_format_its_end(self) -> None:
        for result_format, scheduler in BY_FORMAT.items():
            rows = [
                (slot.window, row)
                for slot in list_successful_slots(scheduler, result_format)
                for row in list_row_times(scheduler, slot)
            ]
            assert all(window.start <= row <= window.end for window, row in rows)
            assert any(window.start == row for window, row in rows) is result_format.has_start
            assert any(window.end == row for window, row in rows) is not result_format.has_start

    def test_rows_are_unique_and_absent_in_outages(self) -> None:
        for scheduler in FLEET.schedulers:
            rows = [
                row for slot in list_successful_slots(scheduler) for row in list_row_times(scheduler, slot)
            ]
            assert all(before < after for before, after in pairwise(rows))
            # A window in two outages keeps one row.
            assert sum(scheduler.plant.is_in_outage(row) for row in rows) <= 1

    def test_a_scheduler_can_have_a_slower_sampling_rate(self) -> None:
        boiler = get_scheduler("boiler-1")
        rows = list_row_times(boiler, next(list_successful_slots(boiler)))
        assert {after - before for before, after in pairwise(rows)} == {timedelta(minutes=5)}


class TestTruth:
    def test_the_same_seed_gives_the_same_truth_and_bytes(self) -> None:
        again = build_fleet(1, HISTORY)
        for scheduler, other in zip(FLEET.schedulers, again.schedulers, strict=True):
            assert get_ground_truth(scheduler, HISTORY.start, END) == get_ground_truth(
                other, HISTORY.start, END
            )
            slot = next(list_successful_slots(scheduler))
            build_content.cache_clear()
            assert build_content(scheduler, slot) == b"".join(
                json.dumps(line).encode() + b"\n" for line in build_lines(other, slot)
            )

    def test_another_seed_gives_another_truth(self) -> None:
        other = build_fleet(2, HISTORY).schedulers[0]
        assert get_ground_truth(FLEET.schedulers[0], HISTORY.start, END) != get_ground_truth(
            other, HISTORY.start, END
        )

    def test_anomalies_of_all_lengths_and_off_times_occur(self) -> None:
        truths = [get_ground_truth(scheduler, HISTORY.start, END) for scheduler in FLEET.schedulers]
        anomalies = [anomaly for each in truths for anomaly in each.anomalies]
        minutes = [(anomaly.end - anomaly.start) / MINUTE for anomaly in anomalies]
        assert sum(each < 5 for each in minutes) > 5
        assert sum(each > 60 for each in minutes) > 20
        assert any(anomaly.start.date() != anomaly.end.date() for anomaly in anomalies)
        assert sum(bool(each.anomalies and each.off) for each in truths) >= len(truths) - 2
        assert {len(anomaly.sensors) for anomaly in anomalies} == {2, 3, 4}

    def test_anomalies_and_off_times_do_not_touch(self) -> None:
        for scheduler in FLEET.schedulers:
            truth = get_ground_truth(scheduler, HISTORY.start, END)
            intervals = sorted((interval.start, interval.end) for interval in (*truth.anomalies, *truth.off))
            assert all(start <= end for start, end in intervals)
            assert all(before[1] + 2 * MINUTE <= after[0] for before, after in pairwise(intervals))

    @settings(deadline=None, max_examples=20)
    @given(minutes=st.tuples(st.integers(0, 11_520), st.integers(0, 11_520)).map(sorted))
    def test_the_truth_of_a_range_is_every_anomaly_that_overlaps_it(self, minutes: list[int]) -> None:
        start, end = (HISTORY.start + minute * MINUTE for minute in minutes)
        scheduler = FLEET.schedulers[0]
        truth = get_ground_truth(scheduler, HISTORY.start - timedelta(days=1), END + timedelta(days=1))
        assert get_ground_truth(scheduler, start, end).anomalies == tuple(
            anomaly for anomaly in truth.anomalies if anomaly.start <= end and start <= anomaly.end
        )


class TestEvents:
    def test_events_match_the_anomalous_lines(self, lines_by_format: dict[str, list[dict[str, Any]]]) -> None:
        for result_format in (REASONED, SCORED, EMPTY, LATEST):
            scheduler = BY_FORMAT[result_format]
            anomalous = [
                parse_timestamp(line) for line in lines_by_format[result_format.name] if line["prediction"]
            ]
            for anomaly in get_ground_truth(scheduler, HISTORY.start, END).anomalies:
                rows = [row for row in anomalous if anomaly.contains(row)]
                events = [
                    event
                    for event in find_events(scheduler, END, HISTORY.start, END)
                    if anomaly.contains(event.start)
                ]
                if rows and rows[-1] - rows[0] > timedelta(minutes=5):
                    (event,) = events
                    assert (event.start, event.end) == (rows[0], rows[-1])
                else:
                    assert not events
