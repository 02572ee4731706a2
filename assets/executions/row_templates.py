"""Rows of a page that equal another row except for a few values, found without decoding each row.

A summary has about 1.3 kB of JSON, of which only the times and the key of the result differ from row to row.
The first row of each kind is decoded and becomes a template: its bytes around these values. Other rows are
compared with the bytes of the templates. The result is exact: a row that matches differs from a decoded row
only in whole texts without escapes, or in whole numbers of JSON.

Rows with values of equal length are compared as one matrix; others are compared one by one.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VALUES = ("ScheduledStartTime", "DataStartTime", "DataEndTime", "Key", "FailedReason")
"""The members whose values may differ. `Key` is that of CustomerResultObject."""

Decode = Callable[[bytes], Any]
"""Decodes a summary with its types; None: it is invalid or has unknown members."""

_NUMBERS_DECODER = msgspec.json.Decoder(list[float])
_NAMES = b"|".join(name.encode() for name in VALUES)
_VALUE = re.compile(rb'"(%s)"\s*:\s*(?:"([^"\\]*)"|(-?[0-9][-+.0-9eE]*))' % _NAMES)
_VALID_TEXT = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')
_LIST_START = re.compile(rb"\s*\[\s*")
_RESPONSE_START = re.compile(
    rb'\s*\{\s*(?:"NextToken"\s*:\s*(?:"[^"\\]*"|null)\s*,\s*)?"InferenceExecutionSummaries"\s*:\s*\[\s*'
)
_COMMA = re.compile(rb"\s*,\s*")
_NEWLINE = re.compile(rb"\r?\n")

_FIRST_MEMBER = re.compile(rb'\{\s*"\w+"')
_SEPARATOR = b" \t\r\n,"

_MAX_ROW_BYTES = 1 << 20
"""Longer text is no row, and is not copied."""

_FREE_TEMPLATES = 8
_ROWS_PER_TEMPLATE = 8
"""With more templates than this, decoding each row is cheaper."""

_EQUAL_ROWS = 4
"""After as many rows of one length, the next rows are compared as a matrix."""

_FIRST_MATRIX, _LARGEST_MATRIX = 32, 2_048


@dataclass
class Texts:
    """The values of one member, one after another.

    Attributes:
        data: the bytes of all values; each number is followed by a comma.
        lengths: the length of each row's value; -1 if the row does not have the member.
        are_numbers: whether they are numbers, not texts; None: there is no value.
        numbers: the numbers, after `decode_numbers`.
    """

    data: bytearray = field(default_factory=bytearray)
    lengths: "array[int]" = field(default_factory=lambda: array("i"))
    are_numbers: bool | None = None
    numbers: list[float] = field(default_factory=list)

    def decode_numbers(self) -> bool:
        """Decode the numbers; return whether each row with the member has one number of JSON."""
        try:
            self.numbers = _NUMBERS_DECODER.decode(b"[%b]" % bytes(self.data[:-1]))
        except msgspec.DecodeError:
            return False
        self.data.clear()
        return len(self.numbers) == self._count_values(len(self.lengths))

    def _count_values(self, end: int) -> int:
        """Return the number of values in the rows before a position."""
        return int(np.count_nonzero(np.array(self.lengths)[:end] >= 0))

    def slice(self, start: int, end: int) -> "Texts":
        """Return the values of some rows."""
        lengths = self.lengths[start:end]
        if self.are_numbers:
            numbers = self.numbers[self._count_values(start) : self._count_values(end)]
            return Texts(lengths=lengths, are_numbers=True, numbers=numbers)
        sizes = np.maximum(np.array(self.lengths)[:end], 0)
        first, size = int(sizes[:start].sum()), int(sizes[start:].sum())
        return Texts(self.data[first : first + size], lengths, self.are_numbers)

    def to_arrow(self) -> pa.StringArray:
        """Return the texts; null for rows without the member."""
        lengths = np.frombuffer(self.lengths, np.int32)
        is_null = lengths < 0
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(np.where(is_null, 0, lengths), out=offsets[1:])
        validity = pa.array(~is_null).buffers()[1] if is_null.any() else None
        buffers = (pa.py_buffer(offsets), pa.py_buffer(bytes(self.data)), validity)
        return pa.StringArray.from_buffers(len(lengths), *buffers)


@dataclass
class TemplateRows:
    """The rows of a page.

    Attributes:
        summaries: the decoded first row of each template.
        numbers: the number of the template of each row.
        values: the values of each member of `VALUES`.
        ends: the position in the page of the end of each row.
        rest: the page without its rows.
    """

    summaries: list[Any] = field(default_factory=list)
    numbers: "array[int]" = field(default_factory=lambda: array("i"))
    values: dict[str, Texts] = field(default_factory=lambda: {name: Texts() for name in VALUES})
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    rest: bytes = b""

    def slice(self, start: int, end: int) -> "TemplateRows":
        """Return some rows, without their positions."""
        if (start, end) == (0, len(self.numbers)):
            return self
        values = {name: texts.slice(start, end) for name, texts in self.values.items()}
        return TemplateRows(self.summaries, self.numbers[start:end], values)


@dataclass(frozen=True)
class FileRows:
    """The rows of one file among those of several files.

    Attributes:
        rows: the rows of all files.
        start: the number of the first row of this file.
        end: the number of the row after its last one.
        rest: the file without its rows.
    """

    rows: TemplateRows
    start: int
    end: int
    rest: bytes


def join_rows(pages: Sequence[TemplateRows]) -> TemplateRows | None:
    """Join the rows of several pages; None: a member has numbers in one page and texts in another."""
    joined = TemplateRows()
    for page in pages:
        joined.numbers.frombytes((np.frombuffer(page.numbers, np.int32) + len(joined.summaries)).tobytes())
        joined.summaries += page.summaries
        for name, texts in page.values.items():
            before = joined.values[name]
            if None is not texts.are_numbers != before.are_numbers is not None:
                return None
            before.are_numbers = texts.are_numbers if before.are_numbers is None else before.are_numbers
            before.data += texts.data
            before.numbers += texts.numbers
            before.lengths += texts.lengths
    return joined


def match_rows(body: bytes, decode: Decode, *, is_lines: bool) -> TemplateRows | None:
    """Compare the rows of a page; None: decoding each row is necessary, or cheaper.

    Args:
        body: a response, a list of summaries, or one summary per line.
        decode: decodes a row.
        is_lines: whether the body has one summary per line.
    """
    if is_lines:
        return _Page(body, decode, 0, _NEWLINE).match()
    if start := _LIST_START.match(body) or _RESPONSE_START.match(body):
        return _Page(body, decode, start.end(), _COMMA).match()
    return None


def match_files(bodies: Sequence[bytes], decode: Decode) -> list[FileRows | None]:
    """Compare the rows of small files with each other; None: decoding a file alone is necessary, or cheaper.

    Files with the same separator are compared as one page.

    Args:
        bodies: responses or lists of summaries.
        decode: decodes a row.
    """
    found: list[FileRows | None] = [None] * len(bodies)
    parts: dict[bytes, list[tuple[int, int, int]]] = {}
    for position, body in enumerate(bodies):
        if located := _locate_rows(body):
            separator, start, end = located
            parts.setdefault(separator, []).append((position, start, end))
    for separator, spans in parts.items():
        page = separator.join(bodies[position][start:end] for position, start, end in spans)
        sizes = np.array([end - start for _, start, end in spans])
        ends = np.cumsum(sizes + len(separator)) - len(separator)
        borders = _match_borders(page, decode, ends - sizes, ends)
        for (position, start, end), (rows, first, last) in zip(spans, borders, strict=False):
            if rows is not None:
                rest = bodies[position][:start] + bodies[position][end:]
                found[position] = FileRows(rows, first, last, rest)
    return found


def _match_borders(
    page: bytes, decode: Decode, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Iterator[tuple[TemplateRows | None, int, int]]:
    """Yield the rows of each file, as in `FileRows`; None: the file has rows that cannot be compared.

    Args:
        page: the rows of all files.
        decode: decodes a row.
        starts: where each file starts in the page.
        ends: where it ends.
    """
    file = 0
    while file < len(starts):
        rows = _Page(page, decode, int(starts[file]), _COMMA).match_start()
        if rows is None:
            return
        first, row_ends = 0, np.array(rows.ends, np.int64)
        counts = np.searchsorted(row_ends, ends[file:])
        is_matched = counts < len(row_ends)
        is_matched[is_matched] = row_ends[counts[is_matched]] == ends[file:][is_matched]
        for count in (counts if is_matched.all() else counts[: is_matched.argmin()]).tolist():
            yield rows, first, count + 1
            first = count + 1
            file += 1
        if file < len(starts):
            yield None, 0, 0
            file += 1


def _locate_rows(body: bytes) -> tuple[bytes, int, int] | None:
    """Return the separator of the rows of a file, and the span of all rows; a match of them proves it."""
    found = _RESPONSE_START.match(body) or _LIST_START.match(body)
    start = found.end() if found else 0
    first_member = found and _FIRST_MEMBER.match(body, start)
    if not first_member:
        return None
    end = body.rfind(b"}", start, body.rfind(b"]")) + 1
    second = body.find(first_member[0], start + 1, end)
    row = body[start:second] if second > 0 else b""
    separator = row[len(row.rstrip(_SEPARATOR)) :]
    return (separator if b"," in separator else b",", start, end) if end else None


class _Template:
    """The bytes of a row around its values."""

    def __init__(self, number: int, row: bytes, values: Sequence[re.Match[bytes]]) -> None:
        self.number = number
        self.names = [match[1].decode() for match in values]
        self.are_numbers = [match[2] is None for match in values]
        spans = [match.span(3 if match[2] is None else 2) for match in values]
        borders = [0, *(position for span in spans for position in span), len(row)]
        self.literals = [row[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True)]
        self.missing = [name for name in VALUES if name not in self.names]
        self._parts = [
            (literal, len(literal), following[:1])
            for literal, following in zip(self.literals, self.literals[1:], strict=False)
        ]

    def match(self, body: bytes, start: int) -> tuple[list[bytes], int] | None:
        """Return the values of the row at a position, and its end; None: it is another row."""
        values = []
        for literal, length, following in self._parts:
            if not body.startswith(literal, start):
                return None
            start += length
            end = body.find(following, start)
            values.append(body[start:end])
            start = end
        if start < 0 or not body.startswith(self.literals[-1], start):
            return None
        return values, start + len(self.literals[-1])

    def locate(self, values: Sequence[bytes]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the spans of literals and of values in a row with values of these lengths."""
        literals, spans, start = [], [], 0
        for literal, value in zip(self.literals, values, strict=False):
            literals.append((start, start + len(literal)))
            start += len(literal)
            spans.append((start, start + len(value)))
            start += len(value)
        literals.append((start, start + len(self.literals[-1])))
        return literals, spans


