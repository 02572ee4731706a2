"""`ledger import`: saved responses become part of an archive source, after a look at what they hold."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import Json
from resources.clock import utc_now

if TYPE_CHECKING:
    from pipelines.operations.archive_import import ImportPreview
    from resources.config.settings import Settings
    from resources.storage.file_import import Copy

EXAMPLES = (
    "Examples: **ledger import ~/dumps --dry-run** · **ledger import page-1.json page-2.json** ·"
    " **ledger import /mnt/share/responses --register**"
)
_NAMES_TOLD = 10


def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="Files or folders of saved responses.", metavar="PATH…")
    ],
    copy: Annotated[bool, typer.Option("--copy", help="Copy them into the archive source's folder.")] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Leave them where they are; add a source to the settings.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look; change nothing.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Take saved responses in: look at what they hold, then copy or register them.

    Copies where there is an archive source with a folder, else registers. Nothing is copied twice and nothing
    replaced; what gives no execution is left out. Nothing is extracted yet: the last line says how. Exit code
    1: some files are broken or incomplete.
    """
    from pipelines.operations.archive_import import archive_folder, config_file, preview_files  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.errors import ConfigurationError  # noqa: PLC0415

    if copy and register:
        raise ConfigurationError(
            "--copy and --register exclude each other",
            where="the command line",
            next_step="choose one of them",
        )
    config = config_file()
    settings = load_settings() if config.exists() else load_settings({})
    folder = None if register else archive_folder(settings)
    if copy and folder is None:
        raise ConfigurationError(
            "there is no archive source with a folder on this machine to copy to",
            where=str(config),
            next_step='use --register, or add one: kind = "archive", uri = "dumps/" under [[sources]]',
        )
    found = [preview_files(path.expanduser().absolute(), utc_now()) for path in paths]
    copies: list[Copy] = []
    added: list[Path] = []
    if folder is not None:
        copies = _copy(found, folder, dry_run=dry_run)
    else:
        added = _register(found, settings, config, dry_run=dry_run)
    answer = _answer(found, copies, added, settings, dry_run=dry_run)
    _show(answer, as_json=as_json)
    if answer["oddities"] or not any(one.usable for one in found):
        raise typer.Exit(1)


def _copy(found: Sequence["ImportPreview"], folder: Path, *, dry_run: bool) -> list["Copy"]:
    from resources.storage.file_import import copy_files, plan_copies  # noqa: PLC0415

    copies = []
    for one in found:
        chosen = plan_copies(one.usable, one.path, folder)
        copies += chosen
        if not dry_run:
            copy_files(chosen)
    return copies


def _register(
    found: Sequence["ImportPreview"], settings: "Settings", config: Path, *, dry_run: bool
) -> list[Path]:
    from pipelines.operations.archive_import import is_registered, register  # noqa: PLC0415

    new = [one.path for one in found if one.usable and not is_registered(one.path, settings)]
    if new and not dry_run:
        register(new, config)
    return new


def _answer(
    found: Sequence["ImportPreview"],
    copies: Sequence["Copy"],
    added: Sequence[Path],
    settings: "Settings",
    *,
    dry_run: bool,
) -> dict[str, Any]:
    spans = [one.span for one in found if one.span]
    first = min((span[0] for span in spans), default=None)
    last = max((span[1] for span in spans), default=None)
    return {
        "files": sum(len(one.files) for one in found),
        "executions": sum(file.executions for one in found for file in one.files),
        "schedulers": sorted({name for one in found for name in one.schedulers}),
        "from": first and first.isoformat(),
        "to": last and last.isoformat(),
        "oddities": [odd for one in found for odd in one.oddities],
        "copied": [] if dry_run else [str(one.target) for one in copies if one.target],
        "would_be_copied": [str(one.target) for one in copies if one.target] if dry_run else [],
        "already_there": [str(one.origin) for one in copies if one.same],
        "registered": [] if dry_run else list(map(str, added)),
        "would_be_registered": list(map(str, added)) if dry_run else [],
        "next": _next(first, last, settings),
    }


def _next(first: date | None, last: date | None, settings: "Settings") -> list[str]:
    """Say what to do then: set the history, where it does not reach, and backfill."""
    if first is None or last is None:
        return []
    history, said = settings.history, []
    if first < history.start_date:
        said.append(f'set [history] start_date = "{first}" in ledger.toml; it is {history.start_date} now')
    if history.end_date and last >= history.end_date:
        end = last + timedelta(days=1)
        said.append(f'set [history] end_date = "{end}" in ledger.toml; it is {history.end_date} now')
    return [*said, f"ledger backfill --from {first} --to {last}"]


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from pipelines.cli.output import print_json  # noqa: PLC0415

    if as_json:
        print_json(answer)
        return
    console = Console(highlight=False)

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    line(f"{answer['files']:,} files hold {answer['executions']:,} executions.")
    if answer["from"]:
        line(f"From {answer['from']} to {answer['to']} (UTC), of {_some(answer['schedulers'])}.")
    for odd in answer["oddities"]:
        line(f"! {odd}", "yellow")
    for key, words in (
        ("copied", "copied"),
        ("would_be_copied", "would be copied"),
        ("already_there", "already there, with the same content"),
        ("registered", "registered as a source in the settings"),
        ("would_be_registered", "would be registered as a source in the settings"),
    ):
        if answer[key]:
            line(f"{len(answer[key]):,} {words}: {_some(answer[key])}")
    if answer["next"]:
        line("Next:")
        for step in answer["next"]:
            line(f"  {step}", "bold")


def _some(names: Sequence[str]) -> str:
    left = len(names) - _NAMES_TOLD
    return ", ".join(names[:_NAMES_TOLD]) + (f" and {left} more" if left > 0 else "")
