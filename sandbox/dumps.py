"""The history of the fleet as a folder of saved responses, with typical defects.

The dumps of one scheduler overlap: executions that are IN_PROGRESS in a dump have ended in the next one.
Together they have all executions of the fleet, including deleted schedulers. Unreadable, incomplete and
unusable files are additional.
"""

import base64
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

from sandbox import chance
from sandbox.fleet import IRELAND, LEEDS, SEOUL, VIRGINIA, Fleet, Site
from sandbox.forms import FORMS, Form, Page
from sandbox.schedulers import Scheduler, Summary, sort_newest_first

PAGE_SIZE = 500  # the largest page of the service

Key = tuple[str, datetime]
"""The primary key of an execution: InferenceSchedulerArn and DataStartTime."""

_OVERLAP = timedelta(days=1)
_SUFFIXES = {Form.JSON_LINES: ".jsonl", Form.BOTO3_REPR: ".txt"}


@dataclass(frozen=True)
class DumpFile:
    """The expected content of one file.

    Attributes:
        path: The path of the file.
        form: The format of the file.
        executions: The keys of its usable executions.
        summaries: The number of summaries, including unusable ones.
        ends_with_token: Whether its last response has a NextToken.
        is_incomplete: Whether the next page was not saved.
        is_unreadable: Whether the file is truncated.
        unusable: The number of summaries without required members.
    """

    path: Path
    form: Form
    executions: frozenset[Key]
    summaries: int
    ends_with_token: bool = False
    is_incomplete: bool = False
    is_unreadable: bool = False
    unusable: int = 0


