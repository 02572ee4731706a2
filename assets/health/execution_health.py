"""Expected and recorded executions of a day, with one reason for each expected execution."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.coverage import compute_settle_time
from assets.executions.service_state import ServiceState
from assets.framework.time_windows import get_day_window, parse_duration, to_milliseconds
from assets.health.failure_causes import Failure, group_by_cause, parse_cause
from assets.health.slots import (
    REASONS,
    CoverageState,
    Expectation,
    Flags,
    Ints,
    RecordedExecutions,
    SchedulerSetting,
    Slots,
    build_slots,
)
from assets.tables import EXECUTION_HEALTH
from resources.aws.access import SERVICE_END
from resources.encoded_texts import get_chunk
from resources.lake.shards import WHOLE, Shard

EXECUTION_COLUMNS = [
    "scheduler_arn",
    "scheduler_name",
    "data_start_time",
    "data_end_time",
    "status",
    "failed_reason",
    "result_s3_key",
]
COVERAGE_COLUMNS = ["scheduler_arn", "scheduler_name", "complete_through", "executions", "sources"]
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


def build_health_policy(
    service: ServiceState, settle_after: timedelta, now: datetime, as_of: datetime | None = None
) -> HealthPolicy:
    """Build the policy for the live services of the sources.

    Args:
        service: the services; without one, the last day is that of the AWS service.
        settle_after: how long after its end a day can still change.
        now: the current time, which decides whether a service can still be queried.
        as_of: executions that were due later are not expected; default: now.
    """
    last_day = service.last_day if service.exists else SERVICE_END
    is_live = service.exists and (last_day is None or now.date() <= last_day)
    return HealthPolicy(settle_after, as_of or now, last_day, is_live)


class SchedulerHistory:
    """All rows of `inference_schedulers` by ARN, oldest first; the same for all days of a lake."""

    def __init__(self, rows: pa.Table) -> None:
        """Prepare the rows (`SCHEDULER_COLUMNS`)."""
        self.names: dict[str, list[str | None]] = {}
        self.settings: dict[str, list[SchedulerSetting]] = {}
        self.listed_accounts: set[_AccountRegion] = set()
        for row in rows.sort_by("valid_from").to_pylist():
            arn = row["scheduler_arn"]
            self.names.setdefault(arn, []).append(row["scheduler_name"])
            self.settings.setdefault(arn, []).append(_build_setting(row))
            if row["status"] is not None:  # only a list has a status
                self.listed_accounts.add(_get_account_region(arn))


@dataclass(frozen=True)
class DayTables:
    """The rows of a day in the lake, and the schedulers of all days; texts may be dictionaries.

    Attributes:
        executions: the executions of the shard.
        coverage: the coverage of the whole day, because schedulers of an account prove each other's days.
        schedulers: the schedulers of all days.
        results: the result objects of the shard.
        shard: the schedulers that the tables describe.
    """

    executions: pa.Table
    coverage: pa.Table
    schedulers: SchedulerHistory
    results: pa.Table
    shard: Shard = WHOLE

    @cached_property
    def executions_by_scheduler(self) -> dict[str, "SchedulerExecutions"]:
        """The executions of each scheduler by its ARN."""
        return _group_executions(self.executions)

    @cached_property
    def coverage_by_scheduler(self) -> dict[str, dict[str, Any]]:
        """The coverage of each scheduler by its ARN."""
        return {row["scheduler_arn"]: row for row in self.coverage.to_pylist()}

    @cached_property
    def complete_through(self) -> "dict[_AccountRegion, datetime]":
        """The latest time through which a response for each account reported the day."""
        return _find_complete_through(self.coverage_by_scheduler.values())

    def find_unlisted_time(self, arn: str) -> datetime | None:
        """Return a time before which the service reported the day without a scheduler; None: never.

        `coverage` needs the column `recorded_at`: a response is older than its row.
        """
        account = _get_account_region(arn)
        if (
            account not in self.complete_through
            or arn in self.executions_by_scheduler
            or arn in self.coverage_by_scheduler
        ):
            return None
        times: list[datetime] = [
            row["recorded_at"]
            for row in self.coverage_by_scheduler.values()
            if row["complete_through"] and _get_account_region(row["scheduler_arn"]) == account
        ]
        return min(times)


ExpectWindows = Callable[[str, int, DayTables], Expectation]
"""Returns the expectation of a scheduler, by ARN and start of the day in ms, from the rows of the day."""


def build_execution_health(day: date, tables: DayTables, policy: HealthPolicy) -> pa.Table:
    """Build the rows of `execution_health` for a shard of a day, without `recorded_at`."""
    result_times = _ResultTimes(tables.results)
    rows = [_build_row(scheduler, result_times) for scheduler in build_scheduler_days(day, tables, policy)]
    return pa.Table.from_pylist(rows, EXECUTION_HEALTH.content_schema)


@dataclass(frozen=True)
class SchedulerDay:
    """The slots of one scheduler on one day.

    Attributes:
        arn: the ARN of the scheduler.
        name: the name of the scheduler, if known.
        slots: the expected and the recorded windows, each with its reason.
        complete_through: the service reported all executions up to here; None: never.
        sources: the kinds of sources of the executions, comma-separated; None: there are none.
        executions: the recorded executions.
        failures: the failed executions.
    """

    arn: str
    name: str | None
    slots: Slots
    complete_through: datetime | None
    sources: str | None
    executions: "SchedulerExecutions" = field(repr=False)
    failures: Sequence[Failure] = ()


def build_scheduler_days(
    day: date, tables: DayTables, policy: HealthPolicy, expect: ExpectWindows | None = None
) -> Iterator[SchedulerDay]:
    """Yield the slots of each scheduler that is recorded or expected on a day, by ARN.

    Args:
        day: the day.
        tables: the rows in the lake; `results` is not read.
        policy: what the rules depend on besides the tables.
        expect: the expectation from other days. Without it, settings are taken as unchanged until the next
            one; with it, a scheduler is also expected before its first setting.
    """
    executions = tables.executions_by_scheduler
    history = tables.schedulers
    coverage, complete_through = tables.coverage_by_scheduler, tables.complete_through
    queried = {*complete_through, *history.listed_accounts}
    settles_at = compute_settle_time(day, policy.settle_after)
    has_ended = policy.last_day is not None and day > policy.last_day
    day_ms, build_state = to_milliseconds(get_day_window(day).start), _StateBuilder(policy, settles_at)
    for arn in sorted(filter(tables.shard.has_scheduler, {*executions, *coverage, *history.settings})):
        account = _get_account_region(arn)
        scheduler_settings = history.settings.get(arn, [])
        if arn not in executions and arn not in coverage:
            # a response for other schedulers of the account shows that this one was deleted
            is_deleted = account in complete_through
            if has_ended or not (expect or (_has_begun(scheduler_settings, day) and not is_deleted)):
                continue
        coverage_row = coverage.get(arn)
        # a final response for the account reports all executions of its schedulers, except of one that is
        # listed and was not queried yet
        is_account_settled = account in complete_through and complete_through[account] >= settles_at
        may_be_reported = not is_account_settled or _is_unqueried(coverage_row)
        can_be_queried = policy.is_live and account in queried and may_be_reported
        rows = executions.get(arn, _NO_EXECUTIONS)
        coverage_name = coverage_row["scheduler_name"] if coverage_row else None
        names = [rows.name, coverage_name, *history.names.get(arn, ())]
        state = build_state(coverage_row, can_be_queried=can_be_queried)
        end = _find_window_ends(rows, scheduler_settings)
        recorded = RecordedExecutions(rows.start, end, rows.reason)
        yield SchedulerDay(
            arn,
            next((name for name in names if name), None),
            build_slots(
                day_ms,
                scheduler_settings,
                recorded,
                state,
                partial(expect, arn, day_ms, tables) if expect else None,
            ),
            coverage_row["complete_through"] if coverage_row else None,
            coverage_row["sources"] if coverage_row else None,
            rows,
            [Failure(int(rows.start[row]), int(end[row]), reason) for row, reason in rows.failed_reasons],
        )


@dataclass(frozen=True)
class SchedulerExecutions:
    """The recorded executions of a scheduler's day, by start; times in ms.

    Attributes:
        name: the name of the scheduler, if an execution has it.
        start: the start of each window.
        end: the end of each window; undefined without `has_end`.
        has_end: whether the end is recorded.
        reason: the number of the reason; -1: IN_PROGRESS.
        failed_reasons: the position and the text of each failed execution.
    """

    name: str | None
    start: Ints
    end: Ints
    has_end: Flags
    reason: Ints
    failed_reasons: Sequence[tuple[int, str | None]] = ()


_NO_TIMES = np.zeros(0, np.int64)
_NO_EXECUTIONS = SchedulerExecutions(None, _NO_TIMES, _NO_TIMES, np.zeros(0, bool), _NO_TIMES)


def _group_executions(executions: pa.Table) -> dict[str, SchedulerExecutions]:
    """Split the executions of a day by scheduler, each sorted by start."""
    executions = _sort_by_scheduler(executions)
    arns = _encode(executions["scheduler_arn"])
    codes = _get_codes(arns)
    start, end = _get_ms(executions["data_start_time"]), _get_ms(executions["data_end_time"])
    has_end = executions["data_end_time"].is_valid().to_numpy()
    statuses = _encode(executions["status"])
    is_failed = _get_codes(statuses) == _find_code(statuses, "FAILED")
    reason = _find_reasons(executions, statuses, is_failed)
    failed_rows = np.flatnonzero(is_failed)
    failed_texts = executions["failed_reason"].take(pa.array(failed_rows)).to_pylist()
    names = _encode(executions["scheduler_name"])
    name_codes = _get_codes(names)
    bounds = np.searchsorted(codes, np.arange(len(arns.dictionary) + 1))
    groups: dict[str, SchedulerExecutions] = {}
    for arn, first, stop in zip(arns.dictionary.to_pylist(), bounds[:-1], bounds[1:], strict=True):
        if first == stop:
            continue
        begin, end_of_failed = np.searchsorted(failed_rows, (first, stop))
        failed = [
            (int(failed_rows[number] - first), failed_texts[number]) for number in range(begin, end_of_failed)
        ]
        named = np.flatnonzero(name_codes[first:stop] >= 0)
        groups[arn] = SchedulerExecutions(
            names.dictionary[int(name_codes[first + named[0]])].as_py() if len(named) else None,
            start[first:stop],
            end[first:stop],
            has_end[first:stop],
            reason[first:stop],
            failed,
        )
    return groups


def _sort_by_scheduler(executions: pa.Table) -> pa.Table:
    """Sort executions so that those of a scheduler are together, by start; files are sorted already."""
    codes = _get_codes(_encode(executions["scheduler_arn"]))
    starts = _get_ms(executions["data_start_time"])
    steps = np.diff(codes)
    if not ((steps > 0) | ((steps == 0) & (np.diff(starts) >= 0))).all():
        executions = executions.take(pa.array(np.lexsort((starts, codes))))
    return executions


def _find_reasons(executions: pa.Table, statuses: pa.DictionaryArray, is_failed: Flags) -> Ints:
    """Return the number of the reason of each execution, -1: in progress."""
    codes = _get_codes(statuses)
    numbers = [_REASON_BY_STATUS.get(status, _UNKNOWN) for status in statuses.dictionary.to_pylist()]
    reason: Ints = np.array([*numbers, _UNKNOWN], np.int64)[codes]  # the code -1 is the last one
    without_status = codes < 0
    if without_status.any():
        keys = pc.fill_null(executions["result_s3_key"], "")
        has_result = pc.greater(pc.binary_length(keys), 0).to_numpy()
        reason[without_status & has_result] = _REASON_BY_STATUS["SUCCESS"]
    texts = _encode(executions["failed_reason"].filter(pa.array(is_failed)))
    is_missing_input = [parse_cause(text).is_missing_input for text in [*texts.dictionary.to_pylist(), ""]]
    reason[is_failed] = np.where(
        np.array(is_missing_input, bool)[_get_codes(texts)], _FAILED_MISSING_INPUT, _FAILED_OTHER
    )
    return reason


def _find_window_ends(rows: SchedulerExecutions, settings: Sequence[SchedulerSetting]) -> Ints:
    """Return the end of each window in ms; an unknown end follows from the frequency that was valid then."""
    if rows.has_end.all():
        return np.asarray(np.maximum(rows.start, rows.end))
    valid_from = np.array([setting.valid_from for setting in settings], np.int64)
    frequencies = np.array([0, *(setting.frequency for setting in settings)], np.int64)
    assumed = rows.start + frequencies[np.searchsorted(valid_from, rows.start, side="right")]
    return np.asarray(np.where(rows.has_end, np.maximum(rows.start, rows.end), assumed))


class _ResultTimes:
    """When the result of each execution was written, by scheduler and start; in ms."""

    def __init__(self, results: pa.Table) -> None:
        written = results.filter(pc.is_valid(results["last_modified"]))
        arns = _encode(written["scheduler_arn"])
        codes = arns.indices.to_numpy(zero_copy_only=False)
        start = _get_ms(written["data_start_time"])
        order = np.lexsort((start, codes))
        self._start, self._written = start[order], _get_ms(written["last_modified"])[order]
        self._bounds = np.searchsorted(codes[order], np.arange(len(arns.dictionary) + 1))
        self._numbers = {arn: number for number, arn in enumerate(arns.dictionary.to_pylist())}

    def compute_lateness(self, arn: str, executions: SchedulerExecutions) -> list[float]:
        """Return the minutes from the end of each window to its result, in ascending order."""
        if arn not in self._numbers:
            return []
        number = self._numbers[arn]
        own = slice(self._bounds[number], self._bounds[number + 1])
        start, written = self._start[own], self._written[own]
        position = np.minimum(np.searchsorted(start, executions.start), len(start) - 1)
        has_time = executions.has_end & (start[position] == executions.start)
        lateness = (written[position] - executions.end)[has_time] / _MINUTE_MS
        return sorted(lateness.tolist())


def _encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column as one dictionary array."""
    values = get_chunk(column)
    return values if pa.types.is_dictionary(values.type) else values.dictionary_encode()


