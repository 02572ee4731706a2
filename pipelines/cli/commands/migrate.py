"""`ledger migrate`: write files of older versions again, in the present version of their table."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import From, Json, To
from resources.clock import utc_now

if TYPE_CHECKING:
    from rich.console import Console

    from resources.lake.lake import Lake
    from resources.lake.table_versions import StoredVersion, VersionSurvey

EXAMPLES = (
    "Examples: **ledger migrate --dry-run** · **ledger migrate inference_executions** ·"
    " **ledger migrate --from 2026-01-01 --to 2026-06-30**"
)


@dataclass
class _Outcome:
    written: "list[StoredVersion]" = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def migrate(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Names of tables; all, if none is named.", show_default=False)
    ] = None,
    *,
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell which days are old, write nothing.")
    ] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Write days that an older version of a table wrote again: the same rows, with the columns of today.

    There is no need to: older files are read like any other, with null in columns that came later. Stop it
    when you like and run it again: each day is the old file or the new one. Exit code 1: some cannot be read.
    """
    from rich.console import Console  # noqa: PLC0415

    from assets.tables import select_tables  # noqa: PLC0415
    from pipelines.cli.arguments import parse_day  # noqa: PLC0415
    from pipelines.cli.output import print_json  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415
    from resources.lake.table_versions import survey_versions  # noqa: PLC0415

    settings, today = load_settings(), utc_now().date()
    chosen = select_tables(tables or [])
    begin, end = _range(first, last, lambda text, option: parse_day(text, option, today))
    lake = Lake(settings.lake.uri, kms_key_id=settings.lake.kms_key_id)
    found = survey_versions(lake, chosen, begin, end)
    outcome = _Outcome() if dry_run else _rewritten(lake, found, quiet=as_json)
    if as_json:
        print_json(_as_json(found, outcome))
    else:
        _print(Console(highlight=False), found, outcome, dry_run=dry_run)
    if found.unreadable or outcome.failed:
        raise typer.Exit(1)


def _range(first: str | None, last: str | None, day: Any) -> tuple[date | None, date | None]:  # noqa: ANN401
    from resources.errors import ConfigurationError  # noqa: PLC0415

    begin = day(first, "--from") if first else None
    end = day(last, "--to") if last else None
    if begin and end and begin > end:
        raise ConfigurationError(
            f"--from {begin} is later than --to {end}",
            where="the command line",
            next_step=f"turn them round: --from {end} --to {begin}",
        )
    return begin, end


def _rewritten(lake: "Lake", found: "VersionSurvey", *, quiet: bool) -> _Outcome:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    from resources.errors import DataError  # noqa: PLC0415

    outcome = _Outcome()
    console = Console(stderr=True)
    for file in track(found.old, "writing", console=console, disable=quiet or not found.old, transient=True):
        try:
            if lake.rewrite(file.table, file.day):
                outcome.written.append(file)
        except DataError as problem:  # the others can still be done
            outcome.failed.append(str(problem))
    return outcome


def _print(console: "Console", found: "VersionSurvey", outcome: _Outcome, *, dry_run: bool) -> None:
    groups = Counter((file.table.name, file.version, file.table.version) for file in found.old)
    for (name, version, present), count in groups.items():
        days = [file.day for file in found.old if (file.table.name, file.version) == (name, version)]
        span = f", {min(days)} to {max(days)}" if days[0] is not None else ""  # type: ignore[type-var]
        console.print(f"{name}: {count} of version {version}, present is {present}{span}", soft_wrap=True)
    for problem in (*found.unreadable, *outcome.failed):
        console.print(f"! {problem}", markup=False, soft_wrap=True)
    present = len(found.files) - len(found.old)
    if dry_run and found.old:
        console.print(f"{len(found.old)} to write, {present} of the present version. Nothing was changed.")
    else:
        console.print(f"{len(outcome.written)} written, {present} were of the present version.")


def _as_json(found: "VersionSurvey", outcome: _Outcome) -> dict[str, Any]:
    return {
        "files": len(found.files),
        "old": [
            {
                "table": file.table.name,
                "day": file.day,
                "version": file.version,
                "present": file.table.version,
            }
            for file in found.old
        ],
        "written": len(outcome.written),
        "unreadable": [*map(str, found.unreadable), *outcome.failed],
    }
