"""A lake of a few schedulers with hourly executions, of which some are missing."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from assets.tables import (
    ANOMALY_PREDICTIONS,
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    Table,
)
from resources.lake.lake import Lake

FIRST = date(2026, 9, 1)
HOUR = timedelta(hours=1)
RECORDED_AT = datetime(2026, 10, 20, tzinfo=UTC)
STATUSES = ("SUCCESS", "FAILED", "IN_PROGRESS")


def build_arn(name: str) -> str:
    return f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/{name}/{name:0>32}"


def start_of(day: int, hour: int = 0) -> datetime:
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=day, hours=hour)


def write_lake(root: str, statuses: Mapping[str, Mapping[tuple[int, int], str]], days: int) -> Lake:
    """Write the executions of saved responses, by scheduler name and by (day, hour).

    Every scheduler has an hourly frequency and is first seen at the start of the first day.
    """
    lake = Lake(root)
    for number in range(days):
        rows = [
            _build_execution(name, start_of(*slot), status)
            for name, by_slot in statuses.items()
            for slot, status in by_slot.items()
            if slot[0] == number
        ]
        if rows:
            _write(lake, INFERENCE_EXECUTIONS, FIRST + timedelta(number), rows)
            _write(lake, EXTRACTION_COVERAGE, FIRST + timedelta(number), _build_coverage(rows))
            _write(lake, ANOMALY_PREDICTIONS, FIRST + timedelta(number), [])
    settings = {"data_upload_frequency": "PT1H", "data_delay_offset_minutes": 0, "source": "archive"}
    _write(
        lake,
        INFERENCE_SCHEDULERS,
        None,
        [
            {"scheduler_arn": build_arn(name), "scheduler_name": name, "valid_from": start_of(0), **settings}
            for name in statuses
        ],
    )
    file = {"uri": "file:///dumps/a.json", "size_bytes": 1, "content_hash": "ab", "executions": 1}
    file |= {"rejected": 0, "reader_version": 1, "merged_dates": [FIRST]}
    _write(lake, ARCHIVE_FILES, None, [file])
    return lake


def _build_execution(name: str, start: datetime, status: str) -> dict[str, object]:
    return {
        "scheduler_arn": build_arn(name),
        "scheduler_name": name,
        "data_start_time": start,
        "data_end_time": start + HOUR,
        "status": status,
        "failed_reason": "Something else failed" if status == "FAILED" else None,
        "source": "archive",
        "outcome_source": "archive",
    }


def _build_coverage(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    arns = [row["scheduler_arn"] for row in rows]
    return [
        {"scheduler_arn": arn, "executions": arns.count(arn), "in_progress": 0, "failed": 0}
        for arn in sorted(set(map(str, arns)))
    ]


def _write(lake: Lake, table: Table, day: date | None, rows: list[dict[str, object]]) -> None:
    stamped = [{**row, "recorded_at": RECORDED_AT} for row in rows]
    new = pa.Table.from_pylist(stamped, table.schema).sort_by([(name, "ascending") for name in table.key])
    lake.update(table, day, lambda _: new)
