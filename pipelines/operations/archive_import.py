"""Saved API responses: previewed, then added to an archive source, with the settings that they need."""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import starmap
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.archive_index import ArchiveRecord, describe_problems
from assets.executions.file_extraction import read_file
from assets.executions.flatten import FlattenedPages
from assets.executions.tombstones import (
    NO_TOMBSTONES,
    Tombstones,
    describe_skipped_files,
    read_operations,
)
from assets.tables import EXTRACTION_COVERAGE
from resources.aws.access import SERVICE_END
from resources.clock import unique_id
from resources.config.loader import CONFIG_FILE_NAME, CONFIG_VARIABLE, SOURCES_VARIABLE, find_config_file
from resources.config.settings import ArchiveSettings, Settings, load_settings
from resources.config.template import render_template
from resources.config.toml_file import extend_toml
from resources.errors import ConfigurationError, LedgerError
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.results.allowed_buckets import find_allowed_buckets
from resources.sources.archive import SUFFIXES, ArchiveSource
from resources.sources.factory import parse_zone
from resources.storage.local import write_atomically
from resources.storage.open import is_s3
from resources.storage.small_files import read_small_file

_SERVICE_START = date(2020, 12, 1)
"""The day on which AWS announced the service; earlier executions have wrong times, such as the year 1."""

_A_DAY = timedelta(days=1)
_NEAR_SERVICE_END = timedelta(days=31)
_MAX_REASONS = 10


@dataclass(frozen=True)
class ImportPreview:
    """The content of some files, as an archive source reads them.

    Attributes:
        path: the file or folder that the user named.
        files: what each file holds.
        schedulers: the names of the schedulers.
        buckets: the buckets of the result objects that the executions name.
        rejected: the number of rejected summaries by file and reason.
        skipped: messages about files that were forgotten.
        days: the days with executions.
        today: the current day.
    """

    path: Path
    files: Sequence[ArchiveRecord]
    schedulers: Sequence[str]
    buckets: Sequence[str]
    rejected: Mapping[tuple[str, str], int]
    skipped: Sequence[str] = ()
    days: Collection[date] = ()
    today: date = date.max

    @property
    def usable(self) -> list[Path]:
        """The files with at least one execution or proven day."""
        return [Path(file.uri) for file in self.files if file.executions or file.proven_dates]

    @property
    def span(self) -> tuple[date, date] | None:
        """The first and the last day (UTC) with an execution or a proof; None without any.

        Days before the service existed and in the future count only if there are no others.
        """
        proven = (day for file in self.files for day in file.proven_dates)
        days = {*self.days, *proven}
        days = {day for day in days if _SERVICE_START <= day <= self.today} or days
        return (min(days), max(days)) if days else None

    @property
    def problems(self) -> list[str]:
        """Messages about broken and incomplete files, and about rejected summaries with their reasons."""
        if not self.files:
            endings = ", ".join(SUFFIXES)
            return [f"{self.path}: contains no file that ends in {endings}, with or without .gz"]
        messages = [*self.skipped, *describe_problems([replace(file, rejected=0) for file in self.files])]
        messages += [
            f"{file.uri}: executions from {file.span[0]} to {file.span[1]}. Days before the service,"
            f" {_SERVICE_START}, and days after today do not change [history]."
            for file in self.files
            if file.span and not _SERVICE_START <= file.span[0] <= file.span[1] <= self.today
        ]
        rejected = sorted(self.rejected.items())
        for (uri, reason), count in rejected[:_MAX_REASONS]:
            messages.append(f"{uri}: {count} {'summary' if count == 1 else 'summaries'} rejected: {reason}")
        if len(rejected) > _MAX_REASONS:
            remaining = sum(count for _, count in rejected[_MAX_REASONS:])
            messages.append(f"{remaining} more rejected summaries; after a backfill, see rejected_executions")
        return messages


