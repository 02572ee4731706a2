"""`ledger report`: the page that people read."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import From, To
from resources.clock import utc_now

EXAMPLES = (
    "Examples: **ledger report** · **ledger report --date 2026-10-06 --open** ·"
    " **ledger report --week 2026-W41 --equipment 'pump-\\*'** ·"
    " **ledger report --format markdown --out -** prints what fits into a mail"
)


class Format(StrEnum):
    """What a page is written as."""

    html = "html"
    markdown = "markdown"


def report(  # noqa: PLR0913 (an option each)
    *,
    day: Annotated[
        str | None,
        typer.Option(
            "--date", metavar="DAY", help="One day (UTC): YYYY-MM-DD, today or yesterday.", show_default=False
        ),
    ] = None,
    week: Annotated[
        str | None,
        typer.Option(help="One week, Monday to Sunday: 2026-W41, or any day of it.", show_default=False),
    ] = None,
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    equipment: Annotated[
        list[str] | None,
        typer.Option(help="Only these machines or schedulers; * and ? stand for others.", show_default=False),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="The file to write; - prints it.", show_default=False)
    ] = None,
    shape: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.html,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the page: what needs attention, whether the data can be trusted, how each machine did.

    Without dates it shows the seven days up to the newest recorded one. One file, which needs no network;
    report.folder of the settings says where it goes. As Markdown it is short enough for chat or mail.
    """
    from assets.report.assets import ReportOptions  # noqa: PLC0415
    from assets.report.model.page import build_page  # noqa: PLC0415
    from assets.report.render.html import render_html  # noqa: PLC0415
    from assets.report.render.markdown import render_markdown  # noqa: PLC0415
    from assets.report.request import file_name, narrow_scope, newest_day, range_of  # noqa: PLC0415
    from pipelines.cli.arguments import parse_day  # noqa: PLC0415
    from pipelines.operations.asking import open_query  # noqa: PLC0415
    from resources.config.equipment import load_equipment  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.config.silences import load_silences  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415
    from resources.storage.report_store import ReportStore, write_page  # noqa: PLC0415

    settings = load_settings()
    lake, shown, now = Lake(settings.lake.uri), ReportOptions.from_settings(settings), utc_now()
    one, begin, end = (
        parse_day(text, option, now.date()) if text else None
        for text, option in ((day, "--date"), (first, "--from"), (last, "--to"))
    )
    span = range_of(one, week, begin, end, newest_day(lake, now.date()))
    registry, silences = load_equipment(shown.registry), load_silences(shown.silences)
    with open_query(lake) as ask:
        scope = narrow_scope(shown.scope(*span), equipment or [], registry, ask)
        page = build_page(scope, ask, registry, silences, now)
    text, ending = (render_html(page), "html") if shape is Format.html else (render_markdown(page), "md")
    if out == "-":
        sys.stdout.write(text)
        return
    place = (
        str(write_page(Path(out), text))
        if out
        else ReportStore(shown.folder).write(f"{file_name(scope)}.{ending}", text)
    )
    sys.stdout.write(f"{place}\n")
    if show:
        typer.launch(place)
