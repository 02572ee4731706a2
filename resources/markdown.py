"""Text in Markdown."""

import re

_MARKUP = re.compile(r"([\\`*_\[\]<>|])")


def escape_markdown(text: str) -> str:
    """Escape text so that Markdown shows it literally."""
    return _MARKUP.sub(r"\\\1", text)
