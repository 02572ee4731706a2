"""Parse result objects into columns: lines, contributions and rejected lines.

Columns are built for many objects together, which keeps the cost per small object low. An invalid line is
rejected with a reason, and the other lines are used. Memory holds only the columns: the Python objects of a
line are freed before the next line.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from assets.anomalies.lines import (
    InvalidLineError,
    ResultLine,
    parse_csv_line,
    parse_json_line,
    round_to_milliseconds,
)
from assets.tables import INSTANT
from resources.gzip_data import GZIP, MAX_GZIP_LAYERS, TOO_LARGE, unpack_gzip
from resources.read_limits import DEFAULT_LIMITS, ReadLimits

READER_VERSION = 1
"""Increase it when the same bytes give different rows; objects read by an older version are read again."""

WHOLE_OBJECT = 0
"""The line number of a rejection that concerns the whole object."""

MAX_LINE_BYTES = 1_000_000
"""A line with 300 sensors has 20 thousand."""

MAX_SENSORS = 30_000
"""Distinct sensor names in an object; the service accepts 3,000 in a dataset."""

MAX_REJECTED_PER_OBJECT = 1_000
"""Further rejected lines of an object are only counted."""

_MAX_RAW_BYTES = 10_000
"""A rejected line is kept up to this length."""

_BOM = b"\xef\xbb\xbf"
_CSV_HEADER = b"timestamp,predictions"
_BACKSLASH = "\\"

LINE_SCHEMA = pa.schema(
    {
        "object": pa.int32(),
        "timestamp": INSTANT,
        "prediction": pa.int64(),
        "prediction_reason": pa.string(),
        "anomaly_score": pa.float64(),
        "unrecognized": pa.string(),
    }
)
CONTRIBUTION_SCHEMA = pa.schema(
    {
        "object": pa.int32(),
        "timestamp": INSTANT,
        "diagnostic_name": pa.dictionary(pa.int32(), pa.string()),
        "contribution": pa.float64(),
    }
)
REJECTED_SCHEMA = pa.schema(
    {"object": pa.int32(), "line_number": pa.int64(), "reason": pa.string(), "raw": pa.string()}
)


@dataclass(frozen=True)
class ParsedResult:
    """The content of some objects; the column `object` is the number passed with each object."""

    lines: pa.Table
    contributions: pa.Table
    rejected: pa.Table


def parse_objects(
    objects: Iterable[tuple[int, str, bytes]], limits: ReadLimits = DEFAULT_LIMITS
) -> ParsedResult:
    """Parse objects into columns.

    Args:
        objects: number, key and bytes of each object.
        limits: limits of each object.

    Returns:
        The valid lines, their contributions, and the rejected lines. Timestamps are unique in each object.
        Rows of an object are in its order.
    """
    builder = _ColumnBuilder(limits)
    for number, key, data in objects:
        builder.add_object(number, key, data)
    return builder.build()


def parse_in_batches(
    objects: Iterable[tuple[int, str, bytes]],
    limits: ReadLimits = DEFAULT_LIMITS,
    problems: Mapping[int, str] | None = None,
) -> Iterator[ParsedResult]:
    """Parse objects like `parse_objects`; yield whenever there are as many lines as one object may have.

    Args:
        objects: number, key and bytes of each object.
        limits: limits of each object.
        problems: the reasons to reject whole objects, by number.
    """
    builder = _ColumnBuilder(limits)
    for number, problem in (problems or {}).items():
        builder.reject(number, WHOLE_OBJECT, problem, b"")
    for number, key, data in objects:
        builder.add_object(number, key, data)
        if builder.line_count >= limits.rows or len(builder.name_codes) >= MAX_SENSORS:
            yield builder.build()
            builder = _ColumnBuilder(limits)
    yield builder.build()


def split_diagnostic_names(names: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Split names at their first backslash into component (null without a backslash) and sensor."""
    parts = [name.partition(_BACKSLASH) for name in names.to_pylist()]
    components = [component if backslash else None for component, backslash, _ in parts]
    sensors = [sensor if backslash else component for component, backslash, sensor in parts]
    return pa.array(components, pa.string()), pa.array(sensors, pa.string())