@dataclass(frozen=True)
class Manifest:
    """The expected content of a folder of dumps."""

    files: tuple[DumpFile, ...]

    @property
    def executions(self) -> frozenset[Key]:
        """The keys of all usable executions of the folder."""
        return frozenset[Key]().union(*(file.executions for file in self.files))

    @property
    def incomplete(self) -> tuple[Path, ...]:
        """Files whose next page was not saved."""
        return tuple(file.path for file in self.files if file.is_incomplete)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Truncated files."""
        return tuple(file.path for file in self.files if file.is_unreadable)

    @property
    def unusable(self) -> tuple[Path, ...]:
        """Files with an unusable summary."""
        return tuple(file.path for file in self.files if file.unusable)


@dataclass(frozen=True)
class _Export:
    """A series of dumps: the schedulers and the format.

    Attributes:
        title: The folder of the files.
        members: The account, region and name of each scheduler. Schedulers that reuse a name are included.
        form: The format.
        zone: The local time zone.
        suffix: A further suffix, for compression.
        one_file_per_page: Whether each page is a separate file.
    """

    title: str
    members: tuple[tuple[str, str, str], ...]
    form: Form
    zone: tzinfo = UTC
    suffix: str = ""
    one_file_per_page: bool = False

    def path(self, folder: Path, stem: str) -> Path:
        return folder / self.title / (stem + _SUFFIXES.get(self.form, ".json") + self.suffix)

    def includes(self, scheduler: Scheduler) -> bool:
        return (scheduler.account, scheduler.region, scheduler.name) in self.members


def split_into_pages(summaries: Sequence[Summary], size: int = PAGE_SIZE) -> list[list[Summary]]:
    """Split summaries into pages. Without summaries, return one empty page, as the service does."""
    starts = range(0, max(len(summaries), 1), size)
    return [list(summaries[start : start + size]) for start in starts]


def write_dump(  # noqa: PLR0913 - all but three have defaults
    path: Path,
    form: Form,
    pages: Sequence[Sequence[Summary]],
    *,
    zone: tzinfo = UTC,
    one_file_per_page: bool = False,
    leave_token: bool = False,
    taken_at: datetime | None = None,
) -> tuple[Path, ...]:
    """Write the pages of one listing, with the same bytes each time.

    All pages except the last have a NextToken, in formats that have one.

    Args:
        path: The file. A name that ends in `.gz` is compressed. Missing folders are created.
        form: The format.
        pages: The summaries of each page, newest first.
        zone: The local time zone, for formats with local times.
        one_file_per_page: Write `x-page-1.json`, `x-page-2.json` ... instead of one `x.json`.
        leave_token: Also write a NextToken on the last page, as if further pages had not been saved.
        taken_at: The time of the request, for formats with response headers.

    Returns:
        The files in the order of the pages.
    """
    texts = [
        FORMS[form](
            Page(
                list(summaries),
                next_token=_build_token(number, summaries) if leave_token or number < len(pages) else None,
                taken_at=taken_at,
                zone=zone,
            )
        )
        for number, summaries in enumerate(pages, 1)
    ]
    if not one_file_per_page:
        return (_write_file(path, "".join(texts)),)
    stem, dot, suffixes = path.name.partition(".")
    return tuple(
        _write_file(path.with_name(f"{stem}-page-{number}{dot}{suffixes}"), text)
        for number, text in enumerate(texts, 1)
    )


def write_history(fleet: Fleet, folder: Path, clock: datetime, *, has_defects: bool = True) -> Manifest:
    """Write the history of the fleet up to `clock`, in all formats, with or without defective files.

    Dumps are taken three times during the history, at `clock`, and before the deletion of a scheduler.
    They have no windows after the end of the history. If `clock` is later, only stuck executions are
    in progress in the last dumps.
    """
    files: list[DumpFile] = []
    for export in _build_exports():
        schedulers = [scheduler for scheduler in fleet.schedulers if export.includes(scheduler)]
        files += _write_regular_dumps(fleet, folder, export, schedulers, clock)
        for scheduler in schedulers:
            files += _write_dump_before_deletion(folder, export, scheduler, clock)
    if has_defects:
        files += _write_defective_dumps(fleet, folder, clock)
    return Manifest(tuple(files))


def _build_exports() -> tuple[_Export, ...]:
    mixed = (
        _build_member(VIRGINIA, "mixer-1"),
        _build_member(VIRGINIA, "blower-1"),
        _build_member(LEEDS, "boiler-1"),
    )
    return (
        _build_export(VIRGINIA, "pump-1", Form.CLI_V2, -4),
        replace(_build_export(VIRGINIA, "pump-2", Form.WIRE), one_file_per_page=True),
        replace(_build_export(LEEDS, "pump-1", Form.WIRE), suffix=".gz"),
        _build_export(IRELAND, "compressor-1", Form.CLI_V1),
        _build_export(IRELAND, "compressor-2", Form.BOTO3_JSON),
        replace(_build_export(IRELAND, "turbine-1", Form.CLI_V2, 2), suffix=".gz"),
        replace(_build_export(LEEDS, "turbine-2", Form.CLI_V2, 2), suffix=".gz", one_file_per_page=True),
        _build_export(SEOUL, "fan-1", Form.CLI_V2, 9),
        _build_export(SEOUL, "fan-2", Form.BARE_LIST),
        _build_export(SEOUL, "mill-1", Form.BOTO3_REPR),
        _build_export(SEOUL, "chiller-1", Form.CAMEL_CASE),
        _Export("all-plants", mixed, Form.JSON_LINES),
    )


def _build_export(site: Site, name: str, form: Form, zone_hours: int = 0) -> _Export:
    member = _build_member(site, name)
    return _Export("/".join(member), (member,), form, timezone(timedelta(hours=zone_hours)))


def _build_member(site: Site, name: str) -> tuple[str, str, str]:
    return (site.account, site.region, name)


def _write_regular_dumps(
    fleet: Fleet, folder: Path, export: _Export, schedulers: list[Scheduler], clock: datetime
) -> Iterator[DumpFile]:
    """Write regular dumps, each of which overlaps the previous one."""
    end = fleet.history.end
    since = fleet.history.at(0)
    for taken_at in _list_dump_times(fleet, clock):
        listed = [scheduler for scheduler in schedulers if scheduler.is_listed(taken_at)]
        summaries = [
            summary
            for scheduler in listed
            for summary in scheduler.executions(taken_at, since, min(taken_at, end))
        ]
        if listed:
            yield from _write_dump_files(folder, export, f"{taken_at:%Y-%m-%dT%H%MZ}", summaries, taken_at)
        since = max(taken_at - _OVERLAP, fleet.history.at(0))


def _list_dump_times(fleet: Fleet, clock: datetime) -> list[datetime]:
    # half a minute past the hour, executions that start on the hour are in progress
    quarters = (fleet.history.at(quarter / 4) + timedelta(seconds=30) for quarter in (1, 2, 3))
    return [*(taken_at for taken_at in quarters if taken_at < clock), clock]


def _write_dump_before_deletion(
    folder: Path, export: _Export, scheduler: Scheduler, clock: datetime
) -> Iterator[DumpFile]:
    """Write the whole history of a scheduler before its deletion."""
    if scheduler.deleted_at is None or scheduler.deleted_at > clock:
        return
    taken_at = scheduler.deleted_at - timedelta(minutes=1)
    stem = f"{taken_at:%Y-%m-%dT%H%MZ}-before-deletion"
    yield from _write_dump_files(folder, export, stem, list(scheduler.executions(taken_at)), taken_at)


def _write_dump_files(
    folder: Path, export: _Export, stem: str, summaries: list[Summary], taken_at: datetime
) -> Iterator[DumpFile]:
    # a bare list has all pages in one
    size = len(summaries) or 1 if export.form is Form.BARE_LIST else PAGE_SIZE
    pages = split_into_pages(sort_newest_first(summaries), size)
    paths = write_dump(
        export.path(folder, stem),
        export.form,
        pages,
        zone=export.zone,
        one_file_per_page=export.one_file_per_page,
        taken_at=taken_at,
    )
    for number, path in enumerate(paths):
        saved = pages[number] if export.one_file_per_page else summaries
        yield DumpFile(
            path, export.form, _get_keys(saved), len(saved), ends_with_token=number + 1 < len(paths)
        )


def _write_defective_dumps(fleet: Fleet, folder: Path, clock: datetime) -> Iterator[DumpFile]:
    """Write typical defective files. Regular dumps have the same executions."""
    first, last = fleet.schedulers[0], fleet.schedulers[-1]
    recent = sort_newest_first(first.executions(clock, end=fleet.history.end))[:100]
    others = sort_newest_first(last.executions(clock, end=fleet.history.end))[:3]

    # the CLI does not follow NextToken, so an export may have only the first page
    first_page = folder / "by-hand" / f"{first.name}-first-page-only.json"
    write_dump(first_page, Form.CLI_V2, [recent], leave_token=True)
    yield DumpFile(
        first_page, Form.CLI_V2, _get_keys(recent), len(recent), ends_with_token=True, is_incomplete=True
    )

    cut = folder / "by-hand" / f"{first.name}-disk-full.json"
    write_dump(cut, Form.CLI_V1, [recent])
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    yield DumpFile(cut, Form.CLI_V1, frozenset(), 0, is_unreadable=True)

    edited = folder / "by-hand" / f"{last.name}-edited.jsonl"
    usable, unusable = others[:-1], others[-1:]
    for summary in unusable:
        del summary["DataStartTime"]
    write_dump(edited, Form.JSON_LINES, [others])
    yield DumpFile(edited, Form.JSON_LINES, _get_keys(usable), len(others), unusable=len(unusable))


def _get_keys(summaries: Sequence[Summary]) -> frozenset[Key]:
    return frozenset((summary["InferenceSchedulerArn"], summary["DataStartTime"]) for summary in summaries)


def _build_token(number: int, summaries: Sequence[Summary]) -> str:
    """Return an opaque token."""
    last = summaries[-1]["InferenceSchedulerArn"] if summaries else ""
    return base64.b64encode(f"{number}:{chance.draw_uuid(number, last)}".encode()).decode()


def _write_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    # without a time in the header, compression is deterministic
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path
