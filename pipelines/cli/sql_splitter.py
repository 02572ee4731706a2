"""Where one SQL statement ends and the next begins."""

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
    """One statement, without its semicolon, and the line of the text that it begins on, from 1."""

    text: str
    line: int


def split(text: str) -> tuple[list[Statement], str]:
    """Cut text into statements.

    Semicolons in quotes and comments end nothing. Nothing but space and comments is no statement.

    Returns:
        The statements that have ended, and what stands after the last of them: a statement that goes on, or
        nothing but space and comments.
    """
    found: list[Statement] = []
    begun, start = None, 0
    for part in _PARTS.finditer(text):
        if part["open"]:  # a quote or comment that goes on to the end
            break
        if part["end"]:
            if begun is not None:
                line = text.count("\n", 0, begun) + 1
                found.append(Statement(text[begun : part.start()].rstrip(), line))
            begun, start = None, part.end()
        elif begun is None and not part["space"] and not part["comment"]:
            begun = part.start()
    return found, text[start:]


def is_blank(text: str) -> bool:
    """Tell whether text is nothing but space and comments."""
    return all(part["space"] or part["comment"] for part in _PARTS.finditer(text))
