"""`ledger migrate`: rewrite files of older table versions."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from assets.tables import select_tables
from pipelines.cli.arguments import check_order, parse_day
from pipelines.cli.json_output import MigrateOutput, OutdatedFile
from pipelines.cli.options import From, Json, TableNames, To
from pipelines.cli.output import open_console, print_json
from resources.clock import utc_now
from resources.config.settings import load_settings
from resources.errors import DataError
from resources.lake.lake import Lake
from resources.lake.table_versions import StoredVersion, VersionSurvey, survey_versions

EXAMPLES = (
    "ledger migrate --dry-run",
    "ledger migrate inference_executions",
    "ledger migrate --from 2026-01-01 --to 2026-06-30",
)


@dataclass
class _RewriteResult:
    written: list[StoredVersion] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def migrate(
    tables: Annotated[list[str] | None, TableNames] = None,
    *,
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List old files; write nothing.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Rewrite files of older table versions.

    The rows stay the same; the files get the current columns. Migration is optional: older files are
    readable, with null in newer columns. You can stop and repeat it: each file is replaced atomically. Exit
    code 1: some files cannot be read.
    """
    settings, today = load_settings(), utc_now().date()
    selected = select_tables(tables or [])
    begin, end = _parse_bounds(first, last, today)
    lake = Lake.from_settings(settings)
    survey = survey_versions(lake, selected, begin, end)
    result = _RewriteResult() if dry_run else _rewrite(lake, survey, quiet=as_json)
    if as_json:
        print_json(_build_json(survey, result, dry_run=dry_run))
    else:
        _print(open_console(), survey, result, dry_run=dry_run)
    if survey.unreadable or result.errors:
        raise typer.Exit(1)


def _parse_bounds(first: str | None, last: str | None, today: date) -> tuple[date | None, date | None]:
    begin = parse_day(first, "--from", today) if first else None
    end = parse_day(last, "--to", today) if last else None
    if begin and end:
        check_order(begin, end)
    return begin, end


def _rewrite(lake: Lake, survey: VersionSurvey, *, quiet: bool) -> _RewriteResult:
    result = _RewriteResult()
    console = open_console(stderr=True)
    for file in track(
        survey.old, "writing", console=console, disable=quiet or not survey.old, transient=True
    ):
        try:
            if lake.rewrite(file.table, file.day):
                result.written.append(file)
        except DataError as error:  # other files can still be rewritten
            result.errors.append(str(error))
    return result


def _print(console: Console, survey: VersionSurvey, result: _RewriteResult, *, dry_run: bool) -> None:
    groups = Counter((file.table.name, file.version, file.table.version) for file in survey.old)
    for (name, version, current), count in groups.items():
        days = [file.day for file in survey.old if (file.table.name, file.version) == (name, version)]
        span = f", {min(days)} to {max(days)}" if days[0] is not None else ""  # type: ignore[type-var]
        files = "file" if count == 1 else "files"
        console.print(
            f"{name}: {count} {files} of version {version}, current version {current}{span}", soft_wrap=True
        )
    for error in (*survey.unreadable, *result.errors):
        console.print(f"! {error}", soft_wrap=True)
    current_count = len(survey.files) - len(survey.old)
    if dry_run and survey.old:
        console.print(f"{len(survey.old)} to rewrite, {current_count} up to date. Nothing was changed.")
    else:
        console.print(f"{len(result.written)} rewritten, {current_count} were up to date.")


def _build_json(survey: VersionSurvey, result: _RewriteResult, *, dry_run: bool) -> MigrateOutput:
    return MigrateOutput(
        dry_run=dry_run,
        files=len(survey.files),
        outdated_files=[
            OutdatedFile(file.table.name, file.day, file.version, file.table.version) for file in survey.old
        ],
        files_written=len(result.written),
        errors=[*map(str, survey.unreadable), *result.errors],
    )
