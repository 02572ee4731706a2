"""Saved API responses: previewed, then added to an archive source."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from assets.executions.archive_index import ArchiveRecord, describe_problems
from assets.executions.extraction import read_file
from assets.executions.flatten import FlattenedPages
from resources.config.loader import CHECKOUT, CONFIG_FILE_NAME, CONFIG_VARIABLE, SOURCES_VARIABLE
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.sources.archive import ArchiveSource
from resources.storage.local import write_atomically
from resources.storage.open import is_s3


@dataclass(frozen=True)
class ImportPreview:
    """The content of some files, as an archive source reads them."""

    path: Path
    files: Sequence[ArchiveRecord]
    schedulers: Sequence[str]

    @property
    def usable(self) -> list[Path]:
        """The files with at least one execution."""
        return [Path(file.uri) for file in self.files if file.executions]

    @property
    def span(self) -> tuple[date, date] | None:
        """The days (UTC) of the first and the last execution; None without executions."""
        firsts = [file.first_data_start_time for file in self.files if file.first_data_start_time]
        lasts = [file.last_data_start_time for file in self.files if file.last_data_start_time]
        return (min(firsts).date(), max(lasts).date()) if firsts and lasts else None

    @property
    def problems(self) -> list[str]:
        """Messages about broken and incomplete files."""
        return describe_problems(self.files)


def preview_files(path: Path, now: datetime) -> ImportPreview:
    """Read a file or folder as an archive source does.

    Raises:
        ConfigurationError: the path does not exist or cannot be read.
    """
    source = ArchiveSource(str(path))
    names = set[str]()

    def collect_names(page: FlattenedPages) -> None:
        names.update(name for name in page.rows["scheduler_name"].unique().to_pylist() if name)

    files = [read_file(source, file, now, collect_names) for file in source.list_files()]
    return ImportPreview(path, files, sorted(names))


def archive_folder(settings: Settings) -> Path | None:
    """Return the folder of the first archive source with a local folder, or None."""
    return next((path for path in _local_archives(settings) if not path.is_file()), None)


def _local_archives(settings: Settings) -> Iterator[Path]:
    for source in settings.sources:
        if source.kind == "archive" and not is_s3(source.uri, "sources.uri"):
            yield Path(source.uri)


def source_toml(path: Path, config: Path) -> str:
    """Return the TOML lines that declare a path as an archive source."""
    uri = path.relative_to(config.parent) if path.is_relative_to(config.parent) else path
    text = uri.as_posix().replace("\\", "\\\\").replace('"', '\\"')
    return f'[[sources]]\nkind = "archive"\nuri = "{text}{"/" if path.is_dir() else ""}"\n'


def config_file() -> Path:
    """Return the path of the settings file, which may not exist."""
    return Path(os.environ.get(CONFIG_VARIABLE, CHECKOUT / CONFIG_FILE_NAME)).expanduser().absolute()


def is_registered(path: Path, settings: Settings) -> bool:
    """Return True if an archive source contains the path."""
    return any(path.is_relative_to(archive) for archive in _local_archives(settings))


def register_sources(paths: Sequence[Path], config: Path) -> None:
    """Append archive sources to the settings file; its text stays as it is.

    Raises:
        ConfigurationError: the new settings would be invalid or without effect. The file is unchanged.
    """
    text = config.read_text() if config.exists() else ""
    addition = "\n".join(source_toml(path, config) for path in paths)
    try:
        with write_atomically(config) as trial:
            trial.write_text(f"{text.rstrip()}\n\n{addition}" if text.strip() else addition)
            if config.exists():
                trial.chmod(config.stat().st_mode & 0o777)
            _check_registered(paths, trial, config, addition)
    except OSError as error:
        raise _build_register_error(error.strerror or str(error), config, addition) from None


def _check_registered(paths: Sequence[Path], trial: Path, config: Path, addition: str) -> None:
    try:
        settings = load_settings(os.environ | {CONFIG_VARIABLE: str(trial)})
    except ConfigurationError as error:
        reason = str(error).replace(str(trial), str(config))
        raise _build_register_error(reason, config, addition) from None
    if not all(is_registered(path, settings) for path in paths):
        raise ConfigurationError(
            f"Cannot add the source to the settings: {SOURCES_VARIABLE} overrides the sources of the file",
            where=str(config),
            next_step=f"add the source there, or unset it and retry (nothing was changed):\n\n{addition}",
        )


def _build_register_error(reason: str, config: Path, addition: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot add the source to the settings: {reason}",
        where=str(config),
        next_step=f"add it by hand (nothing was changed):\n\n{addition}",
    )
