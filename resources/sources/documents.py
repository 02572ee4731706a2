"""Splits a saved file into JSON documents. It may have gzip, byte order marks, JSON lines, several documents.

Damaged parts are skipped and reported; the documents before and after them are read.
"""

import gzip
import json
import re
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from io import BytesIO

import msgspec

from resources.sources.python_repr import parse_repr

_GZIP = b"\x1f\x8b"
_UTF16 = (BOM_UTF16_LE, BOM_UTF16_BE)  # what PowerShell's > writes
_BLOCK = 1 << 20

_DOCUMENT = msgspec.json.Decoder(msgspec.Raw)
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

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


def read_documents(data: bytes, local: tzinfo | None = None) -> Documents:
    """Split a file; without any JSON the result has no document and one problem.

    Args:
        data: the content of the file.
        local: the time zone of printed `tzlocal()` times.
    """
    text, damage = _decode_text(data)
    problems = [damage] if damage else []
    try:
        documents = _decode_documents(text)
    except _DECODE_ERRORS:
        documents = []
        for line, piece in _split_text(text):
            recovered, errors = _recover_documents(piece, line, local)
            documents += recovered
            problems += errors
    if not documents and not problems:
        problems.append("is empty")
    return Documents(tuple(documents), tuple(problems))


def _decode_text(data: bytes) -> tuple[bytes, str | None]:
    """Decompress and decode to UTF-8 as far as possible; return the damage, if there is any."""
    damage = None
    if data.startswith(_GZIP):
        data, damage = _decompress(data)
    if data.startswith(_UTF16):
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError as error:
            text = data[: error.start].decode("utf-16")
            damage = f"is truncated or damaged: {error.reason}"
        data = text.encode()
    return data.removeprefix(BOM_UTF8), damage


def _decompress(data: bytes) -> tuple[bytes, str | None]:
    blocks: list[bytes] = []
    damage = None
    try:
        with gzip.open(BytesIO(data)) as file:
            while block := file.read1(_BLOCK):
                blocks.append(block)
    except (OSError, EOFError, zlib.error) as error:
        damage = f"is truncated or damaged: {error}"
    return b"".join(blocks), damage


def _decode_documents(text: bytes) -> list[msgspec.Raw]:
    """Split documents that are separated by any white space.

    Raises:
        _DECODE_ERRORS: a part of the text is not JSON.
    """
    documents = _DOCUMENT.decode_lines(text)
    if not text.isascii():
        for document in documents:  # msgspec does not validate the encoding of raw documents
            str(document, "utf-8")
    return documents


def _split_text(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a text at the start of each document, valid or not; yield line number and text."""
    line = 1
    start = 0
    for match in _DOCUMENT_START.finditer(text):
        yield line, text[start : match.start()]
        line += text.count(b"\n", start, match.start())
        start = match.end()
    yield line, text[start:]


def _recover_documents(piece: bytes, line: int, local: tzinfo | None) -> tuple[list[msgspec.Raw], list[str]]:
    """Decode a piece as JSON, as a printed response, or up to its first error."""
    try:
        return _decode_documents(piece), []
    except _DECODE_ERRORS:
        pass
    try:
        text = piece.decode()
    except UnicodeDecodeError as error:
        line += piece.count(b"\n", 0, error.start)
        return [], [f"line {line} is not UTF-8 text: {error.reason}"]
    printed = parse_repr(text, local)
    if printed:
        return [msgspec.Raw(document) for document in printed], []
    return _decode_until_error(text, line)


def _decode_until_error(text: str, line: int) -> tuple[list[msgspec.Raw], list[str]]:
    documents: list[msgspec.Raw] = []
    errors: list[tuple[int, str]] = []
    text = text.rstrip()  # the error of a truncated text is on its last line
    position = _skip_blanks(text, 0)
    while position < len(text):
        start = position
        if text[start] not in "[{":
            errors.append((start, "is truncated or not JSON"))
            break
        try:
            _, end = _PYTHON.raw_decode(text, start)
            position = _skip_blanks(text, end)
            documents += _decode_documents(text[start:end].encode())
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
