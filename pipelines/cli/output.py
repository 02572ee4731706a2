"""Messages and JSON on standard output; text from data, names and paths is never interpreted."""

import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from resources.control_characters import escape_control_characters
from resources.redaction import redact, redact_values

if TYPE_CHECKING:
    import msgspec

PIPE_CLOSED = 141
"""The exit code of a program whose reader has closed the pipe: 128 + SIGPIPE."""


class _LiteralConsole(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape control characters and redact credentials in all text."""
        redact_once = cache(lambda text: escape_control_characters(redact(text)))
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(redact_once(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """End the program with the usual exit code if the reader has closed the pipe."""
        discard_output()
        raise SystemExit(PIPE_CLOSED)


def open_console(*, stderr: bool = False) -> Console:
    """Return a console that interprets no markup and no emoji codes, and escapes control characters."""
    options: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    return _LiteralConsole(stderr=stderr, **options)


def print_text(text: str) -> None:
    """Print a result or document on standard output; a terminal gets control characters escaped."""
    sys.stdout.write(escape_control_characters(text) if sys.stdout.isatty() else text)


def print_json(output: "msgspec.Struct") -> None:
    """Print one JSON object on standard output, indented, without credentials."""
    import msgspec  # noqa: PLC0415 (`ledger --help` does without it)

    encoded = msgspec.json.encode(redact_values(msgspec.to_builtins(output, str_keys=True)))
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def format_count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as "1 day" or "2,000 days"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def discard_output() -> None:
    """Send all further output of this process to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (AttributeError, OSError, ValueError):  # no file, as in tests
            continue
    os.close(null)
