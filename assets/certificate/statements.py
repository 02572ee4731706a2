"""One statement per day of a completeness certificate, in the format of in-toto statements.

A statement names the files of the day with their SHA-256 digests, the outcome of each expected execution by
scheduler, the saved responses that the day came from, and the digest of the statement of the day before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from assets.certificate.verifier import compute_digest
from assets.framework.time_windows import to_instant
from assets.health.execution_health import SchedulerDay
from assets.health.slots import REASONS, Slots

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
DAY_PREDICATE = "urn:lookout-ledger:completeness-day:v1"
CERTIFICATE_PREDICATE = "urn:lookout-ledger:completeness:v1"

FINAL_REASONS = ("succeeded", "failed_missing_input", "failed_other")
"""The reasons of recorded executions with a final outcome."""

PROVEN_REASONS = ("missing", "not_running", "after_service_end")
"""The reasons of slots that are proven to have no execution."""

REASON_MEANINGS = {
    "succeeded": "recorded with the status SUCCESS",
    "failed_missing_input": "recorded with the status FAILED, because input data was missing",
    "failed_other": "recorded with the status FAILED, for another reason or none",
    "in_progress": "recorded without an outcome; the day was not settled",
    "stuck": "recorded without an outcome, although the day is settled",
    "missing": "not recorded; a response of the service proves that there is no execution",
    "not_running": "not recorded; the scheduler was stopped, listed as such or inferred from proven absence",
    "not_extracted": "not recorded; the service was not queried yet",
    "after_service_end": "not recorded; the window starts after the end of the service",
    "unknown": "not recorded; no source can prove whether there was an execution",
}

Statement = dict[str, Any]

_MINUTE_MS = 60_000
_FINAL_NUMBERS = [REASONS.index(reason) for reason in FINAL_REASONS]


@dataclass(frozen=True)
class DayEvidence:
    """What a lake holds of a day.

    Attributes:
        day: the day.
        files: the SHA-256 of each file by its path in the lake.
        schedulers: the slots of each scheduler.
        sources: the saved responses that the day came from (`uri`, `content_hash` and `executions`), and the
            buckets and services (`uri` and `executions_of_day`).
        results: the number of result objects by state.
    """

    day: date
    files: Mapping[str, str]
    schedulers: Iterable[SchedulerDay]
    sources: Sequence[Mapping[str, Any]] = ()
    results: Mapping[str, int] | None = None


def build_statement(evidence: DayEvidence, previous: str | None) -> Statement:
    """Build the statement of a day; `previous` is the digest of the statement of the day before."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [build_subject(name, digest) for name, digest in sorted(evidence.files.items())],
        "predicateType": DAY_PREDICATE,
        "predicate": {
            "date": evidence.day.isoformat(),
            "previous": previous,
            "schedulers": [_describe_scheduler(scheduler) for scheduler in evidence.schedulers],
            "sources": list(evidence.sources),
            "results": dict(sorted((evidence.results or {}).items())),
        },
    }


def chain_statements(days: Iterable[DayEvidence]) -> Iterator[tuple[Statement, str]]:
    """Yield each statement with its digest; each names the digest of the one before."""
    previous = None
    for evidence in days:
        statement = build_statement(evidence, previous)
        previous = compute_digest(statement)
        yield statement, previous


def build_subject(name: str, digest: str | None) -> dict[str, Any]:
    """Build the descriptor of a file."""
    return {"name": name, "digest": {"sha256": digest}}


def _describe_scheduler(scheduler: SchedulerDay) -> dict[str, Any]:
    slots = scheduler.slots
    counts = np.bincount(slots.reason, minlength=len(REASONS)).tolist()
    description: dict[str, Any] = {
        "arn": scheduler.arn,
        "name": scheduler.name,
        "slots": {reason: count for reason, count in zip(REASONS, counts, strict=True) if count},
    }
    if scheduler.sources:
        description["sources"] = scheduler.sources.split(",")
    if scheduler.complete_through:
        description["complete_through"] = _format_time(scheduler.complete_through)
    if sum(counts) > sum(counts[number] for number in _FINAL_NUMBERS):
        description["gaps"] = list(find_gaps(slots))
    if slots.unknown:
        description["expectation_not_known"] = [
            {"reason": period.reason, "from": _format_ms(period.start), "to": _format_ms(period.end)}
            for period in slots.unknown
        ]
    return description


def find_gaps(slots: Slots) -> Iterator[dict[str, Any]]:
    """Yield the maximal ranges of slots with one reason that have no recorded final outcome.

    The slots of a range follow each other and have the same length, so `from`, `slots` and `minutes`, the
    length, give the start of each.
    """
    is_gap = ~np.isin(slots.reason, _FINAL_NUMBERS)
    if not is_gap.any():
        return
    lengths = slots.end - slots.start
    is_change = (np.diff(slots.reason) != 0) | (np.diff(lengths) != 0) | (slots.start[1:] != slots.end[:-1])
    changes = np.flatnonzero(is_change) + 1
    for first, stop in zip([0, *changes], [*changes, len(slots.reason)], strict=True):
        if is_gap[first]:
            yield {
                "reason": REASONS[slots.reason[first]],
                "from": _format_ms(int(slots.start[first])),
                "to": _format_ms(int(slots.end[stop - 1])),
                "slots": int(stop - first),
                "minutes": float(lengths[first]) / _MINUTE_MS,
            }


def _format_ms(time_ms: int) -> str:
    return _format_time(to_instant(time_ms))


def _format_time(time: datetime) -> str:
    return (
        time.astimezone(UTC)
        .isoformat(timespec="milliseconds")
        .replace(".000+00:00", "Z")
        .replace("+00:00", "Z")
    )