def preview_files(
    path: Path,
    now: datetime,
    time_zone: str | None = None,
    limits: ReadLimits = DEFAULT_LIMITS,
    tombstones: Tombstones = NO_TOMBSTONES,
) -> ImportPreview:
    """Read a file or folder as an archive source does.

    Args:
        path: the file or folder.
        now: the current time.
        time_zone: the `time_zone` of the source.
        limits: limits of each file.
        tombstones: what `ledger forget` removed; such files are not usable.

    Raises:
        ConfigurationError: the path does not exist or cannot be read.
    """
    source = ArchiveSource(str(path), zone=parse_zone(time_zone), limits=limits)
    names, buckets = set[str](), set[str]()
    rejected, days = Counter[tuple[str, str]](), set[date]()

    def collect(page: FlattenedPages) -> None:
        names.update(name for name in page.rows["scheduler_name"].unique().to_pylist() if name)
        buckets.update(name for name in page.rows["result_s3_bucket"].unique().to_pylist() if name)
        days.update(pc.unique(page.rows["data_start_time"].cast(pa.date32())).to_pylist())
        rejected.update((row["source"], row["reason"]) for row in page.rejected.to_pylist())

    files = [read_file(source, file, now, collect, tombstones) for file in source.list_files()]
    skipped = describe_skipped_files({file.uri: file.content_hash for file in files}, tombstones)
    return ImportPreview(path, files, sorted(names), sorted(buckets), rejected, skipped, days, now.date())


def read_tombstones(settings: Settings) -> Tombstones:
    """Return what `ledger forget` removed; nothing if the lake cannot be read."""
    try:
        return Tombstones.from_operations(read_operations(Lake.from_settings(settings)))
    except LedgerError:
        return NO_TOMBSTONES


def find_target(settings: Settings) -> ArchiveSettings | None:
    """Return the first archive source with a local folder, or None."""
    return next((source for source in _local_archives(settings) if not Path(source.uri).is_file()), None)


def find_source(path: Path, settings: Settings) -> ArchiveSettings | None:
    """Return the archive source that contains the path, or None."""
    target = path.resolve()  # as the settings do
    return next((source for source in _local_archives(settings) if target.is_relative_to(source.uri)), None)


def _local_archives(settings: Settings) -> Iterator[ArchiveSettings]:
    for source in settings.sources:
        if isinstance(source, ArchiveSettings) and not is_s3(source.uri, "sources.uri"):
            yield source


def find_refused_buckets(settings: Settings, named: Iterable[str]) -> list[str]:
    """Return the buckets that files name and from which results may not be read, sorted."""
    allowed = find_allowed_buckets(settings)
    return sorted(bucket for bucket in set(named) if not allowed.allow(bucket))


def extend_allowed_buckets(settings: Settings, buckets: Sequence[str]) -> list[str]:
    """Return the value of results.allowed_buckets that also allows some more buckets."""
    return [*dict.fromkeys([*find_allowed_buckets(settings).patterns, *buckets])]


def find_settings() -> tuple[Path, Settings]:
    """Return the settings file and the settings.

    Without a file, the file is the one to write: LEDGER_CONFIG, or `ledger.toml` in the current folder.

    Raises:
        ConfigurationError: the settings are invalid.
    """
    file = find_config_file()
    if file.exists():
        return file, load_settings()
    environ = {name: value for name, value in os.environ.items() if name != CONFIG_VARIABLE}
    is_default = CONFIG_VARIABLE not in os.environ
    return (Path.cwd() / CONFIG_FILE_NAME if is_default else file), load_settings(environ)


def detect_history(settings: Settings, first: date, last: date, today: date) -> dict[str, date]:
    """Return the values of [history] that must change so that it contains the days of imported files.

    For a new project, the history becomes the span of the files. In the last month of the service, its end
    is the end of the service, so that files of later days can follow. In other projects the history only
    grows.
    """
    history = settings.history
    first, last = min(first, today), min(last, today)
    end = last + _A_DAY
    if last <= SERVICE_END < last + _NEAR_SERVICE_END:
        end = SERVICE_END + _A_DAY
    if _is_new(settings):
        values = {"start_date": first, "end_date": end}
    else:
        values = {"start_date": first} if first < history.start_date else {}
        if history.end_date and last >= history.end_date:
            values["end_date"] = end
    return {key: day for key, day in values.items() if getattr(history, key) != day}


