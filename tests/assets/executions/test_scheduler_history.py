"""Schedulers: what each was set to and since when, as its executions show it."""

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


def drawn(found: dict[tuple[str, int], Row]) -> list[Row]:
    rows = []
    for (arn, hour), values in found.items():
        minutes = values["data_end_time"]
        end = None if minutes is None else START + hour * HOUR + timedelta(minutes=minutes)
        rows.append(execution(hour, arn, **values | {"data_end_time": end}))
    return rows


def began(*rows: Row) -> list[Row]:
    found: list[Row] = merge_observed_settings([executions([*rows])], NOTHING, NOW).to_pylist()
    return found


def reference(rows: list[Row]) -> list[Row]:
    """The rule over observed settings, one row at a time."""
    told: list[Row] = []
    last: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (row["scheduler_arn"], row["valid_from"])):
        arn = row["scheduler_arn"]
        before = last.get(arn)
        known = {name: row[name] for name in SETTINGS if row[name] is not None}
        last[arn] = (before or dict.fromkeys(SETTINGS)) | known
        if before is None or last[arn] != before:
            told.append(row | last[arn])
    return told


class TestFrequencyAndDelay:
    @pytest.mark.parametrize("frequency", FREQUENCIES)
    def test_the_frequency_is_spelled_as_the_service_does(self, frequency: str) -> None:
        (row,) = began(execution(data_end_time=START + FREQUENCIES[frequency]))
        assert row["data_upload_frequency"] == frequency

    @pytest.mark.parametrize("minutes", [0, 1, 45, 60])
    def test_the_delay_is_what_lies_between_the_end_of_the_data_and_the_run(self, minutes: int) -> None:
        end = START + HOUR
        (row,) = began(execution(data_end_time=end, scheduled_start_time=end + timedelta(minutes=minutes)))
        assert row["data_delay_offset_minutes"] == minutes

    @pytest.mark.parametrize("missing", ["data_end_time", "scheduled_start_time"])
    def test_what_cannot_be_derived_is_null(self, missing: str) -> None:
        times: Row = {"data_end_time": START + HOUR, "scheduled_start_time": START + HOUR} | {missing: None}
        (row,) = began(execution(**times))
        assert row["data_delay_offset_minutes"] is None
        assert row["data_upload_frequency"] == (None if missing == "data_end_time" else "PT1H")

    def test_the_status_of_a_scheduler_is_nothing_that_executions_tell(self) -> None:
        (row,) = began(execution(status="FAILED", scheduler_name="pump"))
        assert row["status"] is None


class TestARow:
    def test_begins_with_the_first_window_that_is_known(self) -> None:
        (row,) = began(execution(1), execution(0))
        assert row["valid_from"] == START

    def test_begins_where_the_model_version_switches_and_only_there(self) -> None:
        rows = began(*(execution(hour, model_version=1 if hour < 3 else 2) for hour in range(6)))
        assert [(row["valid_from"], row["model_version"]) for row in rows] == [
            (START, 1),
            (START + 3 * HOUR, 2),
        ]

    def test_begins_again_where_a_value_comes_back(self) -> None:
        rows = began(*(execution(hour, model_version=version) for hour, version in enumerate([1, 2, 1])))
        assert [row["model_version"] for row in rows] == [1, 2, 1]

    def test_begins_once_where_several_values_change_together(self) -> None:
        new: Row = {"model_version": 2, "data_end_time": START + 2 * HOUR}
        rows = began(execution(0, model_version=1), execution(1, **new))
        assert [(row["model_version"], row["data_upload_frequency"]) for row in rows] == [
            (1, "PT5M"),
            (2, "PT1H"),
        ]

    def test_begins_where_a_value_is_known_for_the_first_time(self) -> None:
        rows = began(execution(0), execution(1, model_version=1))
        assert [row["model_version"] for row in rows] == [None, 1]

    @pytest.mark.parametrize("name", ["model_version", "model_arn", "output_kms_key_id", "scheduler_name"])
    def test_never_begins_with_a_value_that_an_execution_does_not_tell(self, name: str) -> None:
        value: Any = 1 if name == "model_version" else "x"
        assert len(began(execution(0, **{name: value}), execution(1), execution(2, **{name: value}))) == 1

    def test_never_begins_because_another_source_told_of_it(self) -> None:
        assert len(began(execution(0, source="archive"), execution(1, source="api"))) == 1

    def test_tells_an_empty_prefix_from_one_that_is_not_told(self) -> None:
        rows = began(*(execution(hour, output_s3_prefix=text) for hour, text in enumerate(["a/", "", None])))
        assert [row["output_s3_prefix"] for row in rows] == ["a/", ""]


