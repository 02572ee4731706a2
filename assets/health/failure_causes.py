"""Why executions failed, in words that are the same for the same cause.

The service names the window, the file and the time in every text, so no two are alike. What remains of a text
is the component that sent nothing, or the text with whatever is of one occasion alone taken out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

MISSING_INPUT = "missing input"
NO_REASON = "no reason given"

# "sensor" is the service's word for a component here; the first says that there was no file, the second that
# the files held no row of that time
_MISSING = re.compile(
    r"could not find data(?: file)?"
    r"(?: for sensor (?P<component>.+?)(?= within expected (?:time )?range of\b|\.|$))?",
    re.IGNORECASE | re.DOTALL,
)
_OCCASIONAL = (
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
    """A cause: whether the plant sent nothing, which component that was, and the whole in words."""

    is_missing_input: bool
    component: str | None
    text: str


@dataclass(frozen=True)
class Failure:
    """A failed execution: its window in ms, and the service's words."""

    start: int
    end: int
    reason: str | None


def parse_cause(reason: str | None) -> Cause:
    """Return the cause that the service's words tell of."""
    text = " ".join((reason or "").split())
    if not text:
        return Cause(is_missing_input=False, component=None, text=NO_REASON)
    missing = _MISSING.search(text)
    if missing:
        component = missing["component"]
        said = f"{MISSING_INPUT}: {component}" if component else MISSING_INPUT
        return Cause(is_missing_input=True, component=component, text=said)
    for pattern, stands_for in _OCCASIONAL:
        text = pattern.sub(stands_for, text)
    return Cause(is_missing_input=False, component=None, text=text)


def group_by_cause(failures: Iterable[Failure]) -> str | None:
    """Tell the causes as JSON, the most frequent first; None: nothing failed.

    Each has its `cause`, `component`, `missing_input`, `count`, and `ranges` of time in which windows that
    follow each other failed for it.
    """
    found: dict[Cause, list[Failure]] = {}
    for failure in sorted(failures, key=lambda one: one.start):
        found.setdefault(parse_cause(failure.reason), []).append(failure)
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0].text))
    told = [
        {
            "cause": cause.text,
            "component": cause.component,
            "missing_input": cause.is_missing_input,
            "count": len(of_cause),
            "ranges": [[_instant(start), _instant(end)] for start, end in _ranges(of_cause)],
        }
        for cause, of_cause in ranked
    ]
    return msgspec.json.encode(told).decode() if told else None


def _ranges(failures: list[Failure]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for failure in failures:
        if ranges and failure.start <= ranges[-1][1]:
            ranges[-1][1] = max(ranges[-1][1], failure.end)
        else:
            ranges.append([failure.start, failure.end])
    return ranges


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
