"""Characters that a terminal interprets, in text from data, names and responses."""

import re

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except tab and newline, marks that reorder text, and bytes that are not UTF-8."""


def replace_control_characters(text: str) -> str:
    """Replace each such character by one character, which keeps the columns of a drawing aligned."""
    return _CONTROL.sub("\ufffd", text)


def escape_control_characters(text: str) -> str:
    r"""Replace characters that a terminal would interpret by escapes, such as `\\x1b`."""
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 (a byte of a file name, as Python decodes it)
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 (one byte)
