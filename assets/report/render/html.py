"""The page as one HTML file without scripts or network access; all text is escaped.

The content security policy allows only the page's own style sheet, by its hash. Text that slipped through the
escaping could therefore run nothing.
"""

import functools
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from assets.report.formatting import clean_text, format_duration, format_share
from assets.report.model.attention import GOOD_RESULT_SHARE, NO_RESULT_MINUTES, POOR_RESULT_SHARE
from assets.report.model.fleet import Machine
from assets.report.model.page import Page

if TYPE_CHECKING:
    from jinja2 import Environment

DETAILED_EVENTS = 12
"""Events with their own block; each further event is one row of a table."""

MAX_CHARTS, MAX_BYTES, MAX_LABEL = 8, 50_000, 25
"""Limits of the thumbnail in Dagster's event log: charts, bytes, and characters of a machine's label."""

_COLORS = (
    ("known", "#ffffff"),
    ("off", "#e4e7eb"),
    ("event", "#fbe3d2"),
    ("score", "#8fa5bb"),
    ("hot", "#cc4a06"),
)
_TEMPLATES = Path(__file__).with_name("templates")


def render_html(page: Page) -> str:
    """Return the page as HTML."""
    style = _load_style()
    html = (
        _create_environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            gap_steps=f"{page.scope.gap_steps:g}",
            warning_minutes=format_duration(NO_RESULT_MINUTES),
            alert_minutes=format_duration(6 * NO_RESULT_MINUTES),
            good_share=format_share(GOOD_RESULT_SHARE),
            poor_share=format_share(POOR_RESULT_SHARE),
            bin_duration=format_duration(page.scope.bin_seconds / 60),
            detailed_events=DETAILED_EVENTS,
            style=style,
            style_hash="sha256-" + b64encode(sha256(style.encode()).digest()).decode(),
        )
    )
    return html.strip() + "\n"


def render_thumbnail(page: Page) -> str:
    """Return the charts of the most urgent machines as an SVG data URI of less than 50 kB."""
    rows = [(_shorten_label(card.machine), view.chart) for card in page.cards for view in card.charts]
    template = _create_environment().get_template("thumbnail.svg.j2")
    count = min(len(rows), MAX_CHARTS)
    while True:
        svg = template.render(rows=rows[:count], colors=_COLORS).encode()
        uri = f"data:image/svg+xml;base64,{b64encode(svg).decode()}"
        if len(uri) < MAX_BYTES or count == 0:
            return uri
        count -= 1


def _shorten_label(machine: Machine) -> str:
    label = f"{machine.label}, {machine.hint}" if machine.hint else machine.label
    return label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…"


@functools.cache
def _create_environment() -> "Environment":
    """Cached, because compiling the templates takes longer than rendering one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 (slow to import)

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,  # regardless of a template's file name
        finalize=lambda value: clean_text(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _load_style() -> str:
    text = (_TEMPLATES / "page.css").read_text("utf-8")
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
