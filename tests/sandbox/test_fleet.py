"""The fleet: the executions of its schedulers, and every special case that it has."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby, pairwise
from typing import Any

import botocore.session
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.fleet import Fleet, History, build_fleet
from sandbox.schedulers import FREQUENCIES, Scheduler, Summary, sort_newest_first

END = datetime(2026, 10, 8, tzinfo=UTC)
HISTORY = History(END - timedelta(days=10), END)
LATER = END + timedelta(hours=2)  # every execution before END is final then
FLEET = build_fleet(1, HISTORY)

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
MINUTE = r"\d{4}-\d\d-\d\dT\d\d:\d\dZ"
MISSES_FILE = (
    rf"Could not find data file for sensor (\S+) within expected range of \(({TIME}), ({TIME})\]\. "
    r"Please ensure data is present for all sensors of the machine under prefix "
)
OLD = re.compile(MISSES_FILE + r"\S+/\1_\d{10}")
NO_FILE = re.compile(MISSES_FILE + r"'s3://(\S+/)\4\1[-_]([\d-]+)' ~ 's3://\4\4\1[-_]([\d-]+)'")
NO_ROWS = re.compile(
    rf"Could not find data for sensor \S+ within expected time range of \(({TIME}), {TIME}\] "
    rf"while searching in the given data range of \(({MINUTE}), ({MINUTE})\)\. Please ensure data is present "
    r"for all sensors of the machine and ensure there is data within the expected time range\."
)
SHAPES = {"old": OLD, "no file": NO_FILE, "no rows": NO_ROWS}


def get_scheduler(name: str, region: str | None = None) -> Scheduler:
    (match,) = (
        scheduler
        for scheduler in FLEET.schedulers
        if scheduler.name == name and region in (None, scheduler.region)
    )
    return match


@cache
def list_executions(scheduler: Scheduler, clock: datetime = LATER) -> list[Summary]:
    return list(scheduler.executions(clock, end=END))


def get_key(summary: Summary) -> tuple[str, datetime]:
    return summary["InferenceSchedulerArn"], summary["DataStartTime"]


@pytest.fixture(scope="module")
def everything() -> list[Summary]:
    return list(FLEET.executions(LATER))


@pytest.fixture(scope="module")
def executions_by_name() -> dict[str, list[Summary]]:
    return {name: list(get_scheduler(name).executions(LATER)) for name in ("turbine-1", "fan-1", "mixer-1")}


class TestPurity:
    def test_the_same_seed_and_history_give_the_same_fleet(self, everything: list[Summary]) -> None:
        assert list(build_fleet(1, HISTORY).executions(LATER)) == everything

    def test_another_seed_gives_other_arns_and_other_failures(self, everything: list[Summary]) -> None:
        other = list(build_fleet(2, HISTORY).executions(LATER))
        assert not {get_key(execution)[0] for execution in other} & {
            get_key(execution)[0] for execution in everything
        }
        failed, other_failed = (
            {
                (execution["InferenceSchedulerName"], execution["DataStartTime"])
                for execution in executions
                if "FailedReason" in execution
            }
            for executions in (everything, other)
        )
        assert failed != other_failed

    @settings(deadline=None, max_examples=20)  # no deadline: the machine can be busy
    @given(hours=st.tuples(st.integers(0, 240), st.integers(0, 240)).map(sorted))
    def test_executions_of_a_range_are_that_part_of_all_executions(
        self, executions_by_name: dict[str, list[Summary]], hours: list[int]
    ) -> None:
        start, end = (HISTORY.start + timedelta(hours=hour, minutes=7) for hour in hours)
        for name, executions in executions_by_name.items():
            part = list(get_scheduler(name).executions(LATER, start, end))
            assert part == [
                execution for execution in executions if start <= execution["DataStartTime"] < end
            ]

    @settings(deadline=None, max_examples=20)  # no deadline: the machine can be busy
    @given(seconds=st.tuples(st.integers(0, 864_000), st.integers(0, 864_000)).map(sorted))
    def test_a_later_clock_only_adds_and_settles_executions(self, seconds: list[int]) -> None:
        earlier, later = (HISTORY.start + timedelta(seconds=second) for second in seconds)
        for name in ("boiler-1", "turbine-1", "mixer-1", "fan-1", "chiller-1"):
            before = {get_key(execution): execution for execution in get_scheduler(name).executions(earlier)}
            after = {get_key(execution): execution for execution in get_scheduler(name).executions(later)}
            assert before.keys() <= after.keys()
            for key, execution in before.items():
                assert after[key] == execution or execution["Status"] == "IN_PROGRESS"

    def test_newest_first_sorts_by_data_start_time(self) -> None:
        times = [
            execution["DataStartTime"]
            for execution in sort_newest_first(list_executions(get_scheduler("turbine-2")))
        ]
        assert times == sorted(times, reverse=True)


class TestLifeCycle:
    @pytest.mark.parametrize(
        "scheduler", FLEET.schedulers, ids=lambda scheduler: scheduler.arn.split(":", 3)[3][:50]
    )
    def test_an_execution_shows_at_its_scheduled_time_in_progress_and_settles_once(
        self, scheduler: Scheduler
    ) -> None:
        slot = next(scheduler.slots(scheduler.created_at, END))
        scheduled = slot.scheduled
        settles_at = scheduler.outcome(slot).settles_at
        assert settles_at is not None
        second = timedelta(seconds=1)

        assert not list(scheduler.executions(scheduled - second))
        (shown,) = scheduler.executions(scheduled)
        (settling,) = scheduler.executions(settles_at - second, end=slot.window.end)
        (settled,) = scheduler.executions(settles_at, end=slot.window.end)
        assert shown == settling
        assert shown["Status"] == "IN_PROGRESS"
        assert settled["Status"] == scheduler.outcome(slot).status

    def test_latency_is_usually_one_to_two_minutes_and_sometimes_tens_of_minutes(self) -> None:
        pump = get_scheduler("pump-2")
        seconds = [pump.outcome(slot).seconds for slot in pump.slots(HISTORY.start, END)]
        usual = sum(60 <= each < 120 for each in seconds) / len(seconds)
        slow = sum(600 <= each < 2_700 for each in seconds) / len(seconds)
        assert usual + slow == 1
        assert 0.005 < slow < 0.05

    def test_members_follow_the_status(self, everything: list[Summary]) -> None:
        for execution in everything:
            assert ("CustomerResultObject" in execution) == (execution["Status"] == "SUCCESS")
            assert ("FailedReason" in execution) == (execution["Status"] == "FAILED")

    def test_a_result_key_is_the_output_prefix_and_the_data_start_time(
        self, everything: list[Summary]
    ) -> None:
        for execution in everything:
            if execution["Status"] == "SUCCESS":
                output = execution["DataOutputConfiguration"]["S3OutputConfiguration"]
                start = execution["DataStartTime"].isoformat().replace("+00:00", "Z")
                assert execution["CustomerResultObject"] == {
                    "Bucket": output["Bucket"],
                    "Key": f"{output['Prefix']}{start}/results.jsonl",
                }

    def test_executions_are_unique(self, everything: list[Summary]) -> None:
        assert max(Counter(map(get_key, everything)).values()) == 1


class TestGrid:
    def test_windows_are_aligned_to_local_time_and_scheduled_after_the_delay(self) -> None:
        for scheduler in FLEET.schedulers:
            for execution in list_executions(scheduler):
                era = scheduler.get_schedule(execution["ScheduledStartTime"])
                step = FREQUENCIES[era.frequency]
                local = execution["DataStartTime"] + scheduler.plant.zone
                assert (local - datetime(1970, 1, 1, tzinfo=UTC)) % step == timedelta(0)
                assert execution["DataEndTime"] - execution["DataStartTime"] == step
                assert execution["ScheduledStartTime"] - execution["DataEndTime"] == timedelta(
                    minutes=era.delay_minutes
                )

    def test_only_stopped_or_changed_schedulers_have_gaps(self) -> None:
        gaps = {
            scheduler.name
            for scheduler in FLEET.schedulers
            for before, after in pairwise(list_executions(scheduler))
            if before["DataEndTime"] != after["DataStartTime"]
        }
        assert gaps == {"turbine-1", "turbine-2"}

    def test_all_frequencies_and_a_wide_range_of_delays_occur(self) -> None:
        eras = [era for scheduler in FLEET.schedulers for era in scheduler.schedules]
        assert {era.frequency for era in eras} == {"PT5M", "PT10M", "PT15M", "PT30M", "PT1H"}
        delays = {era.delay_minutes for era in eras}
        assert {0, 60} <= delays
        assert min(delays) == 0
        assert max(delays) == 60

    def test_the_fleet_has_three_regions_and_several_accounts(self) -> None:
        assert {scheduler.region for scheduler in FLEET.schedulers} == {
            "us-east-1",
            "eu-west-1",
            "ap-northeast-2",
        }
        assert len({scheduler.account for scheduler in FLEET.schedulers}) >= 2


class TestFailures:
    def test_failure_texts_are_those_of_the_service(self, everything: list[Summary]) -> None:
        texts = [execution["FailedReason"] for execution in everything if execution["Status"] == "FAILED"]
        shapes = Counter(
            next((name for name, shape in SHAPES.items() if shape.fullmatch(text)), text) for text in texts
        )
        assert shapes.keys() == SHAPES.keys()

    def test_the_first_empty_window_misses_rows_and_the_following_ones_miss_files(self) -> None:
        for name in ("pump-2", "compressor-2", "mill-1"):
            for before, after in pairwise(list_executions(get_scheduler(name))):
                if after["Status"] == "FAILED":
                    shape = NO_FILE if before["Status"] == "FAILED" else NO_ROWS
                    assert shape.fullmatch(after["FailedReason"])

    def test_missing_files_are_named_one_window_further_on_each_side_in_the_plants_zone(self) -> None:
        long = build_fleet(
            1, History(END - timedelta(days=40), END)
        )  # long enough that both schedulers have an outage
        for name, written in (("mill-1", "%Y%m%d%H%M%S"), ("compressor-2", "%Y-%m-%d-%H-%M-%S")):
            (scheduler,) = (each for each in long.schedulers if each.name == name)
            matches = [
                (execution, match)
                for execution in list_executions(scheduler)
                if (match := NO_FILE.fullmatch(execution.get("FailedReason", "")))
            ]
            assert matches
            for execution, match in matches:
                start, end = execution["DataStartTime"], execution["DataEndTime"]
                assert match[2] == f"{start:%Y-%m-%dT%H:%M:%SZ}"
                assert match[3] == f"{end:%Y-%m-%dT%H:%M:%SZ}"
                assert match[5] == (start - (end - start) + scheduler.plant.zone).strftime(written)
                assert match[6] == (end + (end - start) + scheduler.plant.zone).strftime(written)

    def test_missing_rows_are_searched_in_the_window_before(self) -> None:
        execution = next(
            execution
            for execution in list_executions(get_scheduler("pump-2"))
            if NO_ROWS.fullmatch(execution.get("FailedReason", ""))
        )
        match = NO_ROWS.fullmatch(execution["FailedReason"])
        assert match is not None
        assert match[2] == f"{execution['DataStartTime'] - timedelta(minutes=5):%Y-%m-%dT%H:%MZ}"
        assert match[3] == f"{execution['DataStartTime'] - timedelta(minutes=1):%Y-%m-%dT%H:%MZ}"

    def test_single_failures_and_outages_of_several_windows_occur(self) -> None:
        runs = [
            len(list(group))
            for scheduler in FLEET.schedulers
            for status, group in groupby(
                list_executions(scheduler), key=lambda execution: execution["Status"]
            )
            if status == "FAILED"
        ]
        assert runs.count(1) >= 5
        assert sum(run >= 3 for run in runs) >= 5

    def test_most_windows_succeed(self, everything: list[Summary]) -> None:
        assert (
            0.85 < sum(execution["Status"] == "SUCCESS" for execution in everything) / len(everything) < 0.99
        )


class TestSpecialCases:
    def test_one_execution_never_ends(self) -> None:
        for clock in (LATER, LATER + timedelta(days=30)):
            stuck = [
                execution
                for each in FLEET.schedulers
                for execution in list_executions(each, clock)
                if execution["Status"] == "IN_PROGRESS"
            ]
            assert [execution["InferenceSchedulerName"] for execution in stuck] == ["mixer-1"]

    def test_windows_of_one_scheduler_cross_midnight(self) -> None:
        straddling = [
            execution
            for execution in list_executions(get_scheduler("mill-1"))
            if execution["DataStartTime"].date() != execution["DataEndTime"].date()
        ]
        assert len(straddling) == 10
        assert all(f"{execution['DataStartTime']:%H:%M}" == "23:30" for execution in straddling)

    def test_a_stopped_scheduler_is_listed_and_runs_nothing(self) -> None:
        scheduler = get_scheduler("turbine-1")
        stopped, restarted = scheduler.schedules[0].until, scheduler.schedules[1].since
        assert stopped is not None
        assert restarted - stopped > timedelta(days=1)
        starts = [execution["ScheduledStartTime"] for execution in list_executions(scheduler)]
        assert min(starts) < stopped
        assert not [start for start in starts if stopped <= start < restarted]
        assert max(starts) > restarted
        during = stopped + timedelta(hours=1)
        assert scheduler.is_listed(during)
        assert not scheduler.is_running(during)
        assert scheduler.is_running(restarted)
        assert scheduler.get_schedule(during) == scheduler.schedules[0]

    def test_a_changed_frequency_changes_windows_and_delay(self) -> None:
        scheduler = get_scheduler("turbine-2")
        changed = scheduler.schedules[1].since
        kinds = {
            (
                execution["ScheduledStartTime"] >= changed,
                execution["DataEndTime"] - execution["DataStartTime"],
                execution["ScheduledStartTime"] - execution["DataEndTime"],
            )
            for execution in list_executions(scheduler)
        }
        assert kinds == {
            (False, timedelta(minutes=15), timedelta(minutes=5)),
            (True, timedelta(minutes=5), timedelta(minutes=2)),
        }

    def test_a_deleted_scheduler_is_not_listed_but_keeps_its_executions(self) -> None:
        scheduler = get_scheduler("fan-1")
        assert scheduler.deleted_at is not None
        before = scheduler.deleted_at - timedelta(seconds=1)
        assert scheduler in FLEET.list_schedulers(before)
        assert scheduler not in FLEET.list_schedulers(scheduler.deleted_at)
        assert list_executions(scheduler) == list_executions(scheduler, before) != []
        assert all(execution["Status"] != "IN_PROGRESS" for execution in list_executions(scheduler, before))

    def test_a_recreated_scheduler_has_a_new_arn(self) -> None:
        old, new = (scheduler for scheduler in FLEET.schedulers if scheduler.name == "fan-2")
        assert old.arn != new.arn
        assert old.arn.rpartition("/")[0] == new.arn.rpartition("/")[0]
        assert old.deleted_at is not None
        assert old.deleted_at < new.created_at
        for clock in (HISTORY.start, old.deleted_at, new.created_at, END):
            assert (
                len([scheduler for scheduler in FLEET.list_schedulers(clock) if scheduler.name == "fan-2"])
                <= 1
            )

    def test_two_accounts_use_the_same_scheduler_name(self) -> None:
        assert len({scheduler.account for scheduler in FLEET.schedulers if scheduler.name == "pump-1"}) == 2

    def test_model_versions_change_and_are_missing_in_early_executions(self) -> None:
        def list_model_versions(name: str) -> list[int | None]:
            return [
                version
                for version, _ in groupby(
                    execution.get("ModelVersion") for execution in list_executions(get_scheduler(name))
                )
            ]

        assert list_model_versions("pump-2") == [1, 2]
        assert list_model_versions("compressor-1") == [None, 1, 2]

    def test_a_version_and_its_arn_come_together(self, everything: list[Summary]) -> None:
        for execution in everything:
            assert ("ModelVersion" in execution) == ("ModelVersionArn" in execution)
            if "ModelVersion" in execution:
                assert (
                    execution["ModelVersionArn"]
                    == f"{execution['ModelArn']}/model-version/{execution['ModelVersion']}"
                )

    def test_one_scheduler_has_every_configuration_member(self) -> None:
        for execution in list_executions(get_scheduler("compressor-2")):
            assert execution["DataInputConfiguration"]["InputTimeZoneOffset"] == "+02:00"
            assert execution["DataInputConfiguration"]["InferenceInputNameConfiguration"] == {
                "TimestampFormat": "yyyy-MM-dd-HH-mm-ss",
                "ComponentTimestampDelimiter": "-",
            }
            assert execution["DataOutputConfiguration"]["KmsKeyId"].startswith("arn:aws:kms:eu-west-1:")

    def test_unknown_members_occur_in_some_executions_from_a_date_on(self) -> None:
        scheduler = get_scheduler("chiller-1")
        since = scheduler.unknown_members_since
        assert since is not None
        early = [each for each in list_executions(scheduler) if each["DataStartTime"] < since]
        late = [each for each in list_executions(scheduler) if each["DataStartTime"] >= since]
        assert not [each for each in early if list_unknown_members(each)]
        new = [each for each in late if list_unknown_members(each)]
        assert 0 < len(new) < len(late)
        assert {"InferenceRuntimeInSeconds", "DataOutputConfiguration.ResultFormat"} == set.union(
            *map(list_unknown_members, new)
        )


class TestServiceModel:
    """Names, types, lengths and patterns match the API model of botocore."""

    def test_every_summary_matches_the_service_model(self, everything: list[Summary]) -> None:
        problems = {
            problem for execution in everything for problem in find_differences(SUMMARY, execution, "")
        }
        assert problems == {
            "InferenceRuntimeInSeconds is unknown",
            "DataOutputConfiguration.ResultFormat is unknown",
        }

    @pytest.mark.parametrize(
        ("changed", "problem"),
        [
            ({"ModelName": "pump 1"}, "ModelName breaks its pattern"),
            ({"DataStartTime": datetime(2026, 10, 1)}, "DataStartTime is no aware UTC time"),  # noqa: DTZ001
            ({"FailedReason": ""}, "FailedReason breaks its length"),
            ({"FailedReason": None}, "FailedReason is no string"),
            ({"ModelVersion": "1"}, "ModelVersion is no long"),
            ({"Status": "DONE"}, "Status is not in its enum"),
            ({"CustomerResultObject": {"Bucket": "bucket"}}, "CustomerResultObject.Key is missing"),
        ],
    )
    def test_the_comparison_with_the_model_detects_a_changed_member(
        self, changed: dict[str, Any], problem: str
    ) -> None:
        assert find_differences(
            SUMMARY, list_executions(get_scheduler("pump-1", "us-east-1"))[0] | changed, ""
        ) == {problem}

    def test_members_are_in_the_order_of_the_model(self, everything: list[Summary]) -> None:
        order = [*SUMMARY.members, "InferenceRuntimeInSeconds"]
        for execution in everything:
            assert list(execution) == sorted(execution, key=order.index)


SUMMARY = (
    botocore.session.get_session()
    .get_service_model("lookoutequipment")
    .shape_for("InferenceExecutionSummary")
)


def list_unknown_members(summary: Summary) -> set[str]:
    return {problem.removesuffix(" is unknown") for problem in find_differences(SUMMARY, summary, "")}


def find_differences(shape: Any, value: Any, where: str) -> set[str]:
    """Return the differences between a value and its shape in the service model."""
    match shape.type_name:
        case "structure":
            return _find_differences_of_structure(shape, value, where)
        case "timestamp":
            fine = isinstance(value, datetime) and value.utcoffset() == timedelta(0)
            return set() if fine else {f"{where} is no aware UTC time"}
        case "long":
            return set() if type(value) is int and value >= 1 else {f"{where} is no long"}
        case "string" if not isinstance(value, str):
            return {f"{where} is no string"}
        case "string":
            return _find_differences_of_string(shape, value, where)
        case other:
            raise NotImplementedError(other)


def _find_differences_of_structure(shape: Any, value: dict[str, Any], where: str) -> set[str]:
    def at(member: str) -> str:
        return f"{where}.{member}" if where else member

    problems = {f"{at(member)} is missing" for member in shape.required_members if member not in value}
    for member, member_value in value.items():
        problems |= (
            find_differences(shape.members[member], member_value, at(member))
            if member in shape.members
            else {f"{at(member)} is unknown"}
        )
    return problems


def _find_differences_of_string(shape: Any, value: str, where: str) -> set[str]:
    rules = shape.metadata
    if not rules.get("min", 0) <= len(value) <= rules.get("max", 10_000):
        return {f"{where} breaks its length"}
    if "enum" in rules and value not in rules["enum"]:
        return {f"{where} is not in its enum"}
    # [\P{M}\p{M}] is any character in Java; `re` does not support it.
    pattern = rules.get("pattern", "").replace(r"[\P{M}\p{M}]", r"[\s\S]")
    return set() if re.search(pattern, value) else {f"{where} breaks its pattern"}


@pytest.mark.parametrize("days", [1, 2, 45])
def test_a_history_of_any_length_has_the_same_schedulers_and_remarks(days: int) -> None:
    fleet: Fleet = build_fleet(1, History(END - timedelta(days=days), END))
    names = [(scheduler.name, bool(scheduler.remark)) for scheduler in fleet.schedulers]
    assert names == [(scheduler.name, bool(scheduler.remark)) for scheduler in FLEET.schedulers]
    for scheduler in fleet.schedulers:
        assert next(scheduler.executions(END)), scheduler.name
        assert all(era.until is None or era.since < era.until for era in scheduler.schedules)
