"""Expected and recorded executions of a day, with one reason for each expected execution."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.coverage import compute_settle_time
from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import get_day_window, parse_duration
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
"""The columns of each table that this module reads."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MINUTE_MS = 60_000
_REASON_BY_STATUS = {"SUCCESS": REASONS.index("succeeded"), "IN_PROGRESS": -1}
_UNKNOWN = REASONS.index("unknown")
_FAILED_OTHER = REASONS.index("failed_other")
_FAILED_MISSING_INPUT = REASONS.index("failed_missing_input")
_OUTCOMES = ("succeeded", "failed_missing_input", "failed_other")

_AccountRegion = tuple[str, ...]
"""Region and account, as in an ARN."""


@dataclass(frozen=True)
class HealthPolicy:
    """What the rules depend on besides the tables.

    Attributes:
        settle_after: How long after its end a day can still change.
        now: The current time.
        last_day: The last day of the service; None: it has no end.
        is_live: Whether any service can still be queried.
    """

    settle_after: timedelta
    now: datetime
    last_day: date | None = None
    is_live: bool = False


@dataclass(frozen=True)
class DayTables:
    """The rows of a day in the lake, and all rows of `inference_schedulers`."""

    executions: pa.Table
    coverage: pa.Table
    schedulers: pa.Table
    results: pa.Table


def build_execution_health(
    day: date, tables: DayTables, policy: HealthPolicy, existing: pa.Table
) -> pa.Table:
    """Build the rows of `execution_health` for a day.

    Args:
        day: the day.
        tables: the rows in the lake.
        policy: what the rules depend on besides the tables.
        existing: the rows of `execution_health` in the lake.
    """
    rows = [_build_row(scheduler_day) for scheduler_day in _build_scheduler_days(day, tables, policy)]
    table = pa.Table.from_pylist(rows, EXECUTION_HEALTH.content_schema)
    return stamp_changes(EXECUTION_HEALTH, table, existing, policy.now)


@dataclass(frozen=True)
class _SchedulerDay:
    """The input of one row.

    Attributes:
        arn: the ARN of the scheduler.
        name: the name of the scheduler, if known.
        day: the day.
        executions: the recorded executions.
        settings: the settings of the scheduler, oldest first.
        coverage: how far the executions are complete.
        result_times: when the result of each execution was written, by start of the execution.
    """

    arn: str
    name: str | None
    day: date
    executions: Sequence[Mapping[str, Any]]
    settings: Sequence[SchedulerSetting]
    coverage: CoverageState
    result_times: Mapping[datetime, datetime]


def _build_scheduler_days(day: date, tables: DayTables, policy: HealthPolicy) -> Iterator[_SchedulerDay]:
    executions = _group_by_scheduler(tables.executions)
    settings = _group_by_scheduler(tables.schedulers.sort_by("valid_from"))
    coverage = {row["scheduler_arn"]: row for row in tables.coverage.to_pylist()}
    results = _group_by_scheduler(tables.results.filter(pc.is_valid(tables.results["last_modified"])))
    complete_through = _find_complete_through(coverage.values())
    queried = {*complete_through, *_find_listed_accounts(tables.schedulers)}
    settles_at = compute_settle_time(day, policy.settle_after)
    has_ended = policy.last_day is not None and day > policy.last_day
    for arn in sorted({*executions, *coverage, *settings}):
        account = _get_account_region(arn)
        scheduler_settings = [_build_setting(row) for row in settings.get(arn, [])]
        if arn not in executions and arn not in coverage:
            # a response for other schedulers of the account shows that this one was deleted
            is_deleted = account in complete_through
            if is_deleted or has_ended or not _has_begun(scheduler_settings, day):
                continue
        coverage_row = coverage.get(arn)
        # a final response for the account reports all executions of its schedulers, except of one that is
        # listed and was not queried yet
        is_account_settled = account in complete_through and complete_through[account] >= settles_at
        may_be_reported = not is_account_settled or _is_unqueried(coverage_row)
        can_be_queried = policy.is_live and account in queried and may_be_reported
        rows = executions.get(arn, [])
        named_rows = [*rows, *([coverage_row] if coverage_row else []), *settings.get(arn, [])]
        name = next((row["scheduler_name"] for row in named_rows if row["scheduler_name"]), None)
        result_times = {row["data_start_time"]: row["last_modified"] for row in results.get(arn, [])}
        state = _build_coverage_state(coverage_row, policy, settles_at, can_be_queried=can_be_queried)
        yield _SchedulerDay(arn, name, day, rows, scheduler_settings, state, result_times)


def _is_unqueried(coverage_row: Mapping[str, Any] | None) -> bool:
    if coverage_row is None:
        return False
    return not coverage_row["complete_through"] and not coverage_row["executions"]


def _build_coverage_state(
    coverage_row: Mapping[str, Any] | None,
    policy: HealthPolicy,
    settles_at: datetime,
    *,
    can_be_queried: bool,
) -> CoverageState:
    complete_through = coverage_row["complete_through"] if coverage_row else None
    return CoverageState(
        _to_ms(policy.now),
        _to_ms(complete_through) if complete_through else None,
        _to_ms(settles_at),
        _to_ms(get_day_window(policy.last_day).end) if policy.last_day else None,
        can_be_queried=can_be_queried,
    )


