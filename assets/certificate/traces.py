"""Reads the evidence of schedulers that is not on the day itself: settings, and executions of other days."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.certificate.expectation import (
    NO_EVIDENCE,
    NO_EXPECTATION,
    Evidence,
    SchedulerTrace,
    build_evidence,
    build_expectation,
    build_settings,
    exclude_windows,
    join_evidence,
)
from assets.framework.time_windows import (
    DAY_MS,
    get_day_window,
    parse_duration,
    to_instant,
    to_milliseconds,
)
from assets.health.execution_health import DayTables, SchedulerExecutions
from assets.health.slots import Expectation
from assets.tables import INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from resources.lake.lake import Lake
from resources.scheduler_arns import PLACEHOLDER, build_placeholder_arn
from resources.sources.api import KIND

_SETTING_COLUMNS = [
    "scheduler_arn",
    "valid_from",
    "data_upload_frequency",
    "source",
    "output_s3_bucket",
    "output_s3_prefix",
]
_WINDOW_COLUMNS = ["scheduler_arn", "data_start_time", "data_end_time"]
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True)
class DeclaredFrequency:
    """A frequency in the settings, for the output prefixes below a location.

    It applies from `start`, or from the first result without it, to before `end`.
    """

    bucket: str
    prefix: str
    frequency: timedelta
    start: datetime | None
    end: datetime

    def includes(self, placeholder: str) -> bool:
        """Whether it applies to an output prefix, by its placeholder ARN."""
        return placeholder.startswith(build_placeholder_arn(self.bucket, self.prefix))


def read_traces(
    lake: Lake, first: date, declared: Sequence[DeclaredFrequency] = ()
) -> dict[str, SchedulerTrace]:
    """Read the settings of each scheduler by ARN; the latest before `first` is evidence for the first day.

    Raises:
        LedgerError: the lake cannot be read.
    """
    rows = lake.read(INFERENCE_SCHEDULERS, columns=_SETTING_COLUMNS).sort_by("valid_from").to_pylist()
    by_arn: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_arn.setdefault(row["scheduler_arn"], []).append(row)
    first_ms = to_milliseconds(get_day_window(first).start)
    prefixes = {arn: _list_placeholders(arn, own) for arn, own in by_arn.items()}
    known = {prefix for arn, own in prefixes.items() for prefix in own if arn != prefix}
    return {
        arn: _build_trace(own, prefixes[arn], first_ms, declared, expects_nothing=arn in known)
        for arn, own in by_arn.items()
    }


def _build_trace(
    rows: Sequence[Mapping[str, Any]],
    prefixes: Sequence[str],
    first_ms: int,
    declared: Iterable[DeclaredFrequency],
    *,
    expects_nothing: bool,
) -> SchedulerTrace:
    observed = [(to_milliseconds(row["valid_from"]), _get_frequency(row)) for row in rows]
    settings = [
        setting
        for setting, row in zip(observed, rows, strict=True)
        if row["source"] == KIND and setting[1] and setting[0] >= first_ms
    ]
    for declaration in declared:
        if any(declaration.includes(prefix) for prefix in prefixes):
            frequency = declaration.frequency // _MS
            ends = declaration.start, declaration.end
            settings += [(to_milliseconds(time), frequency) for time in ends if time]
    before = [setting for setting in observed if setting[0] < first_ms]
    return SchedulerTrace(
        build_settings(before[-1:]), build_settings(sorted(settings)), expects_nothing, tuple(prefixes)
    )


def _list_placeholders(arn: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the placeholder ARNs of the output prefixes of a scheduler."""
    if arn.startswith(PLACEHOLDER):
        return [arn]
    places = {(row["output_s3_bucket"], row["output_s3_prefix"]) for row in rows}
    return sorted(
        build_placeholder_arn(bucket, f"{path}/" if (path := (prefix or "").rstrip("/")) else "")
        for bucket, prefix in places
        if bucket
    )


