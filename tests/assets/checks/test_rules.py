"""The rules of the checks, on rows and days without Dagster."""

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

from assets.checks import completeness, context, contract, day_coverage, freshness, run_outcomes
from assets.checks.context import ServiceState
from assets.checks.scheduler_settings import SchedulerSettings, parse_duration, parse_scheduler_settings
from assets.executions.day_status import DayState, SchedulerStatus
from assets.tables import (
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    PARTITION,
    TABLES,
)
from resources.lake.lake import Lake
from resources.lake.table_contract import Footer

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

    repeated = contract.find_repeated_keys(INFERENCE_EXECUTIONS, rows)

    expected = {key: times for key, times in Counter(pairs).items() if times > 1}
    assert sorted(repeated["rows"].to_pylist()) == sorted(expected.values())
    assert sorted(repeated["scheduler_arn"].to_pylist()) == sorted(arn for arn, _ in expected)


def test_repeated_key_is_reported_with_its_partition() -> None:
    outcome = contract.keys_unique([((INFERENCE_EXECUTIONS, DAY), keys([("a", 1), ("a", 1), ("b", 2)]))])

    assert not outcome.passed
    assert outcome.metadata == {"rows": 3, "repeated_keys": 1, "rows_of_other_days": 0}
    assert "inference_executions of 2026-03-10" in outcome.message
    assert outcome.examples[0]["rows"] == 2


def test_row_in_the_file_of_another_day_is_reported() -> None:
    outcome = contract.keys_unique([((INFERENCE_EXECUTIONS, DAY), keys([("a", -1), ("a", 0), ("a", 1440)]))])

    assert not outcome.passed
    assert outcome.metadata["rows_of_other_days"] == 2


def test_files_written_by_the_lake_match_their_declaration(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for table in TABLES:
        lake.update(table, DAY if table.partitioned else None, lambda rows: rows)
        footer = lake.footer(table, DAY if table.partitioned else None)
        assert footer is not None
        assert (footer.problem, footer.version) == ("", table.version), table.name


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows.append_column("more", pa.nulls(0, pa.string())), "more"),
        (lambda rows: rows.drop_columns(["executions"]), "executions: missing"),
        (lambda rows: rows.select(rows.schema.names[::-1]), "another order"),
        (lambda rows: rows.set_column(0, "scheduler_arn", pa.nulls(0, pa.int64())), "scheduler_arn: int64"),
    ],
    ids=["one more", "one missing", "order", "type"],
)
def test_schema_mismatch_is_reported_from_the_footer(tmp_path: Path, change: Any, problem: str) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.path(EXTRACTION_COVERAGE, DAY))
    path.parent.mkdir(parents=True)
    pq.write_table(change(EXTRACTION_COVERAGE.schema.empty_table()), path)

    footer = lake.footer(EXTRACTION_COVERAGE, DAY)

    assert footer is not None
    outcome = contract.schema_matches_declaration([((EXTRACTION_COVERAGE, DAY), footer)])
    assert not outcome.passed
    assert problem in str(outcome.examples)


def test_footer_of_a_broken_file_has_a_problem_and_a_missing_file_has_none(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.path(EXTRACTION_COVERAGE, DAY))
    assert lake.footer(EXTRACTION_COVERAGE, DAY) is None
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")

    footer = lake.footer(EXTRACTION_COVERAGE, DAY)

    assert footer is not None
    assert "cannot be read" in footer.problem


def test_file_of_an_older_table_version_passes() -> None:
    newer = replace(EXTRACTION_COVERAGE, version=2)

    outcome = contract.schema_matches_declaration([((newer, DAY), Footer(1, 3, ""))])

    assert outcome.passed
    assert outcome.metadata["older_versions"] == 1
    assert "extraction_coverage of 2026-03-10" in outcome.message


@settings(deadline=None)
@given(st.sets(st.integers(0, 40)))
def test_missing_days_are_all_absent_days_between_the_first_and_the_last(numbers: set[int]) -> None:
    lake_days = sorted(days_back(*numbers))

    outcome = day_coverage.no_missing_days(lake_days)

    missing = max(numbers, default=0) - min(numbers, default=0) + 1 - len(numbers) if numbers else 0
    assert outcome.metadata["days_missing"] == missing
    assert outcome.passed is (missing == 0)


def test_missing_days_are_reported_with_their_backfill_command() -> None:
    outcome = day_coverage.no_missing_days(sorted(days_back(0, 3, 4)))

    assert outcome.commands == ["ledger backfill --from 2026-03-08 --to 2026-03-09"]