def _get_codes(texts: pa.DictionaryArray) -> Ints:
    """Return the number of each text in the dictionary, -1: null."""
    return np.asarray(texts.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def _find_code(texts: pa.DictionaryArray, text: str) -> int:
    """Return the number of a text in the dictionary; it occurs nowhere if the dictionary lacks it."""
    code: int = texts.dictionary.index(text).as_py()
    return code if code >= 0 else len(texts.dictionary)


def _get_ms(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), dtype=np.int64)


def _is_unqueried(coverage_row: Mapping[str, Any] | None) -> bool:
    if coverage_row is None:
        return False
    return not coverage_row["complete_through"] and not coverage_row["executions"]


class _StateBuilder:
    """Builds the coverage state of each scheduler of a day."""

    def __init__(self, policy: HealthPolicy, settles_at: datetime) -> None:
        self._now, self._settles_at = to_milliseconds(policy.now), to_milliseconds(settles_at)
        self._service_end = to_milliseconds(get_day_window(policy.last_day).end) if policy.last_day else None

    def __call__(self, coverage_row: Mapping[str, Any] | None, *, can_be_queried: bool) -> CoverageState:
        complete_through = coverage_row["complete_through"] if coverage_row else None
        return CoverageState(
            self._now,
            to_milliseconds(complete_through) if complete_through else None,
            self._settles_at,
            self._service_end,
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


def _build_row(scheduler: SchedulerDay, result_times: _ResultTimes) -> dict[str, Any]:
    slots = scheduler.slots
    lateness = result_times.compute_lateness(scheduler.arn, scheduler.executions)
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
        "failures_by_cause": group_by_cause(scheduler.failures),
    }


def _compute_coverage_ratio(slots: Slots) -> float | None:
    outcomes = sum(slots.count(reason) for reason in _OUTCOMES)
    expected = len(slots.start) - slots.count("not_running") - slots.count("after_service_end")
    return outcomes / expected if expected else None


def _has_begun(settings: Sequence[SchedulerSetting], day: date) -> bool:
    return bool(settings) and settings[0].valid_from < to_milliseconds(get_day_window(day).end)


def _build_setting(row: Mapping[str, Any]) -> SchedulerSetting:
    frequency = parse_duration(row["data_upload_frequency"]) or timedelta()
    delay = row["data_delay_offset_minutes"] or 0
    valid_from = to_milliseconds(row["valid_from"])
    return SchedulerSetting(valid_from, frequency // _MS, delay * _MINUTE_MS, row["status"])


def _get_account_region(arn: str) -> _AccountRegion:
    return tuple(arn.split(":")[3:5])
