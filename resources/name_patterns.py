"""Patterns for scheduler names and ARNs: `*` matches any text and `?` one character.

Settings, silences, the registry and the command line use them. A pattern that begins with `arn:` matches
ARNs; any other pattern matches names, so `*1234*` never matches an account ID.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from resources.errors import ConfigurationError, format_value, suggest

ARN = "arn:"
_MAX_NAMES = 20


def matches(pattern: str, name: str | None, arn: str) -> bool:
    """Whether a pattern matches a scheduler; a name of None matches only by ARN."""
    text = arn if pattern.startswith(ARN) else name
    return text is not None and matches_text(pattern, text)


def matches_text(pattern: str, text: str) -> bool:
    """Whether a pattern with * and ? matches a whole text."""
    return _compile(pattern).fullmatch(text) is not None


def matches_any(patterns: Iterable[str], name: str | None, arn: str) -> bool:
    """Whether at least one pattern matches."""
    return any(matches(pattern, name, arn) for pattern in patterns)


def no_scheduler_error(pattern: str, names: Iterable[str], where: str) -> ConfigurationError:
    """Build the error for a pattern that matches none of the schedulers with these names."""
    existing = sorted(set(names))
    listed = ", ".join(existing[:_MAX_NAMES]) + (", ..." if len(existing) > _MAX_NAMES else "")
    return ConfigurationError(
        f"Cannot find a scheduler that matches {format_value(pattern)}{suggest(pattern, existing)}",
        where=where,
        next_step=f"use a name, a pattern with * and ?, or an ARN; the schedulers are: {listed or 'none'}",
    )


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
