"""How the executions of a day went: expected, recorded, and why what is not there is not there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.coverage import compute_settle_time
from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import get_day_window
from assets.health.failure_causes import Failure, group_by_cause, parse_cause
from assets.health.slots import (
    REASONS,
    CoverageState,
    RecordedExecutions,
    SchedulerSetting,
    Slots,
    build_slots,
)
from assets.tables import EXECUTION_HEALTH

EXECUTION_COLUMNS = [
    "scheduler_arn",
    "scheduler_name",
    "data_start_time",
    "data_end_time",
    "status",
    "failed_reason",
    "result_s3_key",
]
COVERAGE_COLUMNS = ["scheduler_arn", "scheduler_name", "complete_through", "executions"]
SCHEDULER_COLUMNS = [
    "scheduler_arn",
    "scheduler_name",
    "valid_from",
    "status",
    "data_upload_frequency",
    "data_delay_offset_minutes",
]
RESULT_COLUMNS = ["scheduler_arn", "data_start_time", "last_modified"]
"""The columns that the rule reads."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE_MS = 60_000
_FREQUENCIES = {"PT5M": 5, "PT10M": 10, "PT15M": 15, "PT30M": 30, "PT1H": 60}
_NUMBERS = {"SUCCESS": REASONS.index("succeeded"), "IN_PROGRESS": -1}
_UNKNOWN = REASONS.index("unknown")
_FAILED = (REASONS.index("failed_other"), REASONS.index("failed_missing_input"))


@dataclass(frozen=True)
class HealthPolicy:
    """What the rule must know beside the tables.

    Attributes:
        settle_after: How long after its end a day may still change.
        now: When this is asked.
        last_day: The last day of the service; None: it has no end.
        is_live: Some service can still be asked.
    """

    settle_after: timedelta
    now: datetime
    last_day: date | None = None
    is_live: bool = False


@dataclass(frozen=True)
class DayTables:
    """What the lake holds for a day: its tables, and all of `inference_schedulers`."""

    executions: pa.Table
    coverage: pa.Table
    schedulers: pa.Table
    results: pa.Table


def build_execution_health(
    day: date, recorded: DayTables, terms: HealthPolicy, existing: pa.Table
) -> pa.Table:
    """Make the rows of `build_execution_health` for a day.

    Args:
        day: the day.
        recorded: what the lake holds.
        terms: see there.
        existing: the rows as recorded.
    """
    rows = [_row(one) for one in _schedulers(day, recorded, terms)]
    fields = [EXECUTION_HEALTH.schema.field(name) for name in EXECUTION_HEALTH.content_columns]
    return stamp_changes(EXECUTION_HEALTH, pa.Table.from_pylist(rows, pa.schema(fields)), existing, terms.now)


@dataclass(frozen=True)
class _Scheduler:
    """One scheduler's day: its executions as lists, its settings, its coverage, its results."""

    arn: str
    name: str | None
    day: date
    executions: Sequence[Mapping[str, Any]]
    settings: Sequence[SchedulerSetting]
    known: CoverageState
    modified: Mapping[datetime, datetime]


def _schedulers(day: date, recorded: DayTables, terms: HealthPolicy) -> Iterator[_Scheduler]:
    executions = _by_scheduler(recorded.executions)
    settings = _by_scheduler(recorded.schedulers)
    coverage = {row["scheduler_arn"]: row for row in recorded.coverage.to_pylist()}
    modified: dict[str, dict[datetime, datetime]] = {}
    for row in recorded.results.filter(pc.is_valid(recorded.results["last_modified"])).to_pylist():
        modified.setdefault(row["scheduler_arn"], {})[row["data_start_time"]] = row["last_modified"]
    answered: dict[tuple[str, ...], datetime] = {}  # how far each place told of any of its schedulers
    for arn, row in coverage.items():
        if row["complete_through"]:
            answered[_place(arn)] = max(
                row["complete_through"], answered.get(_place(arn), row["complete_through"])
            )
    asked = {_place(arn) for arn, rows in settings.items() if any(row["status"] for row in rows)} | set(
        answered
    )
    for arn in sorted({*executions, *coverage, *settings}):
        seen = [_setting(row) for row in sorted(settings.get(arn, []), key=lambda row: row["valid_from"])]
        of_day = arn in executions or arn in coverage
        # where the place told of others on this day, a scheduler that it did not tell of is gone
        has_ended = terms.last_day is not None and day > terms.last_day
        if not of_day and (not _has_begun(seen, day) or _place(arn) in answered or has_ended):
            continue
        settles = compute_settle_time(day, terms.settle_after)
        told = coverage.get(arn, {})
        unanswered = bool(told) and not told["complete_through"] and not told["executions"]
        passed_over = answered.get(_place(arn), settles - timedelta(1)) >= settles and not unanswered
        known = CoverageState(
            _ms(terms.now),
            _ms(told["complete_through"]) if told.get("complete_through") else None,
            _ms(settles),
            _ms(get_day_window(terms.last_day).end) if terms.last_day else None,
            can_be_asked=terms.is_live and _place(arn) in asked and not passed_over,
        )
        rows = executions.get(arn, [])
        names = [row["scheduler_name"] for row in (*rows, told, *settings.get(arn, [])) if row]
        name = next((name for name in names if name), None)
        yield _Scheduler(arn, name, day, rows, seen, known, modified.get(arn, {}))


