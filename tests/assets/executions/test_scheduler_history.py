"""Settings of schedulers over time, derived from their executions."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.scheduler_history import (
    EXECUTION_COLUMNS,
    extract_observed_settings,
    find_setting_changes,
    merge_observed_settings,
)
from assets.tables import INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from sandbox.schedulers import FREQUENCIES

Row = dict[str, Any]

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
START = datetime(2026, 10, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = INFERENCE_SCHEDULERS.schema.empty_table()
SETTINGS = [
    name
    for name in INFERENCE_SCHEDULERS.schema.names
    if name not in ("scheduler_arn", "valid_from", "source", "recorded_at")
]

executed = st.fixed_dictionaries(
    {
        "scheduler_name": st.sampled_from([None, "pump"]),
        "model_version": st.sampled_from([None, 1, 2]),
        "output_s3_prefix": st.sampled_from([None, "", "a/"]),
        "data_end_time": st.sampled_from([None, 5, 60]),
        "source": st.sampled_from(["api", "archive"]),
    }
)
histories = st.dictionaries(
    st.tuples(st.sampled_from(["arn:1", "arn:2"]), st.integers(0, 11)), executed, max_size=14
)


def execution(hours: float = 0, arn: str = "arn:1", **values: Any) -> Row:
    start = START + hours * HOUR
    base = {"scheduler_arn": arn, "data_start_time": start, "data_end_time": start + timedelta(minutes=5)}
    return base | {"source": "archive", "outcome_source": "archive", "recorded_at": NOW} | values


def executions(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=INFERENCE_EXECUTIONS.schema)


def drawn(changes: dict[tuple[str, int], Row]) -> list[Row]:
    rows = []
    for (arn, hour), values in changes.items():
        minutes = values["data_end_time"]
        end = None if minutes is None else START + hour * HOUR + timedelta(minutes=minutes)
        rows.append(execution(hour, arn, **values | {"data_end_time": end}))
    return rows


def find_changes(*rows: Row) -> list[Row]:
    actual: list[Row] = merge_observed_settings([executions([*rows])], NOTHING, NOW).to_pylist()
    return actual


def reference(rows: list[Row]) -> list[Row]:
    """Find the setting changes in plain Python, row by row."""
    changes: list[Row] = []
    last: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (row["scheduler_arn"], row["valid_from"])):
        arn = row["scheduler_arn"]
        before = last.get(arn)
        known = {name: row[name] for name in SETTINGS if row[name] is not None}
        last[arn] = (before or dict.fromkeys(SETTINGS)) | known
        if before is None or last[arn] != before:
            changes.append(row | last[arn])
    return changes


class TestFrequencyAndDelay:
    @pytest.mark.parametrize("frequency", FREQUENCIES)
    def test_frequency_has_the_format_of_the_service(self, frequency: str) -> None:
        (row,) = find_changes(execution(data_end_time=START + FREQUENCIES[frequency]))
        assert row["data_upload_frequency"] == frequency

    @pytest.mark.parametrize("minutes", [0, 1, 45, 60])
    def test_delay_is_the_time_from_data_end_to_scheduled_start(self, minutes: int) -> None:
        end = START + HOUR
        (row,) = find_changes(
            execution(data_end_time=end, scheduled_start_time=end + timedelta(minutes=minutes))
        )
        assert row["data_delay_offset_minutes"] == minutes

    @pytest.mark.parametrize("missing", ["data_end_time", "scheduled_start_time"])
    def test_underivable_value_is_null(self, missing: str) -> None:
        times: Row = {"data_end_time": START + HOUR, "scheduled_start_time": START + HOUR} | {missing: None}
        (row,) = find_changes(execution(**times))
        assert row["data_delay_offset_minutes"] is None
        assert row["data_upload_frequency"] == (None if missing == "data_end_time" else "PT1H")

    def test_scheduler_status_is_not_derived_from_executions(self) -> None:
        (row,) = find_changes(execution(status="FAILED", scheduler_name="pump"))
        assert row["status"] is None


class TestSettingChange:
    def test_starts_with_the_first_known_window(self) -> None:
        (row,) = find_changes(execution(1), execution(0))
        assert row["valid_from"] == START

    def test_starts_only_where_the_model_version_changes(self) -> None:
        rows = find_changes(*(execution(hour, model_version=1 if hour < 3 else 2) for hour in range(6)))
        assert [(row["valid_from"], row["model_version"]) for row in rows] == [
            (START, 1),
            (START + 3 * HOUR, 2),
        ]

    def test_starts_again_if_a_value_returns(self) -> None:
        rows = find_changes(
            *(execution(hour, model_version=version) for hour, version in enumerate([1, 2, 1]))
        )
        assert [row["model_version"] for row in rows] == [1, 2, 1]

    def test_starts_once_if_several_values_change_together(self) -> None:
        new: Row = {"model_version": 2, "data_end_time": START + 2 * HOUR}
        rows = find_changes(execution(0, model_version=1), execution(1, **new))
        assert [(row["model_version"], row["data_upload_frequency"]) for row in rows] == [
            (1, "PT5M"),
            (2, "PT1H"),
        ]

    def test_starts_where_a_value_becomes_known(self) -> None:
        rows = find_changes(execution(0), execution(1, model_version=1))
        assert [row["model_version"] for row in rows] == [None, 1]

    @pytest.mark.parametrize("name", ["model_version", "model_arn", "output_kms_key_id", "scheduler_name"])
    def test_missing_value_is_no_change(self, name: str) -> None:
        value: Any = 1 if name == "model_version" else "x"
        assert (
            len(find_changes(execution(0, **{name: value}), execution(1), execution(2, **{name: value}))) == 1
        )

    def test_other_source_is_no_change(self) -> None:
        assert len(find_changes(execution(0, source="archive"), execution(1, source="api"))) == 1

    def test_empty_prefix_differs_from_a_missing_one(self) -> None:
        rows = find_changes(
            *(execution(hour, output_s3_prefix=text) for hour, text in enumerate(["a/", "", None]))
        )
        assert [row["output_s3_prefix"] for row in rows] == ["a/", ""]


class TestSchedulers:
    def test_reused_name_is_another_scheduler(self) -> None:
        rows = find_changes(
            execution(0, "arn:old", scheduler_name="fan"), execution(1, "arn:new", scheduler_name="fan")
        )
        assert [(row["scheduler_arn"], row["valid_from"]) for row in rows] == [
            ("arn:new", START + HOUR),
            ("arn:old", START),
        ]

    def test_values_are_not_filled_from_another_scheduler(self) -> None:
        rows = find_changes(execution(0, "arn:1", model_version=7), execution(0, "arn:2"))
        assert [row["model_version"] for row in rows] == [7, None]

    def test_deleted_scheduler_stays(self) -> None:
        gone, alive = execution(0, "arn:gone"), [execution(hour, "arn:alive") for hour in range(48)]
        assert [row["scheduler_arn"] for row in find_changes(gone, *alive)] == ["arn:alive", "arn:gone"]

    def test_interruption_is_no_change(self) -> None:
        assert len(find_changes(execution(0), execution(500))) == 1


class TestSettingChangeLaws:
    @given(histories)
    @settings(deadline=None, max_examples=25)
    def test_setting_changes_equal_the_reference(self, changes: dict[tuple[str, int], Row]) -> None:
        settings_seen = extract_observed_settings(executions(drawn(changes)))
        assert find_setting_changes([settings_seen]).to_pylist() == reference(settings_seen.to_pylist())

    @given(histories, st.lists(st.integers(0, 12), max_size=3).map(sorted))
    @settings(deadline=None, max_examples=20)
    def test_any_split_into_days_equals_one_pass(
        self, changes: dict[tuple[str, int], Row], cuts: list[int]
    ) -> None:
        rows = drawn(changes)
        edges = [0, *cuts, 12]
        days = [
            executions(
                [row for row in rows if START + start * HOUR <= row["data_start_time"] < START + end * HOUR]
            )
            for start, end in itertools.pairwise(edges)
        ]
        one_pass = find_setting_changes([extract_observed_settings(executions(rows))])
        assert find_setting_changes(
            find_setting_changes([extract_observed_settings(day)]) for day in days
        ).equals(one_pass)
        assert find_setting_changes(
            find_setting_changes([extract_observed_settings(day)]) for day in reversed(days)
        ).equals(one_pass)
        by_days, at_once = (
            merge_observed_settings(parts, NOTHING, NOW) for parts in (days, [executions(rows)])
        )
        assert by_days.equals(at_once)

    @given(histories)
    @settings(deadline=None, max_examples=20)
    def test_result_does_not_depend_on_the_order_of_executions(
        self, changes: dict[tuple[str, int], Row]
    ) -> None:
        rows = drawn(changes)
        assert find_setting_changes([extract_observed_settings(executions(rows[::-1]))]).equals(
            find_setting_changes([extract_observed_settings(executions(rows))])
        )


class TestTable:
    def test_no_executions_give_an_empty_table(self) -> None:
        assert merge_observed_settings([], NOTHING, NOW).equals(NOTHING)
        assert merge_observed_settings([executions([])], NOTHING, NOW).equals(NOTHING)

    def test_second_merge_changes_nothing(self) -> None:
        rows = executions([execution(0, model_version=1), execution(1, model_version=2)])
        once = merge_observed_settings([rows], NOTHING, NOW)
        assert merge_observed_settings([rows], once, NOW + HOUR).equals(once)

    def test_recorded_at_changes_only_for_new_rows(self) -> None:
        first = executions([execution(0, model_version=1)])
        both = executions([execution(0, model_version=1), execution(1, model_version=2)])
        rows = merge_observed_settings([both], merge_observed_settings([first], NOTHING, NOW), NOW + HOUR)
        assert rows["recorded_at"].to_pylist() == [NOW, NOW + HOUR]
        assert rows.schema.equals(INFERENCE_SCHEDULERS.schema, check_metadata=True)

    def test_only_declared_columns_are_read(self) -> None:
        rows = executions([execution(0, model_version=1, status="FAILED", failed_reason="no data")])
        assert merge_observed_settings([rows.select(EXECUTION_COLUMNS)], NOTHING, NOW).equals(
            merge_observed_settings([rows], NOTHING, NOW)
        )
