"""`ledger certify`: the certificate of completeness."""

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from assets.certificate.evidence import Selection
from assets.certificate.render import render_markdown
from pipelines.cli.arguments import last_day, parse_range
from pipelines.cli.json_output import CertifyOutput, CertifyTotals
from pipelines.cli.options import From, Json, SchedulerPatterns, To
from pipelines.cli.output import format_count, open_console, print_json, print_text
from pipelines.operations.certification import Track, find_changes, load_certificate
from pipelines.operations.certification import certify as write_certificate
from pipelines.operations.lake_status import DataExtent
from resources.clock import utc_now
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake

EXAMPLES = (
    "ledger certify",
    "ledger certify --from 2026-01-01 --to 2026-10-07 --out certificate.json --out certificate.html",
    "ledger certify --scheduler 'pump-*' --out pumps.md",
    "ledger certify --verify certificate.json",
)
_CHANGED = 1


def certify(
    *,
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="File to write: .json, .html or .md. Repeatable. Default: print Markdown.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Name everything that changed since this JSON certificate.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Write or verify a sealed certificate of completeness.

    A certificate compares the executions that the schedulers' frequencies imply with what the lake holds. It
    lists every gap with its reason, or as unknown, and the sources. The JSON certificate also has the SHA-256
    of each file, and one statement per day that seals the day before; verify_certificate.py, which is written
    beside it, checks it without this software. Default range: the days with data, or the whole history if a
    service can add days. Exit code 1: --verify found changes.
    """
    settings, now = load_settings(), utc_now()
    lake = Lake.from_settings(settings)
    if verify:
        _check_alone(first, last, schedulers, out)
        _verify(lake, settings, verify, now, as_json=as_json)
        return
    begin, end = _select_range(lake, settings, first, last, now)
    result = write_certificate(
        lake,
        settings,
        Selection(begin, end, tuple(schedulers or ())),
        now,
        out or (),
        _track_progress(as_json),
    )
    if as_json:
        totals = CertifyTotals(**result.page.summary.totals)
        print_json(CertifyOutput(begin, end, result.page.digest, totals, list(result.files), []))
        return
    if not out:
        print_text(render_markdown(result.page))
        return
    console = open_console()
    console.print(result.page.verdict, soft_wrap=True)
    console.print(f"Digest of the days: {result.page.digest}", soft_wrap=True)
    for file in result.files:
        console.print(file, soft_wrap=True)


def _verify(lake: Lake, settings: Settings, path: Path, now: datetime, *, as_json: bool) -> None:
    certificate = load_certificate(path)
    predicate = certificate["predicate"]
    changes = list(find_changes(lake, settings, path, certificate, now, _track_progress(as_json)))
    if as_json:
        begin, end = date.fromisoformat(predicate["from"]), date.fromisoformat(predicate["to"])
        print_json(CertifyOutput(begin, end, None, None, [], changes))
    else:
        console = open_console()
        for change in changes:
            console.print(change, soft_wrap=True)
        console.print(
            f"{format_count(len(changes), 'change')} since {path}."
            if changes
            else f"Nothing changed: {path} and the lake agree.",
            soft_wrap=True,
        )
    if changes:
        raise typer.Exit(_CHANGED)


def _select_range(
    lake: Lake, settings: Settings, first: str | None, last: str | None, now: datetime
) -> tuple[date, date]:
    extent = DataExtent.load(lake, settings, now.date())
    history, span = extent.history, extent.find_range()
    begin, end = span or (history.first, max(last_day(history, now.date()), history.first))
    days = parse_range(first or str(begin), last or str(end), history, now.date())
    return days[0], days[-1]


def _check_alone(*options: object) -> None:
    if any(options):
        raise ConfigurationError(
            "Cannot combine --verify with a selection or --out",
            where="the command line",
            next_step="use --verify alone: the certificate names its days and schedulers",
        )


def _track_progress(quiet: bool) -> Track:
    console = open_console(stderr=True)

    def track_days(days: Iterable[Any]) -> Iterable[Any]:
        return track(days, "days", console=console, transient=True, disable=quiet or not console.is_terminal)

    return track_days