def test_unsettled_schedulers_are_named() -> None:
    days = days_back(2, 1, 0)
    settled = SchedulerStatus("arn:a", "pump-1", dict.fromkeys(days, DayState.settled))
    behind = SchedulerStatus(
        "arn:b", "pump-2", {days[0]: DayState.overdue, days[1]: DayState.missing, days[2]: DayState.open}
    )

    outcome = day_coverage.days_settled([settled, behind], days)

    assert not outcome.passed
    assert "pump-2" in outcome.message
    assert "pump-1" not in outcome.message
    assert outcome.metadata == {"schedulers_behind": 1, "days_behind": 2}
    assert "ledger backfill --from 2026-03-08 --to 2026-03-09" in outcome.commands
    assert day_coverage.days_settled([settled], days).passed


def test_only_executions_of_settled_days_are_stuck() -> None:
    days = days_back(1, 0)
    in_progress = pa.table(
        {
            "scheduler_arn": ["a", "a"],
            "scheduler_name": ["pump-1", "pump-1"],
            "data_start_time": [NOW - timedelta(days=1), NOW],
            PARTITION: days,
        }
    )

    outcome = day_coverage.no_stuck_executions(
        [SchedulerStatus("a", "pump-1", {days[0]: DayState.stuck, days[1]: DayState.open})], days, in_progress
    )

    assert not outcome.passed
    assert outcome.metadata == {"stuck": 1, "in_progress": 2}


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
def test_count_passes_between_half_and_one_and_a_half_times_the_median(executions: int, passed: bool) -> None:
    coverage = counts(dict.fromkeys(range(3, 20), 288) | {2: executions, 1: 288})

    assert day_coverage.execution_count_in_range(coverage, days_back(2), {}, NOW, SETTLE).passed is passed


def test_day_with_few_days_before_it_is_compared_with_the_grid() -> None:
    coverage = counts({5: 10, 4: 10, 3: 10, 2: 10})

    assert not day_coverage.execution_count_in_range(coverage, days_back(3), {"a": 288}, NOW, SETTLE).passed
    assert (
        day_coverage.execution_count_in_range(coverage, days_back(3), {"a": None}, NOW, SETTLE).metadata[
            "compared"
        ]
        == 0
    )


def test_growing_days_and_the_first_and_last_day_of_a_scheduler_are_not_compared() -> None:
    coverage = counts({2: 1, 1: 288, 0: 1})

    assert day_coverage.execution_count_in_range(
        coverage, days_back(2, 1, 0), {"a": 288}, NOW, SETTLE
    ).metadata == {
        "compared": 1,
        "unusual": 0,
    }


def check_freshness(due_hours_ago: float, polled_minutes_ago: int | None = 10, **more: Any) -> Any:
    due = NOW - due_hours_ago * HOUR
    polled = None if polled_minutes_ago is None else NOW - timedelta(minutes=polled_minutes_ago)
    service = more.pop("service", ServiceState(True))
    newest = [freshness.NewestData("pump-1", due - HOUR, due)]
    return freshness.data_fresh(
        newest, polled, service, **{"history_end": None, "now": NOW, "late_after": SETTLE} | more
    )


def test_data_is_late_after_its_due_time_plus_late_after() -> None:
    assert check_freshness(3).passed
    late = check_freshness(3.1)
    assert not late.passed
    assert "pump-1" in late.message
    assert late.commands


def test_service_that_is_not_polled_is_reported_before_its_schedulers() -> None:
    for polled_minutes_ago in (None, 181):
        outcome = check_freshness(0, polled_minutes_ago)
        assert not outcome.passed
        assert "has not been polled" in outcome.message


@pytest.mark.parametrize(
    "ended",
    [
        {"service": ServiceState(False)},
        {"service": ServiceState(True, DAY - timedelta(days=1))},
        {"history_end": DAY},
    ],
    ids=["only saved responses", "service ended", "history ended"],
)
def test_ended_service_and_history_are_not_late(ended: dict[str, Any]) -> None:
    assert check_freshness(500, None, **ended).passed


def test_data_is_expected_on_the_last_day_of_a_service() -> None:
    assert not check_freshness(500, service=ServiceState(True, DAY)).passed


