"""Which source returned which executions, as runs of equally spaced start times.

Executions of a scheduler start on a grid, so a source that returned a whole month needs one row. The rows are
a set of keys in a canonical form: merging is a union, and neither the order nor the repetition of sources
changes the table. The ARN is the one that the source names; for a bucket, it can be a placeholder.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import DAY_MS, to_milliseconds
from assets.tables import EXECUTION_SOURCES, INSTANT
from resources.encoded_texts import get_chunk

Starts = NDArray[np.int64]
"""Distinct start times of executions in ascending order, in milliseconds since 1970."""

ReturnedKeys = Mapping[tuple[str, str], Starts]
"""The start times by source and ARN of the scheduler."""

_KEY = ["scheduler_arn", "data_start_time"]
_MONTHS = 12 * 20_000
"""More months than dates can have, before and after 1970."""


class ReturnedKeysBuffer:
    """The keys that each source returned for the requested days."""

    def __init__(self, days: Iterable[date]) -> None:
        """Create an empty buffer for some days."""
        self._days = np.array([*days], "datetime64[D]").astype(np.int64)
        self._starts: dict[tuple[str, str], list[Starts]] = {}

    def add(self, sources: Iterable[tuple[str, int]], rows: pa.Table) -> None:
        """Add the keys of some executions; those of other days are dropped.

        Args:
            sources: the sources in the order of their executions, with the number of these.
            rows: the executions.
        """
        uris, counts = zip(*sources, strict=True)
        arns = get_chunk(rows["scheduler_arn"])
        starts = get_chunk(rows["data_start_time"]).cast(pa.int64()).to_numpy()
        names = arns.dictionary.to_pylist()
        groups = np.repeat(np.arange(len(uris)), counts) * len(names) + arns.indices.to_numpy()
        is_requested = np.isin(starts // DAY_MS, self._days)
        if not is_requested.all():
            groups, starts = groups[is_requested], starts[is_requested]
        if not (groups[1:] >= groups[:-1]).all():
            order = np.argsort(groups, kind="stable")
            groups, starts = groups[order], starts[order]
        for first, end in _find_equal(groups):
            source, code = divmod(int(groups[first]), len(names))
            self._starts.setdefault((uris[source], names[code]), []).append(starts[first:end])

    def compact(self) -> None:
        """Remove repeated keys, so that memory does not grow with the number of overlapping responses."""
        self._starts = {key: [starts] for key, starts in self.get_keys().items()}

    def get_keys(self) -> ReturnedKeys:
        """Return all keys."""
        return {key: _find_distinct(starts) for key, starts in self._starts.items()}


def merge_returned_keys(existing: pa.Table, returned: ReturnedKeys, now: datetime) -> pa.Table:
    """Add the keys that sources returned to the rows of `execution_sources`.

    Runs end with each month, so that only the rows of the same months are read and built again.
    """
    if not returned:
        return existing
    keys, starts = [*returned], [*returned.values()]
    is_affected = _find_affected(existing, keys, starts)
    number_by_key = {key: number for number, key in enumerate(keys)}
    numbers, others = [*range(len(keys))], []
    for row in existing.filter(is_affected).to_pylist():
        number = number_by_key.get((row["source"], row["scheduler_arn"]))
        if number is None:
            others.append({name: row[name] for name in _CONTENT.names})
        else:
            numbers.append(number)
            starts.append(expand_run(row))
    unaffected = existing.filter(pc.invert(is_affected)).select(_CONTENT.names).cast(_CONTENT)
    parts = [unaffected, pa.Table.from_pylist(others, schema=_CONTENT), _build_rows(keys, numbers, starts)]
    return stamp_changes(EXECUTION_SOURCES, pa.concat_tables(parts), existing, now)


def _find_affected(existing: pa.Table, keys: Sequence[tuple[str, str]], starts: Sequence[Starts]) -> pa.Array:
    """Mark the rows with a source and a month of the returned keys."""
    months = np.unique(_get_months(np.concatenate(starts)))
    first_of_months = pa.array(months.astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64))
    return pc.and_(
        pc.is_in(existing["source"], pa.array({source for source, _ in keys}, pa.string())),
        pc.is_in(
            pc.floor_temporal(existing["first_data_start_time"], unit="month"),
            first_of_months.cast(INSTANT),
        ),
    )


def _build_rows(keys: Sequence[tuple[str, str]], numbers: Sequence[int], parts: Sequence[Starts]) -> pa.Table:
    """Return the runs of each key and month; `numbers` has the number of the key of each part."""
    starts = np.concatenate([np.zeros(0, np.int64), *parts])
    owners = np.repeat(np.array(numbers, np.int64), [len(part) for part in parts])
    if len(numbers) > len(keys):  # several parts of one key
        order = np.lexsort((starts, owners))
        starts, owners = starts[order], owners[order]
        is_new = np.append(True, (starts[1:] != starts[:-1]) | (owners[1:] != owners[:-1]))[: len(starts)]
        starts, owners = starts[is_new], owners[is_new]
    owner, first, last, count = _find_all_runs(owners, starts)
    columns = {
        "source": pa.array([source for source, _ in keys], pa.string()).take(pa.array(owner)),
        "scheduler_arn": pa.array([arn for _, arn in keys], pa.string()).take(pa.array(owner)),
        "first_data_start_time": pa.array(first).cast(INSTANT),
        "last_data_start_time": pa.array(last).cast(INSTANT),
        "executions": pa.array(count),
    }
    return pa.table(columns).select(_CONTENT.names).cast(_CONTENT)


def _get_months(starts: Starts) -> NDArray[np.int64]:
    """Return the number of the month of each start time, from 1970 on."""
    return starts.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)


def _find_equal(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each sequence of equal values."""
    if len(values):
        borders = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
        yield from pairwise(borders)


