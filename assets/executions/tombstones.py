"""What `ledger forget` removed, and must therefore not be recorded again.

Each row of `forget_operations` is a tombstone until it is lifted. A file is recognized by its content, so a
copy under another name is skipped too, and a changed file is read. Buckets and services are recognized by
name.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from shlex import quote
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.flatten import FlattenedPages
from assets.framework.row_content import conform
from assets.framework.time_windows import get_day_window
from assets.tables import FORGET_OPERATIONS
from resources.encoded_texts import decode_texts
from resources.lake.lake import Lake
from resources.sources.base import SchedulerResponse

_A_DAY = timedelta(days=1)
_SETS = ("sources", "content_hashes", "scheduler_arns")


@dataclass(frozen=True)
class ForgetOperation:
    """A row of `forget_operations`; None in a selection means all."""

    operation_id: str
    started_at: datetime
    recorded_at: datetime
    source: str | None = None
    scheduler: str | None = None
    first_date: date | None = None
    last_date: date | None = None
    sources: frozenset[str] | None = None
    content_hashes: frozenset[str] | None = None
    scheduler_arns: frozenset[str] | None = None
    executions_removed: int = 0
    executions_reread: int = 0
    executions_kept: int = 0
    completed_at: datetime | None = None
    lifted_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether what it selects is skipped."""
        return self.lifted_at is None

    @property
    def is_finished(self) -> bool:
        """Whether all tables were updated, or the operation was lifted."""
        return self.completed_at is not None or self.lifted_at is not None

    @property
    def state(self) -> str:
        """`unfinished`, `complete` or `lifted`."""
        if self.lifted_at:
            return "lifted"
        return "complete" if self.completed_at else "unfinished"

    @property
    def selects_whole_sources(self) -> bool:
        """Whether all schedulers and days of its sources are selected."""
        return self.sources is not None and not (self.scheduler_arns or self.first_date or self.last_date)

    @property
    def selection(self) -> tuple[str | None, str | None, date | None, date | None]:
        """What the command named."""
        return self.source, self.scheduler, self.first_date, self.last_date

    def selects_day(self, day: date) -> bool:
        """Whether a day is in its range."""
        return (self.first_date is None or self.first_date <= day) and (
            self.last_date is None or day <= self.last_date
        )

    def selects_scheduler(self, arn: str) -> bool:
        """Whether a scheduler is selected."""
        return self.scheduler_arns is None or arn in self.scheduler_arns

    def selects_source(self, source: str) -> bool:
        """Whether a source is selected, by its name in `execution_sources`."""
        return self.sources is None or source in self.sources

    def skips(self, source: str, content_hash: str | None) -> bool:
        """Whether what a source returns is skipped; `content_hash` is that of a file, None for others."""
        if self.sources is None or content_hash is None:
            return self.selects_source(source)
        return content_hash in (self.content_hashes or ())

    @property
    def command(self) -> str:
        """The command that continues the operation."""
        options = {
            "--source": self.source,
            "--scheduler": self.scheduler,
            "--from": self.first_date,
            "--to": self.last_date,
        }
        selected = (f"{option} {quote(str(value))}" for option, value in options.items() if value)
        return " ".join(["ledger forget", *selected])

    def describe(self) -> str:
        """Return the selection as text."""
        days = None
        if self.first_date or self.last_date:
            days = f"{self.first_date or 'the first day'} to {self.last_date or 'the last day'}"
        return ", ".join(part for part in (self.source, self.scheduler, days) if part)


def load_operations(rows: pa.Table) -> list[ForgetOperation]:
    """Return the rows of `forget_operations`, the oldest operation first."""
    operations = map(_from_row, rows.to_pylist())
    return sorted(operations, key=lambda operation: (operation.started_at, operation.operation_id))


def save_operation(existing: pa.Table, operation: ForgetOperation, now: datetime) -> pa.Table:
    """Insert or replace an operation in the rows of `forget_operations`."""
    operations = {each.operation_id: each for each in load_operations(existing)}
    before = operations.get(operation.operation_id)
    if before and replace(before, recorded_at=now) == replace(operation, recorded_at=now):
        return existing
    operations[operation.operation_id] = replace(operation, recorded_at=now)
    rows: list[dict[str, Any]] = [_to_row(each) for each in operations.values()]
    return conform(FORGET_OPERATIONS, pa.Table.from_pylist(rows, schema=FORGET_OPERATIONS.schema))


def read_operations(lake: Lake) -> list[ForgetOperation]:
    """Read all operations, the oldest first.

    Raises:
        LedgerError: the lake cannot be read.
    """
    return load_operations(lake.read(FORGET_OPERATIONS))


def _from_row(row: dict[str, Any]) -> ForgetOperation:
    start, end = row.pop("selected_from"), row.pop("selected_until")
    row["first_date"], row["last_date"] = start and start.date(), end and end.date() - _A_DAY
    for name in _SETS:
        row[name] = None if row[name] is None else frozenset(json.loads(row[name]))
    return ForgetOperation(**row)


