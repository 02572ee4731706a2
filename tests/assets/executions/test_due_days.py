"""What a scheduled run has to ask for, as a rule: coverage and a moment in, days out."""

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
REACH = 7
A_DAY = timedelta(days=1)

Covered = dict[tuple[str, date], datetime | None]


def days(first: date, last: date) -> tuple[date, ...]:
    return tuple(first + n * A_DAY for n in range((last - first).days + 1))


def settles(day: date) -> datetime:
    return datetime.combine(day + A_DAY, time(), UTC) + SETTLE_AFTER


def table(covered: Covered) -> pa.Table:
    """Coverage of schedulers and days: up to when each is proven."""
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


def settled(*of: date, name: str = "pump-1") -> Covered:
    return {(name, day): settles(day) for day in of}


def ask(covered: Covered, now: datetime = NOON, history: Days = Days(FIRST), **terms: date) -> DueDays:  # noqa: B008
    extracted = {day for _, day in covered}
    return find_due_days(
        history, table(covered), extracted, SettlementPolicy(SETTLE_AFTER, REACH, now, **terms)
    )


def test_of_an_empty_lake_all_days_within_reach_are_due_and_the_rest_is_behind() -> None:
    found = ask({})

    assert found.days == days(date(2026, 9, 13), TODAY)
    assert found.backlog == days(FIRST, date(2026, 9, 12))


def test_of_a_settled_lake_today_alone_is_due() -> None:
    assert ask(settled(*days(FIRST, TODAY - A_DAY))) == DueDays((TODAY,), ())


def test_yesterday_is_due_until_an_answer_came_after_it_had_settled() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY))
    covered["pump-1", TODAY - A_DAY] = settles(TODAY - A_DAY) - timedelta(seconds=1)

    assert ask(covered).days == (TODAY - A_DAY, TODAY)


def test_a_day_is_due_for_one_scheduler_of_many() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY)) | settled(*days(FIRST, TODAY - A_DAY), name="pump-2")
    covered["pump-2", date(2026, 9, 15)] = None

    assert ask(covered).days == (date(2026, 9, 15), TODAY)


def test_a_scheduler_that_a_run_left_out_makes_its_day_due() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY)) | settled(*days(FIRST, TODAY - A_DAY), name="pump-2")
    del covered["pump-2", date(2026, 9, 15)]

    assert ask(covered).days == (date(2026, 9, 15), TODAY)


def test_a_scheduler_that_is_gone_makes_no_day_due() -> None:
    covered = settled(*days(FIRST, TODAY - A_DAY)) | settled(*days(FIRST, date(2026, 9, 14)), name="gone")
    covered["gone", date(2026, 9, 14)] = None

    assert ask(covered).days == (TODAY,)


@pytest.mark.parametrize("by", ["history.end_date", "the end of the service"])
def test_after_the_end_its_last_days_are_due_until_they_have_settled(by: str) -> None:
    last = date(2026, 9, 18)
    history = Days(FIRST, last + A_DAY) if by == "history.end_date" else Days(FIRST)
    terms = {} if by == "history.end_date" else {"last_expected": last}
    covered = settled(*days(FIRST, last - A_DAY))

    assert ask(covered, history=history, **terms).days == (last,)
    assert ask(covered | settled(last), history=history, **terms) == DueDays((), ())


def test_before_the_history_begins_nothing_is_due() -> None:
    assert ask({}, history=Days(TODAY + A_DAY)) == DueDays((), ())


def test_what_is_behind_is_said_in_stretches_with_one_command() -> None:
    there = settled(*days(date(2026, 9, 3), date(2026, 9, 4)), *days(date(2026, 9, 8), TODAY - A_DAY))

    said = ask(there).backlog_message

    assert said.startswith("5 days lie further back than scheduled runs reach")
    assert "2026-09-01...2026-09-02, 2026-09-05...2026-09-07" in said
    assert said.endswith("ledger backfill --from 2026-09-01 --to 2026-09-07")
    assert ask(settled(*days(FIRST, TODAY - A_DAY))).backlog_message == ""


def test_of_many_stretches_three_are_named() -> None:
    holes = {date(2026, 9, day) for day in (1, 3, 5, 7, 9)}
    there = settled(*(day for day in days(FIRST, TODAY - A_DAY) if day not in holes))

    said = ask(there).backlog_message

    assert "2026-09-05...2026-09-05 and 2 more stretches" in said
    assert "--from 2026-09-01 --to 2026-09-09" in said


worlds = st.dictionaries(
    st.tuples(st.sampled_from(["pump-1", "pump-2"]), st.sampled_from(days(FIRST, TODAY))),
    st.sampled_from([None, -1, 0]),
)


@settings(deadline=None)
@given(worlds, st.sampled_from([None, date(2026, 9, 10), TODAY]), st.integers(0, 23))
def test_every_expected_day_that_is_not_proven_is_due_or_behind_and_no_other(
    drawn: dict[tuple[str, date], int | None], end: date | None, hour: int
) -> None:
    covered = {
        (name, day): None if late is None else settles(day) + late * timedelta(minutes=1)
        for (name, day), late in drawn.items()
    }
    now = datetime.combine(TODAY, time(hour), UTC)

    found = ask(covered, now, Days(FIRST, end))

    expected = days(FIRST, TODAY if end is None else min(TODAY, end - A_DAY))
    reach = TODAY - REACH * A_DAY
    assert list(found.days) == sorted(set(found.days)) and list(found.backlog) == sorted(set(found.backlog))
    assert set(found.days) <= {day for day in expected if day >= reach}
    assert set(found.backlog) <= {day for day in expected if day < reach}
    told = {*found.days, *found.backlog}
    proven = {day: [through for (_, of), through in covered.items() if of == day] for day in expected}
    for day, throughs in proven.items():
        if not throughs or day == TODAY:
            assert day in told, "never extracted"
        elif len(throughs) == 2 and None not in throughs and min(map(str, throughs)) >= str(settles(day)):
            assert day not in told, "proven for all there are"