def _row(scheduler: _Scheduler) -> dict[str, Any]:
    found = build_slots(
        _ms(get_day_window(scheduler.day).start), scheduler.settings, _ran(scheduler), scheduler.known
    )
    counts = {reason: found.count(reason) for reason in REASONS}
    late = sorted(_lateness(scheduler))
    silence = found.longest_silence()
    return {
        "scheduler_arn": scheduler.arn,
        "scheduler_name": scheduler.name,
        "expected": len(found.start),
        **counts,
        "coverage_ratio": _coverage_ratio(found),
        "lateness_median_minutes": float(np.median(late)) if late else None,
        "lateness_max_minutes": late[-1] if late else None,
        "longest_silence_minutes": None if silence is None else silence / _MINUTE_MS,
        "failures_by_cause": group_by_cause(
            Failure(*_window(row, scheduler.settings), row["failed_reason"])
            for row in scheduler.executions
            if row["status"] == "FAILED"
        ),
    }


def _coverage_ratio(found: Slots) -> float | None:
    outcomes = sum(found.count(reason) for reason in REASONS[:3])
    asked = len(found.start) - found.count("not_running") - found.count("after_service_end")
    return outcomes / asked if asked else None


def _ran(scheduler: _Scheduler) -> RecordedExecutions:
    windows = [_window(row, scheduler.settings) for row in scheduler.executions]
    start, end = (np.array([window[n] for window in windows], dtype=np.int64) for n in (0, 1))
    reason = np.array([_reason(row) for row in scheduler.executions], dtype=np.int64)
    order = np.argsort(start, kind="stable")
    return RecordedExecutions(start[order], end[order], reason[order])


def _reason(row: Mapping[str, Any]) -> int:
    if row["status"] == "FAILED":
        return _FAILED[parse_cause(row["failed_reason"]).is_missing_input]
    if row["status"] is None and row["result_s3_key"]:
        return _NUMBERS["SUCCESS"]
    return _NUMBERS.get(row["status"], _UNKNOWN)


def _window(row: Mapping[str, Any], settings: Sequence[SchedulerSetting]) -> tuple[int, int]:
    start = _ms(row["data_start_time"])
    if row["data_end_time"]:
        return start, max(start, _ms(row["data_end_time"]))
    then = [one.frequency for one in settings if one.since <= start]
    return start, start + (then[-1] if then else 0)


def _lateness(scheduler: _Scheduler) -> Iterator[float]:
    for row in scheduler.executions:
        modified = scheduler.modified.get(row["data_start_time"])
        if modified and row["data_end_time"]:
            yield (modified - row["data_end_time"]) / timedelta(minutes=1)


def _has_begun(settings: Sequence[SchedulerSetting], day: date) -> bool:
    return bool(settings) and settings[0].since < _ms(get_day_window(day).end)


def _setting(row: Mapping[str, Any]) -> SchedulerSetting:
    minutes = _FREQUENCIES.get(row["data_upload_frequency"] or "", 0)
    delay = row["data_delay_offset_minutes"] or 0
    return SchedulerSetting(_ms(row["valid_from"]), minutes * _MINUTE_MS, delay * _MINUTE_MS, row["status"])


def _by_scheduler(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["scheduler_arn"], []).append(row)
    return found


def _place(arn: str) -> tuple[str, ...]:
    """Return region and account of a scheduler, as its ARN has them."""
    return tuple(arn.split(":")[3:5])


def _ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
