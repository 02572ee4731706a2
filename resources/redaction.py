"""Redaction: the one function that removes credentials from text that is shown, logged, stored or raised.

Patterns find credentials by their form. `protect` adds values that only the settings identify as secret,
such as the URL of a webhook.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

REDACTED = "[redacted]"

_PUBLIC_SCHEMES = (
    "https?|s3[an]?|file|gcs|gs|abfss?|wasbs?|hdfs|ftp|postgres(?:ql)?|mysql|sqlite|jdbc|git|ssh"
)
_EXAMPLE = "slack://TokenA/TokenB/TokenC"
_WEBHOOK_EXAMPLE = "https://hooks.example.com/ledger"
"""Examples in the settings, which messages repeat."""

_ALWAYS_REDACTED = r"secret|passwo?r?d|passphrase|pwd|x-amz-credential|webhook\\?[_-]?url"
_OFTEN_REDACTED = r"token|api\\?[_-]?key|access\\?[_-]?key(?:\\?[_-]?id)?|private\\?[_-]?key|signature|sig"
"""Machines can have such names too: `pump-token: 3 of 5 days`."""

_QUOTE = r"\\?[\"']"
_PROSE = (
    r"\(?(?-i:(?:"
    r"(?:[A-Z]?[a-z]{1,18}|[A-Z]{1,12})(?:[A-Z][a-z]{2,14}){0,4}"  # a word, or the code of an error
    r"|[a-z]+(?:[-_][a-z]+)*[-_](?:[a-z]+|\d{1,3})"  # the name of a machine
    r"|\d{1,6}(?:\.\d{1,3})?%?|\d{4}-\d\d-\d\d(?:T[\d:.]{5,15}Z?)?"
    r")(?=[.,:;!?)\]}]*(?:\s|$))|s3://|arn:aws)"
)
"""What follows the name of a machine in a message, and is no token."""

# No pattern may search a long text again from each of its positions: runs have a largest length.
_PATTERNS = [
    # https://user:password@host: the password may have a slash that should have been encoded
    re.compile(r"(?<=://)[^\s/@:\"'<>]{0,2000}:(?!\d+(?:[/?#\s]|$))[^\s@\"'<>]{0,2000}@"),
    re.compile(r"(?<=://)[^\s/@\"'<>]+@"),
    # slack://tokenA/tokenB/tokenC and the other channel URLs, whose host and path are credentials
    re.compile(
        rf"(?i)\b(?!(?:{_PUBLIC_SCHEMES})://)(?!{_EXAMPLE})(?:[a-z][a-z0-9+.-]{{1,30}})://[^\s\"'<>)]+"
    ),
    re.compile(r"(?i)(?<=/services/)T\w+/B\w+/[\w-]+"),
    re.compile(r"(?i)(?<=/webhooks/)\d+/[\w-]+"),
    re.compile(
        r"(?i)(?<=://)(?!hooks\.example\.com/ledger\b)(?:hooks\.|[\w.-]*webhook)[^\s/\"'<>]*/[^\s\"'<>]+"
    ),
    re.compile(r"\bxox[a-z]-[\w-]+|\bgh[oprsu]_\w{16,}|\bglpat-[\w-]{16,}"),
    re.compile(r"\beyJ[\w-]{8,1000}\.[\w-]+\.[\w-]*"),
    re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b"),
    re.compile(r"(?i)(?<=authorization: )[^\n]+"),
    re.compile(r"(?i)(?<=authorization\": \")[^\"\n]+"),
    re.compile(rf"(?i)(?<=\bbearer )(?!{_PROSE})[^\s\"',]+"),
    re.compile(r"(?i)(?<=\bbasic )(?=[a-z+/]*[\d=])[a-z0-9+/=]{6,}"),
    re.compile(
        rf"(?i)(?<![a-z])((?:(?:{_ALWAYS_REDACTED})(?:{_QUOTE})?\s*[:=]\s*(?:{_QUOTE})?"
        rf"|(?:{_OFTEN_REDACTED})(?:(?:{_QUOTE}\s*[:=]|\s*=)\s*(?:{_QUOTE})?|\s*:\s*(?:{_QUOTE}|(?!{_PROSE})))))"
        rf"(?!\[redacted\]|must be a URL|{re.escape(_WEBHOOK_EXAMPLE)})"
        r"[^\s\"'\\,;&)}\]]+"
    ),
]
_MIN_LENGTH, _MIN_LENGTH_OF_WORDS = 8, 20
"""Shorter values, and longer ones without a digit, would match ordinary text."""

_protected: set[str] = set()


def protect(*values: str | None) -> None:
    """Redact these values from now on, wherever they appear: secrets of the settings.

    Of a URL, its credentials, path and query are also redacted where they appear alone.
    """
    for value in values:
        parts = [value or ""]
        if value and "://" in value:
            scheme, _, rest = value.partition("://")
            if scheme not in ("http", "https"):  # a channel: its host can be a credential too
                rest = f"host/{rest}"
            try:
                url = urlsplit(f"http://{rest}")
            except ValueError:  # an invalid address; a message about it must not show its parts either
                parts = [rest, *re.split("[/@:?]", rest)]
            else:
                user = url.netloc.rpartition("@")[0]
                parts = [url.path, url.query, user, *user.split(":"), *re.split("[/@:]", url.path)]
        _protected.update(
            text for part in parts for text in (part, part.strip("/"), unquote(part)) if _is_specific(text)
        )


def _is_specific(text: str) -> bool:
    with suppress(ValueError):  # an address is not a secret, and messages must name it
        ip_address(text)
        return False
    has_digit = any(map(str.isdigit, text))
    return len(text) >= (_MIN_LENGTH if has_digit else _MIN_LENGTH_OF_WORDS)


def redact(text: str) -> str:
    """Replace credentials in a text by "[redacted]"."""
    for value in sorted(_protected, key=len, reverse=True):
        text = text.replace(value, REDACTED)
    for pattern in _PATTERNS:
        text = pattern.sub(_replace, text)
    return text


def _replace(match: re.Match[str]) -> str:
    name = match[1] if match.re.groups else ""
    end = "@" if match[0].endswith("@") else ""
    scheme = "" if name or "://" not in match[0] else match[0].partition("://")[0] + "://"
    return f"{name}{scheme}{REDACTED}{end}"


class RedactedStream(io.TextIOBase):
    """A text stream that redacts each write; logs write whole messages."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream

    def write(self, text: str, /) -> int:
        """Write a redacted text."""
        self._stream.write(redact(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()


def redact_values(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Redact credentials in a JSON value, and replace NaN and infinity by null."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redact_values(member) for name, member in value.items()}
    if isinstance(value, Sequence):
        return [redact_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
