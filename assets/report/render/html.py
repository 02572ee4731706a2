"""A page as one HTML file: no network, no scripts, all text escaped.

The content-security policy allows the one style sheet that the page carries, by its hash, and nothing else.
So even text that slipped through the escaping could do nothing.
"""

import functools
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from assets.report.formatting import format_duration, format_number, format_share
from assets.report.model.attention import BLIND_MINUTES, HARDLY_WATCHED, WELL_WATCHED
from assets.report.model.fleet import Machine
from assets.report.model.page import Page

EVENTS_IN_FULL = 12
"""Events beyond these have a row each, so that a page of many is not a long one."""

MOST_ROWS, MOST_BYTES, LONGEST_LABEL = 8, 50_000, 25
"""What a picture in Dagster's event log may cost at most."""

_COLOURS = (
    ("known", "#ffffff"),
    ("off", "#e4e7eb"),
    ("event", "#fbe3d2"),
    ("score", "#8fa5bb"),
    ("hot", "#cc4a06"),
)
_TEMPLATES = Path(__file__).with_name("templates")


def render_html(page: Page) -> str:
    """Return the page as HTML."""
    style = _style()
    text = (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            gap_steps=f"{page.scope.gap_steps:g}",
            blind=int(BLIND_MINUTES),
            well=format_share(WELL_WATCHED),
            hardly=format_share(HARDLY_WATCHED),
            step=format_duration(page.scope.bin_seconds / 60),
            in_full=EVENTS_IN_FULL,
            style=style,
            style_hash="sha256-" + b64encode(sha256(style.encode()).digest()).decode(),
        )
    )
    return text.strip() + "\n"


def render_thumbnail(page: Page) -> str:
    """Return a small picture of the strips that need attention most, as a data URI of less than 50 kB."""
    rows = [(_short(card.machine), view.strip) for card in page.cards for view in card.views]
    template = _environment().get_template("thumbnail.svg.j2")
    count = min(len(rows), MOST_ROWS)
    while True:
        drawn = template.render(rows=rows[:count], colours=_COLOURS).encode()
        uri = f"data:image/svg+xml;base64,{b64encode(drawn).decode()}"
        if len(uri) < MOST_BYTES or count == 0:
            return uri
        count -= 1


def _short(machine: Machine) -> str:
    told = f"{machine.label}, {machine.hint}" if machine.hint else machine.label
    return told if len(told) <= LONGEST_LABEL else f"{told[: LONGEST_LABEL - 1]}…"


@functools.cache
def _environment() -> Environment:
    """Return what fills the templates; it keeps them compiled, which takes longer than to fill one."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,  # whatever a template is called
        finalize=lambda value: format_number(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _style() -> str:
    text = (_TEMPLATES / "page.css").read_text("utf-8")
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