def _find_distinct(parts: Sequence[Starts]) -> Starts:
    starts = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return starts if (starts[1:] > starts[:-1]).all() else np.unique(starts)


def expand_run(row: Mapping[str, Any]) -> Starts:
    """Return the start times of a row of `execution_sources`."""
    first, last = (
        to_milliseconds(row["first_data_start_time"]),
        to_milliseconds(row["last_data_start_time"]),
    )
    step = (last - first) // max(row["executions"] - 1, 1)
    starts: Starts = first + step * np.arange(row["executions"], dtype=np.int64)
    return starts


def _find_all_runs(owners: NDArray[np.int64], starts: Starts) -> NDArray[np.int64]:
    """Return the owner, the first and the last start time, and the number of each run, as four rows.

    Args:
        owners: the number of the key of each start time, in ascending order.
        starts: the start times of each key in ascending order.
    """
    borders = np.array([*_find_equal(owners * _MONTHS + _get_months(starts))], np.int64).reshape(-1, 2)
    first, end = borders.T
    steps = np.diff(starts)
    is_change = np.append(steps[1:] != steps[:-1], [False, False])[: len(starts)]
    changes = np.append(0, np.cumsum(is_change))
    # most keys of a month are one run; a change belongs to the first of three start times
    is_run = changes[np.maximum(end - 2, first)] == changes[first]
    whole = np.stack([owners[first], starts[first], starts[end - 1], end - first])[:, is_run]
    others = [
        (owners[first], *run) for first, end in borders[~is_run] for run in _find_runs(starts[first:end])
    ]
    return np.concatenate([whole, np.array(others, np.int64).reshape(-1, 4).T], axis=1)


def _find_runs(starts: Starts) -> Iterator[tuple[int, int, int]]:
    """Cut start times into the longest equally spaced runs, from the first one on.

    Yields the first and the last start time of each run, and their number.
    """
    steps = starts[1:] - starts[:-1]
    is_change = steps[1:] != steps[:-1]
    if not is_change.any():
        yield int(starts[0]), int(starts[-1]), len(starts)
        return
    changes = np.flatnonzero(is_change) + 1  # positions in `steps` that differ from the previous one
    first = 0
    while first < len(starts):
        at = np.searchsorted(changes, first, side="right")
        last = int(changes[at]) if at < len(changes) else len(starts) - 1
        yield int(starts[first]), int(starts[last]), last - first + 1
        first = last + 1


_CONTENT = EXECUTION_SOURCES.content_schema
