"""Merge new results into the rows in the lake, compared with a plain dictionary of executions."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.anomalies import contributions, merge
from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import COLUMNS, KEY, ExecutionIndex, ExecutionKey, find_execution_rows
from assets.anomalies.merge import find_changed_executions, merge_predictions, merge_sensor_contributions
from assets.anomalies.parse import CONTRIBUTION_SCHEMA, LINE_SCHEMA
from assets.framework.row_content import sort_by_key
from assets.tables import ANOMALY_PREDICTIONS, INFERENCE_EXECUTIONS, INSTANT, SENSOR_CONTRIBUTIONS
from resources.errors import RetryLaterError

START = datetime(2026, 10, 7, tzinfo=UTC)
NOW, LATER = datetime(2026, 10, 8, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC)
NAMES = ["b\\x", "a\\x", "a\\x\\y", "plain", "é\\ß"]
EXECUTIONS = 8

Content = dict[tuple[int, str], float]
"""The contributions of one execution, by minute and diagnostic name."""


def build_index(version: int | None = 1, count: int = EXECUTIONS, key: str = "") -> ExecutionIndex:
    """Index some executions of two schedulers, built from unsorted rows."""
    rows = [
        {
            "scheduler_arn": f"arn:{number % 2}",
            "data_start_time": START + timedelta(minutes=5 * number),
            "scheduler_name": "pump",
            "model_version": version,
            "status": "SUCCESS",
            "result_s3_bucket": "b",
            "result_s3_key": key or f"k{number}",
        }
        for number in reversed(range(count))
    ]
    schema = pa.schema([INFERENCE_EXECUTIONS.schema.field(name) for name in COLUMNS])
    return ExecutionIndex.from_executions(pa.Table.from_pylist(rows, schema=schema))


def build_parsed(contents: dict[int, Content], columns: pa.Schema = CONTRIBUTION_SCHEMA) -> pa.Table:
    """Build contributions as after parsing and `assign_executions`."""
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


def build_buffer(contents: dict[int, Content]) -> ContributionBuffer:
    """Add the contents in two batches; `_small_limits` moves the larger ones to files."""
    buffer = ContributionBuffer()
    for parity in (1, 0):
        buffer.add(build_parsed({n: content for n, content in contents.items() if n % 2 == parity}))
    return buffer


def split_rows(rows: pa.Table, size: int) -> list[pa.Table]:
    return [rows.slice(start, size) for start in range(0, rows.num_rows, size)]


def merge_contents(
    index: ExecutionIndex, existing: pa.Table, new: dict[int, Content], size: int, now: datetime
) -> pa.Table:
    """Merge contributions into stored rows that arrive in tables of `size` rows."""
    tables = merge_sensor_contributions(split_rows(existing, size), index, build_buffer(new), new.keys(), now)
    return pa.concat_tables([SENSOR_CONTRIBUTIONS.schema.empty_table(), *tables])


def read_contents(rows: pa.Table, index: ExecutionIndex) -> dict[int, Content]:
    contents: dict[int, Content] = {}
    for row in rows.to_pylist():
        number = index.numbers[row["scheduler_arn"], row["data_start_time"]]
        minute = (row["timestamp"] - START) // timedelta(minutes=1)
        contents.setdefault(number, {})[minute, row["diagnostic_name"]] = row["contribution"]
    return contents


values = st.floats(0, 1)
content = st.dictionaries(st.tuples(st.integers(0, 9), st.sampled_from(NAMES)), values, max_size=6)
reads = st.dictionaries(st.integers(0, EXECUTIONS - 1), content, max_size=EXECUTIONS)


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MIN_ROW_GROUP_ROWS", 4)
    monkeypatch.setattr(contributions, "_ROWS_IN_MEMORY", 3)


@given(st.lists(reads, min_size=1, max_size=4), st.integers(1, 7))
@settings(deadline=None, max_examples=15)
def test_each_read_replaces_its_executions_and_no_others(steps: list[dict[int, Content]], size: int) -> None:
    index, lake, expected = build_index(), SENSOR_CONTRIBUTIONS.schema.empty_table(), dict[int, Content]()
    for new in steps:
        lake = merge_contents(index, lake, new, size, NOW)
        expected = {number: values for number, values in (expected | new).items() if values}

        assert read_contents(lake, index) == expected
        assert lake.equals(sort_by_key(SENSOR_CONTRIBUTIONS, lake)), "stored in the order of the key"
        assert lake.num_rows == sum(map(len, expected.values()))


@given(reads, reads, st.integers(1, 7))
@settings(deadline=None, max_examples=15)
def test_only_executions_that_differ_are_changed(
    before: dict[int, Content], new: dict[int, Content], size: int
) -> None:
    index = build_index()
    lake = merge_contents(index, SENSOR_CONTRIBUTIONS.schema.empty_table(), before, size, NOW)

    changed = find_changed_executions(split_rows(lake, size), index, build_buffer(new), new.keys())

    assert changed == {number for number, values in new.items() if values != before.get(number, {})}


@given(reads, st.integers(1, 3))
@settings(deadline=None, max_examples=15)
def test_rows_of_executions_that_left_the_index_stay(before: dict[int, Content], count: int) -> None:
    index, smaller = build_index(), build_index(count=count)
    lake = merge_contents(index, SENSOR_CONTRIBUTIONS.schema.empty_table(), before, 100, NOW)

    after = merge_contents(smaller, lake, {0: {(0, "plain"): 0.5}}, 3, LATER)

    expected = {number: values for number, values in before.items() if values} | {0: {(0, "plain"): 0.5}}
    assert index.keys[0] == smaller.keys[0]
    assert read_contents(after, index) == expected


def test_diagnostic_names_are_split_into_component_and_sensor() -> None:
    contents = {0: {(0, name): 0.1 for name in NAMES}}

    rows = merge_contents(build_index(), SENSOR_CONTRIBUTIONS.schema.empty_table(), contents, 9, NOW)

    names = {row["diagnostic_name"]: (row["component"], row["sensor"]) for row in rows.to_pylist()}
    assert names == {
        "b\\x": ("b", "x"),
        "a\\x": ("a", "x"),
        "a\\x\\y": ("a", "x\\y"),
        "plain": (None, "plain"),
        "é\\ß": ("é", "ß"),
    }


def build_lines(contents: dict[int, dict[int, int]]) -> list[pa.Table]:
    """Build lines after `assign_executions` from predictions by execution and minute."""
    rows = [
        {"object": number, "timestamp": START + timedelta(minutes=minute), "prediction": prediction}
        for number, predictions in contents.items()
        for minute, prediction in predictions.items()
    ]
    return [pa.Table.from_pylist(rows, schema=LINE_SCHEMA).rename_columns({"object": "execution"})]


def read_predictions(rows: pa.Table) -> dict[tuple[ExecutionKey, int], Any]:
    """Return predictions by execution and minute."""
    return {
        ((row["scheduler_arn"], row["data_start_time"]), row["timestamp"].minute): row["prediction"]
        for row in rows.to_pylist()
    }


def test_a_read_object_replaces_its_lines_and_unchanged_lines_keep_recorded_at() -> None:
    index = build_index()
    empty = ANOMALY_PREDICTIONS.schema.empty_table()
    first = merge_predictions(empty, index, build_lines({0: {1: 0, 2: 1}, 1: {6: 0}}), {0, 1}, NOW)

    second = merge_predictions(first, index, build_lines({0: {1: 0, 3: 1}}), {0}, LATER)

    assert read_predictions(second) == {(index.keys[0], 1): 0, (index.keys[0], 3): 1, (index.keys[1], 6): 0}
    stamps = {row["timestamp"].minute: row["recorded_at"] for row in second.to_pylist()}
    assert stamps == {1: NOW, 3: LATER, 6: NOW}
    assert set(second["model_version"].to_pylist()) == {1}


def test_a_model_version_that_becomes_known_reaches_lines_that_are_not_read_again() -> None:
    empty = ANOMALY_PREDICTIONS.schema.empty_table()
    first = merge_predictions(empty, build_index(version=None), build_lines({0: {1: 0}}), {0}, NOW)
    assert first["model_version"].to_pylist() == [None]

    second = merge_predictions(first, build_index(version=3), build_lines({}), set(), LATER)

    assert second["model_version"].to_pylist() == [3]


def test_the_index_has_executions_that_succeeded_or_are_known_only_by_their_result() -> None:
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

    index = ExecutionIndex.from_executions(pa.Table.from_pylist(rows, schema=schema))

    assert list(index.executions_by_object) == [("plant", "a"), ("plant", "d")]


def test_rows_of_an_object_that_executions_share_go_to_each_of_them() -> None:
    index = build_index(count=3, key="shared")
    assert index.executions_by_object == {("b", "shared"): [0, 1, 2]}
    line = {"object": 0, "timestamp": START, "prediction": 1}

    lines = index.assign_executions(pa.Table.from_pylist([line], schema=LINE_SCHEMA))

    rows = merge_predictions(ANOMALY_PREDICTIONS.schema.empty_table(), index, [lines], {0, 1, 2}, NOW)
    assert read_predictions(rows) == dict.fromkeys([(key, 0) for key in index.keys], 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30).map(sorted))
def test_execution_rows_cover_every_row_once(keys: list[tuple[str, int]]) -> None:
    rows = pa.table(
        {
            "scheduler_arn": pa.array([arn for arn, _ in keys], pa.string()),
            "data_start_time": pa.array(
                [START + timedelta(hours=hour) for _, hour in keys], pa.timestamp("ms", "UTC")
            ),
        }
    )

    slices = list(find_execution_rows(rows))

    assert [part.offset for part in slices] == [keys.index(key) for key in sorted(set(keys))]
    assert sum(part.length for part in slices) == len(keys)
    found_keys = [(part.key[0], (part.key[1] - START) // timedelta(hours=1)) for part in slices]
    assert found_keys == sorted(set(keys))


@given(
    keys=st.lists(st.tuples(st.sampled_from(["arn:-", "arn:0", "arn:1"]), st.integers(-10, 50)), max_size=20),
    count=st.integers(0, EXECUTIONS),
)
def test_rows_find_the_execution_with_their_key(keys: list[tuple[str, int]], count: int) -> None:
    index = build_index(count=count)
    expected = [(arn, START + timedelta(minutes=minute)) for arn, minute in keys]
    schema = pa.schema([ANOMALY_PREDICTIONS.schema.field(name) for name in KEY])
    rows = pa.Table.from_pylist([dict(zip(KEY, key, strict=True)) for key in expected], schema=schema)
    assert index.find_numbers(rows).tolist() == [index.numbers.get(key, -1) for key in expected]


def test_temporary_data_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    times = pa.array(range(4), pa.timestamp("ms")).cast(INSTANT)
    names = pa.DictionaryArray.from_arrays(np.zeros(4, "i4"), NAMES)
    columns = [pa.repeat(pa.scalar(0, pa.int32()), 4), times, names, pa.array([0.5] * 4)]
    rows = pa.table(columns, ["execution", "timestamp", "diagnostic_name", "contribution"])
    with pytest.raises(RetryLaterError, match="Cannot write temporary data: No such file") as caught:
        ContributionBuffer().add(rows)
    assert str(tmp_path / "missing") in caught.value.where


def test_the_memory_of_contributions_does_not_grow_with_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, limit = 20_000, 50_000
    monkeypatch.setattr(contributions, "_ROWS_IN_MEMORY", limit)
    monkeypatch.setattr(merge, "MIN_ROW_GROUP_ROWS", rows)
    lines = np.arange(rows // len(NAMES))
    names = pa.DictionaryArray.from_arrays(np.tile(np.arange(len(NAMES), dtype="i4"), len(lines)), NAMES)
    times = pa.array(np.repeat(lines, len(NAMES)) * 1000, pa.timestamp("ms")).cast(INSTANT)
    values = pa.array(np.random.default_rng(1).random(rows))

    def measure(count: int) -> int:
        """Return the peak memory of Arrow above its start while a day of some executions is written."""
        index, buffer, peaks = build_index(count=count), ContributionBuffer(), list[int]()
        before = pa.total_allocated_bytes()
        for number in range(count):
            columns = [pa.repeat(pa.scalar(number, pa.int32()), rows), times, names, values]
            buffer.add(pa.table(columns, ["execution", "timestamp", "diagnostic_name", "contribution"]))
            peaks.append(pa.total_allocated_bytes() - before)
        written = 0
        for table in merge_sensor_contributions([], index, buffer, set(range(count)), NOW):
            written += table.num_rows
            peaks.append(pa.total_allocated_bytes() - before)
        assert written == count * rows
        return max(peaks)

    small, large = measure(8), measure(24)

    assert large < 1.2 * small