def _to_row(operation: ForgetOperation) -> dict[str, Any]:
    row = {field.name: getattr(operation, field.name) for field in fields(operation)}
    first, last = row.pop("first_date"), row.pop("last_date")
    row["selected_from"] = first and get_day_window(first).start
    row["selected_until"] = last and get_day_window(last).end
    for name in _SETS:
        row[name] = None if row[name] is None else json.dumps(sorted(row[name]))
    return row


@dataclass(frozen=True)
class Tombstones:
    """The active operations."""

    operations: tuple[ForgetOperation, ...] = ()

    @classmethod
    def from_operations(cls, operations: Iterable[ForgetOperation]) -> "Tombstones":
        """Select the active ones."""
        return cls(tuple(operation for operation in operations if operation.is_active))

    @property
    def ids(self) -> frozenset[str]:
        """Their identifiers."""
        return frozenset(operation.operation_id for operation in self.operations)

    def find_whole_source(self, source: str, content_hash: str | None = None) -> ForgetOperation | None:
        """Return the operation that skips a whole source, or None."""
        return next(
            (
                operation
                for operation in self.operations
                if operation.selects_whole_sources and operation.skips(source, content_hash)
            ),
            None,
        )

    def filter_pages(
        self, pages: FlattenedPages, source: str | None = None, hashes: Mapping[str, str | None] | None = None
    ) -> FlattenedPages:
        """Drop the executions that must not be recorded.

        Args:
            pages: the pages.
            source: the source of all pages; None: the origin of each.
            hashes: the content hashes of the files, by origin.
        """
        if not self.operations:
            return pages
        parts, origins, start = [pages.rows.slice(0, 0)], [], 0
        for origin, count in pages.origins:
            part = pages.rows.slice(start, count)
            start += count
            content_hash = (hashes or {}).get(origin) if source is None else None
            part = self._filter_rows(part, source or origin, content_hash)
            parts.append(part)
            origins.append((origin, part.num_rows))
        return FlattenedPages(pa.concat_tables(parts), pages.rejected, tuple(origins))

    def _filter_rows(self, rows: pa.Table, source: str, content_hash: str | None) -> pa.Table:
        for operation in self.operations:
            if operation.skips(source, content_hash):
                rows = rows.filter(pc.invert(find_selected_rows(rows, operation)))
        return rows

    def filter_responses(
        self, responses: Iterable[SchedulerResponse], source: str, content_hash: str | None = None
    ) -> list[SchedulerResponse]:
        """Drop the days that a response must not prove, and responses without other days."""
        kept = []
        for response in responses:
            days = {
                day
                for day in response.days
                if not any(
                    operation.skips(source, content_hash)
                    and operation.selects_scheduler(response.scheduler.arn)
                    and operation.selects_day(day)
                    for operation in self.operations
                )
            }
            if days:
                kept.append(replace(response, days=frozenset(days)))
        return kept


NO_TOMBSTONES = Tombstones()


def find_selected_rows(rows: pa.Table, operation: ForgetOperation) -> pa.Array:
    """Mark the executions of the selected schedulers and days, whatever their sources are."""
    mask = pa.repeat(pa.scalar(True), rows.num_rows)
    if operation.scheduler_arns is not None:
        arns = decode_texts(rows.select(["scheduler_arn"]))["scheduler_arn"].combine_chunks()
        mask = pc.and_(mask, pc.is_in(arns, pa.array(sorted(operation.scheduler_arns), pa.string())))
    days = rows["data_start_time"].combine_chunks().cast(pa.date32())
    if operation.first_date:
        mask = pc.and_(mask, pc.greater_equal(days, pa.scalar(operation.first_date, pa.date32())))
    if operation.last_date:
        mask = pc.and_(mask, pc.less_equal(days, pa.scalar(operation.last_date, pa.date32())))
    return mask


def describe_skipped(operation: ForgetOperation, source: str, others: int = 0) -> str:
    """Return a message about a source that is skipped, and perhaps about a number of others."""
    subject = f"{source} and {others} more are" if others else f"{source} is"
    return (
        f"{subject} skipped since ledger forget at {operation.started_at:%Y-%m-%d %H:%M} UTC."
        f" To read again: ledger forget --lift {operation.operation_id}"
    )


def describe_skipped_files(files: Mapping[str, str | None], tombstones: Tombstones) -> Sequence[str]:
    """Return a message for each operation that skips files, from their content hashes by URI."""
    by_operation: dict[ForgetOperation, list[str]] = {}
    for uri, content_hash in sorted(files.items()):
        operation = content_hash and tombstones.find_whole_source(uri, content_hash)
        if operation:
            by_operation.setdefault(operation, []).append(uri)
    return [describe_skipped(operation, uris[0], len(uris) - 1) for operation, uris in by_operation.items()]
