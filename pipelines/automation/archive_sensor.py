"""Extracts new saved responses: a sensor that lists the files of the sources and requests runs.

A tick compares the listing with the table `archive_files`, which says what is in the lake, and with its
cursor (see `archive_cursor`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from assets.executions.archive_index import (
    ArchiveRecord,
    describe_files_outside_history,
    describe_problems,
    load_records,
)
from assets.executions.file_extraction import read_file
from assets.executions.flatten import READER_VERSION, FlattenedPages
from assets.executions.selection import contiguous_ranges
from assets.framework.asset_names import AssetNames
from assets.framework.partitions import RANGE
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES, INFERENCE_EXECUTIONS
from pipelines.automation.archive_cursor import ArchiveCursor, DeferredFile, TrackedFile
from pipelines.automation.run_failures import belongs_to_location
from pipelines.automation.schedules import MAX_RUNTIME_SECONDS, MAX_RUNTIME_TAG, REFRESH, UNFINISHED
from resources.clock import Clock, monotonic, utc_now
from resources.config.sections import HistorySettings
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.sources.base import FileListing, OpenSources
from resources.storage.base import StoredFile

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

SENSOR = "new_archive_files"
JOB = "extract_archive_files"
FILES_TAG = "ledger/archive_files"
"""Tag of the requested runs: how many new or changed files have days in the run."""

TICK_SECONDS = 60
MAX_RUNS_PER_TICK = 10
MAX_FILES_PER_TICK = 500
MAX_BYTES_PER_TICK = 256 * 1024**2
MAX_SECONDS_PER_TICK = 20
"""Dagster stops a tick after 60 seconds. The files beyond these limits are read by the next ticks."""

MAX_FILE_BYTES = 1024**3
"""A tick cannot read larger files in its time."""

QUIET_SECONDS = 10
"""A local file that was modified more recently may still be in the process of being written."""

_FIRST_BACKOFF, _MAX_BACKOFF = timedelta(minutes=5), timedelta(hours=6)
_RETRY_UNREADABLE = timedelta(hours=1)
_RECHECK_GAPS, _RECHECK_OUTSIDE = timedelta(days=7), timedelta(days=1)
_RECHECK_IDLE = timedelta(minutes=15)
_MAX_MESSAGES = 20
_ASSET_JOB = "__ASSET_JOB"
"""Dagster's job of runs that were started without one of ours."""


@dataclass(frozen=True)
class _ListedFile:
    listing: FileListing
    file: StoredFile

    @property
    def state(self) -> str:
        return f"{self.file.size_bytes} {self.file.etag}"


@dataclass
class _ReadBudget:
    """The files that one tick may still read. The first file is always allowed."""

    files: int = field(default_factory=lambda: MAX_FILES_PER_TICK)
    size_bytes: int = field(default_factory=lambda: MAX_BYTES_PER_TICK)
    deadline: float = field(default_factory=lambda: monotonic() + MAX_SECONDS_PER_TICK)
    is_untouched: bool = True

    def take(self, file: StoredFile) -> bool:
        fits = self.files > 0 and file.size_bytes <= self.size_bytes and monotonic() < self.deadline
        if not fits and not self.is_untouched:
            return False
        self.files -= 1
        self.size_bytes -= file.size_bytes
        self.is_untouched = False
        return True


