"""Results stay known when their execution turns out to belong to another scheduler."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.anomalies.reading import record_shards
from assets.anomalies.reassignment import insert_rows, move_results
from assets.framework.row_content import conform
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.aws.session import AwsAccess
from resources.encoded_texts import encode_texts
from resources.lake.lake import Lake
from resources.results.fetcher import ResultFetcher
from resources.results.local_copy import LocalCopy
from resources.row_order import sort_rows

DAY, START = date(2026, 10, 7), datetime(2026, 10, 7, tzinfo=UTC)
NOW, LATER = datetime(2026, 10, 8, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC)
PLACEHOLDER = "arn:aws:lookoutequipment:::output-prefix/plant/pump/"
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump/0"
OTHER = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/fan/0"
TABLES = (ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)
LINE = (
    '{"timestamp": "2026-10-07T%02d:01:00.000000", "prediction": 1,'
    ' "diagnostics": [{"name": "pump\\\\s1", "value": 0.5}, {"name": "pump\\\\s2", "value": 0.5}]}'
    "\nnot JSON\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bucket with three results."""
    for hour in range(3):
        file = tmp_path / "copy" / build_key(hour)
        file.parent.mkdir(parents=True)
        file.write_text(LINE % hour)
    return tmp_path / "copy"


@pytest.fixture(params=[1, 4], ids=["one file", "four files"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), shards=request.param)


def build_key(hour: int) -> str:
    return f"pump/{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}/results.jsonl"


def write_executions(lake: Lake, arn: str, status: str = "SUCCESS", more: str | None = None) -> None:
    """Replace the executions of the day: three with results, perhaps of two schedulers."""
    rows = [
        {
            "scheduler_arn": each,
            "data_start_time": START + timedelta(hours=hour),
            "status": status,
            "result_s3_bucket": "plant" if status == "SUCCESS" else None,
            "result_s3_key": build_key(hour) if status == "SUCCESS" else None,
            "source": "archive",
            "outcome_source": "archive",
            "recorded_at": NOW,
        }
        for each in filter(None, (arn, more))
        for hour in range(3)
    ]
    nullable = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    executions = conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(rows, schema=nullable))
    lake.update(INFERENCE_EXECUTIONS, DAY, lambda _: executions)


def record(lake: Lake, folder: Path, now: datetime = LATER) -> int:
    """Return the number of objects that were read."""
    fetcher = ResultFetcher(AwsAccess(profile="no-such-profile"), copies=[LocalCopy("plant", "", folder)])
    return sum(recorded.states["read"] for recorded in record_shards(lake, fetcher, DAY, now))


def read_rows(lake: Lake, table: Table) -> list[dict[str, Any]]:
    """Return the rows without the columns that change when a row moves."""
    rows = lake.read(table, DAY).to_pylist()
    dropped = {"scheduler_arn", "scheduler_name", "recorded_at"}
    return [{name: value for name, value in row.items() if name not in dropped} for row in rows]


def read_arns(lake: Lake) -> list[list[str]]:
    return [sorted({*lake.read(table, DAY)["scheduler_arn"].to_pylist()}) for table in TABLES]


def test_rows_move_to_the_real_scheduler_without_reading_the_objects(lake: Lake, folder: Path) -> None:
    write_executions(lake, PLACEHOLDER)
    assert record(lake, folder, NOW) == 3
    before = [read_rows(lake, table) for table in TABLES]
    assert all(before)
    write_executions(lake, ARN)
    assert record(lake, folder) == 0
    assert read_arns(lake) == [[ARN] for _ in TABLES]
    assert [read_rows(lake, table) for table in TABLES] == before
    for table in TABLES:
        assert {*lake.read(table, DAY)["recorded_at"].to_pylist()} == {LATER}, table.name


def test_rows_whose_new_keys_have_another_order_are_sorted(lake: Lake, folder: Path) -> None:
    write_executions(lake, PLACEHOLDER)
    record(lake, folder, NOW)
    starts = [START + timedelta(hours=hour) for hour in range(3)]
    moves = {(PLACEHOLDER, start): (f"{ARN}-{3 - hour}", start) for hour, start in enumerate(starts)}
    move_results(lake, DAY, moves, LATER)
    for table in TABLES:
        rows = list(lake.read_files(table, DAY, table.content_columns))
        assert sum(part.num_rows for part in rows) >= len(moves)
        assert all(part.equals(sort_rows(part, table.key)) for part in rows)