def test_deleted_and_stopped_schedulers_are_not_late() -> None:
    coverage = pa.table(
        {
            "scheduler_arn": ["deleted", "running", "running", "stopped"],
            "complete_through": pa.array([NOW, NOW, NOW, None], pa.timestamp("ms", "UTC")),
            PARTITION: pa.array([*days_back(1, 1, 0, 0)], pa.date32()),
        }
    )
    rows = pa.table(
        {
            "scheduler_arn": ["deleted", "running", "stopped"],
            "scheduler_name": ["deleted", "running", "stopped"],
            "data_start_time": pa.array([NOW, NOW, NOW], pa.timestamp("ms", "UTC")),
            "data_end_time": pa.array([NOW + HOUR, NOW + HOUR, None], pa.timestamp("ms", "UTC")),
        }
    )
    settings_by_arn = {
        "running": SchedulerSettings(timedelta(minutes=5), timedelta(minutes=2)),
        "stopped": SchedulerSettings(is_stopped=True),
    }

    assert freshness.list_active_schedulers(coverage) == {"running", "stopped"}
    assert freshness.find_newest_data(rows, freshness.list_active_schedulers(coverage), settings_by_arn) == [
        freshness.NewestData("running", NOW + HOUR, NOW + HOUR + timedelta(minutes=7))
    ]


@pytest.mark.parametrize(
    ("text", "minutes"), [("PT5M", 5), ("PT1H", 60), ("PT1H30M", 90), ("", None), ("PT", None)]
)
def test_durations_of_hours_and_minutes_are_parsed(text: str, minutes: int | None) -> None:
    assert parse_duration(text) == (None if minutes is None else timedelta(minutes=minutes))


def test_scheduler_settings_are_the_latest_value_of_each_column() -> None:
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


def test_unrecognized_fields_are_named_and_counted() -> None:
    rows = pa.table({"unrecognized": pa.array(['{"New": 1}', None, '{"New": 1}', '{"Other": 2}'])})

    outcome = completeness.no_unrecognized_fields(rows)

    assert not outcome.passed
    assert outcome.examples == [{"field": "New", "rows": 2}, {"field": "Other", "rows": 1}]
    assert completeness.no_unrecognized_fields(rows.slice(1, 1)).passed


def test_unreadable_result_objects_are_counted_by_state() -> None:
    objects = pa.table(
        {
            "scheduler_name": ["a", "a", "b"],
            "state": ["read", "missing", "forbidden"],
            "error": [None, "NoSuchKey", "AccessDenied"],
            PARTITION: pa.array([DAY] * 3, pa.date32()),
        }
    )

    outcome = completeness.result_objects_read(objects)

    assert not outcome.passed
    others = dict.fromkeys(("key_missing", "wrong_owner", "archived", "unreachable"), 0)
    assert outcome.metadata == {"objects": 3, "missing": 1, "forbidden": 1} | others
    assert completeness.result_objects_read(objects.slice(0, 1)).passed


def test_unanswered_schedulers_are_named_with_their_runs_in_a_row() -> None:
    ends = [datetime(2026, 3, 10, 12, 5, tzinfo=UTC) - timedelta(hours=n) for n in range(4)]
    failed_sources = [{"pump-1": "denied"}, {"pump-1": "throttled"}, {}, {"pump-1": "denied"}]
    runs = [run_outcomes.FinishedRun(*run) for run in zip(ends, failed_sources, strict=True)]

    outcome = run_outcomes.sources_answered(runs)

    assert not outcome.passed
    assert outcome.examples == [
        {"failed": "pump-1", "runs_in_a_row": 2, "since": "2026-03-10 11:05 UTC", "reason": "denied"}
    ]
    assert run_outcomes.sources_answered(runs[2:]).passed
    assert run_outcomes.sources_answered([]).passed


def test_failed_partitions_are_reported_with_their_backfill_command() -> None:
    outcome = run_outcomes.partitions_succeeded("inference_executions", ["2026-03-08", "2026-03-09"], 30)

    assert not outcome.passed
    assert outcome.commands == ["ledger backfill --from 2026-03-08 --to 2026-03-09"]
    assert run_outcomes.partitions_succeeded("inference_executions", [], 30).passed


def test_the_last_days_and_the_days_of_the_run_are_examined() -> None:
    lake_days = sorted(days_back(*range(400)))

    assert context.select_days(lake_days, 10, None) == lake_days[-10:]
    run_days = (lake_days[0], lake_days[1])
    assert context.select_days(lake_days, 10, run_days) == [*lake_days[:2], *lake_days[-10:]]
    assert context.parse_run_days({"dagster/partition": "2026-03-10"}) == (DAY, DAY)
    assert context.parse_run_days({}) is None
