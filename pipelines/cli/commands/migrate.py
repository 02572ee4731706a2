"""`ledger migrate`: rewrite files of older table versions, and change the number of files of a day."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from assets.report.formatting import pluralize
from assets.tables import RESULT_OBJECTS, select_tables
from pipelines.cli.arguments import check_order, parse_day
from pipelines.cli.json_output import DayFilesItem, MigrateOutput, OutdatedFile
from pipelines.cli.options import From, Json, TableNames, To
from pipelines.cli.output import open_console, print_json
from pipelines.operations.shard_changes import (
    ShardChanges,
    ShardedDay,
    change_shards,
    list_sharded_days,
    select_sharded_tables,
)
from pipelines.operations.stored_errors import redact_stored_errors
from resources.clock import utc_now
from resources.config.settings import load_settings
from resources.errors import DataError
from resources.lake.lake import Lake
from resources.lake.shards import MAX_SHARDS
from resources.lake.table_versions import StoredVersion, VersionSurvey, survey_versions

EXAMPLES = (
    "ledger migrate --dry-run",
    "ledger migrate inference_executions",
    "ledger migrate --from 2026-01-01 --to 2026-06-30",
    "ledger migrate --shards 8 sensor_contributions --from 2026-01-01 --to 2026-06-30",
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
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards",
            min=1,
            max=MAX_SHARDS,
            metavar="N",
            help="Change the days to this number of files instead.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what to change; change nothing.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Rewrite files of older table versions, or change the number of files of each day.

    The rows stay the same; the files get the current columns. Migration is optional: older files are
    readable, with null in newer columns. Credentials in stored error messages are redacted. You can stop and
    repeat it: each file is replaced atomically. Exit code 1: some files cannot be read.

    With --shards, the days of tables with a row per execution or more get this number of files. While a day
    is changed, its updates wait, and other programs can see rows twice; none see fewer rows. After a stop,
    run the same command again.
    """
    settings, today = load_settings(), utc_now().date()
    selected = select_tables(tables or [])
    begin, end = _parse_bounds(first, last, today)
    lake = Lake.from_settings(settings)
    if shards is not None:
        sharded = select_sharded_tables(selected, are_named=bool(tables))
        _migrate_shards(
            lake, list_sharded_days(lake, sharded, begin, end), shards, dry_run=dry_run, as_json=as_json
        )
        return
    survey = survey_versions(lake, selected, begin, end)
    result = _RewriteResult() if dry_run else _rewrite(lake, survey, quiet=as_json)
    days = [file.day for file in survey.files if file.table.name == RESULT_OBJECTS.name and file.day]
    found = redact_stored_errors(lake, days, utc_now(), dry_run=dry_run)
    result.errors += found.errors
    if as_json:
        print_json(_build_json(survey, result, found.days, dry_run=dry_run))
    else:
        _print(open_console(), survey, result, found.days, dry_run=dry_run)
    if survey.unreadable or result.errors:
        raise typer.Exit(1)


def _migrate_shards(lake: Lake, days: list[ShardedDay], shards: int, *, dry_run: bool, as_json: bool) -> None:
    different = [day for day in days if day.shards != shards]
    changes = ShardChanges()
    if not dry_run:
        progress = track(
            days, "writing", console=open_console(stderr=True), disable=as_json or not days, transient=True
        )
        changes = change_shards(lake, progress, shards)
    if as_json:
        found = [DayFilesItem(day.table.name, day.day, day.shards) for day in different]
        print_json(
            MigrateOutput(
                dry_run=dry_run,
                files=sum(day.shards for day in days),
                outdated_files=[],
                files_written=0,
                errors=changes.errors,
                shards=shards,
                days_with_other_shards=found,
                days_changed=len(changes.changed),
            )
        )
    else:
        _print_shards(open_console(), days, shards, changes, dry_run=dry_run)
    if changes.errors:
        raise typer.Exit(1)


def _print_shards(
    console: Console, days: list[ShardedDay], shards: int, changes: ShardChanges, *, dry_run: bool
) -> None:
    groups: dict[tuple[str, int], list[date]] = {}
    for day in days:
        if day.shards != shards:
            groups.setdefault((day.table.name, day.shards), []).append(day.day)
    for (name, before), dates in groups.items():
        count, files = pluralize(len(dates), "day"), pluralize(before, "file")
        console.print(
            f"{name}: {len(dates)} {count} of {before} {files}, {min(dates)} to {max(dates)}", soft_wrap=True
        )
    for error in changes.errors:
        console.print(f"! {error}", soft_wrap=True)
    different, changed = sum(map(len, groups.values())), len(changes.changed)
    if dry_run:
        target = f"{shards} {pluralize(shards, 'file')}"
        console.print(f"{different} to change to {target}, {len(days) - different} have it already.")
    else:
        console.print(f"{changed} changed, {len(days) - changed - len(changes.errors)} were as requested.")


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


def _print(
    console: Console, survey: VersionSurvey, result: _RewriteResult, redacted: list[date], *, dry_run: bool
) -> None:
    groups = Counter((file.table.name, file.version, file.table.version) for file in survey.old)
    for (name, version, current), count in groups.items():
        days = [file.day for file in survey.old if (file.table.name, file.version) == (name, version)]
        span = f", {min(days)} to {max(days)}" if days[0] is not None else ""  # type: ignore[type-var]
        files = "file" if count == 1 else "files"
        console.print(
            f"{name}: {count} {files} of version {version}, current version {current}{span}", soft_wrap=True
        )
    if redacted:
        count, end = len(redacted), "" if dry_run else "; they are redacted now"
        console.print(
            f"result_objects: {count} {pluralize(count, 'day')} with credentials in error messages,"
            f" {min(redacted)} to {max(redacted)}{end}",
            soft_wrap=True,
        )
    for error in (*survey.unreadable, *result.errors):
        console.print(f"! {error}", soft_wrap=True)
    current_count = len(survey.files) - len(survey.old)
    if dry_run and survey.old:
        console.print(f"{len(survey.old)} to rewrite, {current_count} up to date. Nothing was changed.")
    else:
        console.print(f"{len(result.written)} rewritten, {current_count} were up to date.")


def _build_json(
    survey: VersionSurvey, result: _RewriteResult, redacted: list[date], *, dry_run: bool
) -> MigrateOutput:
    return MigrateOutput(
        dry_run=dry_run,
        files=len(survey.files),
        outdated_files=[
            OutdatedFile(file.table.name, file.day, file.version, file.table.version) for file in survey.old
        ],
        files_written=len(result.written),
        errors=[*map(str, survey.unreadable), *result.errors],
        days_with_credentials=redacted,
    )
