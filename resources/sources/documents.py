"""Saved text to JSON documents: gzip, byte order marks, JSON lines, several documents in one file.

Whatever can be read is read: what stands before and after a break is given, the breaks are told.
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
_UNSOUND = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# Finds where a document ends, be its numbers as long as they like.
_PYTHON = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANKS = re.compile(r"[ \t\r\n]*")

# In every form that puts several documents into one file each begins with a bracket that is not indented,
# or follows the byte order mark of the file that it was appended from.
_BEGINNING = re.compile(rb"(?:^|\xef\xbb\xbf)(?=[\[{])", re.MULTILINE)


@dataclass(frozen=True)
class Documents:
    """JSON documents in their order, views of one text, and what could not be read, in words."""

    documents: tuple[msgspec.Raw, ...]
    problems: tuple[str, ...] = ()


def read_documents(data: bytes, local: tzinfo | None = None) -> Documents:
    """Take a file apart; a file that is no JSON at all gives no document and a problem.

    Args:
        data: the file.
        local: the zone that printed times call local.
    """
    text, damage = _plain(data)
    problems = [damage] if damage else []
    try:
        found = _sound(text)
    except _UNSOUND:
        found = []
        for line, piece in _pieces(text):
            inside, breaks = _rescued(piece, line, local)
            found += inside
            problems += breaks
    if not found and not problems:
        problems.append("is empty")
    return Documents(tuple(found), tuple(problems))


def _plain(data: bytes) -> tuple[bytes, str | None]:
    """Unpack a file to UTF-8, as far as it goes, and say why where that is not to its end."""
    damage = None
    if data.startswith(_GZIP):
        data, damage = _unzipped(data)
    if data.startswith(_UTF16):
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError as problem:
            text = data[: problem.start].decode("utf-16")
            damage = f"is cut short or damaged: {problem.reason}"
        data = text.encode()
    return data.removeprefix(BOM_UTF8), damage


def _unzipped(data: bytes) -> tuple[bytes, str | None]:
    blocks: list[bytes] = []
    damage = None
    try:
        with gzip.open(BytesIO(data)) as file:
            while block := file.read1(_BLOCK):
                blocks.append(block)
    except (OSError, EOFError, zlib.error) as problem:
        damage = f"is cut short or damaged: {problem}"
    return b"".join(blocks), damage


def _sound(text: bytes) -> list[msgspec.Raw]:
    """Part documents that follow each other, whatever blanks are between them; raises one of `_UNSOUND`."""
    found = _DOCUMENT.decode_lines(text)
    if not text.isascii():
        for document in found:  # whose characters were not looked at yet
            str(document, "utf-8")
    return found


def _pieces(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a text before each document, however broken; gives the number of the first line, too."""
    line = 1
    begin = 0
    for beginning in _BEGINNING.finditer(text):
        yield line, text[begin : beginning.start()]
        line += text.count(b"\n", begin, beginning.start())
        begin = beginning.end()
    yield line, text[begin:]


def _rescued(piece: bytes, line: int, local: tzinfo | None) -> tuple[list[msgspec.Raw], list[str]]:
    """Take what can be had of a piece: all of it, a printed response, or what stands before a break."""
    try:
        return _sound(piece), []
    except _UNSOUND:
        pass
    try:
        text = piece.decode()
    except UnicodeDecodeError as problem:
        line += piece.count(b"\n", 0, problem.start)
        return [], [f"line {line} is no UTF-8 text: {problem.reason}"]
    printed = parse_repr(text, local)
    if printed:
        return [msgspec.Raw(document) for document in printed], []
    return _before_the_break(text, line)


def _before_the_break(text: str, line: int) -> tuple[list[msgspec.Raw], list[str]]:
    found: list[msgspec.Raw] = []
    breaks: list[tuple[int, str]] = []
    text = text.rstrip()  # a text that is cut short breaks on its last line
    position = _end_of_blanks(text, 0)
    while position < len(text):
        start = position
        if text[start] not in "[{":
            breaks.append((start, "is cut short or no JSON"))
            break
        try:
            _, end = _PYTHON.raw_decode(text, start)
            position = _end_of_blanks(text, end)
            found += _sound(text[start:end].encode())
        except json.JSONDecodeError as problem:
            breaks.append((problem.pos, f"is cut short or no JSON: {problem.msg}"))
            break
        except RecursionError:
            breaks.append((start, "is nested too deeply"))
            break
        except msgspec.DecodeError as problem:  # NaN and halves of characters pass for JSON in Python only
            breaks.append((start, f"is no JSON: {problem}"))
    return found, [f"line {line + text.count(chr(10), 0, at)} {words}" for at, words in breaks]


def _end_of_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start
