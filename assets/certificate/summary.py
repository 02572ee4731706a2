"""Totals, the calendar and the gaps of a certificate, added up from the statements of its days."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from assets.certificate.statements import FINAL_REASONS, PROVEN_REASONS, Statement
from assets.health.slots import REASONS


class DayClass(IntEnum):
    """What the certificate says of a scheduler's day."""

    nothing_expected = 0
    complete = 1
    none_proven = 2
    partly_known = 3
    not_known = 4
    expectation_not_known = 5


CLASS_MEANINGS = {
    DayClass.complete: "complete: each expected execution has a recorded outcome, or is proven not to exist",
    DayClass.none_proven: "no execution: proven by a response of the service, or after its end",
    DayClass.partly_known: "partly known: some executions are recorded, others are not known or not final",
    DayClass.not_known: "not known: no execution is recorded, and nothing proves that there was none",
    DayClass.expectation_not_known: "expectation not known: nothing is recorded, and whether executions were"
    " expected cannot be known",
    DayClass.nothing_expected: "nothing expected: the scheduler was not seen yet, or no longer",
}


@dataclass
class Gap:
    """A range of slots of one length of one scheduler without a recorded final outcome, across days."""

    arn: str
    reason: str
    start: str
    end: str
    slots: int
    minutes: float


@dataclass
class UnknownRange:
    """A time of one scheduler in which the expected windows are not known, across days."""

    arn: str
    reason: str
    start: str
    end: str


Range = TypeVar("Range", Gap, UnknownRange)
"""What a document lists: gaps, or times without a known expectation."""


@dataclass
class SchedulerSummary:
    """The totals of one scheduler; `name` is the latest that is known."""

    arn: str
    classes: npt.NDArray[np.uint8]
    name: str | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    last_gap: Gap | None = None
    last_unknown: UnknownRange | None = None


class CertificateSummary:
    """The totals of all statements that were added, in the order of their days."""

    def __init__(self, days: int) -> None:
        """Start without statements; `days` is the number of statements to come."""
        self.days = days
        self.statements = 0
        self.schedulers: dict[str, SchedulerSummary] = {}
        self.gaps: list[Gap] = []
        self.unknown_ranges: list[UnknownRange] = []
        self.results: Counter[str] = Counter()
        self.source_kinds: set[str] = set()
        self.sources: dict[str, Any] = {}
        self.other_sources: Counter[str] = Counter()
        self.files = 0
        self.recorded_days = 0

    def add(self, statement: Statement) -> None:
        """Add the statement of the next day."""
        predicate = statement["predicate"]
        for description in predicate["schedulers"]:
            self._add_scheduler(description)
        self.results.update(predicate["results"])
        for source in predicate["sources"]:
            if "content_hash" in source:
                self.sources[source["uri"]] = source["content_hash"]
            else:
                self.other_sources[source["uri"]] += source["executions_of_day"]
        self.files += len(statement["subject"])
        self.recorded_days += bool(statement["subject"])
        self.statements += 1

    def _add_scheduler(self, description: dict[str, Any]) -> None:
        arn = description["arn"]
        summary = self.schedulers.get(arn)
        if summary is None:
            summary = self.schedulers[arn] = SchedulerSummary(arn, np.zeros(self.days, np.uint8))
        summary.name = description["name"] or summary.name
        summary.reasons.update(description["slots"])
        self.source_kinds.update(description.get("sources", ()))
        periods = description.get("expectation_not_known", ())
        summary.classes[self.statements] = classify(description["slots"], has_unknown=bool(periods))
        for gap in description.get("gaps", ()):
            self._add_gap(summary, gap)
        for period in periods:
            self._add_unknown(summary, period)

    def _add_gap(self, summary: SchedulerSummary, gap: dict[str, Any]) -> None:
        last = summary.last_gap
        key = gap["reason"], gap["from"], gap["minutes"]
        if last and (last.reason, last.end, last.minutes) == key:
            last.end, last.slots = gap["to"], last.slots + gap["slots"]
            return
        summary.last_gap = Gap(
            summary.arn, gap["reason"], gap["from"], gap["to"], gap["slots"], gap["minutes"]
        )
        self.gaps.append(summary.last_gap)

    def _add_unknown(self, summary: SchedulerSummary, period: dict[str, Any]) -> None:
        last = summary.last_unknown
        if last and (last.reason, last.end) == (period["reason"], period["from"]):
            last.end = period["to"]
            return
        summary.last_unknown = UnknownRange(summary.arn, period["reason"], period["from"], period["to"])
        self.unknown_ranges.append(summary.last_unknown)

    def list_schedulers(self) -> list[SchedulerSummary]:
        """Return the schedulers by name."""
        return sorted(
            self.schedulers.values(), key=lambda summary: (summary.name or summary.arn, summary.arn)
        )

    def sort_gaps(self) -> list[Gap]:
        """Return the gaps by scheduler and time."""
        return self._sort(self.gaps)

    def sort_unknown_ranges(self) -> list[UnknownRange]:
        """Return the times without a known expectation by scheduler and time."""
        return self._sort(self.unknown_ranges)

    def _sort(self, ranges: Iterable[Range]) -> list[Range]:
        order = {summary.arn: number for number, summary in enumerate(self.list_schedulers())}
        return sorted(ranges, key=lambda item: (order[item.arn], item.start))

    def build_labels(self) -> dict[str, str]:
        """Return a distinct label of each scheduler by ARN: its name, with its region or ARN if needed."""
        names = {arn: summary.name or arn for arn, summary in self.schedulers.items()}
        with_region = {arn: f"{name} ({', '.join(arn.split(':')[3:5])})" for arn, name in names.items()}
        name_counts, region_counts = Counter(names.values()), Counter(with_region.values())
        return {
            arn: name
            if name_counts[name] == 1
            else with_region[arn]
            if region_counts[with_region[arn]] == 1
            else arn
            for arn, name in names.items()
        }

    @property
    def totals(self) -> dict[str, int]:
        """Expected slots, what is known of them, and the number of gaps and of unknown ranges."""
        return {
            **count_totals(self.reasons),
            "gaps": len(self.gaps),
            "periods_not_known": len(self.unknown_ranges),
        }

    @property
    def reasons(self) -> Counter[str]:
        """The slots of all schedulers by reason."""
        total: Counter[str] = Counter()
        for summary in self.schedulers.values():
            total.update(summary.reasons)
        return total

    def describe(self) -> dict[str, Any]:
        """Return the totals as JSON values."""
        reasons = self.reasons
        return {
            "totals": {
                **self.totals,
                "schedulers": len(self.schedulers),
                "days": self.statements,
                "recorded_days": self.recorded_days,
                "files": self.files,
                "saved_responses": len(self.sources),
                "other_sources": dict(sorted(self.other_sources.items())),
                "slots": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
                "results": dict(sorted(self.results.items())),
                "source_kinds": sorted(self.source_kinds),
            },
            "schedulers": [
                {
                    "arn": summary.arn,
                    "name": summary.name,
                    "slots": {
                        reason: summary.reasons[reason] for reason in REASONS if summary.reasons[reason]
                    },
                }
                for summary in self.list_schedulers()
            ],
        }


