"""Estimates of the cost of a backfill, from the lake and the schedulers."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions import archive_index
from assets.executions.assets import compute_days_per_batch
from assets.executions.bucket_identity import IDENTITY_COLUMNS, select_prefixes
from assets.executions.cost_estimate import (
    NO_COUNTS,
    CostEstimate,
    Estimate,
    LakeCounts,
    SchedulerEstimate,
    estimate_scheduler,
    get_frequency,
)
from assets.executions.coverage import compute_settle_time, is_settled
from assets.executions.day_status import read_coverage
from assets.executions.flatten import READER_VERSION
from assets.executions.selection import contiguous_ranges
from assets.framework.partitioned_run import batches
from assets.tables import (
    ARCHIVE_FILES,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    PARTITION,
)
from pipelines.operations.capacity import Workload
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.sources.base import DayListing, ListedScheduler, ListingEstimate, LiveService, Source
from resources.sources.messages import QUERY_PADDING
from resources.storage.base import StoredFile

_A_DAY = timedelta(days=1)


@dataclass
class SourceListing:
    """The schedulers and files of the sources.

    Attributes:
        schedulers: the schedulers, each with its service.
        calls: the API calls that the listing took.
        files: the saved responses of all archive sources.
        buckets: the sources that are read day by day.
        failed: the errors by URI of the source.
        notices: messages about sources that were skipped.
    """

    schedulers: list[tuple[LiveService, ListedScheduler]] = field(default_factory=list)
    calls: int = 0
    files: list[StoredFile] = field(default_factory=list)
    buckets: list[DayListing] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def list_sources(sources: Iterable[Source], days: Sequence[date]) -> SourceListing:
    """List the schedulers and files of the sources; skip services that ended before these days."""
    listing = SourceListing()
    for source in sources:
        try:
            if source.files:
                listing.files += source.files.list_files()
            if source.days:
                source.days.list_schedulers()
                listing.buckets.append(source.days)
            if source.service:
                _list_schedulers(source.service, days, listing)
        except LedgerError as error:
            listing.failed[source.uri] = error
    return listing


def _list_schedulers(service: LiveService, days: Sequence[date], listing: SourceListing) -> None:
    if service.service_end is not None and service.service_end < days[0]:
        listing.notices.append(f"{service.uri} is skipped: the service ended on {service.service_end}.")
        return
    service.fails_fast = True  # a person waits
    before = service.calls.count
    listing.schedulers += [(service, scheduler) for scheduler in service.list_schedulers()]
    listing.calls += service.calls.count - before


def list_known_schedulers(lake: Lake, listing: SourceListing) -> list[ListedScheduler]:
    """Return the schedulers of the services, of buckets, and of the lake, which include deleted ones."""
    rows = lake.read(INFERENCE_SCHEDULERS, columns=["scheduler_arn", "scheduler_name"]).to_pylist()
    recorded = {
        row["scheduler_arn"]: ListedScheduler(row["scheduler_arn"], row["scheduler_name"]) for row in rows
    }
    in_buckets = [scheduler for bucket in listing.buckets for scheduler in bucket.list_schedulers()]
    current = [*in_buckets, *(scheduler for _, scheduler in listing.schedulers)]
    return list((recorded | {scheduler.arn: scheduler for scheduler in current}).values())


def has_unread_files(lake: Lake, listing: SourceListing) -> bool:
    """Return whether a saved response was not read yet, so that its schedulers are not known."""
    records = archive_index.load_records(lake.read(ARCHIVE_FILES)) if listing.files else {}
    return any(file.uri not in records for file in listing.files)


def plan_backfill(  # noqa: PLR0913 (the options of a run, and the time)
    lake: Lake,
    listing: SourceListing,
    days: Sequence[date],
    settle_after: timedelta,
    now: datetime,
    *,
    arns: Collection[str] | None = None,
    skip_settled: bool = False,
    max_calls: int | None = None,
) -> CostEstimate:
    """Estimate the cost of a run over some days.

    Args:
        lake: the lake that the run writes to.
        listing: see `list_sources`.
        days: the days, in order.
        settle_after: time between the end of a day and its settlement.
        now: the current time.
        arns: the schedulers to extract; None: all.
        skip_settled: skip settled days.
        max_calls: limit of API calls of the run; None: no limit.
    """
    counts = _count_executions(read_coverage(lake, days[0] - _A_DAY, days[-1] + _A_DAY), settle_after)
    selected = [scheduler for _, scheduler in listing.schedulers if arns is None or scheduler.arn in arns]
    selected += [scheduler for bucket in listing.buckets for scheduler in bucket.list_schedulers()]
    day_batches = list(batches(days, compute_days_per_batch(selected)))
    tasks: list[tuple[LiveService, ListedScheduler, list[list[date]]]] = []
    for service, scheduler in listing.schedulers:
        if arns is None or scheduler.arn in arns:
            skipped = counts.get(scheduler.arn, NO_COUNTS).counts if skip_settled else ()
            tasks.append((service, scheduler, _select_days(service, day_batches, skipped)))
    near_midnight = _load_windows_near_midnight(
        lake, _list_edge_days(batch for *_, own in tasks for batch in own)
    )
    shortest = _load_shortest_frequencies(lake)
    estimates: list[SchedulerEstimate] = []
    for service, scheduler, own_batches in tasks:
        quickest = min(shortest.get(scheduler.arn, scheduler), scheduler, key=get_frequency)
        in_lake = replace(
            counts.get(scheduler.arn, NO_COUNTS), near_midnight=near_midnight.get(scheduler.arn, {})
        )
        estimates.append(estimate_scheduler(quickest, service.uri, own_batches, in_lake, now))
    settled = [counts.get(row.scheduler.arn, NO_COUNTS).counts for row in estimates]
    return CostEstimate(
        days[0],
        days[-1],
        batches=len(day_batches),
        settled_days=sum(bool(settled) and all(day in own for own in settled) for day in days),
        list_calls=listing.calls,  # a run lists the schedulers once
        schedulers=sorted(estimates, key=lambda row: (row.source, row.scheduler.name)),
        files_to_read=_estimate_files_to_read(lake, listing.files, day_batches),
        buckets=_estimate_buckets(lake, listing, day_batches, arns),
        files_to_write=2 * len(days) + 1 + 2 * bool(listing.files),
        budget=max_calls,
    )


def estimate_workload(
    lake: Lake, estimate: CostEstimate, listing: SourceListing, days: Sequence[date]
) -> Workload:
    """Return what the days contain: as the services and buckets list it, and as the lake has it.

    The executions of saved responses that were not read yet are not known, so they are not counted.
    """
    buckets = {scheduler.arn for bucket in listing.buckets for scheduler in bucket.list_schedulers()}
    listed = buckets | {row.scheduler.arn for row in estimate.schedulers}
    coverage = read_coverage(lake, days[0], days[-1])
    recorded = [row for row in coverage.to_pylist() if row["scheduler_arn"] not in listed]
    return Workload(
        len(days),
        sum(row.days for row in estimate.schedulers) + len(buckets) * len(days) + len(recorded),
        sum(row.executions.expected for row in estimate.schedulers)
        + sum(bucket.results for bucket in estimate.buckets.values())
        + sum(row["executions"] for row in recorded),
    )


def _estimate_buckets(
    lake: Lake,
    listing: SourceListing,
    day_batches: Sequence[Sequence[date]],
    arns: Collection[str] | None,
) -> dict[str, ListingEstimate]:
    estimates: dict[str, ListingEstimate] = {}
    for bucket in listing.buckets:
        placeholders: set[str] | None = None
        try:
            if arns is not None:
                identities = [lake.read(INFERENCE_SCHEDULERS, columns=IDENTITY_COLUMNS)]
                placeholders = select_prefixes(
                    bucket.list_by_placeholder(), identities, lambda scheduler: scheduler.arn in arns
                )
            estimates[bucket.uri] = bucket.estimate(day_batches, placeholders)
        except LedgerError as error:
            listing.failed[bucket.uri] = error
    return estimates


def _select_days(
    service: LiveService, day_batches: Sequence[Sequence[date]], skipped: Collection[date]
) -> list[list[date]]:
    """Return the days of each batch that a run queries, without empty batches."""
    end = service.service_end
    selected = [
        [day for day in batch if (end is None or day <= end) and day not in skipped] for batch in day_batches
    ]
    return [batch for batch in selected if batch]


def _count_executions(coverage: pa.Table, settle_after: timedelta) -> dict[str, LakeCounts]:
    """Return the number of executions by ARN: exact for settled days, a lower bound for the others."""
    exact: dict[str, dict[date, int]] = {}
    at_least: dict[str, dict[date, int]] = {}
    for row in coverage.to_pylist():
        arn, day = row["scheduler_arn"], row[PARTITION]
        settled = is_settled(row["complete_through"], compute_settle_time(day, settle_after))
        (exact if settled else at_least).setdefault(arn, {})[day] = row["executions"]
    return {arn: LakeCounts(exact.get(arn, {}), at_least.get(arn, {}), {}) for arn in {*exact, *at_least}}


def _list_edge_days(day_batches: Iterable[Sequence[date]]) -> set[date]:
    """Return the days before and after each query, which its padding reaches into."""
    return {
        day
        for batch in day_batches
        for first, last in contiguous_ranges(batch)
        for day in (first - _A_DAY, last + _A_DAY)
    }


def _load_windows_near_midnight(
    lake: Lake, days: Iterable[date]
) -> dict[str, dict[date, list[tuple[datetime, datetime]]]]:
    """Return by ARN and day the windows that start or end within the padding of a query."""
    windows: dict[str, dict[date, list[tuple[datetime, datetime]]]] = {}
    padding_hours = QUERY_PADDING // timedelta(hours=1)
    for day in days:
        rows = lake.read(INFERENCE_EXECUTIONS, day, ["scheduler_arn", "data_start_time", "data_end_time"])
        hours = pc.hour(rows["data_start_time"])
        rows = rows.filter(pc.or_(pc.less(hours, padding_hours), pc.greater_equal(hours, 24 - padding_hours)))
        for arn, start, end in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            windows.setdefault(arn, {}).setdefault(day, []).append((start, end or start))
    return windows


def _load_shortest_frequencies(lake: Lake) -> dict[str, ListedScheduler]:
    """Return by ARN each scheduler with its shortest frequency on record, which bounds its executions."""
    rows = lake.read(
        INFERENCE_SCHEDULERS,
        columns=["scheduler_arn", "scheduler_name", "data_upload_frequency", "data_delay_offset_minutes"],
    )
    shortest: dict[str, ListedScheduler] = {}
    for row in rows.to_pylist():
        if row["data_upload_frequency"]:
            scheduler = ListedScheduler(
                row["scheduler_arn"],
                row["scheduler_name"],
                frequency=row["data_upload_frequency"],
                delay_minutes=row["data_delay_offset_minutes"],
            )
            shortest[scheduler.arn] = min(
                shortest.get(scheduler.arn, scheduler), scheduler, key=get_frequency
            )
    return shortest


def _estimate_files_to_read(
    lake: Lake, files: Sequence[StoredFile], day_batches: Sequence[Sequence[date]]
) -> Estimate:
    """Count the reads of files: a known file in each batch that it reaches, a new file at least once."""
    records = archive_index.load_records(lake.read(ARCHIVE_FILES)) if files else {}
    in_lake = set(lake.days(INFERENCE_EXECUTIONS)) if files else set()
    seen, certain, possible = set[str](), 0, 0
    for batch in day_batches:
        for file in archive_index.select_files_to_read(
            files, records, READER_VERSION, batch, in_lake & {*batch}
        ):
            record = records.get(file.uri)
            is_known = record is not None and record.matches_file(file, READER_VERSION)
            if is_known or file.uri not in seen:
                certain += 1
            else:
                possible += 1
            seen.add(file.uri)
    return Estimate(certain, certain, certain + possible)
