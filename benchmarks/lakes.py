"""Lakes of a fleet for benchmarks, written without the pipeline. Each scheduler runs every five minutes.

`write_rows` of the lake writes the files, so their encodings are those of the product.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.tables import (
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from benchmarks.service import build_arn, build_name
from benchmarks.stub import list_keys
from resources.encoded_texts import encode_texts
from resources.lake.lake import Lake
from resources.lake.table_contract import write_rows

LAST = date(2026, 10, 7)
NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
WINDOWS, LINES, SENSORS = 288, 5, 30
"""Executions per day, lines per result object, and sensors per line."""

BUCKET = "plant-sensor-data"
DAYS_PER_EVENT = 10
"""Each scheduler has an event of an hour on every tenth day."""

_EPOCH = date(1970, 1, 1)
_Columns = Mapping[str, Any]


def list_days(count: int) -> list[date]:
    """Return the last days, oldest first."""
    return [LAST - timedelta(days=number) for number in reversed(range(count))]


def write_coverage(lake: Lake, schedulers: int, days: Sequence[date]) -> None:
    """Write settled coverage and the tables that exist for each day."""
    numbers = np.arange(schedulers)
    for day in days:
        end = _to_ms(day) + 86_400_000
        columns = {
            **_repeat_names(numbers),
            "complete_through": np.full(schedulers, end + 10_800_000),
            "executions": np.full(schedulers, WINDOWS),
            "in_progress": np.zeros(schedulers, int),
            "failed": np.zeros(schedulers, int),
            "sources": "api",
        }
        _write(lake, EXTRACTION_COVERAGE, day, schedulers, columns)
        _write(lake, EXECUTION_HEALTH, day, 0, {})
        _write(lake, EQUIPMENT_HEALTH, day, 0, {})


def write_executions(lake: Lake, schedulers: int, days: Sequence[date]) -> None:
    """Write executions with result objects."""
    for day in days:
        _write(lake, INFERENCE_EXECUTIONS, day, schedulers * WINDOWS, _build_executions(schedulers, day))


def write_results(lake: Lake, schedulers: int, days: Sequence[date], days_with_sensors: int) -> None:
    """Write result objects and predictions, and the contributions of the last days."""
    for day in days:
        count = schedulers * WINDOWS
        executions = _build_executions(schedulers, day)
        columns = {
            "state": "read",
            "etag": _map_texts(np.arange(count), lambda number: f'"{number:032x}"'),
            "size_bytes": np.full(count, 9_000),
            "last_modified": executions["data_start_time"] + 400_000,
            "rows": np.full(count, LINES),
            "rejected": np.zeros(count, int),
            "reader_version": np.ones(count, int),
        }
        _write(lake, RESULT_OBJECTS, day, count, {**executions, **columns})
        _write(lake, ANOMALY_PREDICTIONS, day, count * LINES, _build_lines(schedulers, day, 1))
        if day in days[len(days) - days_with_sensors :]:
            rows = _build_lines(schedulers, day, SENSORS)
            sensors = np.tile(np.arange(SENSORS), count * LINES)
            columns = {
                "diagnostic_name": _map_texts(sensors, lambda number: f"pump\\Sensor{number:02d}"),
                "component": "pump",
                "sensor": _map_texts(sensors, lambda number: f"Sensor{number:02d}"),
                "contribution": np.round(np.random.default_rng(7).random(len(sensors)), 4),
            }
            _write(lake, SENSOR_CONTRIBUTIONS, day, len(sensors), {**rows, **columns})
        else:
            _write(lake, SENSOR_CONTRIBUTIONS, day, 0, {})


def _build_executions(schedulers: int, day: date) -> dict[str, Any]:
    numbers = np.repeat(np.arange(schedulers), WINDOWS)
    starts = _to_ms(day) + np.tile(np.arange(WINDOWS), schedulers) * 300_000
    return {
        **_repeat_names(numbers),
        "data_start_time": starts,
        "data_end_time": starts + 300_000,
        "scheduled_start_time": starts + 337_000,
        "result_s3_bucket": BUCKET,
        "result_s3_key": pa.array(list_keys(schedulers, day)),
        "status": "SUCCESS",
        "source": "api",
        "outcome_source": "api",
    }


def _build_lines(schedulers: int, day: date, copies: int) -> dict[str, Any]:
    """Build the lines of a day; each is repeated, such as once per sensor."""
    lines = WINDOWS * LINES
    minute = np.tile(np.arange(lines), schedulers)
    columns = {
        **_repeat_names(np.repeat(np.arange(schedulers), lines * copies)),
        "data_start_time": np.repeat(_to_ms(day) + minute // LINES * 300_000, copies),
        "timestamp": np.repeat(_to_ms(day) + minute * 60_000, copies),
    }
    number = np.repeat(np.arange(schedulers), lines)
    is_anomalous = ((number + day.toordinal()) % DAYS_PER_EVENT == 0) & (minute // 60 == number % 24)
    scores = np.random.default_rng(3).random(len(minute)) / 2 + is_anomalous / 2
    return {
        **columns,
        "prediction": np.repeat(is_anomalous.astype(int), copies),
        "anomaly_score": np.repeat(np.round(scores, 4), copies),
    }


def _repeat_names(numbers: Any) -> dict[str, Any]:  # noqa: ANN401 (an array)
    return {
        "scheduler_arn": _map_texts(numbers, build_arn),
        "scheduler_name": _map_texts(numbers, build_name),
    }


def _map_texts(numbers: Any, build: Callable[[int], str]) -> pa.Array:  # noqa: ANN401 (an array)
    distinct, indices = np.unique(numbers, return_inverse=True)
    texts = pa.array([build(int(number)) for number in distinct])
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), texts)


def _to_ms(day: date) -> int:
    return (day - _EPOCH).days * 86_400_000


def _write(lake: Lake, table: Table, day: date, count: int, columns: _Columns) -> None:
    """Write a day; the columns are in the order of the key."""
    values = {**columns, "recorded_at": _to_ms(day) + 90_000_000}
    arrays = []
    for field in table.schema:
        value = values.get(field.name)
        if value is None:
            arrays.append(pa.nulls(count, field.type))
        elif isinstance(value, str):
            arrays.append(_map_texts(np.zeros(count, int), lambda _, text=value: text))
        elif isinstance(value, int):
            arrays.append(pa.array(np.full(count, value)))
        else:
            arrays.append(value if isinstance(value, pa.Array) else pa.array(value))
    rows = encode_texts(pa.table(arrays, table.schema.names), table.encoded_schema)
    path = Path(lake.path(table, day))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as sink:
        write_rows(rows, table, sink)
