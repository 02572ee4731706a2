"""Which sensors contributed: sums that can be added in any order, and the largest of them.

A contribution is the share of a sensor in one result. That of several points is the mean over those that
have any; a sensor that one of them does not name contributed nothing to it.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CONTRIBUTION_COLUMNS = ["scheduler_arn", "data_start_time", "timestamp", "diagnostic_name", "contribution"]
"""The columns of `sensor_contributions` that the rule reads."""

TOP = 10
"""So many contributors are told, as on the service's own page of an event."""

_BILLION = 1_000_000_000
_POINT = ["scheduler_arn", "data_start_time", "timestamp"]
_SUMS = msgspec.json.Decoder(dict[str, int])


def sum_contributions(
    contributions: pa.Table, points: pa.Table, runs: int
) -> tuple[NDArray[np.int64], pa.Array]:
    """Add up contributions by run and sensor.

    Args:
        contributions: rows of `sensor_contributions`.
        points: the execution and time of each point, and the number of its `run`.
        runs: how many runs there are.

    Returns:
        For each run the number of points that have contributions, and JSON of the sums by sensor in
        billionths (null: none).
    """
    near = contributions.select(CONTRIBUTION_COLUMNS).filter(
        pc.is_in(contributions["timestamp"], points["timestamp"].combine_chunks())
    )
    of_runs = near.join(points, _POINT, join_type="inner")
    exact = pc.round(pc.multiply(of_runs["contribution"], float(_BILLION))).cast(pa.int64())
    of_runs = of_runs.select(["run", "timestamp", "diagnostic_name"]).append_column("sum", exact)
    sums = (
        of_runs.group_by(["run", "diagnostic_name"])
        .aggregate([("sum", "sum")])
        .sort_by([("run", "ascending"), ("diagnostic_name", "ascending")])
    )
    diagnosed = np.zeros(runs, dtype=np.int64)
    pairs = of_runs.group_by(["run", "timestamp"]).aggregate([])
    np.add.at(diagnosed, pairs["run"].to_numpy(), 1)
    told: list[str | None] = [None] * runs
    run, names, values = (
        sums["run"].to_numpy(),
        sums["diagnostic_name"].to_pylist(),
        sums["sum_sum"].to_pylist(),
    )
    which, starts = np.unique(run, return_index=True)
    ends = np.append(starts, len(names))[1:]
    for number, start, end in zip(which.tolist(), starts, ends, strict=True):
        told[number] = msgspec.json.encode(
            dict(zip(names[start:end], values[start:end], strict=True))
        ).decode()
    return diagnosed, pa.array(told, pa.string())


def add_contribution_sums(sums: Iterable[str | None]) -> dict[str, int]:
    """Add up sums of several runs."""
    total: dict[str, int] = {}
    for text in sums:
        if text:
            for name, value in _SUMS.decode(text).items():
                total[name] = total.get(name, 0) + value
    return total


def rank_top_sensors(total: Mapping[str, int], points: int) -> str | None:
    """Tell the largest contributors as JSON; None where the format had none.

    Args:
        total: sums of contributions by sensor, in billionths.
        points: the points that have contributions.
    """
    if not total or not points:
        return None
    whole = points * _BILLION
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    told = [_told(name, value / whole, value * len(total) / whole) for name, value in ranked]
    return msgspec.json.encode(told).decode()


def _told(name: str, contribution: float, times_even_share: float) -> dict[str, str | float | None]:
    component, backslash, sensor = name.partition("\\")
    return {
        "diagnostic_name": name,
        "component": component if backslash else None,
        "sensor": sensor if backslash else name,
        "contribution": round(contribution, 6),
        "times_even_share": round(times_even_share, 2),
    }
