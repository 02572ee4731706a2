"""`ledger import`: add saved API responses to an archive source."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipelines.cli.json_output import ImportOutput
from pipelines.cli.options import Json
from pipelines.cli.output import print_json
from pipelines.operations.archive_import import (
    ImportPreview,
    archive_folder,
    config_file,
    is_registered,
    preview_files,
    register_sources,
)
from resources.clock import utc_now
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.storage.file_import import Copy, copy_files, plan_copies

EXAMPLES = (
    "ledger import ~/dumps --dry-run",
    "ledger import page-1.json page-2.json",
    "ledger import /mnt/share/responses --register",
)
_MAX_NAMES = 10


def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="Files or folders of saved responses.", metavar="PATH…")
    ],
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files to the folder of the archive source.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Leave the files in place and add a source to the settings.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the files; change nothing.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Add saved API responses to an archive source.

    Reads each file and reports what it holds. Then it copies the files to the folder of the first archive
    source, or registers their folder if there is none. It copies no content twice, replaces no file, and
    skips files without executions. The last line is the command that extracts them. Exit code 1: files are
    broken or incomplete.
    """
    if copy and register:
        raise ConfigurationError(
            "Cannot combine --copy and --register",
            where="the command line",
            next_step="use one of them",
        )
    config = config_file()
    settings = load_settings() if config.exists() else load_settings({})
    folder = None if register else archive_folder(settings)
    if copy and folder is None:
        raise ConfigurationError(
            "Cannot copy: the settings have no archive source with a local folder",
            where=str(config),
            next_step='use --register, or add a source: kind = "archive", uri = "dumps/" under [[sources]]',
        )
    previews = [preview_files(path.expanduser().absolute(), utc_now()) for path in paths]
    copies: list[Copy] = []
    registered: list[Path] = []
    if folder is not None:
        copies = _copy(previews, folder, dry_run=dry_run)
    else:
        registered = _register(previews, settings, config, dry_run=dry_run)
    output = _build_output(previews, copies, registered, settings, dry_run=dry_run)
    if as_json:
        print_json(output)
    else:
        _print(output)
    if output.problems or not any(preview.usable for preview in previews):
        raise typer.Exit(1)


def _copy(previews: Sequence[ImportPreview], folder: Path, *, dry_run: bool) -> list[Copy]:
    copies = []
    for preview in previews:
        planned = plan_copies(preview.usable, preview.path, folder)
        copies += planned
        if not dry_run:
            copy_files(planned)
    return copies


def _register(
    previews: Sequence[ImportPreview], settings: Settings, config: Path, *, dry_run: bool
) -> list[Path]:
    new = [
        preview.path for preview in previews if preview.usable and not is_registered(preview.path, settings)
    ]
    if new and not dry_run:
        register_sources(new, config)
    return new


def _build_output(
    previews: Sequence[ImportPreview],
    copies: Sequence[Copy],
    registered: Sequence[Path],
    settings: Settings,
    *,
    dry_run: bool,
) -> ImportOutput:
    spans = [preview.span for preview in previews if preview.span]
    first = min((span[0] for span in spans), default=None)
    last = max((span[1] for span in spans), default=None)
    targets = [str(copy.target) for copy in copies if copy.target]
    new_sources = list(map(str, registered))
    return ImportOutput(
        dry_run=dry_run,
        files=sum(len(preview.files) for preview in previews),
        executions=sum(file.executions for preview in previews for file in preview.files),
        schedulers=sorted({name for preview in previews for name in preview.schedulers}),
        first=first,
        last=last,
        problems=[problem for preview in previews for problem in preview.problems],
        copied=[] if dry_run else targets,
        would_copy=targets if dry_run else [],
        already_present=[str(copy.origin) for copy in copies if copy.same],
        registered=[] if dry_run else new_sources,
        would_register=new_sources if dry_run else [],
        next_steps=_list_next_steps(first, last, settings),
    )


def _list_next_steps(first: date | None, last: date | None, settings: Settings) -> list[str]:
    if first is None or last is None:
        return []
    history, steps = settings.history, []
    if first < history.start_date:
        steps.append(f'set [history] start_date = "{first}" in ledger.toml (now {history.start_date})')
    if history.end_date and last >= history.end_date:
        end = last + timedelta(days=1)
        steps.append(f'set [history] end_date = "{end}" in ledger.toml (now {history.end_date})')
    return [*steps, f"ledger backfill --from {first} --to {last}"]


def _print(output: ImportOutput) -> None:
    console = Console(highlight=False)

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    line(f"{output.files:,} files with {output.executions:,} executions.")
    if output.first:
        line(f"{output.first} to {output.last} (UTC), schedulers {_list_names(output.schedulers)}.")
    for problem in output.problems:
        line(f"! {problem}", "yellow")
    for names, words in (
        (output.copied, "copied"),
        (output.would_copy, "would be copied"),
        (output.already_present, "already present with the same content"),
        (output.registered, "registered as sources in the settings"),
        (output.would_register, "would be registered as sources in the settings"),
    ):
        if names:
            line(f"{len(names):,} {words}: {_list_names(names)}")
    if output.next_steps:
        line("Next:")
        for step in output.next_steps:
            line(f"  {step}", "bold")


def _list_names(names: Sequence[str]) -> str:
    remaining = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {remaining} more" if remaining > 0 else "")
