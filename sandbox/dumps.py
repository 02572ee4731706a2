"""The fleet's history as people saved it: files of responses, in a folder, with all that goes wrong in it.

The dumps of one scheduler overlap, as those of a careful person do: an early one shows as IN_PROGRESS what
the next one shows settled. Together they hold every execution of the fleet, those of deleted schedulers
included. What is unreadable, incomplete or unusable comes on top, and takes nothing away.
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
from sandbox.schedulers import Scheduler, Summary, newest_first

PAGE_SIZE = 500  # the most that the service gives at once

Key = tuple[str, datetime]
"""What tells executions apart: InferenceSchedulerArn and DataStartTime."""

_OVERLAP = timedelta(days=1)
_SUFFIXES = {Form.JSON_LINES: ".jsonl", Form.BOTO3_REPR: ".txt"}


@dataclass(frozen=True)
class DumpFile:
    """The truth about one file.

    Attributes:
        path: Where it is.
        form: How it is written.
        executions: Those that a reader can get out of it.
        summaries: How many summaries it holds, unusable ones included.
        ends_with_token: Its last response has a NextToken.
        is_incomplete: And the page after it was never saved.
        is_unreadable: It is cut short.
        unusable: How many of its summaries lack what an execution needs.
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
    """The truth about a folder of dumps."""

    files: tuple[DumpFile, ...]

    @property
    def executions(self) -> frozenset[Key]:
        """All executions that a reader can get out of the folder."""
        return frozenset[Key]().union(*(file.executions for file in self.files))

    @property
    def incomplete(self) -> tuple[Path, ...]:
        """Files whose next page was never saved."""
        return tuple(file.path for file in self.files if file.is_incomplete)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Files that are cut short."""
        return tuple(file.path for file in self.files if file.is_unreadable)

    @property
    def unusable(self) -> tuple[Path, ...]:
        """Files that hold an unusable summary."""
        return tuple(file.path for file in self.files if file.unusable)


@dataclass(frozen=True)
class _Export:
    """A habit: whose executions someone saves, and how.

    Attributes:
        title: The folder that the files lie in.
        members: Account, region and name of each scheduler; whatever now bears the name is saved.
        form: How.
        zone: The zone of the machine.
        suffix: A further suffix, for compression.
        one_file_per_page: Whether pages go to files of their own.
    """

    title: str
    members: tuple[tuple[str, str, str], ...]
    form: Form
    zone: tzinfo = UTC
    suffix: str = ""
    one_file_per_page: bool = False

    def path(self, folder: Path, stem: str) -> Path:
        return folder / self.title / (stem + _SUFFIXES.get(self.form, ".json") + self.suffix)

    def saves(self, scheduler: Scheduler) -> bool:
        return (scheduler.account, scheduler.region, scheduler.name) in self.members


def paged(summaries: Sequence[Summary], size: int = PAGE_SIZE) -> list[list[Summary]]:
    """The summaries in pages; when there are none, the one empty page that the service answers with."""
    starts = range(0, max(len(summaries), 1), size)
    return [list(summaries[start : start + size]) for start in starts]


def write_dump(  # noqa: PLR0913 - the first three say what is saved; the rest have defaults
    path: Path,
    form: Form,
    pages: Sequence[Sequence[Summary]],
    *,
    zone: tzinfo = UTC,
    one_file_per_page: bool = False,
    leave_token: bool = False,
    taken_at: datetime | None = None,
) -> tuple[Path, ...]:
    """Saves pages of one listing as someone would have, the same bytes each time.

    Every page but the last names the next one by its NextToken, in those forms that have one.

    Args:
        path: The file; a name that ends in `.gz` is compressed. Missing folders are made.
        form: How the pages are written.
        pages: The summaries of each page, as the service lists them: newest first.
        zone: The zone of the machine, for the forms that write local times.
        one_file_per_page: `x.json` becomes `x-page-1.json`, `x-page-2.json` ... instead of one file in
            which the pages follow each other.
        leave_token: Leaves a NextToken on the last page too: whoever saved this did not go on.
        taken_at: When the listing was requested, for the forms that keep response headers.

    Returns:
        The files, in the order of the pages.
    """
    texts = [
        FORMS[form](
            Page(
                list(summaries),
                next_token=_token(number, summaries) if leave_token or number < len(pages) else None,
                taken_at=taken_at,
                zone=zone,
            )
        )
        for number, summaries in enumerate(pages, 1)
    ]
    if not one_file_per_page:
        return (_write(path, "".join(texts)),)
    stem, dot, suffixes = path.name.partition(".")
    return tuple(
        _write(path.with_name(f"{stem}-page-{number}{dot}{suffixes}"), text)
        for number, text in enumerate(texts, 1)
    )


def write_history(fleet: Fleet, folder: Path, clock: datetime) -> Manifest:
    """Saves the fleet's whole history in `folder`, in every form, as it could be known by `clock`.

    Dumps are taken three times over the history and once more at `clock`, and shortly before a scheduler is
    deleted. Nothing is saved of windows after the end of the history: taken a few hours after it, the last
    dumps show everything settled except what is stuck.
    """
    files: list[DumpFile] = []
    for export in _exports():
        schedulers = [scheduler for scheduler in fleet.schedulers if export.saves(scheduler)]
        files += _regular(fleet, folder, export, schedulers, clock)
        for scheduler in schedulers:
            files += _last_rescue(folder, export, scheduler, clock)
    files += _mishaps(fleet, folder, clock)
    return Manifest(tuple(files))


def _exports() -> tuple[_Export, ...]:
    mixed = (_member(VIRGINIA, "mixer-1"), _member(VIRGINIA, "blower-1"), _member(LEEDS, "boiler-1"))
    return (
        _export(VIRGINIA, "pump-1", Form.CLI_V2, -4),
        replace(_export(VIRGINIA, "pump-2", Form.WIRE), one_file_per_page=True),
        replace(_export(LEEDS, "pump-1", Form.WIRE), suffix=".gz"),
        _export(IRELAND, "compressor-1", Form.CLI_V1),
        _export(IRELAND, "compressor-2", Form.BOTO3_JSON),
        replace(_export(IRELAND, "turbine-1", Form.CLI_V2, 2), suffix=".gz"),
        replace(_export(LEEDS, "turbine-2", Form.CLI_V2, 2), suffix=".gz", one_file_per_page=True),
        _export(SEOUL, "fan-1", Form.CLI_V2, 9),
        _export(SEOUL, "fan-2", Form.BARE_LIST),
        _export(SEOUL, "mill-1", Form.BOTO3_REPR),
        _export(SEOUL, "chiller-1", Form.CAMEL_CASE),
        _Export("all-plants", mixed, Form.JSON_LINES),
    )


def _export(site: Site, name: str, form: Form, zone_hours: int = 0) -> _Export:
    member = _member(site, name)
    return _Export("/".join(member), (member,), form, timezone(timedelta(hours=zone_hours)))


def _member(site: Site, name: str) -> tuple[str, str, str]:
    return (site.account, site.region, name)


def _regular(
    fleet: Fleet, folder: Path, export: _Export, schedulers: list[Scheduler], clock: datetime
) -> Iterator[DumpFile]:
    """The dumps that are taken from time to time, each reaching back into the one before it."""
    end = fleet.history.end
    since = fleet.history.at(0)
    for taken_at in _times(fleet, clock):
        listed = [scheduler for scheduler in schedulers if scheduler.is_listed(taken_at)]
        summaries = [
            summary
            for scheduler in listed
            for summary in scheduler.executions(taken_at, since, min(taken_at, end))
        ]
        if listed:
            yield from _dump(folder, export, f"{taken_at:%Y-%m-%dT%H%MZ}", summaries, taken_at)
        since = max(taken_at - _OVERLAP, fleet.history.at(0))


def _times(fleet: Fleet, clock: datetime) -> list[datetime]:
    # Half a minute past the hour: executions that start on the hour are in progress just then.
    quarters = (fleet.history.at(quarter / 4) + timedelta(seconds=30) for quarter in (1, 2, 3))
    return [*(taken_at for taken_at in quarters if taken_at < clock), clock]


def _last_rescue(folder: Path, export: _Export, scheduler: Scheduler, clock: datetime) -> Iterator[DumpFile]:
    """Whoever deletes a scheduler saves its whole history first."""
    if scheduler.deleted_at is None or scheduler.deleted_at > clock:
        return
    taken_at = scheduler.deleted_at - timedelta(minutes=1)
    stem = f"{taken_at:%Y-%m-%dT%H%MZ}-before-deletion"
    yield from _dump(folder, export, stem, list(scheduler.executions(taken_at)), taken_at)


def _dump(
    folder: Path, export: _Export, stem: str, summaries: list[Summary], taken_at: datetime
) -> Iterator[DumpFile]:
    # Whoever makes one list of all pages has no pages any more.
    size = len(summaries) or 1 if export.form is Form.BARE_LIST else PAGE_SIZE
    pages = paged(newest_first(summaries), size)
    paths = write_dump(
        export.path(folder, stem),
        export.form,
        pages,
        zone=export.zone,
        one_file_per_page=export.one_file_per_page,
        taken_at=taken_at,
    )
    for number, path in enumerate(paths):
        held = pages[number] if export.one_file_per_page else summaries
        yield DumpFile(path, export.form, _keys(held), len(held), ends_with_token=number + 1 < len(paths))


def _mishaps(fleet: Fleet, folder: Path, clock: datetime) -> Iterator[DumpFile]:
    """What every folder of dumps has, sooner or later; all of it is saved properly elsewhere."""
    first, last = fleet.schedulers[0], fleet.schedulers[-1]
    some = newest_first(first.executions(clock, end=fleet.history.end))[:100]
    others = newest_first(last.executions(clock, end=fleet.history.end))[:3]

    # The CLI does not follow NextToken; who does not know that keeps the first page only.
    first_page = folder / "by-hand" / f"{first.name}-first-page-only.json"
    write_dump(first_page, Form.CLI_V2, [some], leave_token=True)
    yield DumpFile(first_page, Form.CLI_V2, _keys(some), len(some), ends_with_token=True, is_incomplete=True)

    cut = folder / "by-hand" / f"{first.name}-disk-full.json"
    write_dump(cut, Form.CLI_V1, [some])
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    yield DumpFile(cut, Form.CLI_V1, frozenset(), 0, is_unreadable=True)

    edited = folder / "by-hand" / f"{last.name}-edited.jsonl"
    good, spoilt = others[:-1], others[-1:]
    for summary in spoilt:
        del summary["DataStartTime"]
    write_dump(edited, Form.JSON_LINES, [others])
    yield DumpFile(edited, Form.JSON_LINES, _keys(good), len(others), unusable=len(spoilt))


def _keys(summaries: Sequence[Summary]) -> frozenset[Key]:
    return frozenset((summary["InferenceSchedulerArn"], summary["DataStartTime"]) for summary in summaries)


def _token(number: int, summaries: Sequence[Summary]) -> str:
    """Opaque, as the service's own."""
    last = summaries[-1]["InferenceSchedulerArn"] if summaries else ""
    return base64.b64encode(f"{number}:{chance.identifier(number, last)}".encode()).decode()


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    # Without a time in its header a compressed file is the same each time.
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path
