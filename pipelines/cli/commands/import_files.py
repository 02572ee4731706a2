"""`ledger import`: add saved API responses to an archive source."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from os.path import normpath
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from assets.report.formatting import pluralize
from pipelines.cli.json_output import ImportOutput
from pipelines.cli.options import Json
from pipelines.cli.output import open_console, print_json
from pipelines.operations.archive_import import (
    ImportPreview,
    detect_history,
    extend_allowed_buckets,
    find_refused_buckets,
    find_settings,
    find_source,
    find_target,
    preview_files,
    read_tombstones,
    update_settings,
)
from resources.clock import utc_now
from resources.config.settings import ApiSettings, ArchiveSettings, Settings
from resources.config.types import check_zone_or_offset
from resources.errors import ConfigurationError
from resources.storage.file_import import Copy, copy_files, plan_copies

EXAMPLES = (
    "ledger import ~/dumps --dry-run",
    "ledger import page-1.json page-2.json",
    "ledger import /mnt/share/responses --register --yes",
    "ledger import ~/notebooks --register --time-zone Europe/Berlin",
)
_MAX_NAMES, _MAX_PATHS = 10, 3


@dataclass(frozen=True)
class _Plan:
    """What an import changes, and what the user must set; `allowed_buckets` is empty if it stays."""

    copies: Sequence[Copy] = ()
    sources: Sequence[Path] = ()
    history: Mapping[str, date] = field(default_factory=dict)
    allowed_buckets: Sequence[str] = ()
    steps: Sequence[str] = ()


def _parse_path(text: str) -> Path:
    """Reject an empty argument, such as an unset variable; it would be the current folder."""
    if not text:
        raise typer.BadParameter("it is empty")
    return Path(text)


def import_(  # noqa: PLR0913, PLR0917 (each is an option)
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files or folders of saved responses.", metavar="PATH", parser=_parse_path),
    ],
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files to the folder of the archive source.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Leave the files in place and add a source to the settings.")
    ] = False,
    time_zone: Annotated[
        str | None,
        typer.Option(
            help="Time zone of times without one, for a new source: an IANA name or +HH:MM.", metavar="ZONE"
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask for confirmation; change existing settings too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the files; change nothing.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Add saved API responses to an archive source.

    Reads each file as the archive source will, and reports what it contains. Then it copies the files to the
    folder of the first archive source, or registers their folder if there is none. It copies no content
    twice, replaces no file, and skips files without executions. It extends [history] to the days of the
    files; a new project gets their days. It allows the buckets of results that the files name. On a terminal
    it asks before it changes ledger.toml. Without a terminal it adds keys of [history] and sources. It
    changes values and allows buckets only with --yes. The last line is the command that extracts the files.
    Exit code 1: files are damaged or incomplete, or have no executions.
    """
    if copy and register:
        raise ConfigurationError(
            "Cannot combine --copy and --register",
            where="the command line",
            next_step="use one of them",
        )
    paths = _find_local(paths)
    config, settings = find_settings()
    target = None if register else find_target(settings)
    if copy and target is None:
        raise ConfigurationError(
            "Cannot copy: the settings have no archive source with a local folder",
            where=str(config),
            next_step='use --register, or add a source: kind = "archive", uri = "dumps/" under [[sources]]',
        )
    previews = _preview(paths, settings, target, time_zone)
    span = _find_span(previews)
    plan = _Plan()
    if span:
        replaces = yes or _is_interactive(as_json)
        plan = _plan_import(previews, settings, target, span, replaces=replaces)
    if not dry_run:
        _apply(plan, config, time_zone, asks=not yes and _is_interactive(as_json))
    output = _build_output(previews, span, plan, dry_run=dry_run)
    if as_json:
        print_json(output)
    else:
        _print(output, config)
    if output.problems or span is None:
        raise typer.Exit(1)


