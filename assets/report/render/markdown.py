"""A page as Markdown, short enough for chat or mail."""

import re

from assets.report.formatting import format_number
from assets.report.model.attention import Attention, Severity
from assets.report.model.fleet import Machine
from assets.report.model.incidents import Event
from assets.report.model.page import Page
from assets.report.query.answers import Figure, StatementValue

SHOWN_LINES = 20
SHOWN_EVENTS = 10
SHOWN_CAUSES = 5
SHOWN_REASONS = 1
"""Beside what is worst about a machine; the page has all."""

_MARKS = {Severity.ACT: "🔴", Severity.LOOK: "🟠", Severity.KNOW: "⚪"}
_MARKUP = re.compile(r"([\\`*_\[\]|~]|:(?=//))")  # what counts within a line; no text of ours begins one


def render_markdown(page: Page) -> str:
    """Return the page as Markdown."""
    parts = [
        f"# {escape_markdown(page.title)}",
        _heads(page),
        *_attention(page),
        "## Can the data be trusted?",
        f"**{escape_markdown(page.trust.verdict)}.** {_said(page.trust.said)}.",
        *_events(page),
        *_causes(page),
    ]
    return "\n\n".join(parts) + "\n"


def _heads(page: Page) -> str:
    return (
        f"{page.urgent} of {len(page.cards)} machines need attention · "
        f"{page.event_figures[0].text} anomaly events, {page.event_figures[1].text} not over · "
        f"{page.watched.text} of the due executions gave a result · as of {page.as_of} ({page.zone})"
    )


def escape_markdown(text: str) -> str:
    """Return text that reads the same when it is taken for Markdown, and is no HTML."""
    return _MARKUP.sub(
        r"\\\1", re.sub(r"\s+", " ", format_number(text)).replace("&", "&amp;").replace("<", "&lt;")
    )


def _attention(page: Page) -> list[str]:
    lines = [_line(one) for one in page.attention[:SHOWN_LINES]]
    left_out = len(page.attention) - len(lines)
    lines += [f"- and {left_out} more"] if left_out else []
    lines += [_line(one) for one in page.silenced]
    return ["## What needs attention", "\n".join(lines) or "Nothing."]


def _line(one: Attention) -> str:
    mark = "🔕" if one.silence else _MARKS[one.severity]
    rest = "".join(f"; {_said(said)}" for said in one.also[:SHOWN_REASONS])
    if one.silence:
        silence = one.silence
        rest += (
            f" (silenced by {escape_markdown(silence.who)} {silence.span}: {escape_markdown(silence.why)})"
        )
    return f"- {mark} **{_name(one.machine)}**: {_said(one.said)}{rest}"


def _events(page: Page) -> list[str]:
    if not page.events:
        return ["## Anomaly events", "None in these days."]
    head = "| start | machine | lasted | peak | top sensors |\n| --- | --- | ---: | ---: | --- |\n"
    rows = "\n".join(map(_event, page.events[:SHOWN_EVENTS]))
    left_out = page.events_left_out + len(page.events) - len(page.events[:SHOWN_EVENTS])
    return ["## Anomaly events", head + rows, *([f"And {left_out} more."] if left_out else [])]


def _event(event: Event) -> str:
    sensors = ", ".join(f"{escape_markdown(one.name)} {one.share.text}" for one in event.sensors[:3])
    lasted = event.duration.text + (" so far" if event.state == "open" else "")
    return f"| {event.start.text} | {_name(event.machine)} | {lasted} | {event.peak.text} | {sensors} |"


def _causes(page: Page) -> list[str]:
    if not page.causes:
        return []
    lines = [
        f"- {cause.executions.text} × {escape_markdown(cause.words)}{' (new)' if cause.is_new else ''}"
        for cause in page.causes[:SHOWN_CAUSES]
    ]
    return ["## Failed executions by cause", "\n".join(lines)]


def _name(machine: Machine) -> str:
    return escape_markdown(f"{machine.label} ({machine.hint})" if machine.hint else machine.label)


def _said(said: StatementValue) -> str:
    return "".join(part.text if isinstance(part, Figure) else escape_markdown(part) for part in said)