class _Page:
    """Matches the rows of one page in their order."""

    def __init__(self, body: bytes, decode: Decode, start: int, separator: re.Pattern[bytes]) -> None:
        self._body = body
        self._decode = decode
        self._start = start
        self._pattern = separator
        self._separator = b""
        self._templates: list[_Template] = []
        self._rows = TemplateRows()

    def match(self) -> TemplateRows | None:
        """Return the rows, or None as `match_rows` does."""
        end = self._match_rows()
        if end is None or not self._has_valid_values():
            return None
        self._rows.rest = self._body[: self._start] + self._body[end:]
        return self._rows

    def match_start(self) -> TemplateRows | None:
        """Return the rows before the first one that cannot be compared; None: a value must be decoded."""
        self._match_rows()
        return self._rows if self._has_valid_values() else None

    def _match_rows(self) -> int | None:
        """Match rows, and return the position after them; None: a row cannot be compared."""
        position, length, run, needed = self._start, 0, 0, _EQUAL_ROWS
        while position < len(self._body):
            found = self._match_row(position)
            if found is None:
                return None
            template, values, end = found
            self._add(template, values, end)
            separator = self._find_separator(end)
            if not separator:
                position = end
                break
            run = run + 1 if end - position == length else 0
            length = end - position
            position = end + separator
            if run >= needed:
                count = self._match_matrix(template, values, position, length + separator)
                position += count * (length + separator)
                run, needed = 0, _EQUAL_ROWS if count >= _FIRST_MATRIX else 2 * needed
        return position

    def _match_row(self, start: int) -> tuple[_Template, list[bytes], int] | None:
        for position, template in enumerate(self._templates):
            if found := template.match(self._body, start):
                if position:  # the next row probably has the same one
                    self._templates.insert(0, self._templates.pop(position))
                return template, *found
        added = self._add_template(start)
        found = added.match(self._body, start) if added else None
        return (added, *found) if added and found else None

    def _add_template(self, start: int) -> _Template | None:
        if len(self._templates) > _FREE_TEMPLATES + len(self._rows.numbers) // _ROWS_PER_TEMPLATE:
            return None
        row = self._find_row(start)
        summary = self._decode(row)
        template = _Template(len(self._templates), row, [*_VALUE.finditer(row)])
        if summary is None or not _is_valid(template, summary, self._decode):
            return None
        for name, is_number in zip(template.names, template.are_numbers, strict=True):
            texts = self._rows.values[name]
            if texts.are_numbers is not None and texts.are_numbers != is_number:
                return None
            texts.are_numbers = is_number
        self._templates.insert(0, template)
        self._rows.summaries.append(summary)
        return template

    def _find_row(self, start: int) -> bytes:
        """Return the row at a position; if that fails, bytes that cannot be decoded."""
        ends = [b"\n"]
        if self._pattern is _COMMA:
            first_member = _FIRST_MEMBER.match(self._body, start)
            ends = [
                self._separator + b"{" if self._separator else first_member[0] if first_member else b"]",
                b"]",
            ]
        end = next((end for mark in ends if (end := self._body.find(mark, start + 1)) > 0), len(self._body))
        return self._body[start:end].rstrip(_SEPARATOR) if end - start <= _MAX_ROW_BYTES else b""

    def _find_separator(self, end: int) -> int:
        """Return the length of the separator at the end of a row; zero after the last row."""
        if not self._separator:
            match = self._pattern.match(self._body, end)
            self._separator = match[0] if match else b""
        return len(self._separator) if self._body.startswith(self._separator, end) else 0

    def _add(self, template: _Template, values: Sequence[bytes], end: int) -> None:
        self._rows.numbers.append(template.number)
        self._rows.ends.append(end)
        for name, value in zip(template.names, values, strict=True):
            texts = self._rows.values[name]
            texts.data += value + b"," if texts.are_numbers else value
            texts.lengths.append(len(value))
        for name in template.missing:
            self._rows.values[name].lengths.append(-1)

    def _match_matrix(self, template: _Template, values: Sequence[bytes], start: int, length: int) -> int:
        """Add the rows from a position on that have values of the same lengths; return their number."""
        total, size = 0, _FIRST_MATRIX
        literals, spans = template.locate(values)
        literals.append((literals[-1][1], length))  # the separator
        while count := min(size, (len(self._body) - start) // length):
            rows = np.frombuffer(self._body, np.uint8, count * length, start).reshape(count, length)
            differs = rows != np.frombuffer(self._body, np.uint8, count * length, start - length).reshape(
                count, length
            )
            matching = _count_equal_rows(differs, literals)
            self._add_matrix(template, rows[:matching], spans)
            ends = start + literals[-1][0] + length * np.arange(matching, dtype=np.int64)
            self._rows.ends.frombytes(ends.tobytes())
            total, start, size = total + matching, start + matching * length, _LARGEST_MATRIX
            if matching < count:
                break
        return total

    def _add_matrix(
        self, template: _Template, rows: NDArray[np.uint8], spans: Sequence[tuple[int, int]]
    ) -> None:
        self._rows.numbers.frombytes(np.full(len(rows), template.number, np.int32).tobytes())
        for name, (start, end) in zip(template.names, spans, strict=True):
            texts = self._rows.values[name]
            texts.data += (
                _end_with_comma(rows[:, start : end + 1]) if texts.are_numbers else rows[:, start:end]
            ).tobytes()
            texts.lengths.frombytes(np.full(len(rows), end - start, np.int32).tobytes())
        for name in template.missing:
            self._rows.values[name].lengths.frombytes(np.full(len(rows), -1, np.int32).tobytes())

    def _has_valid_values(self) -> bool:
        """Return whether each text is one text, without quotes, escapes and control characters."""
        return all(
            texts.decode_numbers() if texts.are_numbers else not texts.data.translate(None, _VALID_TEXT)
            for texts in self._rows.values.values()
        )


def _count_equal_rows(differs: NDArray[np.bool_], literals: Sequence[tuple[int, int]]) -> int:
    """Return the number of rows before the first one that differs in a literal."""
    in_any_row = np.logical_or.reduce(differs, axis=0)  # much faster than row by row
    if not any(in_any_row[start:end].any() for start, end in literals):
        return len(differs)
    in_row = np.zeros(len(differs), bool)
    for start, end in literals:
        if in_any_row[start:end].any():
            in_row |= differs[:, start:end].any(axis=1)
    return int(in_row.argmax())


def _end_with_comma(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    ended = values.copy()
    ended[:, -1] = ord(",")
    return ended


def _is_valid(template: _Template, summary: Any, decode: Decode) -> bool:  # noqa: ANN401 (a decoded summary)
    """Return whether the values are those of the members: other values in their place are decoded, too."""
    if any(_get_value(summary, name) is not None for name in template.missing):
        return False  # such as a text with an escape
    marks = [
        str(number) if is_number else f"~{number}" for number, is_number in enumerate(template.are_numbers)
    ]
    parts = zip(template.literals, [*marks, ""], strict=True)
    other = decode(b"".join(part for literal, mark in parts for part in (literal, mark.encode())))
    return other is not None and all(
        _get_value(other, name) == (float(mark) if is_number else mark)
        for name, mark, is_number in zip(template.names, marks, template.are_numbers, strict=True)
    )


def _get_value(summary: Any, name: str) -> Any:  # noqa: ANN401
    return getattr(summary.CustomerResultObject if name == "Key" else summary, name)
