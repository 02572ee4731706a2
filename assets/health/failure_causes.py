"""Group failed executions by cause.

The service writes the window, the file and the time into each failure reason, so no two reasons are equal.
The cause is the component without input data, or the reason with such values replaced by placeholders.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

MISSING_INPUT = "missing input"
NO_REASON = "no reason given"

# the service writes "sensor" for a component here; "data file": no file exists, "data": no row in its files
_MISSING = re.compile(
    r"could not find data(?: file)?"
    r"(?: for sensor (?P<component>.+?)(?= within expected (?:time )?range of\b|\.|$))?",
    re.IGNORECASE | re.DOTALL,
)
_PLACEHOLDERS = (
    (re.compile(r"arn:[\w-]+:[^\s'\",)]+"), "<arn>"),
    (re.compile(r"s3://[^\s'\",)]+"), "<path>"),
    (re.compile(r"\b[\w.-]+(?:/[\w.=:-]*)+"), "<path>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d+(?:\.\d+)?\b"), "<number>"),
)


@dataclass(frozen=True)
class Cause:
    """A normalized cause; `component` is the one without input data, None: unknown or another cause."""

    is_missing_input: bool
    component: str | None
    text: str


@dataclass(frozen=True)
class Failure:
    """A failed execution: its window in ms, and the failure reason of the service."""

    start: int
    end: int
    reason: str | None


def parse_cause(reason: str | None) -> Cause:
    """Normalize a failure reason of the service."""
    text = " ".join((reason or "").split())
    if not text:
        return Cause(is_missing_input=False, component=None, text=NO_REASON)
    missing = _MISSING.search(text)
    if missing:
        component = missing["component"]
        text = f"{MISSING_INPUT}: {component}" if component else MISSING_INPUT
        return Cause(is_missing_input=True, component=component, text=text)
    for pattern, placeholder in _PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return Cause(is_missing_input=False, component=None, text=text)


def group_by_cause(failures: Iterable[Failure]) -> str | None:
    """Return the causes as a JSON list, most frequent first; None: no failures.

    Each has `cause`, `component`, `missing_input`, `count`, and `ranges`: the time ranges of adjacent failed
    windows.
    """
    failures_by_cause: dict[Cause, list[Failure]] = {}
    for failure in sorted(failures, key=lambda failure: failure.start):
        failures_by_cause.setdefault(parse_cause(failure.reason), []).append(failure)
    ranked = sorted(failures_by_cause.items(), key=lambda item: (-len(item[1]), item[0].text))
    causes = [
        {
            "cause": cause.text,
            "component": cause.component,
            "missing_input": cause.is_missing_input,
            "count": len(grouped),
            "ranges": [[_format_time(start), _format_time(end)] for start, end in _merge_windows(grouped)],
        }
        for cause, grouped in ranked
    ]
    return msgspec.json.encode(causes).decode() if causes else None


def _merge_windows(failures: list[Failure]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for failure in failures:
        if ranges and failure.start <= ranges[-1][1]:
            ranges[-1][1] = max(ranges[-1][1], failure.end)
        else:
            ranges.append([failure.start, failure.end])
    return ranges


def _format_time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
