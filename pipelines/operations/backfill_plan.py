"""What a backfill will cost: the lake and the schedulers as they are, put before the rule."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions import archive_index
from assets.executions.assets import DAYS_A_BATCH
from assets.executions.cost_estimate import (
    NO_COUNTS,
    BackfillPlan,
    Estimate,
    LakeCounts,
    SchedulerEstimate,
    estimate_scheduler,
    parse_frequency,
)
from assets.executions.coverage import compute_settle_time, is_settled
from assets.executions.flatten import READER_VERSION
from assets.executions.selection import contiguous_ranges
from assets.framework.partitioned_run import batches
from assets.tables import (
    ARCHIVE_FILES,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    PARTITION,
)
from pipelines.operations.lake_status import coverage
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.sources.api import QUERY_PADDING
from resources.sources.base import ListedScheduler, LiveService, Source
from resources.storage.base import StoredFile

_A_DAY = timedelta(days=1)


@dataclass
class SourceListing:
    """What the sources listed: schedulers by source, calls that a list takes, and what could not be asked."""

    schedulers: list[tuple[LiveService, ListedScheduler]] = field(default_factory=list)
    calls: int = 0
    files: list[StoredFile] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def list_sources(sources: Iterable[Source], days: Sequence[date]) -> SourceListing:
    """Ask the sources what they have; a source whose service ended before these days is not asked."""
    found = SourceListing()
    for source in sources:
        try:
            if source.files:
                found.files += source.files.list_files()
            if source.service:
                _list_schedulers(source.service, days, found)
        except LedgerError as problem:
            found.failed[source.uri] = problem
    return found


def _list_schedulers(service: LiveService, days: Sequence[date], found: SourceListing) -> None:
    if service.service_end is not None and service.service_end < days[0]:
        found.notices.append(f"{service.uri} is not asked: the service ended on {service.service_end}.")
        return
    before = service.calls.count
    found.schedulers += [(service, scheduler) for scheduler in service.list_schedulers()]
    found.calls += service.calls.count - before


def plan_backfill(  # noqa: PLR0913 (what a run is told, and the moment)
    lake: Lake,
    found: SourceListing,
    days: Sequence[date],
    settle_after: timedelta,
    now: datetime,
    *,
    chosen: Collection[str] | None = None,
    skip_settled: bool = False,
    budget: int | None = None,
) -> BackfillPlan:
    """Count what a run over some days takes.

    Args:
        lake: what is recorded already.
        found: see `list_sources`.
        days: the days, one after the other.
        settle_after: when a day settles after its end.
        now: the moment of the plan.
        chosen: ARNs of the schedulers that are asked for; None: all.
        skip_settled: leave out what is settled.
        budget: calls that the run may make.
    """
    known = _known(coverage(lake, days[0] - _A_DAY, days[-1] + _A_DAY), settle_after)
    shortest = _shortest(lake)
    rounds = list(batches(days, DAYS_A_BATCH))
    wanted: list[tuple[LiveService, ListedScheduler, list[list[date]]]] = []
    for api, scheduler in found.schedulers:
        if chosen is None or scheduler.arn in chosen:
            settled = known.get(scheduler.arn, NO_COUNTS).counts if skip_settled else ()
            of_it = [[day for day in batch if _is_asked(api, day) and day not in settled] for batch in rounds]
            wanted.append((api, scheduler, [batch for batch in of_it if batch]))
    near = _near_midnight(lake, _edges(batch for *_, of_it in wanted for batch in of_it))
    plans: list[SchedulerEstimate] = []
    for api, scheduler, of_it in wanted:
        quickest = min(shortest.get(scheduler.arn, scheduler), scheduler, key=parse_frequency)
        in_lake = replace(known.get(scheduler.arn, NO_COUNTS), near_midnight=near.get(scheduler.arn, {}))
        plans.append(estimate_scheduler(quickest, api.uri, of_it, in_lake, now))
    settled_days = [day for day in days if plans and all(_is_settled(known, one, day) for one in plans)]
    return BackfillPlan(
        days[0],
        days[-1],
        batches=len(rounds),
        settled_days=len(settled_days),
        listing=found.calls,  # one list serves a whole run
        asked=sorted(plans, key=lambda one: (one.source, one.scheduler.name)),
        files_to_read=_files_to_read(lake, found.files, rounds),
        files_to_write=2 * len(days) + 1 + 2 * bool(found.files),
        budget=budget,
    )


def _is_asked(api: LiveService, day: date) -> bool:
    return api.service_end is None or day <= api.service_end


def _is_settled(known: Mapping[str, LakeCounts], one: SchedulerEstimate, day: date) -> bool:
    return day in known.get(one.scheduler.arn, NO_COUNTS).counts


def _known(rows: pa.Table, settle_after: timedelta) -> dict[str, LakeCounts]:
    counts: dict[str, dict[date, int]] = {}
    at_least: dict[str, dict[date, int]] = {}
    for row in rows.to_pylist():
        arn, day = row["scheduler_arn"], row[PARTITION]
        is_whole = is_settled(row["complete_through"], compute_settle_time(day, settle_after))
        (counts if is_whole else at_least).setdefault(arn, {})[day] = row["executions"]
    return {arn: LakeCounts(counts.get(arn, {}), at_least.get(arn, {}), {}) for arn in {*counts, *at_least}}


def _edges(batched: Iterable[Sequence[date]]) -> set[date]:
    """Return the days that questions reach into on either side."""
    return {
        day
        for batch in batched
        for first, last in contiguous_ranges(batch)
        for day in (first - _A_DAY, last + _A_DAY)
    }


def _near_midnight(
    lake: Lake, days: Iterable[date]
) -> dict[str, dict[date, list[tuple[datetime, datetime]]]]:
    """Return by ARN and day the windows that start or end within the padding of a question."""
    found: dict[str, dict[date, list[tuple[datetime, datetime]]]] = {}
    for day in days:
        rows = lake.read(INFERENCE_EXECUTIONS, day, ["scheduler_arn", "data_start_time", "data_end_time"])
        hours = pc.hour(rows["data_start_time"])
        padding = QUERY_PADDING // timedelta(hours=1)
        rows = rows.filter(pc.or_(pc.less(hours, padding), pc.greater_equal(hours, 24 - padding)))
        for arn, start, end in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            found.setdefault(arn, {}).setdefault(day, []).append((start, end or start))
    return found


def _shortest(lake: Lake) -> dict[str, ListedScheduler]:
    """Return by ARN each scheduler with the shortest windows it ever had: more there never were."""
    rows = lake.read(
        INFERENCE_SCHEDULERS,
        columns=["scheduler_arn", "scheduler_name", "data_upload_frequency", "data_delay_offset_minutes"],
    )
    found: dict[str, ListedScheduler] = {}
    for row in rows.to_pylist():
        if row["data_upload_frequency"]:
            one = ListedScheduler(
                row["scheduler_arn"],
                row["scheduler_name"],
                frequency=row["data_upload_frequency"],
                delay_minutes=row["data_delay_offset_minutes"],
            )
            found[one.arn] = min(found.get(one.arn, one), one, key=parse_frequency)
    return found


def _files_to_read(lake: Lake, files: Sequence[StoredFile], rounds: Sequence[Sequence[date]]) -> Estimate:
    """Count how often a file is read: known ones in each batch that they reach, new ones once at least."""
    remembered = archive_index.load_records(lake.read(ARCHIVE_FILES)) if files else {}
    in_lake = set(lake.days(INFERENCE_EXECUTIONS)) if files else set()
    seen, surely, perhaps = set[str](), 0, 0
    for batch in rounds:
        for file in archive_index.select_files_to_read(
            files, remembered, READER_VERSION, batch, in_lake & {*batch}
        ):
            before = remembered.get(file.uri)
            is_known = before is not None and before.matches_file(file, READER_VERSION)
            if is_known or file.uri not in seen:
                surely += 1
            else:
                perhaps += 1
            seen.add(file.uri)
    return Estimate(surely, surely, surely + perhaps)