class LakeExpectations:
    """Returns the expectation of each scheduler's day; the days of a range are finished in order."""

    def __init__(
        self, lake: Lake, days: Sequence[date], traces: Mapping[str, SchedulerTrace], end: datetime
    ) -> None:
        """Start before the first day.

        Args:
            lake: the lake.
            days: the recorded days of the range, in order.
            traces: what is known of each scheduler apart from the days.
            end: windows that start later are not judged.
        """
        self._lake, self._days, self._traces, self._end = lake, days, traces, to_milliseconds(end)
        self._latest = dict[str, SchedulerExecutions]()
        self._unlisted = dict[str, int]()
        self._schedulers_by_day = dict[date, frozenset[str]]()
        self._shared = dict[frozenset[str], frozenset[str]]()
        self._next = dict[str, tuple[float, Evidence]]()

    def expect(self, arn: str, day_ms: int, tables: DayTables) -> Expectation:
        """Return the expectation of a scheduler from the rows of a day."""
        trace = self._traces.get(arn, _NO_TRACE)
        if self._did_not_exist(arn, day_ms, trace, tables):
            return NO_EXPECTATION
        executions = tables.executions_by_scheduler
        latest, held = self._latest.get(arn), executions.get(arn)
        before = _build_evidence(latest)[-1:] if latest else trace.seed
        expectation = build_expectation(
            trace,
            join_evidence([before, _build_evidence(held)]) if held else before,
            lambda: self._find_next(arn, day_ms),
            day_ms,
            min(day_ms + DAY_MS, self._end),
        )
        others = [name for name in trace.placeholders if name in executions and name != arn]
        if not others:
            return expectation
        return exclude_windows(expectation, np.concatenate([executions[name].start for name in others]))

    def finish_day(self, tables: DayTables) -> None:
        """Remember what the days after a day depend on."""
        self._latest |= tables.executions_by_scheduler
        for arn in self._unlisted.keys() & tables.executions_by_scheduler.keys():
            del self._unlisted[arn]
        for arn in self._traces.keys() - self._unlisted.keys() if tables.complete_through else ():
            if unlisted := tables.find_unlisted_time(arn):
                self._unlisted[arn] = to_milliseconds(unlisted)

    def _did_not_exist(self, arn: str, day_ms: int, trace: SchedulerTrace, tables: DayTables) -> bool:
        """Return whether the service did not list a scheduler after its last or before its first result."""
        if arn not in tables.executions_by_scheduler and self._unlisted.get(arn, math.inf) <= day_ms:
            return not len(self._find_next(arn, day_ms))
        unlisted = tables.find_unlisted_time(arn)
        if unlisted is None or arn in self._latest or len(trace.seed):
            return False
        following = self._find_next(arn, day_ms)
        return not len(following) or int(following.start[0]) >= to_milliseconds(unlisted)

    def _find_next(self, arn: str, day_ms: int) -> Evidence:
        """Return the first execution of a scheduler on a later day, if there is one."""
        if arn in self._next and self._next[arn][0] > day_ms:
            return self._next[arn][1]
        day = to_instant(day_ms).date()
        found = math.inf, NO_EVIDENCE
        for later in self._days[bisect_right(self._days, day) :]:
            if arn in self._list_schedulers(later):
                found = to_milliseconds(get_day_window(later).start), self._read_first(arn, later)
                break
        self._next[arn] = found
        return found[1]

    def _list_schedulers(self, day: date) -> frozenset[str]:
        """Return the schedulers with executions on a day; most days have those of the day before."""
        if day not in self._schedulers_by_day:
            rows = self._lake.read(INFERENCE_EXECUTIONS, day, _WINDOW_COLUMNS[:1])
            arns = frozenset(rows[_WINDOW_COLUMNS[0]].unique().to_pylist())
            self._schedulers_by_day[day] = self._shared.setdefault(arns, arns)
        return self._schedulers_by_day[day]

    def _read_first(self, arn: str, day: date) -> Evidence:
        rows = self._lake.read(INFERENCE_EXECUTIONS, day, _WINDOW_COLUMNS)
        own = rows.filter(pc.equal(rows["scheduler_arn"], arn)).sort_by("data_start_time")
        start, end = (own[name].cast(pa.int64()) for name in _WINDOW_COLUMNS[1:])
        has_end = end.is_valid().to_numpy()
        return build_evidence(start.to_numpy(), end.fill_null(0).to_numpy(), has_end)[:1]


_NO_TRACE = SchedulerTrace()


def _build_evidence(executions: SchedulerExecutions) -> Evidence:
    return build_evidence(executions.start, executions.end, executions.has_end)


def _get_frequency(row: Mapping[str, Any]) -> int:
    """Return the frequency in ms; 0: not known."""
    return (parse_duration(row["data_upload_frequency"]) or timedelta()) // _MS