def _is_new(settings: Settings) -> bool:
    """Return whether neither the user nor a run has determined the history."""
    if settings.history.model_fields_set & {"start_date", "end_date"}:
        return False
    if not all(isinstance(source, ArchiveSettings) for source in settings.sources):
        return False
    try:
        return not Lake.from_settings(settings).days(EXTRACTION_COVERAGE)
    except LedgerError:
        return False


def render_source(path: Path, config: Path, time_zone: str | None = None) -> str:
    """Return the TOML lines that declare a path as an archive source."""
    uri = path.relative_to(config.parent) if path.is_relative_to(config.parent) else path
    values = {"uri": uri.as_posix() + ("/" if path.is_dir() else ""), "time_zone": time_zone}
    lines = [
        f'{key} = "{_escape(value)}"\n' for key, value in ({"kind": "archive"} | values).items() if value
    ]
    return "[[sources]]\n" + "".join(lines)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def update_settings(
    config: Path,
    paths: Sequence[Path],
    history: Mapping[str, date],
    time_zone: str | None = None,
    allowed_buckets: Sequence[str] = (),
) -> None:
    """Add archive sources to the settings file and set values; the rest of the text stays.

    A file that does not exist is written from the template.

    Args:
        config: the settings file.
        paths: the files and folders to add.
        history: the values of [history] to set.
        time_zone: the time zone of the added sources.
        allowed_buckets: the value of results.allowed_buckets to set; empty: it stays.

    Raises:
        ConfigurationError: the new settings would be invalid or without effect. The file is unchanged.
    """
    addition = "\n".join(render_source(path, config, time_zone) for path in paths)
    values: dict[str, dict[str, str | list[str]]] = {}
    if history:
        values["history"] = {key: day.isoformat() for key, day in history.items()}
    if allowed_buckets:
        values["results"] = {"allowed_buckets": list(allowed_buckets)}
    by_hand = "\n".join(filter(None, (*starmap(_render_table, values.items()), addition)))
    try:
        before = read_small_file(config) if config.exists() else render_template().encode()
        after = extend_toml(before, values, addition)
        _check_settings(after, config, paths, by_hand)
        file = config.resolve()  # a link stays a link
        with write_atomically(file) as temporary:
            temporary.write_bytes(after)
            if file.exists():
                temporary.chmod(file.stat().st_mode & 0o777)
    except (OSError, ValueError) as error:
        raise _build_update_error(getattr(error, "strerror", None) or str(error), config, by_hand) from None


def _render_table(name: str, values: Mapping[str, str | list[str]]) -> str:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    return f"[{name}]\n{lines}"


def _check_settings(content: bytes, config: Path, paths: Sequence[Path], by_hand: str) -> None:
    trial = config.with_name(f".{config.name}.{unique_id()}.tmp")
    try:
        trial.write_bytes(content)
        settings = load_settings(os.environ | {CONFIG_VARIABLE: str(trial)})
    except ConfigurationError as error:
        reason = str(error).replace(str(trial), str(config))
        raise _build_update_error(reason, config, by_hand) from None
    finally:
        trial.unlink(missing_ok=True)
    if not all(find_source(path, settings) for path in paths):
        raise ConfigurationError(
            f"Cannot add the source to the settings: {SOURCES_VARIABLE} overrides the sources of the file",
            where=str(config),
            next_step=f"add the source there, or unset it and retry (nothing was changed):\n\n{by_hand}",
        )


def _build_update_error(reason: str, config: Path, by_hand: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot change the settings: {reason}",
        where=str(config),
        next_step=f"add it by hand (nothing was changed):\n\n{by_hand}",
    )
