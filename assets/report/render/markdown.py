"""The page as Markdown, short enough for a chat message or a mail."""

from assets.report.formatting import escape_line
from assets.report.model.attention import AttentionItem, Severity
from assets.report.model.fleet import Machine
from assets.report.model.incidents import Event
from assets.report.model.page import Page
from assets.report.query.result import Figure, Statement

MAX_ITEMS = 20
MAX_EVENTS = 10
MAX_CAUSES = 5
MAX_OTHER_FINDINGS = 1
"""After the most severe finding about a machine; the HTML page lists all."""

_MARKS = {Severity.ALERT: "🔴", Severity.WARNING: "🟠", Severity.INFO: "⚪"}


def render_markdown(page: Page) -> str:
    """Return the page as Markdown."""
    parts = [
        f"# {escape_line(page.title)}",
        _render_summary(page),
        *_render_gaps(page),
        *_render_attention(page),
        "## Data quality",
        f"**{page.data_quality.verdict}.** {_render_statement(page.data_quality.explanation)}.",
        *_render_events(page),
        *_render_causes(page),
    ]
    return "\n\n".join(parts) + "\n"


def _render_summary(page: Page) -> str:
    totals = page.event_totals
    machines = (
        f"{page.urgent} of {len(page.cards)} machines need attention"
        if page.cards
        else "no machines recorded"
    )
    if page.not_fully_known:
        machines += f", {page.not_fully_known} not fully known"
    events = f"anomaly events {page.extent}"
    if page.counts_events:
        known = " known" if page.result_gaps else ""
        events = f"{totals.events.text}{known} anomaly events, {totals.open.text} ongoing"
    executions = f"executions {page.execution_word}"
    if page.result_share.value is not None:
        verb = "are known to have returned" if page.has_unknown_outcomes else "returned"
        executions = f"{page.result_share.text} of the executions due {verb} a result"
        executions += " (of the computed ones)" if page.execution_gaps else ""
    return f"{machines} · {events} · {executions} · as of {page.as_of} ({page.zone})"


def _render_gaps(page: Page) -> list[str]:
    if not page.gaps:
        return []
    parts = ["## Not known"]
    for gap in page.gaps:
        reasons = "".join(f"\n  - {_render_statement(reason)}" for reason in gap.reasons)
        parts.append(f"- **{gap.title}**: {_render_statement(gap.text)}{reasons}")
        if gap.commands:
            parts.append("\n".join(["```sh", *gap.commands, "```"]))
    return parts


def _render_attention(page: Page) -> list[str]:
    lines = [_render_item(item) for item in page.attention[:MAX_ITEMS]]
    omitted = len(page.attention) - len(lines)
    lines += [f"- {omitted} more machines"] if omitted else []
    lines += [_render_item(item) for item in page.silenced]
    nothing = "No findings in what is known." if page.gaps else "No findings."
    if not page.cards:
        nothing = "The lake has no data for these days."
    return ["## Machines that need attention", "\n".join(lines) or nothing]


def _render_item(item: AttentionItem) -> str:
    mark = "🔕" if item.silence else _MARKS[item.severity]
    others = "".join(f"; {_render_statement(text)}" for text in item.other_findings[:MAX_OTHER_FINDINGS])
    if silence := item.silence:
        author, reason = escape_line(silence.author), escape_line(silence.reason)
        others += f" (silenced by {author} {silence.period}: {reason})"
    return f"- {mark} **{_render_name(item.machine)}**: {_render_statement(item.finding)}{others}"


def _render_events(page: Page) -> list[str]:
    if not page.events:
        return ["## Anomaly events", f"{_render_statement(page.events_empty)}."]
    head = "| start | machine | duration | peak score | top sensors |\n| --- | --- | ---: | ---: | --- |\n"
    rows = "\n".join(map(_render_event, page.events[:MAX_EVENTS]))
    omitted = page.events_omitted + len(page.events) - len(page.events[:MAX_EVENTS])
    return [
        "## Anomaly events",
        head + rows,
        *([f"{omitted} more events."] if omitted else []),
        *_render_not_included(page.result_gaps),
    ]


def _render_event(event: Event) -> str:
    row = event.row
    sensors = ", ".join(f"{escape_line(sensor.name)} {sensor.share.text}" for sensor in event.sensors[:3])
    duration = row.duration_seconds.text + (" so far" if row.state == "open" else "")
    name = _render_name(event.machine)
    return f"| {row.start_time.text} | {name} | {duration} | {row.peak_score.text} | {sensors} |"


def _render_causes(page: Page) -> list[str]:
    if not page.causes:
        return []
    lines = [
        f"- {cause.row.executions.text} × {escape_line(cause.row.cause)}" + (" (new)" if cause.is_new else "")
        for cause in page.causes[:MAX_CAUSES]
    ]
    return ["## Failed executions by cause", "\n".join(lines), *_render_not_included(page.execution_gaps)]


def _render_not_included(gaps: Statement) -> list[str]:
    return [f"Not included: {_render_statement(gaps)}."] if gaps else []


def _render_name(machine: Machine) -> str:
    return escape_line(f"{machine.label} ({machine.hint})" if machine.hint else machine.label)


def _render_statement(statement: Statement) -> str:
    return "".join(part.text if isinstance(part, Figure) else escape_line(part) for part in statement)