def count_totals(reasons: Counter[str]) -> dict[str, int]:
    """Return the expected slots, and what is known of them, from the slots by reason."""
    expected = sum(reasons.values())
    final = sum(reasons[reason] for reason in FINAL_REASONS)
    proven = sum(reasons[reason] for reason in PROVEN_REASONS)
    open_outcome = reasons["in_progress"] + reasons["stuck"]
    return {
        "expected": expected,
        "recorded": final + open_outcome,
        "with_outcome": final,
        "proven_absent": proven,
        "not_known": expected - final - open_outcome - proven,
    }


def classify(slots: dict[str, int], *, has_unknown: bool = False) -> DayClass:
    """Return the class of a scheduler's day from its slots by reason.

    Args:
        slots: the slots by reason.
        has_unknown: whether further windows may be expected.
    """
    expected = sum(slots.values())
    final = sum(slots.get(reason, 0) for reason in FINAL_REASONS)
    proven = sum(slots.get(reason, 0) for reason in PROVEN_REASONS)
    if not expected:
        return DayClass.expectation_not_known if has_unknown else DayClass.nothing_expected
    if has_unknown:
        return DayClass.partly_known if expected > _count_absent(slots) else DayClass.not_known
    if proven == expected:
        return DayClass.none_proven
    if final + proven == expected:
        return DayClass.complete
    has_recorded = final or slots.get("in_progress") or slots.get("stuck")
    return DayClass.partly_known if has_recorded or proven else DayClass.not_known


def _count_absent(slots: dict[str, int]) -> int:
    """Count the slots of which nothing is known."""
    return slots.get("unknown", 0) + slots.get("not_extracted", 0)


def list_runs(classes: Sequence[int] | npt.NDArray[np.uint8]) -> Iterator[tuple[int, int, DayClass]]:
    """Yield position, length and class of each maximal run of equal days."""
    values = np.asarray(classes)
    if not len(values):
        return
    changes = np.flatnonzero(np.diff(values)) + 1
    for first, stop in zip([0, *changes], [*changes, len(values)], strict=True):
        yield int(first), int(stop - first), DayClass(int(values[first]))


def format_span(first: date, last: date) -> str:
    """Return one day, or a range."""
    return f"{first}" if first == last else f"{first} to {last}"
