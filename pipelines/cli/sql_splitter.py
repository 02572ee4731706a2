"""Splits SQL scripts into statements."""

import re
from dataclasses import dataclass

_PARTS = re.compile(
    r"""
    (?P<quoted> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<open> [eE]?' | " | \$\w*\$ | /\* )
    | (?P<end> ; )
    | (?P<space> \s+ )
    | (?P<other> \w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon, and its first line in the script (from 1)."""

    text: str
    line: int


def split(text: str) -> tuple[list[Statement], str]:
    """Split text at the semicolons outside of quotes and comments.

    Returns:
        The complete statements, and the text after the last one: an incomplete statement, or only whitespace
        and comments.
    """
    statements: list[Statement] = []
    begin, start = None, 0
    for part in _PARTS.finditer(text):
        if part["open"]:  # an unclosed quote or comment
            break
        if part["end"]:
            if begin is not None:
                line = text.count("\n", 0, begin) + 1
                statements.append(Statement(text[begin : part.start()].rstrip(), line))
            begin, start = None, part.end()
        elif begin is None and not part["space"] and not part["comment"]:
            begin = part.start()
    return statements, text[start:]


def is_blank(text: str) -> bool:
    """Return True if the text has only whitespace and comments."""
    return all(part["space"] or part["comment"] for part in _PARTS.finditer(text))
