"""What the checks find: rules on rows and days, without Dagster."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.checks import completeness, context, contract, freshness, run_outcomes
from assets.checks import day_coverage as of_days
from assets.checks.context import ServiceState
from assets.checks.scheduler_settings import SchedulerSettings, parse_duration, parse_scheduler_settings
from assets.executions.day_status import DayState, SchedulerStatus
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS, PARTITION
from resources.lake.lake import Lake

DAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, SETTLE = timedelta(hours=1), timedelta(hours=3)


def days_back(*numbers: int) -> list[date]:
    return [DAY - timedelta(days=number) for number in numbers]


def keys(pairs: list[tuple[str, int]]) -> pa.Table:
    starts = [datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minute) for _, minute in pairs]
    schema = pa.schema([INFERENCE_EXECUTIONS.schema.field(name) for name in INFERENCE_EXECUTIONS.key])
    return pa.table({"scheduler_arn": [arn for arn, _ in pairs], "data_start_time": starts}, schema=schema)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=12), st.booleans())
def test_repeated_keys_are_found_in_any_order(pairs: list[tuple[str, int]], in_order: bool) -> None:
    rows = keys(sorted(pairs) if in_order else pairs)

    found = contract.repeated_keys(INFERENCE_EXECUTIONS, rows)

    often = {key: times for key, times in Counter(pairs).items() if times > 1}
    assert sorted(found["rows"].to_pylist()) == sorted(often.values())
    assert sorted(found["scheduler_arn"].to_pylist()) == sorted(arn for arn, _ in often)


def test_a_key_that_stands_twice_is_told_with_its_place() -> None:
    verdict = contract.keys_unique([((INFERENCE_EXECUTIONS, DAY), keys([("a", 1), ("a", 1), ("b", 2)]))])

    assert not verdict.passed
    assert verdict.numbers == {"rows": 3, "repeated_keys": 1, "rows_of_other_days": 0}
    assert "inference_executions of 2026-03-10" in verdict.said
    assert verdict.examples[0]["rows"] == 2


def test_a_row_in_another_days_file_is_told() -> None:
    verdict = contract.keys_unique([((INFERENCE_EXECUTIONS, DAY), keys([("a", -1), ("a", 0), ("a", 1440)]))])

    assert not verdict.passed
    assert verdict.numbers["rows_of_other_days"] == 2


def test_what_the_lake_writes_fits_its_declaration_also_with_lists(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for table in looked_at_tables():
        lake.update(table, DAY if table.partitioned else None, lambda rows: rows)
        footer = lake.footer(table, DAY if table.partitioned else None)
        assert footer is not None
        assert (footer.problem, footer.version) == ("", table.version), table.name


def looked_at_tables() -> tuple[Any, ...]:
    from assets.tables import TABLES  # noqa: PLC0415 (beside its one use)

    return TABLES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.append_column("more", pa.nulls(0, pa.string())), "more"),
        (lambda rows: rows.drop_columns(["executions"]), "executions: missing"),
        (lambda rows: rows.select(rows.schema.names[::-1]), "another order"),
        (lambda rows: rows.set_column(0, "scheduler_arn", pa.nulls(0, pa.int64())), "scheduler_arn: int64"),
    ],
    ids=["one more", "one missing", "order", "type"],
)
def test_a_file_that_breaks_the_contract_is_told_by_its_footer(
    tmp_path: Path, change: Any, said: str
) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.path(EXTRACTION_COVERAGE, DAY))
    path.parent.mkdir(parents=True)
    pq.write_table(change(EXTRACTION_COVERAGE.schema.empty_table()), path)

    footer = lake.footer(EXTRACTION_COVERAGE, DAY)

    assert footer is not None
    verdict = contract.schema_matches_declaration([((EXTRACTION_COVERAGE, DAY), footer)])
    assert not verdict.passed
    assert said in str(verdict.examples)


def test_a_broken_file_is_told_and_a_missing_one_is_none(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.path(EXTRACTION_COVERAGE, DAY))
    assert lake.footer(EXTRACTION_COVERAGE, DAY) is None
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")

    footer = lake.footer(EXTRACTION_COVERAGE, DAY)

    assert footer is not None
    assert "cannot be read" in footer.problem


def test_a_file_of_an_older_version_is_a_fact_and_no_fault() -> None:
    from resources.lake.table_contract import Footer  # noqa: PLC0415

    newer = replace(EXTRACTION_COVERAGE, version=2)

    verdict = contract.schema_matches_declaration([((newer, DAY), Footer(1, 3, ""))])

    assert verdict.passed
    assert verdict.numbers["of_older_versions"] == 1
    assert "extraction_coverage of 2026-03-10" in verdict.said


@settings(deadline=None)
@given(st.sets(st.integers(0, 40)))
def test_a_gap_is_every_day_between_the_first_and_the_last_that_is_not_there(numbers: set[int]) -> None:
    in_lake = sorted(days_back(*numbers))

    verdict = of_days.no_missing_days(in_lake)

    missing = max(numbers, default=0) - min(numbers, default=0) + 1 - len(numbers) if numbers else 0
    assert verdict.numbers["days_missing"] == missing
    assert verdict.passed is (missing == 0)


def test_a_gap_is_told_with_the_command_that_fills_it() -> None:
    verdict = of_days.no_missing_days(sorted(days_back(0, 3, 4)))

    assert verdict.commands == ["ledger backfill --from 2026-03-08 --to 2026-03-09"]


def test_schedulers_that_are_not_settled_though_they_should_be_are_named() -> None:
    days = days_back(2, 1, 0)
    fine = SchedulerStatus("arn:a", "pump-1", dict.fromkeys(days, DayState.settled))
    behind = SchedulerStatus(
        "arn:b", "pump-2", {days[0]: DayState.overdue, days[1]: DayState.missing, days[2]: DayState.open}
    )

    verdict = of_days.days_settled([fine, behind], days)

    assert not verdict.passed
    assert "pump-2" in verdict.said
    assert "pump-1" not in verdict.said
    assert verdict.numbers == {"schedulers_behind": 1, "days_behind": 2}
    assert "ledger backfill --from 2026-03-08 --to 2026-03-09" in verdict.commands
    assert of_days.days_settled([fine], days).passed


def test_only_executions_of_settled_days_are_stuck() -> None:
    days = days_back(1, 0)
    running = pa.table(
        {
            "scheduler_arn": ["a", "a"],
            "scheduler_name": ["pump-1", "pump-1"],
            "data_start_time": [NOW - timedelta(days=1), NOW],
            PARTITION: days,
        }
    )

    verdict = of_days.no_stuck_executions(
        [SchedulerStatus("a", "pump-1", {days[0]: DayState.stuck, days[1]: DayState.open})], days, running
    )

    assert not verdict.passed
    assert verdict.numbers == {"stuck": 1, "in_progress": 2}


def counts(of_days_back: dict[int, int]) -> pa.Table:
    numbers = list(of_days_back)
    return pa.table(
        {
            "scheduler_arn": ["a"] * len(numbers),
            "scheduler_name": ["pump-1"] * len(numbers),
            "executions": list(of_days_back.values()),
            PARTITION: pa.array(days_back(*numbers), pa.date32()),
        }
    )


@pytest.mark.parametrize(
    ("executions", "passed"), [(288, True), (144, True), (143, False), (0, False), (432, True), (433, False)]
)
def test_a_count_is_usual_between_half_and_one_and_a_half_of_the_median(
    executions: int, passed: bool
) -> None:
    known = counts(dict.fromkeys(range(3, 20), 288) | {2: executions, 1: 288})

    assert of_days.execution_count_in_range(known, days_back(2), {}, NOW, SETTLE).passed is passed


def test_with_few_days_before_it_a_day_is_held_against_the_grid() -> None:
    known = counts({5: 10, 4: 10, 3: 10, 2: 10})

    assert not of_days.execution_count_in_range(known, days_back(3), {"a": 288}, NOW, SETTLE).passed
    assert (
        of_days.execution_count_in_range(known, days_back(3), {"a": None}, NOW, SETTLE).numbers["judged"] == 0
    )


def test_a_day_that_can_still_grow_and_the_ends_of_a_scheduler_are_not_judged() -> None:
    known = counts({2: 1, 1: 288, 0: 1})

    assert of_days.execution_count_in_range(known, days_back(2, 1, 0), {"a": 288}, NOW, SETTLE).numbers == {
        "judged": 1,
        "unusual": 0,
    }


def fresh(due_hours_ago: float, asked_minutes_ago: int | None = 10, **more: Any) -> Any:
    due = NOW - due_hours_ago * HOUR
    asked = None if asked_minutes_ago is None else NOW - timedelta(minutes=asked_minutes_ago)
    service = more.pop("service", ServiceState(True))
    found = [freshness.NewestData("pump-1", due - HOUR, due)]
    return freshness.data_fresh(
        found, asked, service, **{"history_end": None, "now": NOW, "late_after": SETTLE} | more
    )


def test_data_are_late_only_when_they_are_long_due() -> None:
    assert fresh(3).passed
    late = fresh(3.1)
    assert not late.passed
    assert "pump-1" in late.said
    assert late.commands


def test_a_service_that_nobody_asks_is_told_before_its_schedulers() -> None:
    for asked in (None, 181):
        verdict = fresh(0, asked)
        assert not verdict.passed
        assert "Nobody has asked" in verdict.said


@pytest.mark.parametrize(
    "ended",
    [
        {"service": ServiceState(False)},
        {"service": ServiceState(True, DAY - timedelta(days=1))},
        {"history_end": DAY},
    ],
    ids=["saved responses alone", "service ended", "history ended"],
)
def test_what_ended_is_not_late(ended: dict[str, Any]) -> None:
    assert fresh(500, None, **ended).passed


def test_on_its_last_day_a_service_is_still_expected() -> None:
    assert not fresh(500, service=ServiceState(True, DAY)).passed


def test_a_deleted_and_a_stopped_scheduler_are_not_late() -> None:
    coverage = pa.table(
        {
            "scheduler_arn": ["gone", "here", "here", "still"],
            "complete_through": pa.array([NOW, NOW, NOW, None], pa.timestamp("ms", "UTC")),
            PARTITION: pa.array([*days_back(1, 1, 0, 0)], pa.date32()),
        }
    )
    rows = pa.table(
        {
            "scheduler_arn": ["gone", "here", "still"],
            "scheduler_name": ["gone", "here", "still"],
            "data_start_time": pa.array([NOW, NOW, NOW], pa.timestamp("ms", "UTC")),
            "data_end_time": pa.array([NOW + HOUR, NOW + HOUR, None], pa.timestamp("ms", "UTC")),
        }
    )
    known = {
        "here": SchedulerSettings(timedelta(minutes=5), timedelta(minutes=2)),
        "still": SchedulerSettings(is_stopped=True),
    }

    assert freshness.list_active_schedulers(coverage) == {"here", "still"}
    assert freshness.find_newest_data(rows, freshness.list_active_schedulers(coverage), known) == [
        freshness.NewestData("here", NOW + HOUR, NOW + HOUR + timedelta(minutes=7))
    ]


@pytest.mark.parametrize(
    ("text", "minutes"), [("PT5M", 5), ("PT1H", 60), ("PT1H30M", 90), ("", None), ("PT", None)]
)
def test_frequencies_are_read_as_the_service_spells_them(text: str, minutes: int | None) -> None:
    assert parse_duration(text) == (None if minutes is None else timedelta(minutes=minutes))


def test_a_rhythm_is_the_latest_that_was_told_of_each_value() -> None:
    rows = pa.Table.from_pylist(
        [
            {
                "scheduler_arn": "a",
                "valid_from": NOW,
                "data_upload_frequency": "PT5M",
                "data_delay_offset_minutes": 3,
            },
            {"scheduler_arn": "a", "valid_from": NOW + HOUR, "status": "STOPPED"},
        ],
        schema=pa.schema(
            [
                INFERENCE_SCHEDULERS.schema.field(name).with_nullable(True)
                for name in (
                    "scheduler_arn",
                    "valid_from",
                    "status",
                    "data_upload_frequency",
                    "data_delay_offset_minutes",
                )
            ]
        ),
    )

    assert parse_scheduler_settings(rows) == {
        "a": SchedulerSettings(timedelta(minutes=5), timedelta(minutes=3), True)
    }
    assert parse_scheduler_settings(rows)["a"].executions_a_day == 288


def test_unknown_members_are_named_and_counted() -> None:
    told = pa.table({"unrecognized": pa.array(['{"New": 1}', None, '{"New": 1}', '{"Other": 2}'])})

    verdict = completeness.no_unrecognized_fields(told)

    assert not verdict.passed
    assert verdict.examples == [{"member": "New", "rows": 2}, {"member": "Other", "rows": 1}]
    assert completeness.no_unrecognized_fields(told.slice(1, 1)).passed


def test_lost_result_objects_are_counted_by_what_keeps_them() -> None:
    objects = pa.table(
        {
            "scheduler_name": ["a", "a", "b"],
            "state": ["read", "missing", "forbidden"],
            "error": [None, "NoSuchKey", "AccessDenied"],
            PARTITION: pa.array([DAY] * 3, pa.date32()),
        }
    )

    verdict = completeness.result_objects_read(objects)

    assert not verdict.passed
    others = dict.fromkeys(("key_missing", "wrong_owner", "archived", "unreachable"), 0)
    assert verdict.numbers == {"objects": 3, "missing": 1, "forbidden": 1} | others
    assert completeness.result_objects_read(objects.slice(0, 1)).passed


def test_schedulers_that_the_last_run_could_not_ask_are_named_with_how_long() -> None:
    at = [datetime(2026, 3, 10, 12, 5, tzinfo=UTC) - timedelta(hours=n) for n in range(4)]
    refused = [{"pump-1": "denied"}, {"pump-1": "throttled"}, {}, {"pump-1": "denied"}]
    last = [run_outcomes.FinishedRun(*one) for one in zip(at, refused, strict=True)]

    verdict = run_outcomes.sources_answered(last)

    assert not verdict.passed
    assert verdict.examples == [
        {"failed": "pump-1", "runs_in_a_row": 2, "since": "2026-03-10 11:05 UTC", "reason": "denied"}
    ]
    assert run_outcomes.sources_answered(last[2:]).passed
    assert run_outcomes.sources_answered([]).passed


def test_failed_partitions_are_told_with_the_commands_that_read_them_again() -> None:
    verdict = run_outcomes.partitions_succeeded("inference_executions", ["2026-03-08", "2026-03-09"], 30)

    assert not verdict.passed
    assert verdict.commands == ["ledger backfill --from 2026-03-08 --to 2026-03-09"]
    assert run_outcomes.partitions_succeeded("inference_executions", [], 30).passed


def test_the_last_days_and_those_of_the_run_are_looked_at() -> None:
    in_lake = sorted(days_back(*range(400)))

    assert context.select_days(in_lake, 10, None) == in_lake[-10:]
    of_run = (in_lake[0], in_lake[1])
    assert context.select_days(in_lake, 10, of_run) == [*in_lake[:2], *in_lake[-10:]]
    assert context.parse_run_days({"dagster/partition": "2026-03-10"}) == (DAY, DAY)
    assert context.parse_run_days({}) is None