def _find_local(paths: Sequence[Path]) -> list[Path]:
    """Return the absolute paths; each exists."""
    for path in paths:
        if path.parts and path.parts[0].lower() == "s3:":
            uri = f"s3://{'/'.join(path.parts[1:])}"
            raise ConfigurationError(
                f"Cannot import {uri}: this command reads local files",
                where="the command line",
                next_step=f'add a source to ledger.toml: kind = "archive", uri = "{uri}/" under [[sources]];'
                " set start_date of [history]; then run ledger backfill",
            )
        try:
            path.expanduser().lstat()
        except (OSError, RuntimeError) as error:  # RuntimeError: ~ and an unknown user
            raise ConfigurationError(
                f"Cannot import {path}: {getattr(error, 'strerror', None) or error}",
                where="the command line",
                next_step="name files or folders of saved responses that exist",
            ) from None
    return [path.expanduser().absolute() for path in paths]


def _preview(
    paths: Sequence[Path], settings: Settings, target: ArchiveSettings | None, time_zone: str | None
) -> list[ImportPreview]:
    """Read each path in the time zone of the source that contains it or that will contain it."""
    try:
        zone = time_zone and check_zone_or_offset(time_zone)
    except ValueError as error:
        raise ConfigurationError(
            f"Cannot use --time-zone: {error}",
            where="the command line",
            next_step="use an IANA name such as Europe/Berlin, or an offset such as +02:00",
        ) from None
    previews, tombstones = [], read_tombstones(settings)
    for path in paths:
        source = find_source(path, settings) or target
        if source and zone and zone != source.time_zone:
            raise ConfigurationError(
                f"Cannot use --time-zone {zone}: the archive source reads times without a zone as"
                f" {source.time_zone or 'invalid'}",
                where=source.uri,
                next_step="set time_zone of that source in ledger.toml, or import another folder with"
                " --register",
            )
        previews.append(
            preview_files(
                path,
                utc_now(),
                source.time_zone if source else zone,
                settings.limits.read_limits,
                tombstones,
            )
        )
    return previews


def _find_span(previews: Sequence[ImportPreview]) -> tuple[date, date] | None:
    spans = [preview.span for preview in previews if preview.span]
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def _plan_import(
    previews: Sequence[ImportPreview],
    settings: Settings,
    target: ArchiveSettings | None,
    span: tuple[date, date],
    *,
    replaces: bool,
) -> _Plan:
    """Plan the import; `replaces` also changes values of [history] that the settings set."""
    history, steps = {}, []
    for key, day in detect_history(settings, *span, utc_now().date()).items():
        if variable := settings.find_variable("history", key):
            steps.append(f"set {variable}={day} (now {getattr(settings.history, key)})")
        elif key in settings.history.model_fields_set and not replaces:
            steps.append(
                f'set [history] {key} = "{day}" in ledger.toml (now {getattr(settings.history, key)})'
            )
        else:
            history[key] = day
    named = {bucket for preview in previews for bucket in preview.buckets}
    allowed, bucket_steps = _plan_buckets(
        find_refused_buckets(settings, named), settings, is_allowed=replaces
    )
    steps += bucket_steps
    if target is None:
        sources = [
            preview.path for preview in previews if preview.usable and not find_source(preview.path, settings)
        ]
        return _Plan(sources=sources, history=history, allowed_buckets=allowed, steps=steps)
    folder = Path(target.uri)
    copies = [
        copy
        for preview in previews
        for copy in (
            [Copy(file, None, file) for file in preview.usable]  # already part of a source
            if find_source(preview.path, settings)
            else plan_copies(preview.usable, preview.path, folder)
        )
    ]
    return _Plan(copies=copies, history=history, allowed_buckets=allowed, steps=steps)


def _plan_buckets(
    refused: Sequence[str], settings: Settings, *, is_allowed: bool
) -> tuple[Sequence[str], list[str]]:
    """Return the new value of results.allowed_buckets, or the step with which the user sets it."""
    if not refused:
        return (), []
    value = extend_allowed_buckets(settings, refused)
    if variable := settings.find_variable("results", "allowed_buckets"):
        return (), [f'set {variable}="{" ".join(value)}", if results may be read from {", ".join(refused)}']
    has_service = any(isinstance(source, ApiSettings) for source in settings.sources)
    if is_allowed and (settings.results.allowed_buckets is not None or not has_service):
        return value, []
    return (), [
        f"set [results] allowed_buckets = {json.dumps(value)} in ledger.toml, if results may be read from"
        f" {', '.join(refused)}" + (" (add the buckets of the live schedulers)" if has_service else "")
    ]


