"""The fleet: what its executions look like, and that every misbehaviour it promises is really there."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
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
LATER = END + timedelta(hours=2)  # everything up to END has settled by then
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


def scheduler(name: str, region: str | None = None) -> Scheduler:
    (found,) = (one for one in FLEET.schedulers if one.name == name and region in (None, one.region))
    return found


def executions(one: Scheduler, clock: datetime = LATER) -> list[Summary]:
    return list(one.executions(clock, end=END))


def key(summary: Summary) -> tuple[str, datetime]:
    return summary["InferenceSchedulerArn"], summary["DataStartTime"]


@pytest.fixture(scope="module")
def everything() -> list[Summary]:
    return list(FLEET.executions(LATER))


@pytest.fixture(scope="module")
def whole_of() -> dict[str, list[Summary]]:
    return {name: list(scheduler(name).executions(LATER)) for name in ("turbine-1", "fan-1", "mixer-1")}


class TestPurity:
    def test_the_same_seed_and_history_give_the_same_fleet(self, everything: list[Summary]) -> None:
        assert list(build_fleet(1, HISTORY).executions(LATER)) == everything

    def test_another_seed_gives_other_arns_and_other_failures(self, everything: list[Summary]) -> None:
        other = list(build_fleet(2, HISTORY).executions(LATER))
        assert not {key(one)[0] for one in other} & {key(one)[0] for one in everything}
        failed, other_failed = (
            {(one["InferenceSchedulerName"], one["DataStartTime"]) for one in some if "FailedReason" in one}
            for some in (everything, other)
        )
        assert failed != other_failed

    @settings(deadline=None, max_examples=50)  # a loaded machine is no failure
    @given(hours=st.tuples(st.integers(0, 240), st.integers(0, 240)).map(sorted))
    def test_a_part_of_the_time_is_that_part_of_the_whole(
        self, whole_of: dict[str, list[Summary]], hours: list[int]
    ) -> None:
        start, end = (HISTORY.start + timedelta(hours=hour, minutes=7) for hour in hours)
        for name, whole in whole_of.items():
            part = list(scheduler(name).executions(LATER, start, end))
            assert part == [one for one in whole if start <= one["DataStartTime"] < end]

    @settings(deadline=None, max_examples=50)  # a loaded machine is no failure
    @given(seconds=st.tuples(st.integers(0, 864_000), st.integers(0, 864_000)).map(sorted))
    def test_a_later_clock_only_adds_and_settles(self, seconds: list[int]) -> None:
        earlier, later = (HISTORY.start + timedelta(seconds=second) for second in seconds)
        for name in ("boiler-1", "turbine-1", "mixer-1", "fan-1", "chiller-1"):
            was = {key(one): one for one in scheduler(name).executions(earlier)}
            now = {key(one): one for one in scheduler(name).executions(later)}
            assert was.keys() <= now.keys()
            for which, one in was.items():
                assert now[which] == one or one["Status"] == "IN_PROGRESS"

    def test_newest_first_is_by_data_time(self) -> None:
        times = [one["DataStartTime"] for one in sort_newest_first(executions(scheduler("turbine-2")))]
        assert times == sorted(times, reverse=True)


class TestLifeCycle:
    @pytest.mark.parametrize("one", FLEET.schedulers, ids=lambda one: one.arn.split(":", 3)[3][:50])
    def test_an_execution_shows_at_its_scheduled_time_in_progress_and_settles_once(
        self, one: Scheduler
    ) -> None:
        slot = next(one.slots(one.created_at, END))
        scheduled = slot.scheduled
        settles_at = one.outcome(slot).settles_at
        assert settles_at is not None
        second = timedelta(seconds=1)

        assert not list(one.executions(scheduled - second))
        (shown,) = one.executions(scheduled)
        (settling,) = one.executions(settles_at - second, end=slot.window.end)
        (settled,) = one.executions(settles_at, end=slot.window.end)
        assert shown == settling
        assert shown["Status"] == "IN_PROGRESS"
        assert settled["Status"] == one.outcome(slot).status

    def test_latency_is_a_minute_or_two_and_sometimes_tens_of_minutes(self) -> None:
        pump = scheduler("pump-2")
        seconds = [pump.outcome(slot).seconds for slot in pump.slots(HISTORY.start, END)]
        usual = sum(60 <= each < 120 for each in seconds) / len(seconds)
        slow = sum(600 <= each < 2_700 for each in seconds) / len(seconds)
        assert usual + slow == 1
        assert 0.005 < slow < 0.05

    def test_members_follow_the_status(self, everything: list[Summary]) -> None:
        for one in everything:
            assert ("CustomerResultObject" in one) == (one["Status"] == "SUCCESS")
            assert ("FailedReason" in one) == (one["Status"] == "FAILED")

    def test_a_result_lies_under_the_output_prefix_by_the_start_of_its_data(
        self, everything: list[Summary]
    ) -> None:
        for one in everything:
            if one["Status"] == "SUCCESS":
                output = one["DataOutputConfiguration"]["S3OutputConfiguration"]
                start = one["DataStartTime"].isoformat().replace("+00:00", "Z")
                assert one["CustomerResultObject"] == {
                    "Bucket": output["Bucket"],
                    "Key": f"{output['Prefix']}{start}/results.jsonl",
                }

    def test_no_execution_is_there_twice(self, everything: list[Summary]) -> None:
        assert max(Counter(map(key, everything)).values()) == 1


class TestGrid:
    def test_windows_lie_on_the_plants_clock_and_start_after_the_delay(self) -> None:
        for one in FLEET.schedulers:
            for execution in executions(one):
                era = one.get_schedule(execution["ScheduledStartTime"])
                step = FREQUENCIES[era.frequency]
                local = execution["DataStartTime"] + one.plant.zone
                assert (local - datetime(1970, 1, 1, tzinfo=UTC)) % step == timedelta(0)
                assert execution["DataEndTime"] - execution["DataStartTime"] == step
                assert execution["ScheduledStartTime"] - execution["DataEndTime"] == timedelta(
                    minutes=era.delay_minutes
                )

    def test_there_are_no_gaps_but_the_known_ones(self) -> None:
        gaps = {
            one.name
            for one in FLEET.schedulers
            for before, after in pairwise(executions(one))
            if before["DataEndTime"] != after["DataStartTime"]
        }
        assert gaps == {"turbine-1", "turbine-2"}

    def test_all_frequencies_and_a_wide_range_of_delays_are_there(self) -> None:
        eras = [era for one in FLEET.schedulers for era in one.schedules]
        assert {era.frequency for era in eras} == {"PT5M", "PT10M", "PT15M", "PT30M", "PT1H"}
        delays = {era.delay_minutes for era in eras}
        assert {0, 60} <= delays
        assert min(delays) == 0
        assert max(delays) == 60

    def test_regions_and_accounts(self) -> None:
        assert {one.region for one in FLEET.schedulers} == {"us-east-1", "eu-west-1", "ap-northeast-2"}
        assert len({one.account for one in FLEET.schedulers}) >= 2


class TestFailures:
    def test_texts_are_the_services_own(self, everything: list[Summary]) -> None:
        texts = [one["FailedReason"] for one in everything if one["Status"] == "FAILED"]
        shapes = Counter(
            next((name for name, shape in SHAPES.items() if shape.fullmatch(text)), text) for text in texts
        )
        assert shapes.keys() == SHAPES.keys()

    def test_the_first_empty_window_misses_rows_and_the_following_ones_miss_files(self) -> None:
        for name in ("pump-2", "compressor-2", "mill-1"):
            for before, after in pairwise(executions(scheduler(name))):
                if after["Status"] == "FAILED":
                    shape = NO_FILE if before["Status"] == "FAILED" else NO_ROWS
                    assert shape.fullmatch(after["FailedReason"])

    def test_missing_files_are_named_one_window_further_on_each_side_in_the_plants_zone(self) -> None:
        long = build_fleet(
            1, History(END - timedelta(days=40), END)
        )  # until each of the two has had an outage
        for name, written in (("mill-1", "%Y%m%d%H%M%S"), ("compressor-2", "%Y-%m-%d-%H-%M-%S")):
            (one,) = (each for each in long.schedulers if each.name == name)
            found = [
                (execution, match)
                for execution in executions(one)
                if (match := NO_FILE.fullmatch(execution.get("FailedReason", "")))
            ]
            assert found
            for execution, match in found:
                start, end = execution["DataStartTime"], execution["DataEndTime"]
                assert match[2] == f"{start:%Y-%m-%dT%H:%M:%SZ}"
                assert match[3] == f"{end:%Y-%m-%dT%H:%M:%SZ}"
                assert match[5] == (start - (end - start) + one.plant.zone).strftime(written)
                assert match[6] == (end + (end - start) + one.plant.zone).strftime(written)

    def test_missing_rows_are_searched_in_the_window_before(self) -> None:
        one = next(
            execution
            for execution in executions(scheduler("pump-2"))
            if NO_ROWS.fullmatch(execution.get("FailedReason", ""))
        )
        match = NO_ROWS.fullmatch(one["FailedReason"])
        assert match is not None
        assert match[2] == f"{one['DataStartTime'] - timedelta(minutes=5):%Y-%m-%dT%H:%MZ}"
        assert match[3] == f"{one['DataStartTime'] - timedelta(minutes=1):%Y-%m-%dT%H:%MZ}"

    def test_there_are_outages_of_many_windows_and_lone_failures(self) -> None:
        runs = [
            len(list(group))
            for one in FLEET.schedulers
            for status, group in groupby(executions(one), key=lambda execution: execution["Status"])
            if status == "FAILED"
        ]
        assert runs.count(1) >= 5
        assert sum(run >= 3 for run in runs) >= 5

    def test_most_windows_succeed(self, everything: list[Summary]) -> None:
        assert 0.85 < sum(one["Status"] == "SUCCESS" for one in everything) / len(everything) < 0.99


class TestOddities:
    def test_one_execution_never_ends(self) -> None:
        for clock in (LATER, LATER + timedelta(days=30)):
            stuck = [
                one
                for each in FLEET.schedulers
                for one in executions(each, clock)
                if one["Status"] == "IN_PROGRESS"
            ]
            assert [one["InferenceSchedulerName"] for one in stuck] == ["mixer-1"]

    def test_windows_of_one_plant_straddle_midnight(self) -> None:
        straddling = [
            one
            for one in executions(scheduler("mill-1"))
            if one["DataStartTime"].date() != one["DataEndTime"].date()
        ]
        assert len(straddling) == 10
        assert all(f"{one['DataStartTime']:%H:%M}" == "23:30" for one in straddling)

    def test_a_stopped_scheduler_runs_nothing_and_says_so(self) -> None:
        one = scheduler("turbine-1")
        stopped, restarted = one.schedules[0].until, one.schedules[1].since
        assert stopped is not None
        assert restarted - stopped > timedelta(days=1)
        starts = [execution["ScheduledStartTime"] for execution in executions(one)]
        assert min(starts) < stopped
        assert not [start for start in starts if stopped <= start < restarted]
        assert max(starts) > restarted
        during = stopped + timedelta(hours=1)
        assert one.is_listed(during)
        assert not one.is_running(during)
        assert one.is_running(restarted)
        assert one.get_schedule(during) == one.schedules[0]

    def test_a_changed_frequency_changes_windows_and_delay(self) -> None:
        one = scheduler("turbine-2")
        changed = one.schedules[1].since
        kinds = {
            (
                execution["ScheduledStartTime"] >= changed,
                execution["DataEndTime"] - execution["DataStartTime"],
                execution["ScheduledStartTime"] - execution["DataEndTime"],
            )
            for execution in executions(one)
        }
        assert kinds == {
            (False, timedelta(minutes=15), timedelta(minutes=5)),
            (True, timedelta(minutes=5), timedelta(minutes=2)),
        }

    def test_a_deleted_scheduler_is_forgotten_by_the_service_but_not_by_its_record(self) -> None:
        one = scheduler("fan-1")
        assert one.deleted_at is not None
        before = one.deleted_at - timedelta(seconds=1)
        assert one in FLEET.listed(before)
        assert one not in FLEET.listed(one.deleted_at)
        assert executions(one) == executions(one, before) != []
        assert all(execution["Status"] != "IN_PROGRESS" for execution in executions(one, before))

    def test_a_name_comes_back_with_a_new_arn(self) -> None:
        old, new = (one for one in FLEET.schedulers if one.name == "fan-2")
        assert old.arn != new.arn
        assert old.arn.rpartition("/")[0] == new.arn.rpartition("/")[0]
        assert old.deleted_at is not None
        assert old.deleted_at < new.created_at
        for clock in (HISTORY.start, old.deleted_at, new.created_at, END):
            assert len([one for one in FLEET.listed(clock) if one.name == "fan-2"]) <= 1

    def test_a_name_is_used_in_two_accounts(self) -> None:
        assert len({one.account for one in FLEET.schedulers if one.name == "pump-1"}) == 2

    def test_model_versions_switch_and_were_once_unknown(self) -> None:
        def seen(name: str) -> list[int | None]:
            return [
                version
                for version, _ in groupby(one.get("ModelVersion") for one in executions(scheduler(name)))
            ]

        assert seen("pump-2") == [1, 2]
        assert seen("compressor-1") == [None, 1, 2]

    def test_a_version_and_its_arn_come_together(self, everything: list[Summary]) -> None:
        for one in everything:
            assert ("ModelVersion" in one) == ("ModelVersionArn" in one)
            if "ModelVersion" in one:
                assert one["ModelVersionArn"] == f"{one['ModelArn']}/model-version/{one['ModelVersion']}"

    def test_one_scheduler_shows_its_whole_configuration(self) -> None:
        for one in executions(scheduler("compressor-2")):
            assert one["DataInputConfiguration"]["InputTimeZoneOffset"] == "+02:00"
            assert one["DataInputConfiguration"]["InferenceInputNameConfiguration"] == {
                "TimestampFormat": "yyyy-MM-dd-HH-mm-ss",
                "ComponentTimestampDelimiter": "-",
            }
            assert one["DataOutputConfiguration"]["KmsKeyId"].startswith("arn:aws:kms:eu-west-1:")

    def test_members_ahead_of_the_api_appear_on_some_executions_from_a_date_on(self) -> None:
        one = scheduler("chiller-1")
        since = one.unknown_members_since
        assert since is not None
        early = [each for each in executions(one) if each["DataStartTime"] < since]
        late = [each for each in executions(one) if each["DataStartTime"] >= since]
        assert not [each for each in early if novelties(each)]
        new = [each for each in late if novelties(each)]
        assert 0 < len(new) < len(late)
        assert {"InferenceRuntimeInSeconds", "DataOutputConfiguration.ResultFormat"} == set.union(
            *map(novelties, new)
        )


class TestServiceModel:
    """botocore's model of the API is the judge of names, types, lengths and patterns."""

    def test_every_summary_is_one_of_the_service(self, everything: list[Summary]) -> None:
        problems = {problem for one in everything for problem in unlike(SUMMARY, one, "")}
        assert problems == {
            "InferenceRuntimeInSeconds is unknown",
            "DataOutputConfiguration.ResultFormat is unknown",
        }

    @pytest.mark.parametrize(
        ("spoilt", "problem"),
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
    def test_the_judge_is_strict(self, spoilt: dict[str, Any], problem: str) -> None:
        assert unlike(SUMMARY, executions(scheduler("pump-1", "us-east-1"))[0] | spoilt, "") == {problem}

    def test_members_come_in_the_models_order(self, everything: list[Summary]) -> None:
        order = [*SUMMARY.members, "InferenceRuntimeInSeconds"]
        for one in everything:
            assert list(one) == sorted(one, key=order.index)


SUMMARY = (
    botocore.session.get_session()
    .get_service_model("lookoutequipment")
    .shape_for("InferenceExecutionSummary")
)


def novelties(summary: Summary) -> set[str]:
    return {problem.removesuffix(" is unknown") for problem in unlike(SUMMARY, summary, "")}


def unlike(shape: Any, value: Any, where: str) -> set[str]:
    """How a value differs from what the service's model says it is."""
    match shape.type_name:
        case "structure":
            return _unlike_structure(shape, value, where)
        case "timestamp":
            fine = isinstance(value, datetime) and value.utcoffset() == timedelta(0)
            return set() if fine else {f"{where} is no aware UTC time"}
        case "long":
            return set() if type(value) is int and value >= 1 else {f"{where} is no long"}
        case "string" if not isinstance(value, str):
            return {f"{where} is no string"}
        case "string":
            return _unlike_string(shape, value, where)
        case other:
            raise NotImplementedError(other)


def _unlike_structure(shape: Any, value: dict[str, Any], where: str) -> set[str]:
    def at(member: str) -> str:
        return f"{where}.{member}" if where else member

    problems = {f"{at(member)} is missing" for member in shape.required_members if member not in value}
    for member, held in value.items():
        problems |= (
            unlike(shape.members[member], held, at(member))
            if member in shape.members
            else {f"{at(member)} is unknown"}
        )
    return problems


def _unlike_string(shape: Any, value: str, where: str) -> set[str]:
    rules = shape.metadata
    if not rules.get("min", 0) <= len(value) <= rules.get("max", 10_000):
        return {f"{where} breaks its length"}
    if "enum" in rules and value not in rules["enum"]:
        return {f"{where} is not in its enum"}
    # [\P{M}\p{M}] is Java for any character, and unknown to re.
    pattern = rules.get("pattern", "").replace(r"[\P{M}\p{M}]", r"[\s\S]")
    return set() if re.search(pattern, value) else {f"{where} breaks its pattern"}


@pytest.mark.parametrize("days", [1, 2, 45])
def test_a_history_of_any_length_tells_the_same_stories(days: int) -> None:
    some: Fleet = build_fleet(1, History(END - timedelta(days=days), END))
    told = [(one.name, bool(one.remark)) for one in some.schedulers]
    assert told == [(one.name, bool(one.remark)) for one in FLEET.schedulers]
    for one in some.schedulers:
        assert next(one.executions(END)), one.name
        assert all(era.until is None or era.since < era.until for era in one.schedules)