def test_an_interrupted_move_is_completed(lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_executions(lake, PLACEHOLDER)
    record(lake, folder, NOW)
    before = [read_rows(lake, table) for table in TABLES]
    write_executions(lake, ARN)
    for writes in range(1, 4):
        with monkeypatch.context() as patch:
            _interrupt_after(patch, writes)
            with pytest.raises(KeyboardInterrupt):
                record(lake, folder)
    record(lake, folder)
    assert read_arns(lake) == [[ARN] for _ in TABLES]
    assert [read_rows(lake, table) for table in TABLES] == before


def _interrupt_after(patch: pytest.MonkeyPatch, writes: int) -> None:
    """Interrupt the next write of the lake after some have succeeded."""
    counter = iter(range(writes))

    def count(method: Any) -> Any:
        def write(*arguments: Any, **options: Any) -> Any:
            if next(counter, None) is None:
                raise KeyboardInterrupt
            return method(*arguments, **options)

        return write

    for name in ("update", "update_row_groups"):
        patch.setattr(Lake, name, count(getattr(Lake, name)))


def test_rows_of_an_ambiguous_result_are_removed(lake: Lake, folder: Path) -> None:
    """Neither of two executions that claim a result has it."""
    write_executions(lake, ARN)
    record(lake, folder, NOW)
    write_executions(lake, ARN, "IN_PROGRESS", OTHER)
    record(lake, folder)
    assert read_arns(lake) == [[] for _ in TABLES]


def test_rows_stay_if_nothing_names_another_execution(lake: Lake, folder: Path) -> None:
    """A lost file of executions removes no results."""
    write_executions(lake, ARN)
    record(lake, folder, NOW)
    lake.update(INFERENCE_EXECUTIONS, DAY, lambda rows: rows.slice(0, 0))
    record(lake, folder)
    assert read_arns(lake) == [[ARN] for _ in TABLES]


executions = st.tuples(st.sampled_from("ab"), st.integers(0, 3))


def build_predictions(rows: list[tuple[str, int]], minute: int = 0) -> pa.Table:
    """Build two lines of each execution; `minute` tells them apart."""
    lines = [
        {
            "scheduler_arn": arn,
            "data_start_time": START + timedelta(hours=hour),
            "timestamp": START + timedelta(hours=hour, minutes=minute, seconds=second),
            "prediction": 0,
            "recorded_at": NOW,
        }
        for arn, hour in sorted(rows)
        for second in range(2)
    ]
    nullable = pa.schema([field.with_nullable(True) for field in ANOMALY_PREDICTIONS.schema])
    return conform(ANOMALY_PREDICTIONS, pa.Table.from_pylist(lines, schema=nullable))


@settings(deadline=None, max_examples=50)
@given(st.sets(executions), st.sets(executions), st.sets(executions), st.lists(st.integers(0, 16)))
def test_rows_are_inserted_in_order(
    stored: set[tuple[str, int]],
    arriving: set[tuple[str, int]],
    removed: set[tuple[str, int]],
    borders: list[int],
) -> None:
    """An execution that is stored and stays is not replaced; row groups can end within an execution."""
    rows = build_predictions([*stored])
    ends = [0, *sorted(min(border, rows.num_rows) for border in borders), rows.num_rows]
    groups = [rows.slice(first, end - first) for first, end in pairwise(ends)]
    new = encode_texts(build_predictions([*arriving], 1), ANOMALY_PREDICTIONS.encoded_schema)
    keys = {(arn, START + timedelta(hours=hour)) for arn, hour in removed}

    inserted = pa.concat_tables([rows.slice(0, 0), *insert_rows(groups, new, keys)])

    kept = build_predictions([*(stored - removed)])
    added = build_predictions([*(arriving - (stored - removed))], 1)
    assert inserted.equals(conform(ANOMALY_PREDICTIONS, pa.concat_tables([kept, added])))
