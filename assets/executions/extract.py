"""One extraction: read the sources for some days, merge each day into the lake, say what was odd.

Belongs here: the order of things within a run.
Does not belong here: the rules themselves (see the modules beside this one), and Dagster (see `assets`).

Order within a day: executions, then coverage. That a file is merged into a day is remembered only after the
day is in the lake, so a run that is killed at any point has recorded nothing that is not there; the next one reads again.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.content import changed_rows, stamped
from assets.executions import archives
from assets.executions.archives import Known
from assets.executions.coverage import cover, settle_at
from assets.executions.flatten import READER_VERSION, REJECTED, Flattened, flatten
from assets.executions.merge import best, merge
from assets.executions.windows import Days, Window, by_day, cut, day_window
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, REJECTED_EXECUTIONS
from resources.errors import UnreadableArchiveError
from resources.files import StoredFile
from resources.lake import Lake, Written
from resources.sources.archive import Archive

PENDING_ROWS = 250_000
"""Candidates are reduced to one a key whenever this many have come together: memory follows the range, not
the number of overlapping responses."""


@dataclass(frozen=True)
class Recorded:
    """One day after its update; `changed_rows` counts the executions that are new or differ now."""

    executions: Written
    coverage: Written
    changed_rows: int


@dataclass
class Extraction:
    """What the sources give for some days, on its way into the lake.

    `history` are the days that are partitions at all, `now` is the time of this run, `progress` is told of
    long work in words. `notices` are the things that a person should know of; they stop nothing.
    """

    lake: Lake
    history: Days
    settle_after: timedelta
    now: datetime
    progress: Callable[[str], None]
    read: list[Known] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    _candidates: dict[date, pa.Table] = field(default_factory=dict)
    _merged: set[date] = field(default_factory=set)
    _days_changed: int = 0
    _rows_changed: int = 0

    def gather(self, sources: Sequence[Archive], days: Collection[date]) -> None:
        """Read what the sources hold of some days and is not in the lake yet.

        Raises:
            ConfigurationError: a source is not there.
        """
        pending = _Pending(frozenset(days))
        remembered = archives.known(self.lake.read(ARCHIVE_FILES))
        in_lake = {day for day in days if self.lake.has(INFERENCE_EXECUTIONS, day)}
        listed: list[StoredFile] = []
        for source in sources:
            files = source.files()
            if not files:
                self.notices.append(
                    f"{source.uri} holds no saved response: nothing there is named *.json[l]."
                )
            chosen = archives.to_read(files, remembered, READER_VERSION, days, in_lake)
            self.progress(f"{source.uri}: {len(files)} saved responses, {len(chosen)} of them to read")
            self.read += [_read(source, file, self.now, pending) for file in chosen]
            listed += files
        self._candidates = pending.in_days()
        self._quarantine(pending.rejected)
        self.remember()  # before any day: a lake that cannot be written to is one failure, not one a day
        remembered |= {file.uri: file for file in self.read}
        here = [remembered[file.uri] for file in listed]
        self.notices += [*archives.oddities(here), *archives.outside(here, self.history, self.now.date())]

    def record(self, day: date) -> Recorded:
        """Merge one day into the lake: executions, then coverage."""
        candidates = self._candidates.get(day, INFERENCE_EXECUTIONS.schema.empty_table())
        settles_at = settle_at(day, self.settle_after)
        executions = self.lake.update(
            INFERENCE_EXECUTIONS, day, lambda existing: merge(existing, candidates, self.now)
        )
        coverage = self.lake.update(
            EXTRACTION_COVERAGE,
            day,
            lambda existing: cover(executions.rows, existing, settles_at=settles_at, now=self.now),
        )
        self._merged.add(day)
        changed = changed_rows(INFERENCE_EXECUTIONS, executions.before, executions.rows)
        self._days_changed += executions.changed
        self._rows_changed += changed
        return Recorded(executions, coverage, changed)

    def numbers(self) -> dict[str, int]:
        """What was done so far, in numbers that can be added up."""
        return {
            "files_read": len(self.read),
            "days_recorded": len(self._merged),
            "days_changed": self._days_changed,
            "rows_changed": self._rows_changed,
        }

    def remember(self) -> None:
        """Write down which files were read, and which of the days they are merged into so far."""
        if self.read:
            self.lake.update(
                ARCHIVE_FILES, None, lambda existing: archives.remember(existing, self.read, self._merged)
            )

    def _quarantine(self, rejected: Sequence[pa.Table]) -> None:
        """Replace what was rejected in the files that were read; what other files gave stays."""
        found = pa.concat_tables([REJECTED.empty_table(), *rejected])
        if not found.num_rows and not self.lake.has(REJECTED_EXECUTIONS):
            return
        again = pa.array([file.uri for file in self.read], pa.string())

        def merge_rejected(existing: pa.Table) -> pa.Table:
            others = existing.filter(pc.invert(pc.is_in(existing["source"], again)))
            both = pa.concat_tables([others, found], promote_options="permissive")
            return stamped(REJECTED_EXECUTIONS, both, existing, self.now)

        self.lake.update(REJECTED_EXECUTIONS, None, merge_rejected)


class _Pending:
    """Candidates of the wanted days, kept small, and what had to be rejected."""

    def __init__(self, days: frozenset[date]) -> None:
        self.rejected: list[pa.Table] = []
        self._days = days
        self._window = Window(day_window(min(days)).start, day_window(max(days)).end) if days else None
        self._tables: list[pa.Table] = []
        self._fresh_rows = 0

    def add(self, page: Flattened) -> None:
        if page.rejected.num_rows:
            self.rejected.append(page.rejected)
        if self._window is None:
            return
        wanted = cut(page.rows, self._window)
        self._tables.append(wanted)
        self._fresh_rows += wanted.num_rows
        if self._fresh_rows > PENDING_ROWS:
            self._tables, self._fresh_rows = [best(pa.concat_tables(self._tables))], 0

    def in_days(self) -> dict[date, pa.Table]:
        if not self._tables:
            return {}
        return {day: rows for day, rows in by_day(best(pa.concat_tables(self._tables))) if day in self._days}


def _read(source: Archive, file: StoredFile, now: datetime, pending: _Pending) -> Known:
    row = Known(file.uri, file.size_bytes, file.etag, READER_VERSION, now)
    try:
        dump = source.read(file)
    except UnreadableArchiveError as problem:
        return replace(row, etag=None, error=problem.what)  # without a tag it is tried again next time
    for page in flatten(source.pages(dump, now)):
        pending.add(page)
        row = _with(row, page)
    error = "; ".join(dump.problems) or None
    return replace(row, content_hash=dump.content_hash, complete=dump.complete, error=error)


def _with(row: Known, page: Flattened) -> Known:
    bounds = pc.min_max(page.rows["data_start_time"]).as_py().values()
    moments = [
        moment
        for moment in (row.first_data_start_time, row.last_data_start_time, *bounds)
        if moment is not None
    ]
    return replace(
        row,
        executions=row.executions + page.rows.num_rows,
        rejected=row.rejected + page.rejected.num_rows,
        first_data_start_time=min(moments, default=None),
        last_data_start_time=max(moments, default=None),
    )
