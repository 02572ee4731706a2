"""The plan of a recording: the names of its files, and the queries that it still needs.

A file holds one query: one scheduler and at most one month. Its name has the first and the last day and the
time of the query. `_unfinished/` holds the pages of queries that are not complete; no source reads it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from itertools import groupby

from assets.executions.coverage import compute_settle_time
from assets.executions.selection import contiguous_ranges
from resources.sources.base import ListedScheduler

UNFINISHED = "_unfinished"
SUFFIX = ".warc.gz"
_TIME = "%Y%m%dT%H%M%SZ"
_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")
_MAX_NAME = 100
_FILE = re.compile(
    r"(?P<folder>[^/]+)/(?P<first>\d{4}-\d\d-\d\d)_(?P<last>\d{4}-\d\d-\d\d)_(?P<at>\d{8}T\d{6}Z)\.warc\.gz"
)
_PART = re.compile(
    rf"{UNFINISHED}/(?P<folder>[^/]+)/(?P<first>\d{{4}}-\d\d-\d\d)_(?P<last>\d{{4}}-\d\d-\d\d)/\d{{5}}\.warc\.gz"
)


@dataclass(frozen=True, order=True)
class DayRange:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> set[date]:
        """All days of the range."""
        return {self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)}

    def __str__(self) -> str:
        return f"{self.first}_{self.last}"


@dataclass(frozen=True)
class RecordedFile:
    """A complete query of a recording."""

    range: DayRange
    queried_at: datetime


@dataclass(frozen=True)
class RecordingContent:
    """What a recording holds, from the names of its files.

    Attributes:
        files: complete queries by folder.
        parts: the names of the pages of unfinished queries, by folder and range.
    """

    files: Mapping[str, Sequence[RecordedFile]]
    parts: Mapping[tuple[str, DayRange], Sequence[str]]


@dataclass(frozen=True)
class QueryPlan:
    """A query to record, or to continue."""

    scheduler: ListedScheduler
    folder: str
    range: DayRange

    @property
    def part_folder(self) -> str:
        """The folder of its pages until the query is complete."""
        return f"{UNFINISHED}/{self.folder}/{self.range}"

    def get_file_name(self, queried_at: datetime) -> str:
        """Return the name of its file."""
        return f"{self.folder}/{self.range}_{queried_at.astimezone(UTC):{_TIME}}{SUFFIX}"


def name_folder(arn: str) -> str:
    """Return the folder of a scheduler: readable, and different for each ARN."""
    digest = blake2b(arn.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    readable = _UNSAFE.sub(".", arn.rsplit(":inference-scheduler/", maxsplit=1)[-1].rpartition("/")[0] or arn)
    account = _UNSAFE.sub(".", ".".join(arn.split(":")[3:5]))
    return f"{account[:_MAX_NAME]}.{readable[:_MAX_NAME]}.{digest}".strip(".")


def parse_names(names: Iterable[str]) -> RecordingContent:
    """Sort the names of a recording; other files are ignored."""
    files: dict[str, list[RecordedFile]] = {}
    parts: dict[tuple[str, DayRange], list[str]] = {}
    for name in sorted(names):
        if match := _FILE.fullmatch(name):
            if parsed := _parse_range(match):
                at = datetime.strptime(match["at"], _TIME).replace(tzinfo=UTC)
                files.setdefault(match["folder"], []).append(RecordedFile(parsed, at))
        elif (match := _PART.fullmatch(name)) and (parsed := _parse_range(match)):
            parts.setdefault((match["folder"], parsed), []).append(name)
    return RecordingContent(files, parts)


def _parse_range(match: re.Match[str]) -> DayRange | None:
    try:
        return DayRange(date.fromisoformat(match["first"]), date.fromisoformat(match["last"]))
    except ValueError:
        return None


def select_settled_days(files: Iterable[RecordedFile], settle_after: timedelta) -> set[date]:
    """Return the days that had settled when they were recorded; other days can still have changed."""
    return {
        day
        for file in files
        for day in file.range.days
        if file.queried_at >= compute_settle_time(day, settle_after)
    }


def plan_queries(
    schedulers: Iterable[ListedScheduler],
    days: Collection[date],
    content: RecordingContent,
    settle_after: timedelta,
) -> list[QueryPlan]:
    """Plan the queries that a recording lacks, scheduler by scheduler, oldest days first.

    Unfinished queries are continued if they are within the days. All others have at most one month.
    """
    plans = []
    for scheduler in schedulers:
        folder = name_folder(scheduler.arn)
        missing = set(days) - select_settled_days(content.files.get(folder, ()), settle_after)
        ranges = []
        for name, unfinished in sorted(content.parts):
            if name == folder and unfinished.days <= missing:
                ranges.append(unfinished)
                missing -= unfinished.days
        for _, month in groupby(sorted(missing), key=lambda day: (day.year, day.month)):
            ranges += [DayRange(first, last) for first, last in contiguous_ranges(month)]
        plans += [QueryPlan(scheduler, folder, planned) for planned in sorted(ranges)]
    return plans


def find_leftovers(content: RecordingContent, settle_after: timedelta) -> list[str]:
    """Return the pages of unfinished queries whose days are recorded, such as after a kill at the end."""
    return [
        name
        for (folder, unfinished), names in content.parts.items()
        if unfinished.days <= select_settled_days(content.files.get(folder, ()), settle_after)
        for name in names
    ]
