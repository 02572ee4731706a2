"""Selection of due days: coverage and the current time give the days that a scheduled run extracts."""

from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.day_status import COLUMNS, SettlementPolicy
from assets.executions.due_days import DueDays, find_due_days
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, PARTITION

FIRST = date(2026, 9, 1)
TODAY = date(2026, 9, 20)
NOON = datetime(2026, 9, 20, 12, tzinfo=UTC)
SETTLE_AFTER = timedelta(hours=3)
LOOKBACK_DAYS = 7
A_DAY = timedelta(days=1)

Covered = dict[tuple[str, date], datetime | None]


def days(first: date, last: date) -> tuple[date, ...]:
    return tuple(first + n * A_DAY for n in range((last - first).days + 1))


def settles_at(day: date) -> datetime:
    return datetime.combine(day + A_DAY, time(), UTC) + SETTLE_AFTER


def table(covered: Covered) -> pa.Table:
    """Return coverage rows from `complete_through` by scheduler and day."""
    schema = EXTRACTION_COVERAGE.schema.append(pa.field(PARTITION, pa.date32()))
    columns = [schema.field(name) for name in (*COLUMNS, PARTITION)]
    rows = [
        {
            "scheduler_arn": name,
            "scheduler_name": name,
            "complete_through": through,
            "executions": 0,
            "in_progress": 0,
            PARTITION: day,
        }
        for (name, day), through in covered.items()
    ]
    return pa.Table.from_pylist(rows, pa.schema(columns))


def settled(*settled_days: date, name: str = "pump-1") -> Covered:
    return {(name, day): settles_at(day) for day in settled_days}


def find_due(covered: Covered, now: datetime = NOON, history: Days = Days(FIRST), **policy: date) -> DueDays:  # noqa: B008
    extracted = {day for _, day in covered}
    return find_due_days(
        history, table(covered), extracted, SettlementPolicy(SETTLE_AFTER, LOOKBACK_DAYS, now, **policy)
    )


def test_empty_lake_makes_lookback_days_due_and_older_days_backlog() -> None:
    due = find_due({})

    assert due.days == days(date(2026, 9, 13), TODAY)
    assert due.backlog == days(FIRST, date(2026, 9, 12))


def test_only_today_is_due_if_all_other_days_are_settled() -> None:
    assert find_due(settled(*days(FIRST, TODAY - A_DAY))) == DueDays((TODAY,), ())


def test_yesterday_is_due_until_it_is_queried_after_it_settled() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY))
    covered["pump-1", TODAY - A_DAY] = settles_at(TODAY - A_DAY) - timedelta(seconds=1)

    assert find_due(covered).days == (TODAY - A_DAY, TODAY)


def test_day_is_due_if_one_of_several_schedulers_is_unsettled() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY)) | settled(*days(FIRST, TODAY - A_DAY), name="pump-2")
    covered["pump-2", date(2026, 9, 15)] = None

    assert find_due(covered).days == (date(2026, 9, 15), TODAY)


def test_day_is_due_if_a_listed_scheduler_has_no_coverage() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY)) | settled(*days(FIRST, TODAY - A_DAY), name="pump-2")
    del covered["pump-2", date(2026, 9, 15)]

    assert find_due(covered).days == (date(2026, 9, 15), TODAY)


def test_deleted_scheduler_makes_no_day_due() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY)) | settled(*days(FIRST, date(2026, 9, 14)), name="gone")
    covered["gone", date(2026, 9, 14)] = None

    assert find_due(covered).days == (TODAY,)


@pytest.mark.parametrize("by", ["history.end_date", "the end of the service"])
def test_last_days_before_the_end_are_due_until_they_are_settled(by: str) -> None:
    last = date(2026, 9, 18)
    history = Days(FIRST, last + A_DAY) if by == "history.end_date" else Days(FIRST)
    policy = {} if by == "history.end_date" else {"last_expected": last}
    covered = settled(*days(FIRST, last - A_DAY))

    assert find_due(covered, history=history, **policy).days == (last,)
    assert find_due(covered | settled(last), history=history, **policy) == DueDays((), ())


def test_nothing_is_due_before_the_history_starts() -> None:
    assert find_due({}, history=Days(TODAY + A_DAY)) == DueDays((), ())


def test_backlog_message_has_ranges_and_one_command() -> None:
    covered = settled(*days(date(2026, 9, 3), date(2026, 9, 4)), *days(date(2026, 9, 8), TODAY - A_DAY))

    message = find_due(covered).backlog_message

    assert message.startswith("5 days before the lookback period are not settled or were never extracted")
    assert "2026-09-01...2026-09-02, 2026-09-05...2026-09-07" in message
    assert message.endswith("ledger backfill --from 2026-09-01 --to 2026-09-07")
    assert find_due(settled(*days(FIRST, TODAY - A_DAY))).backlog_message == ""


def test_backlog_message_shows_at_most_three_ranges() -> None:
    holes = {date(2026, 9, day) for day in (1, 3, 5, 7, 9)}
    covered = settled(*(day for day in days(FIRST, TODAY - A_DAY) if day not in holes))

    message = find_due(covered).backlog_message

    assert "2026-09-05...2026-09-05 and 2 more ranges" in message
    assert "--from 2026-09-01 --to 2026-09-09" in message


coverage_delays = st.dictionaries(
    st.tuples(st.sampled_from(["pump-1", "pump-2"]), st.sampled_from(days(FIRST, TODAY))),
    st.sampled_from([None, -1, 0]),
)


@settings(deadline=None)
@given(coverage_delays, st.sampled_from([None, date(2026, 9, 10), TODAY]), st.integers(0, 23))
def test_unproven_expected_days_and_no_others_are_due_or_backlog(
    drawn: dict[tuple[str, date], int | None], end: date | None, hour: int
) -> None:
    covered = {
        (name, day): None if late is None else settles_at(day) + late * timedelta(minutes=1)
        for (name, day), late in drawn.items()
    }
    now = datetime.combine(TODAY, time(hour), UTC)

    due = find_due(covered, now, Days(FIRST, end))

    expected = days(FIRST, TODAY if end is None else min(TODAY, end - A_DAY))
    oldest = TODAY - LOOKBACK_DAYS * A_DAY
    assert list(due.days) == sorted(set(due.days)) and list(due.backlog) == sorted(set(due.backlog))
    assert set(due.days) <= {day for day in expected if day >= oldest}
    assert set(due.backlog) <= {day for day in expected if day < oldest}
    selected = {*due.days, *due.backlog}
    proven = {
        day: [through for (_, covered_day), through in covered.items() if covered_day == day]
        for day in expected
    }
    for day, throughs in proven.items():
        if not throughs or day == TODAY:
            assert day in selected, "never extracted"
        elif len(throughs) == 2 and None not in throughs and min(map(str, throughs)) >= str(settles_at(day)):
            assert day not in selected, "proven for both schedulers"
