"""Sums of sensor contributions, and the sensors that contributed most.

A contribution is a sensor's share in one result. For several points it is the mean over the points that have
contributions; a sensor that one of these points does not name contributed 0 to it. Sums are integers, so they
can be added in any order.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.encoded_texts import get_chunk

CONTRIBUTION_COLUMNS = ["scheduler_arn", "data_start_time", "timestamp", "diagnostic_name", "contribution"]
"""The columns of `sensor_contributions` that this module reads."""

MAX_SENSORS = 10
"""The number of top sensors of an event, as in the console of the service."""

SUM_SCALE = 1_000_000_000
"""Sums of scores and contributions are stored in billionths."""

_POINT_KEY = ["scheduler_arn", "data_start_time", "timestamp"]
_SUMS = msgspec.json.Decoder(dict[str, int])


def sum_contributions(
    contributions: Iterable[pa.Table], points: pa.Table, run_count: int
) -> tuple[NDArray[np.int64], pa.Array]:
    """Sum contributions by run and sensor; memory is that of one batch and of the sums.

    Args:
        contributions: rows of `sensor_contributions` in batches, best in the order of the key; without
            points, none is read.
        points: key columns of each point, and the number of its `run`; each key occurs once.
        run_count: the number of runs.

    Returns:
        For each run, the number of points with contributions, and a JSON object of sums by sensor in
        billionths (null: no contributions).
    """
    sums = _RunSums()
    is_diagnosed = np.zeros(points.num_rows, dtype=bool)
    numbered = points.append_column("point", pa.array(np.arange(points.num_rows)))
    times = pc.unique(points["timestamp"])
    for batch in contributions if points.num_rows else ():
        at_times = batch.filter(pc.is_in(batch["timestamp"], times))
        if at_times.num_rows:
            at_points = at_times.select(CONTRIBUTION_COLUMNS).join(numbered, _POINT_KEY, join_type="inner")
            is_diagnosed[at_points["point"].to_numpy()] = True
            sums.add(at_points)
    diagnosed = np.bincount(points["run"].to_numpy()[is_diagnosed], minlength=run_count)
    return diagnosed, sums.encode(run_count)


class _RunSums:
    """Sums by run and sensor; the sensor of each is a number, because texts would need most of the memory."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]] = []

    def add(self, contributions: pa.Table) -> None:
        """Add contributions with the `run` of each."""
        scaled = pc.round(pc.multiply(contributions["contribution"], float(SUM_SCALE))).cast(pa.int64())
        rows = contributions.select(["run", "diagnostic_name"]).append_column("sum", scaled)
        grouped = rows.group_by(["run", "diagnostic_name"]).aggregate([("sum", "sum")])
        names = get_chunk(grouped["diagnostic_name"]).dictionary_encode()
        numbers = [
            self._numbers.setdefault(name, len(self._numbers)) for name in names.dictionary.to_pylist()
        ]
        sensors = np.array(numbers, np.int32)[names.indices.to_numpy()]
        self._parts.append((grouped["run"].to_numpy(), sensors, grouped["sum_sum"].to_numpy()))

    def encode(self, run_count: int) -> pa.Array:
        """Return a JSON object for each run, with the sensors in the order of their names; null: no sums."""
        encoded: list[str | None] = [None] * run_count
        if not self._parts:
            return pa.array(encoded, pa.string())
        runs, sensors, values = map(np.concatenate, zip(*self._parts, strict=True))
        names = sorted(self._numbers)
        ranks = np.empty(len(names), np.int32)
        ranks[[self._numbers[name] for name in names]] = np.arange(len(names))
        order = np.lexsort((ranks[sensors], runs))
        runs, sensors, values = runs[order], ranks[sensors[order]], values[order]
        is_first = np.append(True, (runs[1:] != runs[:-1]) | (sensors[1:] != sensors[:-1]))
        heads = np.flatnonzero(is_first)  # a run can be in several batches
        runs, sensors, values = runs[heads], sensors[heads], np.add.reduceat(values, heads)
        borders = [*np.flatnonzero(np.append(True, runs[1:] != runs[:-1])).tolist(), len(runs)]
        for start, end in pairwise(borders):
            of_run = zip(sensors[start:end].tolist(), values[start:end].tolist(), strict=True)
            sums = {names[sensor]: value for sensor, value in of_run}
            encoded[runs[start]] = msgspec.json.encode(sums).decode()
        return pa.array(encoded, pa.string())


def add_contribution_sums(sums: Iterable[str | None]) -> dict[str, int]:
    """Add the sums of several runs, as `sum_contributions` encodes them, by sensor."""
    total: dict[str, int] = {}
    for text in sums:
        if text:
            for name, value in _SUMS.decode(text).items():
                total[name] = total.get(name, 0) + value
    return total


def rank_top_sensors(sums: Mapping[str, int], point_count: int) -> str | None:
    """Return the sensors that contributed most as a JSON list; None: no contributions.

    Args:
        sums: contributions by sensor, in billionths.
        point_count: the number of points with contributions.
    """
    if not sums or not point_count:
        return None
    total = point_count * SUM_SCALE
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:MAX_SENSORS]
    sensors = [_describe_sensor(name, value / total, value * len(sums) / total) for name, value in ranked]
    return msgspec.json.encode(sensors).decode()


def _describe_sensor(
    name: str, contribution: float, times_even_share: float
) -> dict[str, str | float | None]:
    component, backslash, sensor = name.partition("\\")
    return {
        "diagnostic_name": name,
        "component": component if backslash else None,
        "sensor": sensor if backslash else name,
        "contribution": round(contribution, 6),
        "times_even_share": round(times_even_share, 2),
    }