def _find_complete_through(coverage: Iterable[Mapping[str, Any]]) -> dict[_AccountRegion, datetime]:
    """Return, for each account, the latest time through which any of its schedulers is complete."""
    latest: dict[_AccountRegion, datetime] = {}
    for row in coverage:
        if row["complete_through"]:
            account = _get_account_region(row["scheduler_arn"])
            latest[account] = max(row["complete_through"], latest.get(account, row["complete_through"]))
    return latest


def _find_listed_accounts(schedulers: pa.Table) -> set[_AccountRegion]:
    """Return the accounts whose service listed schedulers: only a list has a status."""
    listed = schedulers.filter(pc.is_valid(schedulers["status"]))
    return {_get_account_region(arn) for arn in listed["scheduler_arn"].to_pylist()}


def _build_row(scheduler: _SchedulerDay) -> dict[str, Any]:
    day_ms = _to_ms(get_day_window(scheduler.day).start)
    slots = build_slots(day_ms, scheduler.settings, _build_executions(scheduler), scheduler.coverage)
    lateness = sorted(_compute_lateness(scheduler))
    silence = slots.find_longest_silence()
    return {
        "scheduler_arn": scheduler.arn,
        "scheduler_name": scheduler.name,
        "expected": len(slots.start),
        **{reason: slots.count(reason) for reason in REASONS},
        "coverage_ratio": _compute_coverage_ratio(slots),
        "lateness_median_minutes": float(np.median(lateness)) if lateness else None,
        "lateness_max_minutes": lateness[-1] if lateness else None,
        "longest_silence_minutes": None if silence is None else silence / _MINUTE_MS,
        "failures_by_cause": group_by_cause(
            Failure(*_find_window(row, scheduler.settings), row["failed_reason"])
            for row in scheduler.executions
            if row["status"] == "FAILED"
        ),
    }


def _compute_coverage_ratio(slots: Slots) -> float | None:
    outcomes = sum(slots.count(reason) for reason in _OUTCOMES)
    expected = len(slots.start) - slots.count("not_running") - slots.count("after_service_end")
    return outcomes / expected if expected else None


def _build_executions(scheduler: _SchedulerDay) -> RecordedExecutions:
    windows = [_find_window(row, scheduler.settings) for row in scheduler.executions]
    start, end = (np.array([window[side] for window in windows], dtype=np.int64) for side in (0, 1))
    reason = np.array([_find_reason(row) for row in scheduler.executions], dtype=np.int64)
    order = np.argsort(start, kind="stable")
    return RecordedExecutions(start[order], end[order], reason[order])


def _find_reason(execution: Mapping[str, Any]) -> int:
    """Return the number of the reason, -1: in progress."""
    status = execution["status"]
    if status == "FAILED":
        is_missing_input = parse_cause(execution["failed_reason"]).is_missing_input
        return _FAILED_MISSING_INPUT if is_missing_input else _FAILED_OTHER
    if status is None and execution["result_s3_key"]:
        return _REASON_BY_STATUS["SUCCESS"]
    return _REASON_BY_STATUS.get(status, _UNKNOWN)


def _find_window(execution: Mapping[str, Any], settings: Sequence[SchedulerSetting]) -> tuple[int, int]:
    """Return start and end in ms; an unknown end follows from the frequency that was valid then."""
    start = _to_ms(execution["data_start_time"])
    if execution["data_end_time"]:
        return start, max(start, _to_ms(execution["data_end_time"]))
    frequencies = [setting.frequency for setting in settings if setting.valid_from <= start]
    return start, start + (frequencies[-1] if frequencies else 0)


def _compute_lateness(scheduler: _SchedulerDay) -> Iterator[float]:
    """Yield the minutes from the end of each window to its result."""
    for execution in scheduler.executions:
        result_time = scheduler.result_times.get(execution["data_start_time"])
        if result_time and execution["data_end_time"]:
            yield (result_time - execution["data_end_time"]) / timedelta(minutes=1)


def _has_begun(settings: Sequence[SchedulerSetting], day: date) -> bool:
    return bool(settings) and settings[0].valid_from < _to_ms(get_day_window(day).end)


def _build_setting(row: Mapping[str, Any]) -> SchedulerSetting:
    frequency = parse_duration(row["data_upload_frequency"]) or timedelta()
    delay = row["data_delay_offset_minutes"] or 0
    return SchedulerSetting(_to_ms(row["valid_from"]), frequency // _MS, delay * _MINUTE_MS, row["status"])


def _group_by_scheduler(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        groups.setdefault(row["scheduler_arn"], []).append(row)
    return groups


def _get_account_region(arn: str) -> _AccountRegion:
    return tuple(arn.split(":")[3:5])


def _to_ms(time: datetime) -> int:
    return (time.astimezone(UTC) - _EPOCH) // _MS
