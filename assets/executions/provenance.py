"""Which source returned which executions, as runs of equally spaced start times.

Executions of a scheduler start on a grid, so a source that returned a whole month needs one row. The rows are
a set of keys in a canonical form: merging is a union, and neither the order nor the repetition of sources
changes the table. The ARN is the one that the source names; for a bucket, it can be a placeholder.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import DAY_MS
from assets.tables import EXECUTION_SOURCES, INSTANT
from resources.encoded_texts import get_chunk

Starts = NDArray[np.int64]
"""Distinct start times of executions in ascending order, in milliseconds since 1970."""

ReturnedKeys = Mapping[tuple[str, str], Starts]
"""The start times by source and ARN of the scheduler."""

_KEY = ["scheduler_arn", "data_start_time"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class ReturnedKeysBuffer:
    """The keys that each source returned for the requested days."""

    def __init__(self, days: Iterable[date]) -> None:
        """Create an empty buffer for some days."""
        self._days = np.array([(day - _EPOCH.date()).days for day in days], np.int64)
        self._starts: dict[tuple[str, str], list[Starts]] = {}

    def add(self, sources: Iterable[tuple[str, int]], rows: pa.Table) -> None:
        """Add the keys of some executions; those of other days are dropped.

        Args:
            sources: the sources in the order of their executions, with the number of these.
            rows: the executions.
        """
        arns = get_chunk(rows["scheduler_arn"])
        starts = get_chunk(rows["data_start_time"]).cast(pa.int64()).to_numpy()
        codes, names = arns.indices.to_numpy(), arns.dictionary.to_pylist()
        is_requested = np.isin(starts // DAY_MS, self._days)
        first = 0
        for source, count in sources:
            part = slice(first, first + count)
            first += count
            for code in np.flatnonzero(np.bincount(codes[part][is_requested[part]])):
                is_same = is_requested[part] & (codes[part] == code)
                self._starts.setdefault((source, names[code]), []).append(starts[part][is_same])

    def compact(self) -> None:
        """Remove repeated keys, so that memory does not grow with the number of overlapping responses."""
        self._starts = {key: [starts] for key, starts in self.get_keys().items()}

    def get_keys(self) -> ReturnedKeys:
        """Return all keys."""
        return {key: np.unique(np.concatenate(starts)) for key, starts in self._starts.items()}


def merge_returned_keys(existing: pa.Table, returned: ReturnedKeys, now: datetime) -> pa.Table:
    """Add the keys that sources returned to the rows of `execution_sources`.

    Runs end with each month, so that only the rows of the same months are read and built again.
    """
    by_month = {
        (source, arn, month): [part]
        for (source, arn), starts in returned.items()
        for month, part in _split_by_month(starts)
    }
    others = []
    is_affected = pc.and_(
        pc.is_in(existing["source"], pa.array({source for source, *_ in by_month}, pa.string())),
        pc.is_in(
            pc.floor_temporal(existing["first_data_start_time"], unit="month"),
            pa.array({month for *_, month in by_month}, INSTANT),
        ),
    )
    for row in existing.filter(is_affected).to_pylist():
        month = row["first_data_start_time"].replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        key = row["source"], row["scheduler_arn"], month
        if key in by_month:
            by_month[key].append(expand_run(row))
        else:
            others.append(row)
    rows = [
        {"source": source, "scheduler_arn": arn, **run}
        for (source, arn, _), parts in by_month.items()
        for run in _find_runs(np.unique(np.concatenate(parts)))
    ]
    unaffected = existing.filter(pc.invert(is_affected)).select(_CONTENT.names).cast(_CONTENT)
    merged = pa.concat_tables([unaffected, pa.Table.from_pylist([*others, *rows], schema=_CONTENT)])
    return stamp_changes(EXECUTION_SOURCES, merged, existing, now)


def _split_by_month(starts: Starts) -> Iterator[tuple[datetime, Starts]]:
    months = starts.astype("datetime64[ms]").astype("datetime64[M]")
    for month in np.unique(months):
        yield month.astype("datetime64[ms]").item().replace(tzinfo=UTC), starts[months == month]


def expand_run(row: Mapping[str, Any]) -> Starts:
    """Return the start times of a row of `execution_sources`."""
    first, last = (
        _to_milliseconds(row["first_data_start_time"]),
        _to_milliseconds(row["last_data_start_time"]),
    )
    step = (last - first) // max(row["executions"] - 1, 1)
    starts: Starts = first + step * np.arange(row["executions"], dtype=np.int64)
    return starts


def _find_runs(starts: Starts) -> Iterator[dict[str, Any]]:
    """Cut start times into the longest equally spaced runs, from the first one on."""
    steps = np.diff(starts)
    changes = np.flatnonzero(np.diff(steps)) + 1  # positions in `steps` that differ from the previous one
    first = 0
    while first < len(starts):
        at = np.searchsorted(changes, first, side="right")
        last = int(changes[at]) if at < len(changes) else len(starts) - 1
        yield {
            "first_data_start_time": _EPOCH + int(starts[first]) * _MILLISECOND,
            "last_data_start_time": _EPOCH + int(starts[last]) * _MILLISECOND,
            "executions": last - first + 1,
        }
        first = last + 1


def _to_milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


_CONTENT = EXECUTION_SOURCES.content_schema
