"""What each scheduler was set to over time, as its executions show it and the service lists it.

Executions tell everything but the status, and are all in the lake: their rows are made anew each time. What
the service lists is told once, so those rows stay.

A row begins where a value differs from the last one known of that scheduler; a value that an execution does
not tell (old responses have no model version) is no change. The rule may be applied day by day and then to
what the days gave: the rows are those of one pass over the whole history.
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
_OBSERVED = pa.schema(
    [INFERENCE_SCHEDULERS.schema.field(name) for name in INFERENCE_SCHEDULERS.content_columns]
)

EXECUTION_COLUMNS = [
    "scheduled_start_time",
    "data_start_time",
    "data_end_time",
    "source",
    *(
        name
        for name in _OBSERVED.names
        if name
        not in ("valid_from", "status", "data_upload_frequency", "data_delay_offset_minutes", "source")
    ),
]
"""The columns of `inference_executions` that the rule reads."""

_UNLISTED = [
    "model_version",
    "model_version_arn",
    *(name for name in _SETTINGS if name.startswith(("input_", "output_"))),
]
"""What a list of the service does not tell."""

_MINUTE = 60_000


def extract_observed_settings(executions: pa.Table) -> pa.Table:
    """Return the settings that each execution shows, with `valid_from` the start of its window."""
    frequency = _minutes(executions["data_start_time"], executions["data_end_time"])
    columns = {name: executions[name] for name in EXECUTION_COLUMNS if name in _OBSERVED.names}
    columns |= {
        "valid_from": executions["data_start_time"],
        "status": pa.nulls(executions.num_rows, pa.string()),
        "data_upload_frequency": _iso_duration(frequency),
        "data_delay_offset_minutes": _minutes(
            executions["data_end_time"], executions["scheduled_start_time"]
        ),
    }
    return pa.table(
        [columns[name].cast(_OBSERVED.field(name).type) for name in _OBSERVED.names], schema=_OBSERVED
    )


def find_setting_changes(settings: Iterable[pa.Table]) -> pa.Table:
    """Reduce settings to the rows at which one began, by scheduler and time."""
    rows = pa.concat_tables([_OBSERVED.empty_table(), *settings]).sort_by(
        [(name, "ascending") for name in _KEY]
    )
    first = _first_of_scheduler(rows["scheduler_arn"])
    begins = first.copy()
    for name in _SETTINGS:
        column = _carried_on(rows[name].combine_chunks(), first)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
        begins |= _differs_from_last(column)
    return rows.filter(pa.array(begins))


def merge_observed_settings(days: Iterable[pa.Table], existing: pa.Table, now: datetime) -> pa.Table:
    """Make the rows of `inference_schedulers` out of all days of executions (`EXECUTION_COLUMNS` suffice).

    What the service once listed is taken over from the existing rows.
    """
    by_service = existing.filter(pc.equal(existing["source"], KIND)).select(_OBSERVED.names)
    for name in _UNLISTED:
        empty = pa.nulls(by_service.num_rows, by_service.schema.field(name).type)
        by_service = by_service.set_column(by_service.schema.get_field_index(name), name, empty)
    began = find_setting_changes(
        [
            *(find_setting_changes([extract_observed_settings(day)]) for day in days),
            by_service.cast(_OBSERVED),
        ]
    )
    return stamp_changes(INFERENCE_SCHEDULERS, began, existing, now)


def build_listed_settings(schedulers: Sequence[ListedScheduler], at: datetime) -> pa.Table:
    """Return the settings that a list of the service shows."""
    rows = [
        {
            "scheduler_arn": scheduler.arn,
            "valid_from": at,
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
    return pa.Table.from_pylist(rows, schema=_OBSERVED)


def merge_listed_settings(existing: pa.Table, news: pa.Table, now: datetime) -> pa.Table:
    """Add to the rows of `inference_schedulers` what a list shows that was not known before."""
    began = find_setting_changes([existing.select(_OBSERVED.names).cast(_OBSERVED), news])
    return stamp_changes(INFERENCE_SCHEDULERS, began, existing, now)


def _minutes(start: pa.ChunkedArray, end: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(pc.subtract(end.cast(pa.int64()), start.cast(pa.int64())), _MINUTE)


def _iso_duration(minutes: pa.ChunkedArray) -> pa.ChunkedArray:
    # as the service spells it: PT30M, but PT1H
    whole_hours = pc.equal(pc.subtract(minutes, pc.multiply(pc.divide(minutes, 60), 60)), 0)
    hours = pc.binary_join_element_wise("PT", pc.divide(minutes, 60).cast(pa.string()), "H", "")
    return pc.if_else(
        whole_hours, hours, pc.binary_join_element_wise("PT", minutes.cast(pa.string()), "M", "")
    )


def _first_of_scheduler(arns: pa.ChunkedArray) -> NDArray[np.bool_]:
    first = np.ones(len(arns), dtype=bool)
    first[1:] = _differs_from_last(arns.combine_chunks())[1:]
    return first


def _carried_on(column: pa.Array, first: NDArray[np.bool_]) -> pa.Array:
    """Fill nulls with the last value known of the same scheduler."""
    stands = first | column.is_valid().to_numpy(zero_copy_only=False)
    return column.take(pa.array(np.maximum.accumulate(np.where(stands, np.arange(len(column)), 0))))


def _differs_from_last(column: pa.Array) -> NDArray[np.bool_]:
    """Tell for each row whether it differs from the one before it; the first does not."""
    differs = np.zeros(len(column), dtype=bool)
    if len(column) > 1:
        codes = column.dictionary_encode(null_encoding="encode").indices.to_numpy()
        differs[1:] = codes[1:] != codes[:-1]
    return differs