def build_archive_job(names: AssetNames) -> "UnresolvedAssetJobDefinition":
    """Declare the job of the requested runs. Downstream assets follow through their automation conditions."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(names.build_key(INFERENCE_EXECUTIONS.name)),
        tags={MAX_RUNTIME_TAG: str(MAX_RUNTIME_SECONDS), **names.job_tags},
        description="Extract the days of new saved responses, without a query of the live sources.",
    )


def build_archive_sensor(
    settings: HistorySettings, names: AssetNames, *, has_archives: bool
) -> dg.SensorDefinition:
    """Declare the sensor, on by default if an archive is a source; it uses `lake`, `sources` and `clock`."""
    history = Days(settings.start_date, settings.end_date)

    @dg.sensor(
        name=SENSOR,
        job_name=JOB,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if has_archives else dg.DefaultSensorStatus.STOPPED,
        description="Extract new and changed saved responses, for exactly the days that they contain.",
    )
    def new_archive_files(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            listings = [source.files for source in sources() if source.files]
            if not listings:
                return dg.SkipReason("No archive is a source. Add one with: ledger import PATH")
            if reason := _describe_unfinished_run(context, names):
                return dg.SkipReason(reason)
            return _Tick(context, lake, history, clock()).evaluate(listings)
        except LedgerError as error:  # such as a lake that cannot be reached; the next tick tries again
            return dg.SkipReason(f"Cannot look for new saved responses: {error}")

    return new_archive_files


class _Tick:
    """One evaluation of the sensor."""

    def __init__(self, context: dg.SensorEvaluationContext, lake: Lake, history: Days, now: datetime) -> None:
        self._context, self._lake, self._now = context, lake, now
        tomorrow = now.date() + timedelta(days=1)
        self._history = Days(history.first, min(history.end or tomorrow, tomorrow))
        self._configured_history = history
        self._cursor = ArchiveCursor.from_json(context.cursor)
        if self._cursor.history != str(history):
            self._cursor.history, self._cursor.deferred, self._cursor.idle = str(history), {}, ""
        self._budget = _ReadBudget()
        self._failed_listings: list[FileListing] = []
        self._errors: list[str] = []
        self._read: list[ArchiveRecord] = []
        self._postponed = 0
        self._waiting: dict[str, str] = {}
        self._deferred: dict[str, DeferredFile] = {}

    def evaluate(self, listings: Sequence[FileListing]) -> dg.SensorResult:
        cursor = self._cursor
        files = self._list_files(listings)
        fingerprint = _get_fingerprint(*(f"{item.file.uri} {item.state}" for item in files))
        if cursor.idle == fingerprint and cursor.idle_until and self._now < cursor.idle_until:
            return self._skip(len(files))
        records = load_records(self._lake.read(ARCHIVE_FILES))
        remaining: dict[str, set[date]] = {}
        for item in files:
            if days := self._find_remaining_days(item, records.get(item.file.uri)):
                remaining[item.file.uri] = days
            else:
                cursor.tracked.pop(item.file.uri, None)
        self._forget_missing_files(files)
        cursor.messages += describe_files_outside_history(
            self._read, self._configured_history, self._now.date()
        )
        is_idle = not (remaining or self._waiting or self._postponed or self._errors)
        cursor.idle, cursor.idle_until = (fingerprint, self._now + _RECHECK_IDLE) if is_idle else ("", None)
        requests = self._request_runs(remaining)
        if not requests:
            return self._skip(len(files), backoff=len(remaining))
        for message in cursor.messages:
            self._context.log.warning(message)
        return dg.SensorResult(run_requests=requests, cursor=cursor.to_json())

    def _list_files(self, listings: Sequence[FileListing]) -> list[_ListedFile]:
        files: dict[str, _ListedFile] = {}
        for listing in listings:
            try:
                for file in listing.list_files():
                    files.setdefault(file.uri, _ListedFile(listing, file))
            except LedgerError as error:
                self._fail(listing, error)
        return list(files.values())

    def _fail(self, listing: FileListing, error: LedgerError) -> None:
        self._failed_listings.append(listing)
        self._errors.append(str(error))

    def _find_remaining_days(self, item: _ListedFile, record: ArchiveRecord | None) -> set[date]:
        """Return the days of a file that are partitions and not in the lake."""
        if record is not None and not record.matches_file(item.file, READER_VERSION):
            record = None
        merged = record.merged_dates if record else frozenset[date]()
        if record and not self._select_span(record) - merged:
            return set()  # most files end here, without another look at the cursor
        tracked = self._cursor.tracked.get(item.file.uri)
        if tracked is None or tracked.state != item.state:
            tracked = self._find_days(item, record)
        if tracked is None:
            return set()
        self._cursor.tracked[item.file.uri] = tracked
        days = tracked.list_days(self._history) - merged
        if not days:
            # The gaps of a file are never merged, so the table alone does not say that it is done.
            self._defer(_get_file_key(item, record), "", _RECHECK_GAPS if record else _RECHECK_OUTSIDE)
        return days

    def _select_span(self, record: ArchiveRecord) -> set[date]:
        return TrackedFile("", [record.span] if record.span else []).list_days(self._history)

    def _find_days(self, item: _ListedFile, record: ArchiveRecord | None) -> TrackedFile | None:
        """Find the exact days of a file, from its record if possible; None: not in this tick."""
        if record and record.span and record.span[1] - record.span[0] <= timedelta(days=1):
            return TrackedFile(item.state, [record.span])
        key = _get_file_key(item, record)
        return self._read_days(item, key) if self._can_read(item, key) else None

    def _can_read(self, item: _ListedFile, key: str) -> bool:
        """Return whether a file is to be read in this tick, and note why not."""
        deferred = self._cursor.deferred.get(key)
        if deferred and self._now < deferred.retry_at:
            self._deferred[key] = deferred
        elif self._is_being_written(item):
            self._waiting[item.file.uri] = item.state
        elif item.file.size_bytes > MAX_FILE_BYTES:
            message = (
                f"{item.file.uri} is too large to be read by a sensor. Run ledger backfill over its days, or"
                " split the file."
            )
            self._defer(key, message, _RETRY_UNREADABLE)
        elif item.listing not in self._failed_listings and self._budget.take(item.file):
            return True
        else:
            self._postponed += 1
        return False

    def _read_days(self, item: _ListedFile, key: str) -> TrackedFile | None:
        days: set[date] = set()

        def collect_days(page: FlattenedPages) -> None:
            days.update(page.rows["data_start_time"].cast(pa.date32()).unique().to_pylist())

        try:
            record = read_file(item.listing, item.file, self._now, collect_days)
        except LedgerError as error:  # the whole source cannot be read now
            self._fail(item.listing, error)
            return None
        self._read.append(record)
        days |= record.proven_dates
        if not days:
            messages = describe_problems([record]) or [f"{item.file.uri}: contains no execution."]
            self._defer(key, " ".join(messages), _RETRY_UNREADABLE)
            return None
        return TrackedFile(item.state, contiguous_ranges(days))

    def _is_being_written(self, item: _ListedFile) -> bool:
        modified_at, previous = item.file.modified_at, self._cursor.waiting.get(item.file.uri)
        if modified_at is None or previous == item.state:
            return False
        # The time of the file system, not of the resource `clock`. A time in the future proves nothing.
        return previous is not None or 0 <= utc_now().timestamp() - modified_at < QUIET_SECONDS

    def _defer(self, key: str, message: str, retry_after: timedelta) -> None:
        """Look at a file again only later; a message is reported if it is new."""
        before = self._cursor.deferred.get(key)
        digest = _get_fingerprint(message) if message else ""
        if message and (before is None or before.message != digest):
            self._cursor.messages.append(message)
        self._deferred[key] = DeferredFile(self._now + retry_after, digest)

    def _forget_missing_files(self, files: Iterable[_ListedFile]) -> None:
        """Drop deleted files from the cursor; a source that could not be listed has no deleted files."""
        cursor = self._cursor
        cursor.waiting = self._waiting
        if self._failed_listings:
            cursor.deferred |= self._deferred
            return
        uris = {item.file.uri for item in files}
        cursor.tracked = {uri: tracked for uri, tracked in cursor.tracked.items() if uri in uris}
        cursor.deferred = self._deferred

    def _request_runs(self, remaining: Mapping[str, Collection[date]]) -> list[dg.RunRequest]:
        """Request one run for each contiguous range of days, except for files whose last run just failed."""
        tracked = self._cursor.tracked
        due = {
            uri: days
            for uri, days in remaining.items()
            if not (
                tracked[uri].remaining == len(days)
                and (retry_at := tracked[uri].retry_at)
                and self._now < retry_at
            )
        }
        ranges = contiguous_ranges({day for days in due.values() for day in days})[:MAX_RUNS_PER_TICK]
        requests = []
        for first, last in ranges:
            uris = [uri for uri, days in due.items() if any(first <= day <= last for day in days)]
            states = (f"{uri} {tracked[uri].state}" for uri in sorted(uris))
            requests.append(self._build_request(first, last, _get_fingerprint(*states), len(uris)))
        for uri, days in due.items():
            if any(first <= day <= last for first, last in ranges for day in days):
                self._note_request(tracked[uri], len(days))
        self._cursor.sequence += bool(requests)
        return requests

    def _note_request(self, file: TrackedFile, remaining: int) -> None:
        file.attempts = file.attempts + 1 if file.remaining == remaining else 1
        file.remaining = remaining
        backoff = min(_FIRST_BACKOFF * 2 ** min(file.attempts - 1, 16), _MAX_BACKOFF)
        file.retry_at = self._now + backoff

    def _build_request(self, first: date, last: date, states: str, file_count: int) -> dg.RunRequest:
        # The same cursor and files give the same key, so a tick that is repeated after a crash starts no
        # second run. A retry has a higher sequence number.
        return dg.RunRequest(
            run_key=f"{self._cursor.sequence}:{first}...{last}:{states}",
            run_config={"ops": {INFERENCE_EXECUTIONS.name: {"config": {"only_files": True}}}},
            tags={
                **dict(zip(RANGE, (first.isoformat(), last.isoformat()), strict=True)),
                FILES_TAG: str(file_count),
            },
        )

    def _skip(self, file_count: int, backoff: int = 0) -> dg.SensorResult:
        counts = [f"{file_count:,} saved responses"]
        if backoff:
            counts.append(f"{backoff:,} with days that runs could not extract, to be retried")
        if self._waiting:
            counts.append(f"{len(self._waiting):,} just modified, left for the next tick")
        if self._postponed:
            counts.append(f"{self._postponed:,} left for the next ticks")
        if len(counts) == 1:
            counts.append("no new days")
        messages = [*self._errors, *self._cursor.messages]
        omitted = len(messages) - _MAX_MESSAGES
        more = [f"And {omitted} more problems."] if omitted > 0 else []
        self._cursor.messages = []
        text = "\n".join([f"{', '.join(counts)}.", *messages[:_MAX_MESSAGES], *more])
        return dg.SensorResult(skip_reason=text, cursor=self._cursor.to_json())


def _describe_unfinished_run(context: dg.SensorEvaluationContext, names: AssetNames) -> str | None:
    """Return None if no run extracts executions; a run reads the new files too, but merges only its days."""
    now = utc_now()
    for record in context.instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        if not _extracts(run, names) or not belongs_to_location(context, run):
            continue
        # Only runs of this job have a runtime limit; another one may remain of a killed process.
        if run.job_name == JOB or now - record.create_timestamp < timedelta(seconds=MAX_RUNTIME_SECONDS):
            return (
                f"Run {run.run_id} extracts executions ({run.status.value}). New saved responses are looked"
                " for after it."
            )
    return None


def _extracts(run: dg.DagsterRun, names: AssetNames) -> bool:
    if run.asset_selection is None:
        return run.job_name in (JOB, REFRESH) or run.job_name.startswith(_ASSET_JOB)
    return names.build_key(INFERENCE_EXECUTIONS.name) in run.asset_selection


def _get_file_key(item: _ListedFile, record: ArchiveRecord | None) -> str:
    return _get_fingerprint(item.file.uri, item.state, "recorded" if record else "new")


def _get_fingerprint(*texts: str) -> str:
    return blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()
