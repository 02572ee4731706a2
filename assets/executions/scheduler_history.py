"""Settings of each scheduler over time, from its executions and from lists of the service.

All executions are in the lake, so the rows from executions are recomputed every time. Executions show every
setting except the status. A list of the service is read only once, so its rows stay in the table.

A row starts a period in which a setting differs from its last known value. A missing value is no change, such
as the model version in old responses. The rule can be applied to each day and then to the combined results:
the rows equal those of one pass over the whole history.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.framework.row_content import stamp_changes
from assets.tables import INFERENCE_SCHEDULERS
from resources.sources.api import KIND
from resources.sources.base import ListedScheduler

_KEY = ["scheduler_arn", "valid_from"]
_SETTINGS = [name for name in INFERENCE_SCHEDULERS.content_columns if name not in (*_KEY, "source")]
_SCHEMA = INFERENCE_SCHEDULERS.content_schema

EXECUTION_COLUMNS = [
    "scheduled_start_time",
    "data_start_time",
    "data_end_time",
    "source",
    *(
        name
        for name in _SCHEMA.names
        if name
        not in ("valid_from", "status", "data_upload_frequency", "data_delay_offset_minutes", "source")
    ),
]
"""The columns of `inference_executions` that `extract_observed_settings` reads."""

_UNLISTED = [
    "model_version",
    "model_version_arn",
    *(name for name in _SETTINGS if name.startswith(("input_", "output_"))),
]
"""Settings that a list of the service does not contain."""

_MINUTE_MS = 60_000


def extract_observed_settings(executions: pa.Table) -> pa.Table:
    """Return one row of settings per execution, with `valid_from` as the start of its data window."""
    frequency = _count_minutes(executions["data_start_time"], executions["data_end_time"])
    columns = {name: executions[name] for name in EXECUTION_COLUMNS if name in _SCHEMA.names}
    columns |= {
        "valid_from": executions["data_start_time"],
        "status": pa.nulls(executions.num_rows, pa.string()),
        "data_upload_frequency": _format_duration(frequency),
        "data_delay_offset_minutes": _count_minutes(
            executions["data_end_time"], executions["scheduled_start_time"]
        ),
    }
    return pa.table([columns[name].cast(_SCHEMA.field(name).type) for name in _SCHEMA.names], schema=_SCHEMA)


def find_setting_changes(settings: Iterable[pa.Table]) -> pa.Table:
    """Return the rows at which a setting changes, sorted by scheduler and time."""
    rows = pa.concat_tables([_SCHEMA.empty_table(), *settings]).sort_by(
        [(name, "ascending") for name in _KEY]
    )
    is_first = _find_first_rows(rows["scheduler_arn"])
    is_change = is_first.copy()
    for name in _SETTINGS:
        column = _fill_forward(rows[name].combine_chunks(), is_first)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
        is_change |= _differs_from_previous(column)
    return rows.filter(pa.array(is_change))


def merge_observed_settings(parts: Iterable[pa.Table], existing: pa.Table, now: datetime) -> pa.Table:
    """Build the rows of `inference_schedulers` from all executions (`EXECUTION_COLUMNS`).

    Args:
        parts: the executions by day or shard; a scheduler's day is in one part.
        existing: the recorded rows.
        now: becomes `recorded_at` of rows whose content changes.

    Settings that the service listed are taken from the existing rows.
    """
    listed = existing.filter(pc.equal(existing["source"], KIND)).select(_SCHEMA.names)
    for name in _UNLISTED:
        empty = pa.nulls(listed.num_rows, listed.schema.field(name).type)
        listed = listed.set_column(listed.schema.get_field_index(name), name, empty)
    observed = (find_setting_changes([extract_observed_settings(day)]) for day in parts)
    changes = find_setting_changes([*observed, listed.cast(_SCHEMA)])
    return stamp_changes(INFERENCE_SCHEDULERS, changes, existing, now)


def build_listed_settings(schedulers: Sequence[ListedScheduler], listed_at: datetime) -> pa.Table:
    """Return one row of settings per listed scheduler, valid from the time of the list."""
    rows = [
        {
            "scheduler_arn": scheduler.arn,
            "valid_from": listed_at,
            "scheduler_name": scheduler.name,
            **dict(zip(("region", "account_id"), scheduler.arn.split(":")[3:5], strict=False)),
            "model_arn": scheduler.model_arn,
            "model_name": scheduler.model_name,
            "status": scheduler.status,
            "data_upload_frequency": scheduler.frequency,
            "data_delay_offset_minutes": scheduler.delay_minutes,
            "source": KIND,
        }
        for scheduler in schedulers
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def merge_listed_settings(existing: pa.Table, listed: pa.Table, now: datetime) -> pa.Table:
    """Add the changed settings of a list to the rows of `inference_schedulers`."""
    changes = find_setting_changes([existing.select(_SCHEMA.names).cast(_SCHEMA), listed])
    return stamp_changes(INFERENCE_SCHEDULERS, changes, existing, now)


def _count_minutes(start: pa.ChunkedArray, end: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(pc.subtract(end.cast(pa.int64()), start.cast(pa.int64())), _MINUTE_MS)


def _format_duration(minutes: pa.ChunkedArray) -> pa.ChunkedArray:
    # in the format of the service, which writes PT30M but PT1H
    whole_hours = pc.equal(pc.subtract(minutes, pc.multiply(pc.divide(minutes, 60), 60)), 0)
    hours = pc.binary_join_element_wise("PT", pc.divide(minutes, 60).cast(pa.string()), "H", "")
    return pc.if_else(
        whole_hours, hours, pc.binary_join_element_wise("PT", minutes.cast(pa.string()), "M", "")
    )


def _find_first_rows(arns: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Mark the first row of each scheduler."""
    first = np.ones(len(arns), dtype=bool)
    first[1:] = _differs_from_previous(arns.combine_chunks())[1:]
    return first


def _fill_forward(column: pa.Array, is_first: NDArray[np.bool_]) -> pa.Array:
    """Replace nulls by the previous value of the same scheduler."""
    is_filled = is_first | column.is_valid().to_numpy(zero_copy_only=False)
    return column.take(pa.array(np.maximum.accumulate(np.where(is_filled, np.arange(len(column)), 0))))


def _differs_from_previous(column: pa.Array) -> NDArray[np.bool_]:
    """Mark the values that differ from the previous one; the first value is not marked."""
    differs = np.zeros(len(column), dtype=bool)
    if len(column) > 1:
        codes = column.dictionary_encode(null_encoding="encode").indices.to_numpy()
        differs[1:] = codes[1:] != codes[:-1]
    return differs
