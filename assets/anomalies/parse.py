"""Result objects to columns: bytes in, lines and contributions out, of any age of the format.

Columns are built for many objects together: an object of five lines costs next to nothing so. A line that
cannot be used is put aside by itself, and costs the others nothing. Memory is that of the columns; a line's
Python objects are gone before the next line.
"""

import zlib
from array import array
from collections.abc import Iterable, Iterator
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

READER_VERSION = 1
"""Rises when the same bytes give other rows; what an older one read is read again."""

MAX_OBJECT_BYTES = 2_000_000_000
"""Unpacked; 300 sensors and an hour of seconds are 50 million."""

WHOLE_OBJECT = 0
"""The line number of what is wrong with an object as a whole."""

_GZIP = b"\x1f\x8b"
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
    """What some objects hold; `object` is the number that each was given."""

    lines: pa.Table
    contributions: pa.Table
    rejected: pa.Table


def parse_objects(objects: Iterable[tuple[int, str, bytes]]) -> ParsedResult:
    """Turn objects into columns.

    Args:
        objects: a number, the key and the bytes of each.

    Returns:
        Their usable lines, the contributions of these, and what had to be put aside. Timestamps are unique
        in each object. Rows of an object keep its order.
    """
    read = _Read()
    for number, key, data in objects:
        read.add(number, key, data)
    return read.columns()


def split_diagnostic_names(names: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Split names of diagnostics at their first backslash: component (null without one) and sensor."""
    parts = [name.partition(_BACKSLASH) for name in names.to_pylist()]
    components = [component if backslash else None for component, backslash, _ in parts]
    sensors = [sensor if backslash else whole for whole, backslash, sensor in parts]
    return pa.array(components, pa.string()), pa.array(sensors, pa.string())


@dataclass
class _Read:
    """Columns while they grow; one entry a line, and in `values` one a contribution."""

    numbers: list[int] = field(default_factory=list)
    timestamps: list[datetime] = field(default_factory=list)
    predictions: list[int | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    unrecognized: list[str | None] = field(default_factory=list)
    layouts: list[int] = field(default_factory=list)
    values: "array[float]" = field(default_factory=lambda: array("d"))
    rejected: list[tuple[int, int, str, str]] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    known_layouts: dict[tuple[str, ...], int] = field(default_factory=lambda: {(): 0})
    codes_of_layouts: list[Any] = field(default_factory=lambda: [np.zeros(0, np.int32)])

    def add(self, number: int, key: str, data: bytes) -> None:
        """Take in an object, line by line."""
        text, problem = _unpacked(data)
        if problem:
            self._reject(number, WHOLE_OBJECT, problem, b"")
        is_csv = key.lower().removesuffix(".gz").endswith(".csv")
        seen: set[datetime] = set()
        for line_number, raw in _lines(text):
            if is_csv and line_number == 1 and raw.lower() == _CSV_HEADER:
                continue
            try:
                line, more = (parse_csv_line(raw), None) if is_csv else parse_json_line(raw)
                moment = round_to_milliseconds(line.timestamp)
                if moment in seen:
                    raise InvalidLineError("a line before it has the same timestamp")  # noqa: TRY301
                layout = self._layout(line)
            except InvalidLineError as unusable:
                self._reject(number, line_number, str(unusable), raw)
                continue
            seen.add(moment)
            self.numbers.append(number)
            self.timestamps.append(moment)
            self.predictions.append(line.prediction)
            self.reasons.append(line.prediction_reason)
            self.scores.append(line.anomaly_score)
            self.unrecognized.append(more)
            self.layouts.append(layout)
            if layout:
                self.values.extend([one.value for one in line.diagnostics or ()])

    def _layout(self, line: ResultLine) -> int:
        """Return the number of the line's sensors in their order; there are few such orders."""
        if not line.diagnostics:
            return 0
        names = tuple([one.name for one in line.diagnostics])
        found = self.known_layouts.get(names)
        if found is None:
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise InvalidLineError(f"a sensor stands in it twice: {twice}")
            for name in names:
                self.codes.setdefault(name, len(self.codes))
            found = self.known_layouts[names] = len(self.codes_of_layouts)
            self.codes_of_layouts.append(np.array([self.codes[name] for name in names], np.int32))
        return found

    def _reject(self, number: int, line_number: int, reason: str, raw: bytes) -> None:
        self.rejected.append((number, line_number, reason, raw.decode(errors="backslashreplace")))

    def columns(self) -> ParsedResult:
        """Build the columns."""
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
        rejected = list(zip(*self.rejected, strict=True)) or [()] * len(REJECTED_SCHEMA)
        return ParsedResult(
            lines,
            self._contributions(lines),
            pa.table(
                [
                    pa.array(column, kind)
                    for column, kind in zip(rejected, REJECTED_SCHEMA.types, strict=True)
                ],
                schema=REJECTED_SCHEMA,
            ),
        )

    def _contributions(self, lines: pa.Table) -> pa.Table:
        sizes = np.array([len(codes) for codes in self.codes_of_layouts])
        rows = pa.array(np.repeat(np.arange(lines.num_rows), sizes[np.array(self.layouts, np.int64)]))
        codes = np.concatenate([np.zeros(0, np.int32), *(self.codes_of_layouts[one] for one in self.layouts)])
        names = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(self.codes), pa.string()))
        values = np.array(self.values, np.float64)
        return pa.table(
            [lines["object"].take(rows), lines["timestamp"].take(rows), names, pa.array(values)],
            schema=CONTRIBUTION_SCHEMA,
        )


def _unpacked(data: bytes) -> tuple[bytes, str]:
    """Unpack what is packed; what can be had of a broken pack, and what is wrong with it."""
    if not data.startswith(_GZIP):
        return data, ""
    parts: list[bytes] = []
    left = MAX_OBJECT_BYTES
    while data:
        unpacking = zlib.decompressobj(wbits=31)
        try:
            part = unpacking.decompress(data, left)
        except zlib.error as problem:
            return b"".join(parts), f"its gzip is broken: {problem}"
        parts.append(part)
        left -= len(part)
        if not unpacking.eof:
            return b"".join(parts), "its gzip is cut short" if left else "it is too large"
        data = unpacking.unused_data.lstrip(b"\0")
    return b"".join(parts), ""


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Number the lines from 1, and pass over blank ones, and over a mark of the byte order in front.""" ""
    start, number = len(_BOM) if text.startswith(_BOM) else 0, 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        number += 1
        line = text[start:end].strip()
        if line:
            yield number, line
        start = end + 1