class TestSchedulers:
    def test_a_name_that_was_used_again_is_another_scheduler(self) -> None:
        rows = began(
            execution(0, "arn:old", scheduler_name="fan"), execution(1, "arn:new", scheduler_name="fan")
        )
        assert [(row["scheduler_arn"], row["valid_from"]) for row in rows] == [
            ("arn:new", START + HOUR),
            ("arn:old", START),
        ]

    def test_values_of_one_scheduler_are_never_carried_on_to_the_next(self) -> None:
        rows = began(execution(0, "arn:1", model_version=7), execution(0, "arn:2"))
        assert [row["model_version"] for row in rows] == [7, None]

    def test_a_deleted_one_stays(self) -> None:
        gone, alive = execution(0, "arn:gone"), [execution(hour, "arn:alive") for hour in range(48)]
        assert [row["scheduler_arn"] for row in began(gone, *alive)] == ["arn:alive", "arn:gone"]

    def test_a_stop_is_no_change(self) -> None:
        assert len(began(execution(0), execution(500))) == 1


class TestTheLaws:
    @given(histories)
    @settings(deadline=None, max_examples=60)
    def test_spells_are_the_rule(self, found: dict[tuple[str, int], Row]) -> None:
        settings_seen = extract_observed_settings(executions(drawn(found)))
        assert find_setting_changes([settings_seen]).to_pylist() == reference(settings_seen.to_pylist())

    @given(histories, st.lists(st.integers(0, 12), max_size=3).map(sorted))
    @settings(deadline=None, max_examples=50)
    def test_any_split_into_days_gives_the_rows_of_one_pass(
        self, found: dict[tuple[str, int], Row], cuts: list[int]
    ) -> None:
        rows = drawn(found)
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
    @settings(deadline=None, max_examples=40)
    def test_the_order_of_executions_does_not_count(self, found: dict[tuple[str, int], Row]) -> None:
        rows = drawn(found)
        assert find_setting_changes([extract_observed_settings(executions(rows[::-1]))]).equals(
            find_setting_changes([extract_observed_settings(executions(rows))])
        )


class TestTheTable:
    def test_no_executions_make_no_rows_of_the_right_columns(self) -> None:
        assert merge_observed_settings([], NOTHING, NOW).equals(NOTHING)
        assert merge_observed_settings([executions([])], NOTHING, NOW).equals(NOTHING)

    def test_a_second_time_changes_nothing(self) -> None:
        rows = executions([execution(0, model_version=1), execution(1, model_version=2)])
        once = merge_observed_settings([rows], NOTHING, NOW)
        assert merge_observed_settings([rows], once, NOW + HOUR).equals(once)

    def test_only_rows_that_are_new_are_recorded_anew(self) -> None:
        first = executions([execution(0, model_version=1)])
        both = executions([execution(0, model_version=1), execution(1, model_version=2)])
        rows = merge_observed_settings([both], merge_observed_settings([first], NOTHING, NOW), NOW + HOUR)
        assert rows["recorded_at"].to_pylist() == [NOW, NOW + HOUR]
        assert rows.schema.equals(INFERENCE_SCHEDULERS.schema, check_metadata=True)

    def test_it_is_made_from_no_other_columns_than_it_says(self) -> None:
        rows = executions([execution(0, model_version=1, status="FAILED", failed_reason="no data")])
        assert merge_observed_settings([rows.select(EXECUTION_COLUMNS)], NOTHING, NOW).equals(
            merge_observed_settings([rows], NOTHING, NOW)
        )
