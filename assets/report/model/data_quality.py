"""The quality of the data: results of the expected executions, freshness and sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from assets.report.formatting import DASH, pluralize
from assets.report.model.attention import GOOD_RESULT_SHARE, POOR_RESULT_SHARE, describe_result_share
from assets.report.model.fleet import Fleet, Machine
from assets.report.model.knowledge import UNREAD_STATES, describe_execution_gaps
from assets.report.query.buckets import BucketResults
from assets.report.query.data import ReportData
from assets.report.query.executions import SlotCounts
from assets.report.query.result import Figure, Statement

REASONS = {
    "succeeded": ("with a result", "good"),
    "failed_missing_input": ("failed: no input data", "no-input"),
    "failed_other": ("failed: other reasons", "bad"),
    "in_progress": ("in progress", "open"),
    "stuck": ("stuck in progress", "bad"),
    "missing": ("missing", "bad"),
    "not_running": ("scheduler not running", "idle"),
    "not_extracted": ("not extracted yet", "open"),
    "after_service_end": ("after the end of the service", "idle"),
    "unknown": ("no result (cause unknown)", "open"),
}
"""The label of each reason of `execution_health`, and the CSS class of its color."""

SHOWN_SCHEDULERS = 30

DAY_COLUMNS = {
    "expected": "expected",
    "result_share": "with a result",
    "failed_missing_input": "no input",
    "failed_other": "other failures",
    "stuck": "stuck",
    "missing": "missing",
    "not_running": "not running",
    "not_extracted": "not extracted",
    "unknown": "cause unknown",
}
"""The columns of the table of days. All but the first two appear only if any day has a value."""

_SOURCES = {"api": "API", "archive": "saved responses", "bucket": "result bucket"}
_KNOWLEDGE_COLUMNS = {
    "executions_not_computed": "not computed",
    "results_unread": "results not read",
}
"""The columns of the table of days about what is not known; they appear only if any day has a value."""

_OBJECT_STATES = {"read": "read", **{state: label for state, (label, _) in UNREAD_STATES.items()}}


@dataclass(frozen=True)
class Slice:
    """Part of the bar of all expected executions; `start` and `width` are in thousandths of it."""

    label: str
    css_class: str
    figure: Figure[int]
    start: float
    width: float


@dataclass(frozen=True)
class SchedulerQuality:
    """The executions of one scheduler without a result; no `longest_silence` if some are not known.

    `scheduler` is its name if the machine has several schedulers, else empty.
    """

    machine: Machine
    scheduler: str
    result_share: Figure[float]
    longest_silence: Figure[float] | None
    counts: tuple[tuple[Figure[int], str], ...]


@dataclass(frozen=True)
class DataQuality:
    """The section about data quality; `complete` counts schedulers without a missing result."""

    verdict: str
    explanation: Statement
    slices: tuple[Slice, ...]
    day_columns: tuple[str, ...]
    days: tuple[tuple[Figure[Any], ...], ...]
    facts: tuple[tuple[str, Statement], ...]
    incomplete: tuple[SchedulerQuality, ...]
    complete: int
    omitted: int


def assess_data_quality(data: ReportData, fleet: Fleet) -> DataQuality:
    """Return the content of the section."""
    verdict, explanation = _judge(data)
    schedulers = [_assess_scheduler(data, fleet, arn) for arn in data.schedulers]
    incomplete = [scheduler for scheduler in schedulers if scheduler.counts]
    incomplete.sort(
        key=lambda scheduler: (
            scheduler.result_share.value if scheduler.result_share.value is not None else 1.0,
            scheduler.machine.label,
        )
    )
    has_gaps = bool(describe_execution_gaps(data.knowledge))
    columns = _choose_columns(data)
    return DataQuality(
        verdict=verdict,
        explanation=explanation,
        slices=tuple(_build_slices(data.slots)),
        day_columns=tuple((DAY_COLUMNS | _KNOWLEDGE_COLUMNS)[column] for column in columns),
        days=tuple(_list_days(data, columns)),
        facts=tuple(_list_facts(data)),
        incomplete=tuple(incomplete[:SHOWN_SCHEDULERS]),
        complete=0 if has_gaps else len(schedulers) - len(incomplete),
        omitted=max(0, len(incomplete) - SHOWN_SCHEDULERS),
    )


def _choose_columns(data: ReportData) -> list[str]:
    slot_columns = [
        column
        for column in DAY_COLUMNS
        if column in {"expected", "result_share"} or any(day.get_figure(column) for day in data.days)
    ]
    return slot_columns + [
        column
        for column in _KNOWLEDGE_COLUMNS
        if any(getattr(day, column) for day in data.day_knowledge.values())
    ]


def _list_days(data: ReportData, columns: Sequence[str]) -> Iterator[tuple[Figure[Any], ...]]:
    """Yield a row for each recorded or computed day; a day that is not computed has dashes."""
    computed = {day.data_date.get_value(): day for day in data.days}
    for number, knowledge in sorted(data.day_knowledge.items()):
        day = computed.get(number)
        if day is None and not knowledge.executions:
            continue
        cells = [
            getattr(knowledge, column)
            if column in _KNOWLEDGE_COLUMNS
            else (day.get_figure(column) if day else Figure(DASH, "days", 0, column))
            for column in columns
        ]
        yield (knowledge.day, *cells)


def _judge(data: ReportData) -> tuple[str, Statement]:
    """Return the verdict; it is Incomplete if what is not known could change it."""
    slots, knowledge = data.slots, data.knowledge
    if not slots.expected and not knowledge.executions:
        if knowledge.days_not_recorded or not knowledge.days_recorded:
            return "No data", (knowledge.days_not_recorded, " of ", knowledge.days, " days are not recorded")
        return "No executions due", ("The sources returned no executions",)
    text: Statement = ()
    if slots.result_share.value is not None:
        text = ("; ", *describe_result_share(slots))
    if slots.unknown:
        text += ("; ", slots.unknown, " are unknown")
    verdict = _classify(slots.result_share.value)
    is_known = verdict == _classify(slots.possible_result_share)
    gaps = _list_verdict_gaps(data)
    if slots.result_share.value is None and not gaps:
        return "No executions due", ("No scheduler was running",)
    if gaps or not is_known:
        return "Incomplete", (*text, *gaps)[1:]
    return verdict, text[1:]


def _list_verdict_gaps(data: ReportData) -> Statement:
    slots, knowledge = data.slots, data.knowledge
    gaps: Statement = ()
    if slots.not_extracted:
        gaps += ("; ", slots.not_extracted, " are not extracted yet")
    if executions := describe_execution_gaps(knowledge):
        gaps += ("; ", *executions)
    if knowledge.results_unread:
        gaps += ("; ", knowledge.results_unread, " of ", knowledge.results, " result objects not read")
    return gaps


def _classify(share: float | None) -> str:
    if share is None or share < POOR_RESULT_SHARE:
        return "Poor"
    return "Good" if share >= GOOD_RESULT_SHARE else "Degraded"


def _build_slices(slots: SlotCounts) -> list[Slice]:
    slices, start = [], 0.0
    for reason, (label, css_class) in REASONS.items():
        count = slots.get_figure(reason)
        if not count:
            continue
        width = round(1000 * count.get_value() / slots.expected.get_value(), 2)
        slices.append(Slice(label, css_class, count, round(start, 2), width))
        start += width
    return slices


def _list_facts(data: ReportData) -> list[tuple[str, Statement]]:
    facts: list[tuple[str, Statement]] = []
    results = [row.newest_result for row in data.recorded.values() if row.newest_result.value]
    if results:
        facts.append(("Newest result", (max(results, key=lambda result: result.get_value()),)))
    median, maximum = data.slots.lateness_median_minutes, data.slots.lateness_max_minutes
    if median.value is not None:
        facts.append(("Lateness of results", ("median ", median, ", maximum ", maximum)))
    facts.append(("Sources", (", ".join(_list_sources(data)) or "none",)))
    if data.objects:
        facts.append(("Result objects", tuple(_list_object_states(data))))
    lines, summaries = data.rejected.lines, data.rejected.summaries
    noun = "summary" if summaries.value == 1 else "summaries"
    rejected: Statement = (
        lines,
        f" result {pluralize(lines.value, 'line')} of ",
        data.knowledge.results_read,
        " result objects read, ",
        summaries,
        f" execution {noun} (of all days)",
    )
    facts.append(("Rejected", rejected))
    if data.rejected.damaged_files:
        not_read: Statement = (data.rejected.damaged_files, " of ", data.rejected.files)
        facts.append(("Saved responses", (*not_read, " not read completely (of all days)")))
    facts += [fact for row in data.buckets for fact in _describe_bucket(row)]
    return facts


def _describe_bucket(row: BucketResults) -> Iterator[tuple[str, Statement]]:
    """Yield what the checks `result_times_in_window` and `output_prefixes_not_shared` compare."""
    times: Statement = ("no result of a bucket is read: its times were not compared",)
    if row.compared:
        times = (row.outside, " of ", row.compared, " results of buckets have lines outside of their window")
    yield "Times of results", times
    sensors: Statement = ("no result with sensors is read: sensors were not compared",)
    if row.with_sensors:
        sensors = (
            *(
                row.alternating,
                f" {pluralize(row.alternating.value, 'scheduler')} with alternating sensors in ",
            ),
            *(row.with_sensors, " results with sensors"),
        )
    prefixes = "prefix" if row.prefixes.value == 1 else "prefixes"
    ends: Statement = ("; ", row.without_end, " results without a known end")
    yield (
        "Output prefixes",
        (row.prefixes, f" {prefixes}, each counted as one scheduler; ", *sensors, *ends),
    )


def _list_sources(data: ReportData) -> Sequence[str]:
    kinds = {kind for row in data.recorded.values() for kind in (row.sources or "").split(", ")}
    return [_SOURCES.get(kind, kind) for kind in sorted(kinds) if kind]


def _list_object_states(data: ReportData) -> Statement:
    parts: list[str | Figure[int]] = []
    for state, label in _OBJECT_STATES.items():
        row = data.object_states.get(state)
        if row and row.objects:
            parts += [", " if parts else "", row.objects, f" {label}"]
    return tuple(parts)


def _assess_scheduler(data: ReportData, fleet: Fleet, arn: str) -> SchedulerQuality:
    slots, knowledge = data.schedulers[arn], data.scheduler_knowledge.get(arn)
    not_computed: tuple[tuple[Figure[int], str], ...] = ()
    if knowledge and knowledge.executions_not_computed:
        not_computed = ((knowledge.executions_not_computed, "not computed"),)
    machine = fleet.get_machine(arn)
    names = [scheduler.name for scheduler in machine.schedulers if scheduler.arn == arn]
    return SchedulerQuality(
        machine=machine,
        scheduler=names[0] if len(machine.schedulers) > 1 else "",
        result_share=slots.result_share,
        longest_silence=None if slots.unknown or slots.not_extracted else slots.longest_silence_minutes,
        counts=tuple(
            (slots.get_figure(reason), label)
            for reason, (label, _) in REASONS.items()
            if reason not in {"succeeded", "after_service_end"} and slots.get_figure(reason)
        )
        + not_computed,
    )
