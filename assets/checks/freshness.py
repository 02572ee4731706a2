"""Whether data come: the newest of them against the clock.

Dagster's own freshness looks at the latest materialization of any partition, and a backfill of an old year
makes it fresh. This one looks at the newest data themselves, which an old day cannot make any newer. An
ended service, a history that ended and a scheduler that was stopped are not late.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.checks.context import ServiceState
from assets.checks.result import CheckOutcome, build_status_commands, summarize
from assets.checks.scheduler_settings import SchedulerSettings
from assets.tables import PARTITION

LONGEST_FREQUENCY = timedelta(hours=1)
"""What counts where nobody knows a frequency: late is then told late rather than early."""

COVERAGE_COLUMNS = ["scheduler_arn", "complete_through"]
EXECUTION_COLUMNS = ["scheduler_arn", "scheduler_name", "data_start_time", "data_end_time"]
"""The columns that the rule reads, beside the day."""


@dataclass(frozen=True)
class NewestData:
    """A scheduler that runs: `data_end` ends its newest window, `due` is when the next one should come."""

    scheduler: str
    data_end: datetime
    due: datetime


def list_active_schedulers(coverage: pa.Table) -> set[str]:
    """Return the schedulers that the service listed when it was asked last: a deleted one is not late."""
    asked = coverage.filter(pc.is_valid(coverage["complete_through"]))
    newest_day = coverage.filter(pc.equal(coverage[PARTITION], pc.max(asked[PARTITION])))
    return set(newest_day["scheduler_arn"].to_pylist())


def find_newest_data(
    executions: pa.Table, running: Collection[str], rhythms: Mapping[str, SchedulerSettings]
) -> list[NewestData]:
    """Return the newest window of each running scheduler, and when the one after it is due.

    It is due when its window has ended and the delay is over.
    """
    grouped = executions.group_by("scheduler_arn", use_threads=False).aggregate(
        [("scheduler_name", "max"), ("data_start_time", "max"), ("data_end_time", "max")]
    )
    found = []
    for row in grouped.to_pylist():
        arn, known = row["scheduler_arn"], rhythms.get(row["scheduler_arn"], SchedulerSettings())
        if arn in running and not known.is_stopped:
            data_end = row["data_end_time_max"] or row["data_start_time_max"]
            due = data_end + (known.frequency or LONGEST_FREQUENCY) + known.delay
            found.append(NewestData(row["scheduler_name_max"] or arn, data_end, due))
    return found


def data_fresh(
    newest: Iterable[NewestData],
    asked_until: datetime | None,
    service: ServiceState,
    *,
    history_end: date | None,
    now: datetime,
    late_after: timedelta,
) -> CheckOutcome:
    """Judge the newest data against the clock.

    Args:
        newest: the schedulers that the service lists as running.
        asked_until: the newest moment up to which an answer of the service proves anything; None: never.
        service: the live service among the sources.
        history_end: the first day that is no partition any more; None: there is none.
        now: the time of the check.
        late_after: how long after they are due data are late.
    """
    if not service.exists:
        return CheckOutcome(True, "No live service is among the sources: data come when somebody saves them.")
    last_day = service.last_expected(history_end)
    if last_day is not None and now.date() > last_day:
        return CheckOutcome(
            True, f"No data are expected after {last_day}: the service or the history ended then."
        )
    if asked_until is None or now - asked_until > late_after:
        since = f"since {asked_until:%Y-%m-%d %H:%M} UTC" if asked_until else "yet"
        return CheckOutcome(
            False,
            f"Nobody has asked the service {since}: do the schedules run, and do their runs succeed?",
            {"minutes_since_asked": _minutes(now - asked_until) if asked_until else "never"},
            commands=["ledger doctor", *build_status_commands([now.date()])],
            causes=["not asked"],
        )
    return _of_schedulers(list(newest), now, late_after)


def _of_schedulers(newest: Sequence[NewestData], now: datetime, late_after: timedelta) -> CheckOutcome:
    late = sorted((one for one in newest if now - one.due > late_after), key=lambda one: one.due)
    numbers: dict[str, int | float | str] = {"schedulers": len(newest), "late": len(late)}
    if newest:
        numbers["minutes_behind"] = max(0, _minutes(now - min(one.due for one in newest)))
    said = f"The newest data of {len(newest)} running schedulers are as new as they should be."
    if late:
        said = (
            f"The data of {len(late)} of {len(newest)} running schedulers are late: "
            f"{summarize(one.scheduler for one in late)}. The service was asked and has nothing newer: "
            "see that sensor data are uploaded, and that the schedulers run."
        )
    examples = [
        {"scheduler": one.scheduler, "newest_data_end": one.data_end.isoformat(), "due": one.due.isoformat()}
        for one in late
    ]
    return CheckOutcome(
        not late,
        said,
        numbers,
        examples,
        build_status_commands([late[0].data_end.date(), now.date()]) if late else [],
        causes=[one.scheduler for one in late],
    )


def _minutes(span: timedelta) -> int:
    return int(span.total_seconds() // 60)
