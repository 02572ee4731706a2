"""Saved text to JSON documents: gzip, byte order marks, JSON lines, several documents in one file.

Belongs here: how programs write JSON into files.
Does not belong here: what the documents say (see `archive`).

Whatever can be read is read: documents before and after a broken line are given, the breaks are told.
"""

import gzip
import json
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass

import msgspec

from resources.sources.notebook import from_repr

_GZIP = b"\x1f\x8b"
_UTF16 = (BOM_UTF16_LE, BOM_UTF16_BE)  # what PowerShell's > writes


@dataclass(frozen=True)
class Documents:
    """JSON documents in their order, each UTF-8, and what could not be read, in words."""

    found: tuple[bytes, ...]
    problems: tuple[str, ...] = ()


def documents(data: bytes) -> Documents:
    """Take a file apart; a file that is no JSON at all gives no document and a problem."""
    try:
        text = _plain(data).strip()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        return Documents((), (f"is cut short or damaged: {problem}",))
    if not text:
        return Documents((), ("is empty",))
    if _problem(text) is None:
        return Documents((text,))
    first, *rest = text.splitlines()
    if rest and _problem(first) is None:
        return _lines([first, *rest])
    return _concatenated(text)


def _plain(data: bytes) -> bytes:
    if data.startswith(_GZIP):
        data = gzip.decompress(data)
    if data.startswith(_UTF16):
        return data.decode("utf-16").encode()
    return data.removeprefix(BOM_UTF8)


def _problem(document: bytes) -> str | None:
    try:
        msgspec.json.decode(document, type=msgspec.Raw)
    except msgspec.DecodeError as problem:
        return str(problem)
    return None


def _lines(lines: list[bytes]) -> Documents:
    judged = [(number, line, _problem(line)) for number, line in enumerate(lines, 1) if line.strip()]
    return Documents(
        tuple(line for _, line, problem in judged if problem is None),
        tuple(f"line {number}: {problem}" for number, _, problem in judged if problem is not None),
    )


def _concatenated(text: bytes) -> Documents:
    try:
        characters = text.decode()
    except UnicodeDecodeError as problem:
        return Documents((), (f"is no UTF-8 text: {problem}",))
    found: list[bytes] = []
    decoder, position = json.JSONDecoder(), 0
    while position < len(characters):
        try:
            _, end = decoder.raw_decode(characters, position)
        except (json.JSONDecodeError, RecursionError) as problem:
            as_repr = None if found else from_repr(characters)
            return (
                Documents((as_repr,))
                if as_repr
                else Documents(tuple(found), (f"is cut short or no JSON: {problem}",))
            )
        document = characters[position:end].encode()
        problem_found = _problem(document)  # NaN and lone surrogates pass for JSON in Python only
        if problem_found:
            return Documents(tuple(found), (problem_found,))
        found.append(document)
        position = end + len(characters[end:]) - len(characters[end:].lstrip())
    return Documents(tuple(found))
