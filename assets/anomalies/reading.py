"""Record one day of results: fetch new objects, parse them, and merge their rows into the lake.

The result rows are written first, and `result_objects` last. A run that is killed at any point has therefore
recorded no object whose rows are missing; the next run reads such objects again.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import COLUMNS, ExecutionIndex, ExecutionKey, ObjectLocation
from assets.anomalies.merge import (
    find_changed_executions,
    merge_predictions,
    merge_rejected_results,
    merge_sensor_contributions,
)
from assets.anomalies.objects import (
    REQUEST_COLUMNS,
    ObjectOutcome,
    build_requests,
    index_object_records,
    merge_object_records,
)
from assets.anomalies.parse import parse_in_batches
from assets.anomalies.reassignment import ResultsPart, find_moves, move_results
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.errors import ConfigurationError, PermissionsError, RetryLaterError
from resources.lake.lake import Lake, WriteResult
from resources.lake.shards import WHOLE, Shard, list_shards
from resources.results.base import FetchedResult, ObjectState, ResultRequest
from resources.results.fetcher import ResultFetcher

_WRITTEN_TABLES = (RESULT_OBJECTS, ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS)


@dataclass(frozen=True)
class RecordedResults:
    """The result tables of a day or shard after an update; `contributions` counts its rows in the lake.

    `overwritten` are objects whose content changed since they were read before.
    """

    predictions: WriteResult
    rejected: WriteResult
    objects: WriteResult
    contributions: int
    contributions_changed: bool
    contributions_path: Path | str
    states: Counter[ObjectState]
    bytes_read: int
    overwritten: Sequence[ObjectLocation] = ()


@dataclass
class _FetchedDay:
    """The parsed content of the objects of a day; its tables have a column `execution`."""

    contributions: ContributionBuffer
    outcomes: dict[ObjectLocation, ObjectOutcome] = field(default_factory=dict)
    lines: list[pa.Table] = field(default_factory=list)
    rejected: list[pa.Table] = field(default_factory=list)
    bytes_read: int = 0
    overwritten: list[ObjectLocation] = field(default_factory=list)

    @property
    def states(self) -> Counter[ObjectState]:
        """The number of objects in each state."""
        return Counter(outcome.state for outcome in self.outcomes.values())


@dataclass(frozen=True)
class _Target:
    """The rows to record: those of a shard of a day."""

    lake: Lake
    day: date
    now: datetime
    shard: Shard = WHOLE


def record_shards(
    lake: Lake, results: ResultFetcher, day: date, now: datetime, share: Shard = WHOLE
) -> Iterator[RecordedResults]:
    """Record a day as `record_results` does, one shard after the other; memory is that of one shard.

    Args:
        lake: the lake.
        results: fetches the objects.
        day: the day.
        now: the current time.
        share: the shards to record, by their numbers modulo its count; another run records the others.

    Raises:
        LedgerError: the errors of `record_results`.
    """
    count = lake.shards(SENSOR_CONTRIBUTIONS, day)
    if count == 1:
        if share.number == 0:
            yield record_results(lake, results, day, now)
        return
    targets = [_Target(lake, day, now, shard) for shard in list_shards(count)]
    buckets = _prepare_shards(targets)
    targets = targets[share.number :: share.count]
    waiting: list[tuple[_Target, ExecutionIndex, _FetchedDay]] = []
    is_reached = False
    for target in targets:
        index = _read_index(target, buckets)
        fetched = _fetch_day(results, target, index, _read_stored(target))
        if fetched.states.keys() - {ObjectState.UNREACHABLE}:
            is_reached = True
            yield _write_day(target, index, fetched)
        else:  # the day fails only if no shard has an object that could be reached
            waiting.append((target, index, fetched))
    unreachable = [entry for entry in waiting if entry[2].states]
    if unreachable and not is_reached:
        for target, index, fetched in unreachable:
            _record_reason(target, index, fetched.outcomes)
        raise _unreachable_error(unreachable[0][2], day)
    for target, index, fetched in waiting:
        yield _write_day(target, index, fetched)


def read_recorded_shards(lake: Lake, day: date, now: datetime) -> Iterator[RecordedResults]:
    """Return what runs with a share of a day have recorded, one shard after the other.

    Raises:
        RetryLaterError: an object is not recorded, so the share of a run is missing.
    """
    count = lake.shards(SENSOR_CONTRIBUTIONS, day)
    for shard in list_shards(count):
        target = _Target(lake, day, now, shard)
        predictions, rejected, objects = (
            _read_unchanged(target, table)
            for table in (ANOMALY_PREDICTIONS, REJECTED_RESULTS, RESULT_OBJECTS)
        )
        missing = _read_index(target).numbers.keys() - index_object_records(objects.rows).keys()
        if missing:
            raise RetryLaterError(
                f"Cannot complete {day}: {len(missing):,} result objects of shard {shard.number} of {count}"
                " are not recorded",
                where=str(lake.path(RESULT_OBJECTS, day)),
                next_step="resume the backfill that reads the results, or read the day in one run",
            )
        yield RecordedResults(
            predictions,
            rejected,
            objects,
            _count_contributions(target),
            contributions_changed=False,
            contributions_path=lake.path(SENSOR_CONTRIBUTIONS, day),
            states=Counter(map(ObjectState, objects.rows["state"].to_pylist())),
            bytes_read=0,
        )


def _read_unchanged(target: _Target, table: Table) -> WriteResult:
    rows = target.lake.read(table, target.day, shard=target.shard)
    return WriteResult(rows, rows, changed=False, path=target.lake.path(table, target.day))


def _count_contributions(target: _Target) -> int:
    footers = target.lake.footers(SENSOR_CONTRIBUTIONS, target.day, target.shard)
    return sum(footer.rows for footer in footers)


def _prepare_shards(targets: Sequence[_Target]) -> frozenset[str]:
    """Move rows whose execution turned out to be another one; return the buckets that the service named.

    A row can move to another shard.
    """
    buckets, stale = set[str](), dict[ExecutionKey, ObjectLocation]()
    for part in map(_read_part, targets):
        buckets |= part.index.buckets_of_service
        stale |= part.find_stale()
    if moves := find_moves(stale, map(_read_part, targets)):
        move_results(targets[0].lake, targets[0].day, moves, targets[0].now)
    return frozenset(buckets)


def _read_part(target: _Target) -> ResultsPart:
    return ResultsPart.read(target.lake, target.day, target.shard)


def _read_index(target: _Target, buckets: Collection[str] = ()) -> ExecutionIndex:
    executions = target.lake.read(INFERENCE_EXECUTIONS, target.day, COLUMNS, target.shard)
    return ExecutionIndex.from_executions(executions, buckets)


def _read_stored(target: _Target) -> pa.Table:
    """Read what the lake has of the objects, as requests need it."""
    return target.lake.read(RESULT_OBJECTS, target.day, REQUEST_COLUMNS, target.shard)


def record_results(lake: Lake, results: ResultFetcher, day: date, now: datetime) -> RecordedResults:
    """Read the new and changed result objects of a day's executions, and merge their rows into the lake.

    Raises:
        RetryLaterError: the day has objects, and none of them could be reached.
        LedgerError: the profile or role cannot be used, or the lake cannot be written.
    """
    target = _Target(lake, day, now)
    part = _read_part(target)
    index, stored = part.index, part.objects
    if moves := find_moves(part.find_stale(), [part]):
        move_results(lake, day, moves, now)
        stored = _read_stored(target)
    del part
    fetched = _fetch_day(results, target, index, stored)
    if fetched.states and not fetched.states.keys() - {ObjectState.UNREACHABLE}:
        _record_reason(target, index, fetched.outcomes)
        raise _unreachable_error(fetched, day)
    return _write_day(target, index, fetched)


def _fetch_day(
    results: ResultFetcher, target: _Target, index: ExecutionIndex, stored: pa.Table
) -> _FetchedDay:
    is_incomplete = not all(target.lake.has(table, target.day) for table in _WRITTEN_TABLES)
    try:
        requests = build_requests(index, stored, ignore_etags=is_incomplete)
        return _fetch_objects(results, index, requests, target.lake.temporary_folder)
    except ConfigurationError as error:
        outcome = ObjectOutcome(ObjectState.NO_CREDENTIALS, error.what)
        _record_reason(target, index, dict.fromkeys(index.executions_by_object, outcome))
        raise


def _record_reason(
    target: _Target, index: ExecutionIndex, outcomes: Mapping[ObjectLocation, ObjectOutcome]
) -> None:
    """Record why no object of the day was read, so that reports can name the reason."""
    target.lake.update(
        RESULT_OBJECTS,
        target.day,
        lambda existing: merge_object_records(existing, index, outcomes, target.now),
        shard=target.shard,
    )


def _fetch_objects(
    results: ResultFetcher, index: ExecutionIndex, requests: list[ResultRequest], folder: Path
) -> _FetchedDay:
    """Fetch and parse objects; a folder gets temporary files."""
    day = _FetchedDay(ContributionBuffer(folder))
    object_numbers = {location: number for number, location in enumerate(index.executions_by_object)}
    try:
        for batch in results.fetch(requests):
            _add_batch(day, results, index, object_numbers, batch)
    except PermissionsError as error:  # without credentials, the state of each object says so
        remaining = [
            FetchedResult(request, ObjectState.NO_CREDENTIALS, error=error.what)
            for request in requests
            if (request.bucket, request.key) not in day.outcomes
        ]
        _add_batch(day, results, index, object_numbers, remaining)
    return day


def _add_batch(
    day: _FetchedDay,
    results: ResultFetcher,
    index: ExecutionIndex,
    object_numbers: Mapping[ObjectLocation, int],
    batch: Sequence[FetchedResult],
) -> None:
    objects = {object_numbers[fetched.request.bucket, fetched.request.key]: fetched for fetched in batch}
    row_counts, rejected_counts = Counter[int](), Counter[int]()
    problems = {number: fetched.problem for number, fetched in objects.items() if fetched.problem}
    for parsed in parse_in_batches(_select_read_objects(objects), results.read_limits, problems):
        row_counts.update(_count_by_object(parsed.lines))
        rejected_counts.update(_count_by_object(parsed.rejected))
        if parsed.lines.num_rows or parsed.rejected.num_rows:
            day.lines.append(index.assign_executions(parsed.lines))
            day.rejected.append(index.assign_executions(parsed.rejected))
            day.contributions.add(index.assign_executions(parsed.contributions))
    for number, fetched in objects.items():
        location = fetched.request.bucket, fetched.request.key
        day.outcomes[location] = ObjectOutcome.from_fetched(
            fetched, row_counts[number], rejected_counts[number]
        )
        day.bytes_read += fetched.size_in_memory
        if fetched.state is ObjectState.READ and fetched.request.etag not in {None, fetched.etag}:
            day.overwritten.append(location)


def _select_read_objects(objects: dict[int, FetchedResult]) -> Iterator[tuple[int, str, bytes]]:
    for number, fetched in sorted(objects.items()):
        if fetched.data is not None:
            yield number, fetched.request.key, fetched.data


def _count_by_object(rows: pa.Table) -> dict[int, int]:
    counts = pc.value_counts(rows["object"]).to_pylist()
    return {count["values"]: count["counts"] for count in counts}


def _write_day(target: _Target, index: ExecutionIndex, fetched: _FetchedDay) -> RecordedResults:
    lake, day, now, shard = target.lake, target.day, target.now, target.shard
    read = {
        number
        for location, numbers in index.executions_by_object.items()
        if fetched.outcomes[location].state is ObjectState.READ
        for number in numbers
    }
    predictions = lake.update(
        ANOMALY_PREDICTIONS,
        day,
        lambda existing: merge_predictions(existing, index, fetched.lines, read, now),
        encoded=True,
        shard=shard,
    )
    changed = _write_contributions(target, index, fetched.contributions, read)
    rejected = lake.update(
        REJECTED_RESULTS,
        day,
        lambda existing: merge_rejected_results(existing, index, fetched.rejected, read, now),
        shard=shard,
    )
    objects = lake.update(
        RESULT_OBJECTS,
        day,
        lambda existing: merge_object_records(existing, index, fetched.outcomes, now),
        shard=shard,
    )
    return RecordedResults(
        predictions,
        rejected,
        objects,
        _count_contributions(target),
        changed,
        lake.path(SENSOR_CONTRIBUTIONS, day),
        fetched.states,
        fetched.bytes_read,
        fetched.overwritten,
    )


def _write_contributions(
    target: _Target, index: ExecutionIndex, new: ContributionBuffer, read: set[int]
) -> bool:
    """Write the contributions that changed; return whether any did."""
    lake, day, shard = target.lake, target.day, target.shard
    changed: set[int] = set()
    if read:
        stored = lake.read_row_groups(SENSOR_CONTRIBUTIONS, day, shard)
        changed = find_changed_executions(stored, index, new, read)
    if changed or not lake.has(SENSOR_CONTRIBUTIONS, day):
        merge = partial(merge_sensor_contributions, index=index, new=new, replaced=changed, now=target.now)
        lake.update_row_groups(SENSOR_CONTRIBUTIONS, day, merge, shard)
    return bool(changed)


def _unreachable_error(fetched: _FetchedDay, day: date) -> RetryLaterError:
    location, outcome = next(iter(fetched.outcomes.items()))
    return RetryLaterError(
        f"Cannot reach any of the {len(fetched.outcomes)} result objects of {day}: {outcome.error}",
        where=f"s3://{'/'.join(location)}, among others",
        next_step="check the network, and AWS_ENDPOINT_URL_S3 if it is set, and run again",
    )
