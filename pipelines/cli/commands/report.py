"""`ledger report`: the report page."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assets.framework.time_windows import Days
from assets.report.assets import ReportOptions
from assets.report.model.page import build_page
from assets.report.query.data import read_report_data
from assets.report.render.html import render_html
from assets.report.render.markdown import render_markdown
from assets.report.request import build_file_name, find_newest_day, narrow_scope, select_range
from pipelines.cli.arguments import last_day, parse_day
from pipelines.cli.options import From, To
from pipelines.cli.output import print_text
from pipelines.operations.query import open_query
from resources.clock import utc_now
from resources.config.settings import load_settings
from resources.lake.lake import Lake
from resources.storage.report_store import ReportStore, write_page

EXAMPLES = (
    "ledger report",
    "ledger report --date 2026-10-06 --open",
    "ledger report --week 2026-W41 --equipment 'pump-*'",
    "ledger report --format markdown --out -",
)


class Format(StrEnum):
    """File formats of the page."""

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
        typer.Option(
            metavar="WEEK",
            help="One week, Monday to Sunday: 2026-W41, or any day in it.",
            show_default=False,
        ),
    ] = None,
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    equipment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Include only this machine or scheduler; * and ? match. Repeatable.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="File to write; - prints the page.", show_default=False)
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="File format.")] = Format.html,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the report page as HTML or Markdown.

    The page lists the machines that need attention, the quality of the data, and the results of each machine.
    Default range: the seven days that end with the newest recorded day. The HTML is one file and needs no
    network; report.folder of the settings is its default folder. The Markdown is short enough for chat or
    mail.
    """
    settings = load_settings()
    lake, options, now = Lake.from_settings(settings), ReportOptions.from_settings(settings), utc_now()
    single, begin, end = (
        parse_day(text, option, now.date()) if text else None
        for text, option in ((day, "--date"), (first, "--from"), (last, "--to"))
    )
    history = Days(settings.history.start_date, settings.history.end_date)
    newest = find_newest_day(lake, last_day(history, now.date()))
    span = select_range(single, week, begin, end, newest)
    registry, silences = options.load_registry(), options.load_silences()
    with open_query(lake) as run_query:
        scope = narrow_scope(options.build_scope(*span, now), equipment or [], registry, run_query)
        data = read_report_data(scope, run_query)
    page = build_page(data, registry, silences, now)
    is_html = output_format is Format.html
    text, ending = (render_html(page), "html") if is_html else (render_markdown(page), "md")
    if out == "-":
        print_text(text)
        return
    store = ReportStore(options.folder, options.bucket_owner)
    name = f"{build_file_name(scope)}.{ending}"
    location = str(write_page(Path(out), text)) if out else store.write(name, text)
    print_text(f"{location}\n")
    if open_page:
        typer.launch(location)
