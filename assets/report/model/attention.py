"""The machines that need attention, ranked by severity, criticality and duration.

A machine has one item: its most severe finding first, then the others. Findings that a silence covers are a
separate item with the author and the reason of the silence; they are never omitted.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from assets.report.formatting import pluralize
from assets.report.model.fleet import Fleet, Machine
from assets.report.model.knowledge import UNREAD_STATES
from assets.report.model.silencing import SilenceMatcher, SilenceSummary
from assets.report.query.data import ReportData
from assets.report.query.executions import SchedulerRecords, SchedulerSlots, SlotCounts
from assets.report.query.machines import AnomalyTotals, EventRow
from assets.report.query.result import Figure, Statement

NO_RESULT_MINUTES = 60.0
"""A warning if the newest result is this much older than the newest window; an alert at six times this."""

GOOD_RESULT_SHARE, POOR_RESULT_SHARE = 0.95, 0.5
"""Shares of the executions due with a result: a warning below the first, an alert below the second."""

_CRITICALITY = {"high": 3, "medium": 2, None: 2, "low": 1}


class Severity(IntEnum):
    """How urgent a finding is."""

    INFO = 1
    WARNING = 2
    ALERT = 3

    @property
    def word(self) -> str:
        """The name on the page."""
        return self.name.lower()


_UNREAD_FINDINGS = {
    "not_read": (Severity.WARNING, "{are} not read yet"),
    "forbidden": (Severity.ALERT, "{are} not readable: access denied"),
    "wrong_owner": (Severity.ALERT, "{are} in a bucket of an unexpected account"),
    "not_allowed": (Severity.ALERT, "{are} in a bucket that results.allowed_buckets does not allow"),
    "key_missing": (Severity.ALERT, "{are} not readable: the KMS key cannot be used"),
    "archived": (Severity.WARNING, "{are} archived and must be restored before reading"),
    "unreachable": (Severity.WARNING, "could not be reached"),
    "missing": (Severity.WARNING, "{are} not found"),
}
"""Severity and words for the states of unread result objects; other states are a warning."""


@dataclass(frozen=True)
class Finding:
    """One finding about a machine; findings of equal severity are ranked by weight."""

    severity: Severity
    weight: float
    text: Statement
    silence: SilenceSummary | None = None


@dataclass(frozen=True)
class AttentionItem:
    """All findings about one machine, or those that one silence covers."""

    machine: Machine
    severity: Severity
    finding: Statement
    other_findings: tuple[Statement, ...] = ()
    silence: SilenceSummary | None = None


def rank_machines(data: ReportData, fleet: Fleet, silences: SilenceMatcher) -> list[AttentionItem]:
    """Return all items, silenced ones included, the most urgent first."""
    weighted: list[tuple[AttentionItem, float]] = []
    for machine in fleet.machines:
        by_silence: dict[SilenceSummary | None, list[Finding]] = defaultdict(list)
        for finding in _find_all(data, fleet, machine, silences):
            by_silence[finding.silence].append(finding)
        for silence, findings in by_silence.items():
            first, *others = sorted(findings, key=lambda finding: (-finding.severity, -finding.weight))
            other_texts = tuple(finding.text for finding in others)
            item = AttentionItem(machine, first.severity, first.text, other_texts, silence)
            weighted.append((item, first.weight))
    weighted.sort(
        key=lambda pair: (
            -pair[0].severity,
            -_CRITICALITY.get(pair[0].machine.criticality, 2),
            -pair[1],
            pair[0].machine.label,
        )
    )
    return [item for item, _ in weighted]


def describe_result_share(slots: SlotCounts) -> Statement:
    """Return the share of the executions due with a result; unknown outcomes make it a lower bound."""
    verb = "are known to have returned" if slots.has_unknown_outcomes else "returned"
    return (slots.result_share, f" of the executions due {verb} a result")


def _find_all(
    data: ReportData, fleet: Fleet, machine: Machine, silences: SilenceMatcher
) -> Iterator[Finding]:
    arns = {scheduler.arn for scheduler in machine.schedulers}
    by_silence: dict[SilenceSummary | None, list[EventRow]] = defaultdict(list)
    for event in data.events:
        if event.scheduler_arn in arns:
            by_silence[silences.find_for_event(event, machine)].append(event)
    for silence, events in by_silence.items():
        for finding in _find_anomalies(data, fleet, machine, events, is_complete=len(by_silence) == 1):
            yield replace(finding, silence=silence)
    for scheduler in machine.schedulers:
        silence = silences.find_for_scheduler(scheduler, machine)
        for find in _FINDERS:
            for finding in find(data, scheduler.arn):
                yield replace(finding, silence=silence)


def _find_anomalies(
    data: ReportData, fleet: Fleet, machine: Machine, events: Sequence[EventRow], *, is_complete: bool
) -> Iterator[Finding]:
    """Report an ongoing event, else the events of the last day, and all events if there are more.

    Totals of the lake are printed only if `is_complete`: the events are all events of the machine.
    """
    ongoing = [
        event for event in events if event.state == "open" or event.end_time.get_value() >= data.scope.end
    ]
    if ongoing:
        event = max(ongoing, key=_get_seconds)
        text: Statement = ("anomalous since ", event.start_time, ", ", event.duration_seconds, " so far")
        text += _describe_peak(event) + _describe_top_sensor(data, fleet, machine, event)
        yield Finding(Severity.ALERT, 1e9 + _get_seconds(event), text)
        return
    recent = [event for event in events if event.end_time.get_value() > data.scope.last_day]
    described = recent or events
    longest = max(described, key=_get_seconds)
    source = data.last_day if recent else data.equipment
    totals: Statement = ()
    if is_complete:
        totals = _describe_totals(source.get(machine.key), described, is_last_day=bool(recent))
    yield Finding(
        Severity.WARNING if recent else Severity.INFO,
        sum(map(_get_seconds, described)),
        (
            *totals,
            *_describe_longest(longest, has_totals=bool(totals)),
            *_describe_top_sensor(data, fleet, machine, longest),
        ),
    )
    if recent and len(events) > len(recent):
        all_totals = _describe_totals(data.equipment.get(machine.key), events) if is_complete else ()
        longest_of_all = max(events, key=_get_seconds)
        is_new = longest_of_all is not longest
        more = _describe_longest(longest_of_all, has_totals=bool(all_totals)) if is_new else ()
        if all_totals or more:
            yield Finding(Severity.INFO, 0, ("all days: ", *all_totals, *more))


def _describe_totals(
    totals: AnomalyTotals | None, events: Sequence[EventRow], *, is_last_day: bool = False
) -> Statement:
    """Describe several events together; empty if the totals count other events than these."""
    if (
        totals is None
        or len(events) == 1
        or not totals.anomalous_minutes
        or totals.events.value != len(events)
    ):
        return ()
    when = " on the last day" if is_last_day else ""
    return (
        totals.events,
        f" events{when}, ",
        totals.anomalous_minutes,
        " anomalous (",
        totals.anomalous_share,
        " of running time)",
    )


def _describe_longest(event: EventRow, *, has_totals: bool) -> Statement:
    start = "; longest: " if has_totals else "anomalous for "
    return (start, event.duration_seconds, " from ", event.start_time, *_describe_peak(event))


def _describe_peak(event: EventRow) -> Statement:
    return (", peak score ", event.peak_score) if event.peak_score else ()


def _describe_top_sensor(data: ReportData, fleet: Fleet, machine: Machine, event: EventRow) -> Statement:
    sensors = data.sensors.get(event.event_id)
    if not sensors:
        return ()
    name = fleet.get_sensor(sensors[0].component, sensors[0].sensor, machine).name
    return ("; top sensor: ", name, " (", sensors[0].contribution, ")")


def _get_seconds(event: EventRow) -> float:
    return float(event.duration_seconds.value or 0)


def _find_missing_results(data: ReportData, arn: str) -> Iterator[Finding]:
    records: SchedulerRecords | None = data.recorded.get(arn)
    if records is None:
        return
    minutes = records.minutes_without_result.value or 0
    if records.newest_result.value is None:
        text: Statement = ("no result is recorded: none of ", records.executions, " executions has one")
        yield Finding(Severity.ALERT, 1e8, text)
    elif minutes >= NO_RESULT_MINUTES:
        severity = Severity.ALERT if minutes >= 6 * NO_RESULT_MINUTES else Severity.WARNING
        age, newest = records.minutes_without_result, records.newest_result
        text = ("no result is recorded for ", age, ": the newest is from ", newest)
        yield Finding(severity, minutes * 60, text)


def _find_failures(data: ReportData, arn: str) -> Iterator[Finding]:
    slots: SchedulerSlots | None = data.schedulers.get(arn)
    if slots is None:
        return
    share = slots.result_share.value
    possible_share = slots.possible_result_share
    if slots.succeeded and share is not None and possible_share < GOOD_RESULT_SHARE:
        no_input = slots.failed_missing_input
        text = describe_result_share(slots)
        if not slots.has_unknown_outcomes:
            text = ("only ", *text)
        if no_input:
            text += ("; ", *_count(no_input, "execution", "had no input data"))
        if not slots.has_unknown_outcomes:
            text += ("; longest time without a result within a day: ", slots.longest_silence_minutes)
        severity = Severity.ALERT if possible_share < POOR_RESULT_SHARE else Severity.WARNING
        yield Finding(severity, (1 - share) * 1e4, text)
    for count, words in (
        (slots.unknown, "{are} unknown: no source proves the outcome"),
        (slots.stuck, "{are} stuck in progress"),
        (slots.missing, "{are} missing"),
        (slots.failed_other, "failed for a reason other than missing input"),
        (slots.not_extracted, "{are} not extracted yet"),
    ):
        if count:
            yield Finding(Severity.WARNING, float(count.value or 0), _count(count, "execution", words))


def _find_unread_objects(data: ReportData, arn: str) -> Iterator[Finding]:
    counts = {row.state: row.objects for row in data.objects if row.scheduler_arn == arn}
    for state, (label, _) in UNREAD_STATES.items():
        severity, words = _UNREAD_FINDINGS.get(state, (Severity.WARNING, f"{{are}} not read: {label}"))
        count = counts.get(state)
        if count:
            yield Finding(severity, float(count.value or 0), _count(count, "result object", words))


def _find_uncomputed_days(data: ReportData, arn: str) -> Iterator[Finding]:
    knowledge = data.scheduler_knowledge.get(arn)
    if knowledge and knowledge.days_not_computed:
        text: Statement = (
            knowledge.days_not_computed,
            " of ",
            knowledge.days,
            f" recorded {pluralize(knowledge.days.value, 'day')} not computed",
        )
        yield Finding(Severity.WARNING, 0.5, text)


def _find_blind_time(data: ReportData, arn: str) -> Iterator[Finding]:
    blind = data.blind_time.get(arn)
    if blind is None:
        return
    text: Statement = ("state not known for ", blind.minutes)
    if blind.periods.value == 1:
        text += (" from ", blind.longest_since)
    else:
        text += (" in ", blind.periods, " periods; longest: ", blind.longest_minutes)
        text += (" from ", blind.longest_since)
    yield Finding(Severity.WARNING, (blind.minutes.value or 0) / 1e6, text)


def _find_new_models(data: ReportData, arn: str) -> Iterator[Finding]:
    for model in [model for model in data.models if model.scheduler_arn == arn][1:]:
        text: Statement = (
            "model ",
            model.model_version,
            " since ",
            model.since,
            ": scores before and after are not comparable",
        )
        yield Finding(Severity.INFO, 0, text)


_FINDERS = (
    _find_missing_results,
    _find_failures,
    _find_unread_objects,
    _find_uncomputed_days,
    _find_blind_time,
    _find_new_models,
)


def _count(figure: Figure[Any], noun: str, words: str) -> Statement:
    verb = "is" if figure.value == 1 else "are"
    return (figure, f" {pluralize(figure.value, noun)} {words.format(are=verb)}")
