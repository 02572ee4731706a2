"""One day of results: fetch what is new, merge it into the lake, say what became of each object.

Order within a day: the rows of results first, what is remembered of the objects last. So a run that is killed
at any point remembers nothing that is not there; the next one reads again and loses nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.contributions import ContributionBuffer
from assets.anomalies.execution_index import COLUMNS, ExecutionIndex, ObjectLocation
from assets.anomalies.merge import (
    find_changed_executions,
    merge_predictions,
    merge_rejected_results,
    merge_sensor_contributions,
)
from assets.anomalies.objects import ObjectOutcome, build_requests, index_object_records, merge_object_records
from assets.anomalies.parse import parse_objects
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from resources.errors import RetryLaterError
from resources.lake.lake import Lake, WriteResult
from resources.results.fetcher import FetchedResult, ObjectState, ResultFetcher, ResultRequest

_ALL = (RESULT_OBJECTS, ANOMALY_PREDICTIONS, SENSOR_CONTRIBUTIONS, REJECTED_RESULTS)


@dataclass(frozen=True)
class RecordedResults:
    """One day after its update; `contributions` counts all that the lake holds of it now."""

    predictions: WriteResult
    rejected: WriteResult
    objects: WriteResult
    contributions: int
    contributions_changed: bool
    contributions_path: Path | str
    states: Counter[ObjectState]
    bytes_read: int


@dataclass
class _Gathered:
    """What was read of a day, by execution."""

    outcomes: dict[ObjectLocation, ObjectOutcome] = field(default_factory=dict)
    lines: list[pa.Table] = field(default_factory=list)
    rejected: list[pa.Table] = field(default_factory=list)
    contributions: ContributionBuffer = field(default_factory=ContributionBuffer)
    bytes_read: int = 0

    @property
    def states(self) -> Counter[ObjectState]:
        """How many objects there are of each state."""
        return Counter(outcome.state for outcome in self.outcomes.values())


def record_results(lake: Lake, results: ResultFetcher, day: date, now: datetime) -> RecordedResults:
    """Read the result objects that a day's executions name, and merge what they hold into the lake.

    Raises:
        RetryLaterError: there are objects, and not one could be reached.
        LedgerError: nobody may ask at all, or the lake cannot be written to.
    """
    named = ExecutionIndex.of(lake.read(INFERENCE_EXECUTIONS, day, COLUMNS))
    before = index_object_records(lake.read(RESULT_OBJECTS, day))
    lacking = not all(lake.has(table, day) for table in _ALL)
    got = _gathered(results, named, build_requests(named, before, afresh=lacking))
    if got.states and not got.states.keys() - {ObjectState.UNREACHABLE}:
        raise _unreachable(got, day)
    read = {
        number
        for place, numbers in named.objects.items()
        if got.outcomes[place].state is ObjectState.READ
        for number in numbers
    }
    return _written(lake, day, named, got, read, now)


def _written(
    lake: Lake, day: date, named: ExecutionIndex, got: _Gathered, read: set[int], now: datetime
) -> RecordedResults:
    predictions = lake.update(
        ANOMALY_PREDICTIONS, day, lambda existing: merge_predictions(existing, named, got.lines, read, now)
    )
    changed = _write_contributions(lake, day, named, got.contributions, read, now)
    rejected = lake.update(
        REJECTED_RESULTS,
        day,
        lambda existing: merge_rejected_results(existing, named, got.rejected, read, now),
    )
    objects = lake.update(
        RESULT_OBJECTS, day, lambda existing: merge_object_records(existing, named, got.outcomes, now)
    )
    footer = lake.footer(SENSOR_CONTRIBUTIONS, day)
    return RecordedResults(
        predictions,
        rejected,
        objects,
        footer.rows if footer else 0,
        changed,
        lake.path(SENSOR_CONTRIBUTIONS, day),
        got.states,
        got.bytes_read,
    )


def _write_contributions(
    lake: Lake, day: date, named: ExecutionIndex, new: ContributionBuffer, read: set[int], now: datetime
) -> bool:
    """Write what differs; tell whether anything did."""
    changed = (
        find_changed_executions(lake.read_row_groups(SENSOR_CONTRIBUTIONS, day), named, new, read)
        if read
        else set()
    )
    if changed or not lake.has(SENSOR_CONTRIBUTIONS, day):
        merge = partial(merge_sensor_contributions, named=named, new=new, read=changed, now=now)
        lake.update_row_groups(SENSOR_CONTRIBUTIONS, day, merge)
    return bool(changed)


def _gathered(results: ResultFetcher, named: ExecutionIndex, wanted: list[ResultRequest]) -> _Gathered:
    got = _Gathered()
    numbers = {place: number for number, place in enumerate(named.objects)}
    for load in results.fetch(wanted):
        here = {numbers[fetched.request.bucket, fetched.request.key]: fetched for fetched in load}
        parsed = parse_objects(_bytes_of(here))
        rows, rejected = (_counted(table) for table in (parsed.lines, parsed.rejected))
        for number, fetched in here.items():
            place = fetched.request.bucket, fetched.request.key
            got.outcomes[place] = ObjectOutcome.of(fetched, rows.get(number, 0), rejected.get(number, 0))
            got.bytes_read += fetched.size_in_memory
        if parsed.lines.num_rows or parsed.rejected.num_rows:
            got.lines.append(named.owned(parsed.lines))
            got.rejected.append(named.owned(parsed.rejected))
            got.contributions.add(named.owned(parsed.contributions))
    return got


def _bytes_of(load: dict[int, FetchedResult]) -> Iterator[tuple[int, str, bytes]]:
    for number, fetched in sorted(load.items()):
        if fetched.data is not None:
            yield number, fetched.request.key, fetched.data


def _counted(rows: pa.Table) -> dict[int, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(rows["object"]).to_pylist()}


def _unreachable(got: _Gathered, day: date) -> RetryLaterError:
    place, outcome = next(iter(got.outcomes.items()))
    return RetryLaterError(
        f"none of the {len(got.outcomes)} result objects of {day} could be reached: {outcome.error}",
        where=f"s3://{'/'.join(place)}, among others",
        next_step="check the network and AWS_ENDPOINT_URL_S3, where one is set, and run again",
    )
