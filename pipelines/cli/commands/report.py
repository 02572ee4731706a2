"""`ledger report`: the page that people read."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import From, To

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
    from assets.report.model.page import page_of  # noqa: PLC0415
    from assets.report.render.html import html  # noqa: PLC0415
    from assets.report.render.markdown import markdown  # noqa: PLC0415
    from assets.report.request import name_of, narrowed, newest_day, range_of  # noqa: PLC0415
    from pipelines.cli.arguments import typed_day  # noqa: PLC0415
    from pipelines.operations.asking import asking  # noqa: PLC0415
    from pipelines.operations.shown import shown_by  # noqa: PLC0415
    from resources.config.equipment import load_registry  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.config.silences import load_silences  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415
    from resources.storage.report_store import Reports, write_page  # noqa: PLC0415

    settings = load_settings()
    lake, shown, now = Lake(settings.lake.uri), shown_by(settings), datetime.now(UTC)
    one, begin, end = (
        typed_day(text, option, now.date()) if text else None
        for text, option in ((day, "--date"), (first, "--from"), (last, "--to"))
    )
    span = range_of(one, week, begin, end, newest_day(lake, now.date()))
    registry, silences = load_registry(shown.registry), load_silences(shown.silences)
    with asking(lake) as ask:
        scope = narrowed(shown.scope(*span), equipment or [], registry, ask)
        page = page_of(scope, ask, registry, silences, now)
    text, ending = (html(page), "html") if shape is Format.html else (markdown(page), "md")
    if out == "-":
        sys.stdout.write(text)
        return
    place = (
        str(write_page(Path(out), text))
        if out
        else Reports(shown.folder).write(f"{name_of(scope)}.{ending}", text)
    )
    sys.stdout.write(f"{place}\n")
    if show:
        typer.launch(place)