@dataclass
class _ColumnBuilder:
    """Growing columns with one entry per line; `values` has one entry per contribution.

    Lines with the same sensors in the same order share a layout, so sensor names are stored once per layout.
    Layout 0 has no sensors.
    """

    limits: ReadLimits = DEFAULT_LIMITS
    numbers: list[int] = field(default_factory=list)
    timestamps: list[datetime] = field(default_factory=list)
    predictions: list[int | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    unrecognized: list[str | None] = field(default_factory=list)
    layouts: list[int] = field(default_factory=list)
    values: "array[float]" = field(default_factory=lambda: array("d"))
    rejected: list[tuple[int, int, str, str]] = field(default_factory=list)
    name_codes: dict[str, int] = field(default_factory=dict)
    names_before: int = 0
    layout_numbers: dict[tuple[str, ...], int] = field(default_factory=lambda: {(): 0})
    layout_codes: list[Any] = field(default_factory=lambda: [np.zeros(0, np.int32)])

    @property
    def line_count(self) -> int:
        """How many lines were added, rejected ones included."""
        return len(self.numbers) + len(self.rejected)

    def add_object(self, number: int, key: str, data: bytes) -> None:
        text, problem = _unpack(data, self.limits)
        if problem:
            self.reject(number, WHOLE_OBJECT, problem, b"")
        is_csv = key.lower().removesuffix(".gz").endswith(".csv")
        seen: set[datetime] = set()
        rejected_before, self.names_before = len(self.rejected), len(self.name_codes)
        omitted = 0
        for line_number, raw in _number_lines(text, self.limits.rows):
            if line_number > self.limits.rows:
                self.reject(number, WHOLE_OBJECT, f"{self.limits.too_many_rows}; the rest was not read", b"")
                break
            if is_csv and line_number == 1 and raw.lower() == _CSV_HEADER:
                continue
            try:
                self._add_line(number, raw, seen, is_csv=is_csv)
            except InvalidLineError as error:
                if len(self.rejected) - rejected_before < MAX_REJECTED_PER_OBJECT:
                    self.reject(number, line_number, str(error), raw)
                else:
                    omitted += 1
        if omitted:
            self.reject(number, WHOLE_OBJECT, f"{omitted:,} more lines are rejected", b"")

    def _add_line(self, number: int, raw: bytes, seen: set[datetime], *, is_csv: bool) -> None:
        if len(raw) > MAX_LINE_BYTES:
            raise InvalidLineError(f"longer than {MAX_LINE_BYTES:,} bytes")
        line, unrecognized = (parse_csv_line(raw), None) if is_csv else parse_json_line(raw)
        time = round_to_milliseconds(line.timestamp)
        if time in seen:
            raise InvalidLineError("an earlier line has the same timestamp")
        layout = self._find_layout(line)
        seen.add(time)
        self.numbers.append(number)
        self.timestamps.append(time)
        self.predictions.append(line.prediction)
        self.reasons.append(line.prediction_reason)
        self.scores.append(line.anomaly_score)
        self.unrecognized.append(unrecognized)
        self.layouts.append(layout)
        if layout:
            self.values.fromlist([contribution.value for contribution in line.diagnostics or ()])

    def _find_layout(self, line: ResultLine) -> int:
        """Return the number of the line's layout; a new layout gets a new number."""
        if not line.diagnostics:
            return 0
        names = tuple([contribution.name for contribution in line.diagnostics])
        layout = self.layout_numbers.get(names)
        if layout is None:
            if len(set(names)) != len(names):
                repeated = next(name for name in names if names.count(name) > 1)
                raise InvalidLineError(f"a sensor occurs twice: {repeated}")
            if len(self.name_codes) - self.names_before + len(names) > MAX_SENSORS:
                raise InvalidLineError(f"more than {MAX_SENSORS:,} different sensors")
            for name in names:
                self.name_codes.setdefault(name, len(self.name_codes))
            layout = self.layout_numbers[names] = len(self.layout_codes)
            self.layout_codes.append(np.array([self.name_codes[name] for name in names], np.int32))
        return layout

    def reject(self, number: int, line_number: int, reason: str, raw: bytes) -> None:
        text = raw[:_MAX_RAW_BYTES].decode(errors="backslashreplace")
        self.rejected.append((number, line_number, reason, text))

    def build(self) -> ParsedResult:
        lines = pa.table(
            [
                pa.array(self.numbers, pa.int32()),
                pa.array(self.timestamps, pa.timestamp("ms")).cast(INSTANT),
                pa.array(self.predictions, pa.int64()),
                pa.array(self.reasons, pa.string()),
                pa.array(self.scores, pa.float64()),
                pa.array(self.unrecognized, pa.string()),
            ],
            schema=LINE_SCHEMA,
        )
        return ParsedResult(lines, self._build_contributions(lines), self._build_rejected())

    def _build_contributions(self, lines: pa.Table) -> pa.Table:
        sizes = np.array([len(codes) for codes in self.layout_codes])
        rows = pa.array(np.repeat(np.arange(lines.num_rows), sizes[np.array(self.layouts, np.int64)]))
        line_codes = (self.layout_codes[layout] for layout in self.layouts)
        codes = np.concatenate([np.zeros(0, np.int32), *line_codes])
        names = pa.array(list(self.name_codes), pa.string())
        return pa.table(
            [
                lines["object"].take(rows),
                lines["timestamp"].take(rows),
                pa.DictionaryArray.from_arrays(pa.array(codes), names),
                pa.array(np.array(self.values, np.float64)),
            ],
            schema=CONTRIBUTION_SCHEMA,
        )

    def _build_rejected(self) -> pa.Table:
        columns = list(zip(*self.rejected, strict=True)) or [()] * len(REJECTED_SCHEMA)
        return pa.table(
            [pa.array(column, kind) for column, kind in zip(columns, REJECTED_SCHEMA.types, strict=True)],
            schema=REJECTED_SCHEMA,
        )


def _unpack(data: bytes, limits: ReadLimits) -> tuple[bytes, str]:
    """Unpack gzip data, also if it was packed more than once.

    Returns:
        The unpacked bytes, as many as could be read, and a problem ("": none).
    """
    for _ in range(MAX_GZIP_LAYERS):
        if not data.startswith(GZIP):
            break
        data, problem = unpack_gzip(data, limits.size_bytes)
        if problem is not None:
            return data, limits.too_large if problem == TOO_LARGE else problem
    if len(data) > limits.size_bytes:
        return b"", limits.too_large
    return data, ""


def _number_lines(text: bytes, limit: int) -> Iterator[tuple[int, bytes]]:
    """Number the lines from 1; skip a byte order mark, and up to a limit blank lines, which count."""
    start, number = len(_BOM) if text.startswith(_BOM) else 0, 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        number += 1
        line = text[start:end].strip()
        if line or number > limit:
            yield number, line
        start = end + 1
