"""Splits the text of a saved file into JSON documents, which may be in lines and begin with byte order marks.

Damaged parts are skipped and reported; the documents before and after them are read.
"""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo

import msgspec

from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.sources.python_repr import parse_repr

_BLOCK = 1 << 20

MAX_PROBLEMS = 10_000
"""A file with more problems is not read further."""

_MAX_PYTHON_BYTES = 4_000_000
"""Python's parsers read no larger damaged or printed document: they need fifty times as much memory."""

_MAX_VALUES = 2_000_000
"""With more commas and line ends, a text is checked before its values are held as objects of Python."""

OBJECTS_PER_ROW = 8
"""A summary has seven nested objects."""

_DOCUMENT = msgspec.json.Decoder(msgspec.Raw)
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Wrong type or invalid JSON, invalid UTF-8 in a text, and too deep nesting."""

# Finds the end of a document; numbers of any length are allowed.
_PYTHON = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANKS = re.compile(r"[ \t\r\n]*")

# If a file has several documents, each begins with a bracket at the start of a line, or after the byte order
# mark of a file that was appended.
_DOCUMENT_START = re.compile(rb"(?:^|\xef\xbb\xbf)(?=[\[{])", re.MULTILINE)


@dataclass(frozen=True)
class Documents:
    """JSON documents in order, as views of one text, and descriptions of what could not be read."""

    documents: tuple[msgspec.Raw, ...]
    problems: tuple[str, ...] = ()


class _DenseTextError(Exception):
    """A text has more values than the limit; the message is the reason."""


def split_documents(
    text: bytes,
    local: tzinfo | None = None,
    limits: ReadLimits = DEFAULT_LIMITS,
    find_line: Callable[[], int] = lambda: 1,
) -> Documents:
    """Split a text; without any document there can be no problem.

    Args:
        text: UTF-8.
        local: the time zone of printed `tzlocal()` times.
        limits: the number of documents.
        find_line: returns the line number of the text; called only if there are problems.
    """
    problems: list[str] = []
    documents: list[msgspec.Raw] = []
    try:
        documents = _decode_documents(text, limits)
    except _DenseTextError as error:
        problems.append(str(error))
    except DECODE_ERRORS:
        for line, piece in _split_text(text, find_line()):
            recovered, errors = _recover_documents(piece, line, local, limits)
            documents += recovered
            problems += errors
            if len(problems) > MAX_PROBLEMS:
                problems.append("is not read further")
                break
    return Documents(tuple(documents), tuple(problems))


def describe_other_format(name: str) -> str:
    """Return the problem of a file in a format that is not JSON."""
    return f"is {name}, not JSON: unpack it, or save the responses as text"


def count_objects(text: bytes) -> int:
    """Return at most how many objects and lists a text has."""
    return text.count(b"{") + text.count(b"[")


class _Object(msgspec.Struct, gc=False):
    """Any object; its members are skipped."""


class _Shape(msgspec.Struct, gc=False):
    """A response or a summary, without its content."""

    summaries: list[_Object] | None = msgspec.field(default=None, name="InferenceExecutionSummaries")
    other_summaries: list[_Object] | None = msgspec.field(default=None, name="inferenceExecutionSummaries")


_SHAPE = msgspec.json.Decoder(_Shape | list[_Shape])


def _decode_documents(text: bytes, limits: ReadLimits) -> list[msgspec.Raw]:
    """Split documents that are separated by any white space.

    Raises:
        DECODE_ERRORS: a part of the text is not JSON.
        _DenseTextError: the values of the text need too much memory.
    """
    _check_density(text, limits)
    documents = _DOCUMENT.decode_lines(text)
    if not text.isascii():
        for document in documents:  # msgspec does not validate the encoding of raw documents
            _validate_utf8(memoryview(document))
    return documents


def _check_density(text: bytes, limits: ReadLimits) -> None:
    """Limit the values that become objects of Python: small values need thirty times their size."""
    most_objects = OBJECTS_PER_ROW * limits.rows
    if len(text) > most_objects and count_objects(text) > most_objects:
        raise _DenseTextError(f"has {limits.too_many_rows}")
    if len(text) > _MAX_VALUES and text.count(b",") + text.count(b"\n") > _MAX_VALUES:
        try:
            _SHAPE.decode_lines(text)  # stops at the first value that is no object
        except msgspec.ValidationError as error:
            raise _DenseTextError(f"is not a response: {error}") from None


def _validate_utf8(text: memoryview) -> None:
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(text), _BLOCK):  # a text of Python can need four times as much memory
        decoder.decode(text[start : start + _BLOCK])
    decoder.decode(b"", final=True)


def _split_text(text: bytes, line: int) -> Iterator[tuple[int, bytes]]:
    """Cut a text at the start of each document, valid or not; yield line number and text."""
    start = 0
    for match in _DOCUMENT_START.finditer(text):
        yield line, text[start : match.start()]
        line += text.count(b"\n", start, match.start())
        start = match.end()
    yield line, text[start:]


def _recover_documents(
    piece: bytes, line: int, local: tzinfo | None, limits: ReadLimits
) -> tuple[list[msgspec.Raw], list[str]]:
    """Decode a piece as JSON, as a printed response, or up to its first error."""
    try:
        return _decode_documents(piece, limits), []
    except _DenseTextError as error:
        return [], [f"line {line} {error}"]
    except DECODE_ERRORS as error:
        if len(piece) > _MAX_PYTHON_BYTES:
            return [], [f"line {line} is truncated or not JSON: {error}"]
    try:
        text = piece.decode()
    except UnicodeDecodeError as error:
        line += piece.count(b"\n", 0, error.start)
        return [], [f"line {line} is not UTF-8 text: {error.reason}"]
    printed = parse_repr(text, local)
    if printed:
        return [msgspec.Raw(document) for document in printed], []
    return _decode_until_error(text, line, limits)


def _decode_until_error(text: str, line: int, limits: ReadLimits) -> tuple[list[msgspec.Raw], list[str]]:
    documents: list[msgspec.Raw] = []
    errors: list[tuple[int, str]] = []
    # The error of a truncated text is on its last line. A text of separators only is not empty.
    text = text.rstrip() or text.rstrip(" \t\r\n\v\f")
    position = _skip_blanks(text, 0)
    while position < len(text):
        start = position
        if text[start] not in "[{":
            errors.append((start, "is truncated or not JSON"))
            break
        try:
            _, end = _PYTHON.raw_decode(text, start)
            position = _skip_blanks(text, end)
            documents += _decode_documents(text[start:end].encode(), limits)
        except json.JSONDecodeError as error:
            errors.append((error.pos, f"is truncated or not JSON: {error.msg}"))
            break
        except RecursionError:
            errors.append((start, "is nested too deeply"))
            break
        except msgspec.DecodeError as error:  # only Python accepts NaN and half surrogate pairs
            errors.append((start, f"is not JSON: {error}"))
    return documents, [f"line {line + text.count(chr(10), 0, at)} {reason}" for at, reason in errors]


def _skip_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start
