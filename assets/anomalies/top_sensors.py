"""Sums of sensor contributions, and the sensors that contributed most.

A contribution is a sensor's share in one result. For several points it is the mean over the points that have
contributions; a sensor that one of these points does not name contributed 0 to it. Sums are integers, so they
can be added in any order.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CONTRIBUTION_COLUMNS = ["scheduler_arn", "data_start_time", "timestamp", "diagnostic_name", "contribution"]
"""The columns of `sensor_contributions` that this module reads."""

MAX_SENSORS = 10
"""The number of top sensors of an event, as in the console of the service."""

SUM_SCALE = 1_000_000_000
"""Sums of scores and contributions are stored in billionths."""

_POINT_KEY = ["scheduler_arn", "data_start_time", "timestamp"]
_SUMS = msgspec.json.Decoder(dict[str, int])


def sum_contributions(
    contributions: pa.Table, points: pa.Table, run_count: int
) -> tuple[NDArray[np.int64], pa.Array]:
    """Sum contributions by run and sensor.

    Args:
        contributions: rows of `sensor_contributions`.
        points: key columns of each point, and the number of its `run`.
        run_count: the number of runs.

    Returns:
        For each run, the number of points with contributions, and a JSON object of sums by sensor in
        billionths (null: no contributions).
    """
    same_times = contributions.select(CONTRIBUTION_COLUMNS).filter(
        pc.is_in(contributions["timestamp"], points["timestamp"].combine_chunks())
    )
    in_runs = same_times.join(points, _POINT_KEY, join_type="inner")
    scaled = pc.round(pc.multiply(in_runs["contribution"], float(SUM_SCALE))).cast(pa.int64())
    in_runs = in_runs.select(["run", "timestamp", "diagnostic_name"]).append_column("sum", scaled)
    diagnosed = np.zeros(run_count, dtype=np.int64)
    run_times = in_runs.group_by(["run", "timestamp"]).aggregate([])
    np.add.at(diagnosed, run_times["run"].to_numpy(), 1)
    sums = (
        in_runs.group_by(["run", "diagnostic_name"])
        .aggregate([("sum", "sum")])
        .sort_by([("run", "ascending"), ("diagnostic_name", "ascending")])
    )
    return diagnosed, _encode_sums(sums, run_count)


def _encode_sums(sums: pa.Table, run_count: int) -> pa.Array:
    encoded: list[str | None] = [None] * run_count
    names, values = sums["diagnostic_name"].to_pylist(), sums["sum_sum"].to_pylist()
    runs, starts = np.unique(sums["run"].to_numpy(), return_index=True)
    ends = np.append(starts, len(names))[1:]
    for run, start, end in zip(runs.tolist(), starts, ends, strict=True):
        by_sensor = dict(zip(names[start:end], values[start:end], strict=True))
        encoded[run] = msgspec.json.encode(by_sensor).decode()
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