def _apply(plan: _Plan, config: Path, time_zone: str | None, *, asks: bool) -> None:
    if plan.sources or plan.history or plan.allowed_buckets:
        if asks:
            open_console().print(Text(_describe_changes(plan, config)), soft_wrap=True)
            typer.confirm("Continue?", default=True, abort=True)
        update_settings(config, plan.sources, plan.history, time_zone, plan.allowed_buckets)
    copy_files(plan.copies)


def _describe_changes(plan: _Plan, config: Path) -> str:
    lines = [f"add {_name_path(path)} as an archive source" for path in plan.sources]
    if plan.history:
        lines.append(f"set [history] {_format_history(plan.history)}")
    if plan.allowed_buckets:
        lines.append(f"allow results of the buckets {', '.join(plan.allowed_buckets)}")
    return f"Change {config}:" + "".join(f"\n  {line}" for line in lines)


def _format_history(history: Mapping[str, date]) -> str:
    return ", ".join(f'{key} = "{day}"' for key, day in history.items())


def _is_interactive(as_json: bool) -> bool:
    return not as_json and sys.stdin is not None and sys.stdin.isatty()


def _build_output(
    previews: Sequence[ImportPreview], span: tuple[date, date] | None, plan: _Plan, *, dry_run: bool
) -> ImportOutput:
    targets = [str(copy.target) for copy in plan.copies if copy.target]
    new_sources = list(map(_name_path, plan.sources))
    history = dict(plan.history)
    steps = list(plan.steps)
    if span:
        today = utc_now().date()
        steps.append(f"ledger backfill --from {min(span[0], today)} --to {min(span[1], today)}")
    return ImportOutput(
        dry_run=dry_run,
        files=sum(len(preview.files) for preview in previews),
        executions=sum(file.executions for preview in previews for file in preview.files),
        schedulers=sorted({name for preview in previews for name in preview.schedulers}),
        first=span[0] if span else None,
        last=span[1] if span else None,
        problems=[problem for preview in previews for problem in preview.problems],
        copied=[] if dry_run else targets,
        would_copy=targets if dry_run else [],
        already_present=[_name_path(copy.origin) for copy in plan.copies if copy.same],
        registered=[] if dry_run else new_sources,
        would_register=new_sources if dry_run else [],
        history={} if dry_run else history,
        would_set_history=history if dry_run else {},
        allowed_buckets=[] if dry_run else list(plan.allowed_buckets),
        would_allow_buckets=list(plan.allowed_buckets) if dry_run else [],
        next_steps=steps,
    )


def _print(output: ImportOutput, config: Path) -> None:
    console = open_console()

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    files, executions = pluralize(output.files, "file"), pluralize(output.executions, "execution")
    line(f"{output.files:,} {files} with {output.executions:,} {executions}, repeated ones included.")
    if output.first:
        line(f"{output.first} to {output.last} (UTC), schedulers {_list_names(output.schedulers)}.")
    for problem in output.problems:
        line(f"! {problem}", "yellow")
    for names, words in (
        (output.copied, "copied"),
        (output.would_copy, "would be copied"),
        (output.already_present, "already present with the same content"),
        (output.registered, "registered in the settings"),
        (output.would_register, "would be registered in the settings"),
    ):
        if names:
            line(f"{len(names):,} {words}: {_list_names(names, _MAX_PATHS)}")
    verb = "Would set" if output.dry_run else "Set"
    if history := output.history or output.would_set_history:
        line(f"{verb} [history] {_format_history(history)} in {config}")
    if buckets := output.allowed_buckets or output.would_allow_buckets:
        line(f"{verb} [results] allowed_buckets to {', '.join(buckets)} in {config}")
    if output.next_steps:
        line("Next:")
        for step in output.next_steps:
            line(f"  {step}", "bold")


def _name_path(path: Path) -> str:
    """Return a path without `..`, except where a link makes that another file."""
    short = Path(normpath(path))
    return str(short if short.exists() and short.samefile(path) else path)


def _list_names(names: Sequence[str], limit: int = _MAX_NAMES) -> str:
    remaining = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {remaining} more" if remaining > 0 else "")
