"""The quality of the data: results of the expected executions, freshness and sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assets.report.formatting import pluralize
from assets.report.model.attention import GOOD_RESULT_SHARE, POOR_RESULT_SHARE
from assets.report.model.fleet import Fleet, Machine
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
    "unknown": ("unknown", "open"),
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
    "unknown": "unknown",
}
"""The columns of the table of days. All but the first two appear only if any day has a value."""

_SOURCES = {"api": "API", "archive": "saved responses", "bucket": "result bucket"}
_OBJECT_STATES = {
    "read": "read",
    "missing": "not found",
    "forbidden": "access denied",
    "key_missing": "KMS key cannot be used",
    "wrong_owner": "unexpected bucket owner",
    "archived": "archived",
    "unreachable": "not reached",
}


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
    """The executions of one scheduler that returned no result."""

    machine: Machine
    result_share: Figure[float]
    longest_silence: Figure[float]
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
    verdict, explanation = _judge(data.slots)
    schedulers = [_assess_scheduler(data, fleet, arn) for arn in data.schedulers]
    incomplete = [scheduler for scheduler in schedulers if scheduler.counts]
    incomplete.sort(
        key=lambda scheduler: (
            scheduler.result_share.value if scheduler.result_share.value is not None else 1.0,
            scheduler.machine.label,
        )
    )
    columns = _choose_columns(data)
    return DataQuality(
        verdict=verdict,
        explanation=explanation,
        slices=tuple(_build_slices(data.slots)),
        day_columns=tuple(DAY_COLUMNS[column] for column in columns),
        days=tuple((day.data_date, *(day.get_figure(column) for column in columns)) for day in data.days),
        facts=tuple(_list_facts(data)),
        incomplete=tuple(incomplete[:SHOWN_SCHEDULERS]),
        complete=len(schedulers) - len(incomplete),
        omitted=max(0, len(incomplete) - SHOWN_SCHEDULERS),
    )


def _choose_columns(data: ReportData) -> list[str]:
    return [
        column
        for column in DAY_COLUMNS
        if column in {"expected", "result_share"} or any(day.get_figure(column) for day in data.days)
    ]


def _judge(slots: SlotCounts) -> tuple[str, Statement]:
    share = slots.result_share.value
    if not slots.expected:
        return "No data", ("No executions were due, or execution_health is not computed for these days",)
    text: Statement = (slots.result_share, " of the executions due returned a result")
    if slots.not_extracted:
        return "Incomplete", (*text, "; ", slots.not_extracted, " are not extracted yet")
    if share is None:
        return "No executions due", ("No scheduler was running",)
    if share >= GOOD_RESULT_SHARE:
        return "Good", text
    return "Degraded" if share >= POOR_RESULT_SHARE else "Poor", text


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
        f" result {pluralize(lines.value, 'line')}, ",
        summaries,
        f" execution {noun} (of all days)",
    )
    facts.append(("Rejected", rejected))
    return facts


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
    slots = data.schedulers[arn]
    return SchedulerQuality(
        machine=fleet.get_machine(arn),
        result_share=slots.result_share,
        longest_silence=slots.longest_silence_minutes,
        counts=tuple(
            (slots.get_figure(reason), label)
            for reason, (label, _) in REASONS.items()
            if reason not in {"succeeded", "after_service_end"} and slots.get_figure(reason)
        ),
    )
