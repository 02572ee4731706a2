"""Merging what was read into what the lake holds, held against a dictionary of executions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.anomalies import merge
from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import COLUMNS, ExecutionIndex, ExecutionKey, find_execution_rows
from assets.anomalies.merge import find_changed_executions, merge_predictions, merge_sensor_contributions
from assets.anomalies.parse import CONTRIBUTION_SCHEMA, LINE_SCHEMA
from assets.framework.row_content import sort_by_key
from assets.tables import ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, SENSOR_CONTRIBUTIONS

START = datetime(2026, 10, 7, tzinfo=UTC)
NOW, LATER = datetime(2026, 10, 8, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC)
NAMES = ["b\\x", "a\\x", "a\\x\\y", "plain", "é\\ß"]
EXECUTIONS = 8

Content = dict[tuple[int, str], float]
"""Of one execution: contributions by minute and name."""


def named(version: int | None = 1, count: int = EXECUTIONS, place: str = "") -> ExecutionIndex:
    """So many executions of two schedulers, handed over in no order."""
    rows = [
        {
            "scheduler_arn": f"arn:{number % 2}",
            "data_start_time": START + timedelta(minutes=5 * number),
            "scheduler_name": "pump",
            "model_version": version,
            "status": "SUCCESS",
            "result_s3_bucket": "b",
            "result_s3_key": place or f"k{number}",
        }
        for number in reversed(range(count))
    ]
    schema = pa.schema([INFERENCE_EXECUTIONS.schema.field(name) for name in COLUMNS])
    return ExecutionIndex.of(pa.Table.from_pylist(rows, schema=schema))


def parsed(contents: dict[int, Content], columns: pa.Schema = CONTRIBUTION_SCHEMA) -> pa.Table:
    """Contributions as `parse` has them, given to their executions."""
    rows = [
        {
            "object": number,
            "timestamp": START + timedelta(minutes=minute),
            "diagnostic_name": name,
            "contribution": value,
        }
        for number, content in contents.items()
        for (minute, name), value in content.items()
    ]
    table = pa.Table.from_pylist(rows, schema=columns)
    return table.rename_columns({"object": "execution"})


def added(contents: dict[int, Content]) -> ContributionBuffer:
    new = ContributionBuffer()
    new.add(parsed(contents))
    return new


def cut(rows: pa.Table, size: int) -> list[pa.Table]:
    return [rows.slice(start, size) for start in range(0, rows.num_rows, size)]


def written(
    of: ExecutionIndex, existing: pa.Table, new: dict[int, Content], size: int, now: datetime
) -> pa.Table:
    pieces = merge_sensor_contributions(cut(existing, size), of, added(new), new.keys(), now)
    return pa.concat_tables([SENSOR_CONTRIBUTIONS.schema.empty_table(), *pieces])


def contents_of(rows: pa.Table, of: ExecutionIndex) -> dict[int, Content]:
    found: dict[int, Content] = {}
    for row in rows.to_pylist():
        number = of.numbers[row["scheduler_arn"], row["data_start_time"]]
        minute = (row["timestamp"] - START) // timedelta(minutes=1)
        found.setdefault(number, {})[minute, row["diagnostic_name"]] = row["contribution"]
    return found


values = st.floats(0, 1)
content = st.dictionaries(st.tuples(st.integers(0, 9), st.sampled_from(NAMES)), values, max_size=6)
reads = st.dictionaries(st.integers(0, EXECUTIONS - 1), content, max_size=EXECUTIONS)


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "ROWS_A_GROUP", 4)


@given(st.lists(reads, min_size=1, max_size=4), st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_each_read_replaces_its_executions_and_no_others(steps: list[dict[int, Content]], size: int) -> None:
    of, lake, expected = named(), SENSOR_CONTRIBUTIONS.schema.empty_table(), dict[int, Content]()
    for new in steps:
        lake = written(of, lake, new, size, NOW)
        expected = {number: some for number, some in (expected | new).items() if some}

        assert contents_of(lake, of) == expected
        assert lake.equals(sort_by_key(SENSOR_CONTRIBUTIONS, lake)), "stored in the order of the key"
        assert lake.num_rows == sum(map(len, expected.values()))


@given(reads, reads, st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_only_what_differs_is_written_again(
    before: dict[int, Content], new: dict[int, Content], size: int
) -> None:
    of = named()
    lake = written(of, SENSOR_CONTRIBUTIONS.schema.empty_table(), before, size, NOW)

    found = find_changed_executions(cut(lake, size), of, added(new), new.keys())

    assert found == {number for number, some in new.items() if some != before.get(number, {})}


@given(reads, st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_rows_of_executions_that_are_named_no_more_stay(before: dict[int, Content], fewer: int) -> None:
    of = named()
    lake = written(of, SENSOR_CONTRIBUTIONS.schema.empty_table(), before, 100, NOW)

    after = written(named(count=fewer), lake, {0: {(0, "plain"): 0.5}}, 3, LATER)

    expected = {number: some for number, some in before.items() if some} | {0: {(0, "plain"): 0.5}}
    first = named(count=fewer).keys[0]
    assert of.keys[0] == first
    assert contents_of(after, of) == expected


def test_components_and_sensors_are_spelled_out() -> None:
    rows = written(
        named(), SENSOR_CONTRIBUTIONS.schema.empty_table(), {0: {(0, name): 0.1 for name in NAMES}}, 9, NOW
    )

    told = {row["diagnostic_name"]: (row["component"], row["sensor"]) for row in rows.to_pylist()}
    assert told == {
        "b\\x": ("b", "x"),
        "a\\x": ("a", "x"),
        "a\\x\\y": ("a", "x\\y"),
        "plain": (None, "plain"),
        "é\\ß": ("é", "ß"),
    }


def lines(contents: dict[int, dict[int, int]]) -> list[pa.Table]:
    rows = [
        {"object": number, "timestamp": START + timedelta(minutes=minute), "prediction": prediction}
        for number, some in contents.items()
        for minute, prediction in some.items()
    ]
    return [pa.Table.from_pylist(rows, schema=LINE_SCHEMA).rename_columns({"object": "execution"})]


def told(rows: pa.Table) -> dict[tuple[ExecutionKey, int], Any]:
    return {
        ((row["scheduler_arn"], row["data_start_time"]), row["timestamp"].minute): row["prediction"]
        for row in rows.to_pylist()
    }


def test_lines_of_an_object_that_was_read_replace_those_before_and_keep_the_time_of_what_is_the_same() -> (
    None
):
    of = named()
    nothing = ANOMALY_PREDICTIONS.schema.empty_table()
    first = merge_predictions(nothing, of, lines({0: {1: 0, 2: 1}, 1: {6: 0}}), {0, 1}, NOW)

    second = merge_predictions(first, of, lines({0: {1: 0, 3: 1}}), {0}, LATER)

    assert told(second) == {(of.keys[0], 1): 0, (of.keys[0], 3): 1, (of.keys[1], 6): 0}
    stamps = {row["timestamp"].minute: row["recorded_at"] for row in second.to_pylist()}
    assert stamps == {1: NOW, 3: LATER, 6: NOW}
    assert set(second["model_version"].to_pylist()) == {1}


def test_what_becomes_known_of_an_execution_reaches_its_lines_though_the_object_is_not_read_again() -> None:
    nothing = ANOMALY_PREDICTIONS.schema.empty_table()
    first = merge_predictions(nothing, named(version=None), lines({0: {1: 0}}), {0}, NOW)
    assert first["model_version"].to_pylist() == [None]

    second = merge_predictions(first, named(version=3), lines({}), set(), LATER)

    assert second["model_version"].to_pylist() == [3]


def test_objects_are_those_of_executions_that_succeeded_or_are_known_by_their_result_alone() -> None:
    statuses = {"a": "SUCCESS", "b": "FAILED", "c": "IN_PROGRESS", "d": None, "e": None}
    rows = [
        {
            "scheduler_arn": "arn",
            "data_start_time": START + timedelta(minutes=number),
            "status": status,
            "result_s3_bucket": "plant",
            "result_s3_key": None if key == "e" else key,
        }
        for number, (key, status) in enumerate(statuses.items())
    ]
    schema = pa.schema([INFERENCE_EXECUTIONS.schema.field(name) for name in COLUMNS])

    of = ExecutionIndex.of(pa.Table.from_pylist(rows, schema=schema))

    assert list(of.objects) == [("plant", "a"), ("plant", "d")]


def test_an_object_that_two_executions_name_gives_rows_to_both() -> None:
    of = named(count=3, place="shared")
    assert of.objects == {("b", "shared"): [0, 1, 2]}

    owned = of.owned(
        pa.Table.from_pylist([{"object": 0, "timestamp": START, "prediction": 1}], schema=LINE_SCHEMA)
    )

    rows = merge_predictions(ANOMALY_PREDICTIONS.schema.empty_table(), of, [owned], {0, 1, 2}, NOW)
    assert told(rows) == dict.fromkeys([(key, 0) for key in of.keys], 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30).map(sorted))
def test_runs_cover_the_rows_once(keys: list[tuple[str, int]]) -> None:
    rows = pa.table(
        {
            "scheduler_arn": pa.array([arn for arn, _ in keys], pa.string()),
            "data_start_time": pa.array(
                [START + timedelta(hours=hour) for _, hour in keys], pa.timestamp("ms", "UTC")
            ),
        }
    )

    found = list(find_execution_rows(rows))

    assert [run.offset for run in found] == [keys.index(key) for key in sorted(set(keys))]
    assert sum(run.length for run in found) == len(keys)
    assert [(run.key[0], (run.key[1] - START) // timedelta(hours=1)) for run in found] == sorted(set(keys))
