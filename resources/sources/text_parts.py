"""Cuts the text of a saved file into parts of some megabytes, so that no large file is held whole.

A part has whole documents, or elements of the list in a document that is larger than a part. Text of another
structure is one part. A cut can be wrong, because no document is parsed here; the caller then puts it back.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

PART_BYTES = 4 << 20

_END_BYTES = 1 << 16
_RESPONSE = (
    rb'\{\s*(?:"[nN]extToken"\s*:\s*(?:"[^"\\]*"|null)\s*,\s*)?"[iI]nferenceExecutionSummaries"\s*:\s*'
)
_LIST_START = re.compile(rb"\s*(?:%b)?\[\s*" % _RESPONSE)
_LIST = re.compile(rb"\s*\[")
_WHITESPACE = b" \t\r\n"
_SUMMARIES = b'"InferenceExecutionSummaries"'
_BETWEEN_SUMMARIES = re.compile(rb"\}\s*,\s*(?=\{)")  # a summary has no list of objects
_RESPONSES_START = re.compile(rb"\s*\[\s*%b" % _RESPONSE)
_BETWEEN_RESPONSES = re.compile(rb"\}\s*,\s*(?=%b)" % _RESPONSE)
_UNINDENTED = re.compile(rb"^[\[{]\r?\n(?![\s\]}])", re.MULTILINE)


_State = tuple[bytes, int, bytes, int | None]
"""The buffer, its offset, its added start, and the number of line ends before the offset."""


@dataclass(frozen=True)
class TextPart:
    """Some text of a file.

    Attributes:
        text: whole documents; if `is_list`, a list with elements of one document.
        offset: the position in the whole text of this one, without the added start.
        added: the start of `text` that repeats the start of a document with elements in parts before.
        is_list: whether the text is a list of elements.
        is_response: whether they are of a response.
        is_before_blanks: whether much white space follows, perhaps inside a document.
    """

    text: bytes
    offset: int
    added: bytes = b""
    is_list: bool = False
    is_response: bool = False
    is_before_blanks: bool = False


class TextParts:
    """The parts of a text, in their order."""

    def __init__(
        self, read: Callable[[int], bytes], start: bytes = b"", offset: int = 0, *, is_whole: bool = False
    ) -> None:
        """Read nothing yet.

        Args:
            read: reads at most as many bytes; no bytes at the end.
            start: text that was read already.
            offset: the position of `start` in the whole text.
            is_whole: whether there is no text after `start`.
        """
        self._read = read
        self._buffer = start
        self._offset = offset
        self._added = b""
        self._is_at_end = is_whole
        self._keeps_documents = self._keeps_rest = False
        self._line_ends: int | None = None  # before the offset; None: they are not counted
        self._before: _State = (self._buffer, self._offset, self._added, self._line_ends)

    @property
    def has_more(self) -> bool:
        """Whether there can be more parts."""
        return not self._is_at_end or bool(self._buffer)

    def take(self) -> TextPart:
        """Return the next part, which is empty after the last one."""
        size = PART_BYTES
        while True:
            while len(self._buffer) < size and not self._is_at_end:
                block = self._read(max(PART_BYTES, size - len(self._buffer)))
                self._is_at_end = not block
                self._buffer = self._buffer + block if self._buffer else block
            end = len(self._buffer.rstrip(_WHITESPACE))
            if not self._is_at_end and not end:
                self._advance(len(self._buffer), b"")  # a hostile file has hundreds of megabytes of it
                continue
            is_before_blanks = len(self._buffer) - end > PART_BYTES // 4 and end > len(self._added)
            if not self._is_at_end and is_before_blanks and not self._keeps_rest:
                return replace(self._take(end), is_before_blanks=True)
            if self._is_at_end and (len(self._buffer) <= size or self._keeps_rest):
                return self._take(len(self._buffer))
            if not self._keeps_rest and (part := self._take_some()):
                return part
            size = 2 * len(self._buffer)

    def put_back(self, *, keep_rest: bool) -> None:
        """Put the last part back, because it is not what it seemed.

        Args:
            keep_rest: take it with all text that follows; otherwise, take whole documents from now on, if
                their borders can be found.
        """
        self._buffer, self._offset, self._added, self._line_ends = self._before
        self._keeps_documents, self._keeps_rest = True, keep_rest

    def find_line(self, part: TextPart, count_line_ends: Callable[[int, int], tuple[int, int]]) -> int:
        """Return the line of the start of the last part.

        Args:
            part: the last part.
            count_line_ends: reads the text again, and counts the line ends before two positions; it is called
                once, because line ends are counted from then on.
        """
        buffer, offset, added, line_ends = self._before
        if line_ends is None:
            line_ends, self._line_ends = count_line_ends(part.offset, self._offset)
            self._before = buffer, offset, added, line_ends
        return 1 + line_ends - part.added.count(b"\n")

    def _take_some(self) -> TextPart | None:
        """Return whole documents, or elements of the first one; None: there is no place for a cut."""
        end = self._find_last_document(len(self._buffer) - _END_BYTES)
        if not end and self._keeps_documents:
            end = self._find_last_document(0) or self._find_next_response()
        if not end and not self._keeps_documents and (part := self._take_elements()):
            return part
        end = end or self._find_last_document(0)
        return self._take(end) if end else None

    def _find_last_document(self, start: int) -> int:
        """Return where the last document starts on a new line; zero if it is the first one."""
        first = max(start, len(self._added))
        return max(self._buffer.rfind(mark, first) for mark in (b"\n{", b"\n[")) + 1

    def _find_next_response(self) -> int:
        """Return where the second response starts, on any line; zero if there is none, or it is in a list."""
        if _LIST.match(self._buffer):
            return 0
        first = max(self._buffer.find(_SUMMARIES), len(self._added))
        second = self._buffer.find(_SUMMARIES, first + 1) if first >= 0 else -1
        return max(self._buffer.rfind(b"{", first, second), 0) if second >= 0 else 0

    def _take(self, end: int) -> TextPart:
        part = TextPart(self._buffer[:end], self._offset, self._added)
        self._advance(end, b"")
        return part

    def _advance(self, end: int, added: bytes) -> None:
        """Remove the start of the buffer, up to a position, and add the start of the next part."""
        self._before = self._buffer, self._offset, self._added, self._line_ends
        first = len(self._added)
        if self._line_ends is not None:
            self._line_ends += self._buffer.count(b"\n", first, end)
        self._offset += end - first
        self._buffer, self._added = added + self._buffer[end:], added

    def _take_elements(self) -> TextPart | None:
        start = _LIST_START.match(self._buffer)
        border = self._find_last_element(len(self._buffer) - _END_BYTES) or self._find_last_element(0)
        if start is None or border is None or border[0] <= start.end():
            return None
        end, following = border
        text = b"".join([b"[", memoryview(self._buffer)[start.end() : end], b"]"])  # copies it once
        is_response = start[0].lstrip().startswith(b"{")
        part = TextPart(text, self._offset, self._added, is_list=True, is_response=is_response)
        self._advance(following, start[0])
        return part

    def _find_last_element(self, start: int) -> tuple[int, int] | None:
        """Return the end of the last but one element of a list, and the start of the last one."""
        has_responses = _RESPONSES_START.match(self._buffer)
        between = _BETWEEN_RESPONSES if has_responses else _BETWEEN_SUMMARIES
        borders = deque(between.finditer(self._buffer, max(start, 0)), maxlen=1)
        return (borders[0].start() + 1, borders[0].end()) if borders else None


def has_unindented_documents(text: bytes) -> bool:
    """Return whether a document has line breaks without indentation, where `TextParts` cuts it."""
    return _UNINDENTED.search(text) is not None
