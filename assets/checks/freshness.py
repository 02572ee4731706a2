"""Rules on the age of the newest data.

Dagster's freshness checks use the latest materialization of any partition, so a backfill of an old year
passes them. This rule uses the newest data itself. An ended service, an ended history, and stopped or
deleted schedulers are not late.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.checks.result import CheckOutcome, build_status_commands, summarize
from assets.checks.scheduler_settings import SchedulerSettings
from assets.executions.service_state import ServiceState
from assets.tables import PARTITION

LONGEST_FREQUENCY = timedelta(hours=1)
"""Used if a frequency is not known: a late alert is better than a false one."""

COVERAGE_COLUMNS = ["scheduler_arn", "complete_through"]
EXECUTION_COLUMNS = ["scheduler_arn", "scheduler_name", "data_start_time", "data_end_time"]
"""The columns to read, in addition to the day."""


@dataclass(frozen=True)
class NewestData:
    """The newest window of a running scheduler: its end, and when the next window is due."""

    scheduler: str
    data_end: datetime
    due: datetime


def list_active_schedulers(coverage: pa.Table) -> set[str]:
    """Return the ARNs that the service listed at the last poll; deleted schedulers are not among them."""
    polled = coverage.filter(pc.is_valid(coverage["complete_through"]))
    newest_day = coverage.filter(pc.equal(coverage[PARTITION], pc.max(polled[PARTITION])))
    return set(newest_day["scheduler_arn"].to_pylist())


def find_newest_data(
    parts: Iterable[pa.Table], active: Collection[str], settings: Mapping[str, SchedulerSettings]
) -> list[NewestData]:
    """Return the newest window of each active scheduler that is not stopped.

    The next window is due after its end plus the delay of the scheduler.

    Args:
        parts: the executions (`EXECUTION_COLUMNS`) in any number of parts, of which one is in memory.
        active: the ARNs of the active schedulers.
        settings: the settings by ARN.
    """
    latest = [_find_latest(rows) for rows in parts]
    newest = []
    for row in _find_latest(pa.concat_tables(latest)).to_pylist() if latest else ():
        arn = row["scheduler_arn"]
        scheduler = settings.get(arn, SchedulerSettings())
        if arn in active and not scheduler.is_stopped:
            data_end = row["data_end_time"] or row["data_start_time"]
            due = data_end + (scheduler.frequency or LONGEST_FREQUENCY) + scheduler.delay
            newest.append(NewestData(row["scheduler_name"] or arn, data_end, due))
    return newest


def _find_latest(executions: pa.Table) -> pa.Table:
    """Return a row for each scheduler with the maximum of each column."""
    key, *names = EXECUTION_COLUMNS
    grouped = executions.group_by(key, use_threads=False).aggregate([(name, "max") for name in names])
    return grouped.select([key, *(f"{name}_max" for name in names)]).rename_columns(EXECUTION_COLUMNS)


def evaluate_data_fresh(
    newest: Iterable[NewestData],
    polled_until: datetime | None,
    service: ServiceState,
    *,
    history_end: date | None,
    now: datetime,
    late_after: timedelta,
) -> CheckOutcome:
    """Compare the newest data with the current time.

    Args:
        newest: The newest data of each active scheduler.
        polled_until: The newest time up to which a response of the service proves anything; None: never.
        service: The live service among the sources.
        history_end: The first day after the last partition; None: the history has no end.
        now: The time of the check.
        late_after: How long after its due time data is late.
    """
    if not service.exists:
        return CheckOutcome(True, "No live source is configured, so no new data is expected.")
    last_day = service.get_last_expected_day(history_end)
    if last_day is not None and now.date() > last_day:
        return CheckOutcome(
            True, f"No data is expected after {last_day}: the service or the history ended on that day."
        )
    if polled_until is None or now - polled_until > late_after:
        since = f"since {polled_until:%Y-%m-%d %H:%M} UTC" if polled_until else "yet"
        return CheckOutcome(
            False,
            f"The service has not been polled {since}. "
            "Check that the schedules run and that their runs succeed.",
            {"minutes_since_poll": _to_minutes(now - polled_until) if polled_until else "never"},
            commands=["ledger doctor", *build_status_commands([now.date()])],
            problem_ids=["not polled"],
        )
    return _compare_with_due_times(list(newest), now, late_after)


def _compare_with_due_times(
    newest: Sequence[NewestData], now: datetime, late_after: timedelta
) -> CheckOutcome:
    late = sorted((data for data in newest if now - data.due > late_after), key=lambda data: data.due)
    metadata: dict[str, int | float | str] = {"schedulers": len(newest), "late": len(late)}
    if newest:
        metadata["minutes_behind"] = max(0, _to_minutes(now - min(data.due for data in newest)))
    message = f"The data of all {len(newest)} running schedulers is up to date."
    if not newest:
        message = "No scheduler is known to run, so no new data is expected."
    if late:
        message = (
            f"The data of {len(late)} of {len(newest)} running schedulers is late: "
            f"{summarize(data.scheduler for data in late)}. The service was polled and has no newer data. "
            "Check that sensor data is uploaded and that the schedulers run."
        )
    examples = [
        {
            "scheduler": data.scheduler,
            "newest_data_end": data.data_end.isoformat(),
            "due": data.due.isoformat(),
        }
        for data in late
    ]
    return CheckOutcome(
        not late,
        message,
        metadata,
        examples,
        build_status_commands([late[0].data_end.date(), now.date()]) if late else [],
        problem_ids=[data.scheduler for data in late],
    )


def _to_minutes(span: timedelta) -> int:
    return int(span.total_seconds() // 60)
