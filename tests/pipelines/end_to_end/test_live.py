"""The live service as a source: real boto3 against the sandbox over HTTP, on real Dagster instances."""

import socket
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import DAYS, Location
from tests.support.live_service import NOW, PLACES, BuildLiveLocation, get_visible_statuses, read_statuses
from tests.support.run_results import get_failure_message, read_output_metadata, read_rows


def test_several_accounts_and_regions_give_exactly_what_the_service_has(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet
) -> None:
    location = live(service.url)

    result = location.run()

    assert result.success
    assert read_statuses(location) == get_visible_statuses(small_fleet, NOW)
    assert {row["source"] for row in read_rows(location.lake).values()} == {"api"}
    assert read_output_metadata(result)["schedulers_answered"] == len(small_fleet.listed(NOW))


@pytest.mark.parametrize(
    ("order", "bounds"), [("newest", "strict"), ("oldest", "inclusive"), ("shuffled", "strict")]
)
def test_the_days_of_any_split_are_those_of_one_run(
    live: BuildLiveLocation, small_fleet: Fleet, bounds: Any, order: Any
) -> None:
    with run_sandbox(small_fleet, NOW, s3=False, bounds=bounds, order=order, paging="offset") as handle:
        location = live(handle.url, PLACES[2:])
        for day in reversed(DAYS):
            assert location.run(day, day).success

    expected = {
        key: status
        for key, status in get_visible_statuses(small_fleet, NOW).items()
        if key[0].split(":")[4] == "123456789012"
    }
    assert read_statuses(location) == expected


def test_an_answer_proves_a_day_up_to_its_moment_and_not_beyond(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet
) -> None:
    during = datetime(2026, 10, 7, 12, tzinfo=UTC)
    service.set_clock(during)
    location = live(service.url, clock=during)
    location.run(DAYS[1], DAYS[2])

    def through(day: date) -> set[datetime | None]:
        return set(location.lake.read(EXTRACTION_COVERAGE, day)["complete_through"].to_pylist())

    assert through(DAYS[1]) == {datetime(2026, 10, 7, 3, tzinfo=UTC)}, "settled: three hours after its end"
    assert through(DAYS[2]) == {during}
    covered = location.lake.read(EXTRACTION_COVERAGE, DAYS[2])
    assert set(covered["scheduler_arn"].to_pylist()) == {
        scheduler.arn for scheduler in small_fleet.listed(during)
    }
    assert None not in covered["scheduler_name"].to_pylist()


def test_executions_settle_between_two_runs(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet
) -> None:
    early = datetime(2026, 10, 7, 12, 0, 30, tzinfo=UTC)
    service.set_clock(early)
    first = live(service.url, clock=early)
    first.run()
    assert "IN_PROGRESS" in read_statuses(first).values()

    service.set_clock(NOW)
    second = live(service.url)
    assert second.run().success

    assert read_statuses(second).items() >= get_visible_statuses(small_fleet, NOW).items()


def test_what_the_service_lists_is_told_of_the_schedulers(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet
) -> None:
    location = live(service.url)
    location.run()
    location.run()

    latest = {row["scheduler_arn"]: row for row in location.lake.read(INFERENCE_SCHEDULERS).to_pylist()}
    for scheduler in small_fleet.listed(NOW):
        assert latest[scheduler.arn]["status"] in ("RUNNING", "STOPPED")
        assert latest[scheduler.arn]["output_s3_bucket"] == scheduler.output.bucket


def test_a_scheduler_that_may_not_be_asked_keeps_no_other_from_it(
    live: BuildLiveLocation, service: Handle
) -> None:
    service.inject("deny:ListInferenceExecutions:scheduler=pump-2")
    location = live(service.url, PLACES[:1], clock=datetime.now(UTC))

    first = location.run()

    assert not first.success
    assert "pump-2" in get_failure_message(first)
    assert service.count(operation="ListInferenceExecutions", scheduler="pump-2") == 1, (
        "asked once, not again"
    )
    assert set(location.get_partition_statuses().values()) == {"MATERIALIZED"}
    names = {row["scheduler_name"] for row in read_rows(location.lake).values()}
    assert "pump-1" in names
    assert "pump-2" not in names

    service.clear_faults()
    before = service.count(operation="ListInferenceExecutions")
    resume = {
        "dagster/is_resume_retry": "true",
        "dagster/parent_run_id": first.run_id,
        "dagster/root_run_id": first.run_id,
    }
    second = location.run(tags=resume)

    assert second.success
    assert "pump-2" in {row["scheduler_name"] for row in read_rows(location.lake).values()}
    asked = service.requests(operation="ListInferenceExecutions")
    assert {kind.scheduler for kind in asked if kind.outcome == "ok"} >= {"pump-1", "pump-2"}
    again = service.count(operation="ListInferenceExecutions") - before
    assert again == service.count(operation="ListInferenceExecutions", scheduler="pump-2", outcome="ok")


@pytest.mark.parametrize(
    "fault",
    [
        "throttle:ListInferenceExecutions:share=0.2",
        "internal:share=0.2",
        "unavailable:count=3",
        "drop:ListInferenceExecutions:count=2",
        "hangup:count=2",
        "reset:count=2",
        "truncate:ListInferenceExecutions:count=2",
        "truncate:ListInferenceSchedulers:count=2",
        "drop:ListInferenceSchedulers:count=2",
        "repeat-token:ListInferenceExecutions:count=1",
        "expire-token:ListInferenceExecutions:count=1",
        "empty-page:ListInferenceExecutions:count=4",
        "shift:ListInferenceExecutions:share=0.5",
        "shuffle:ListInferenceExecutions",
    ],
    ids=lambda fault: "-".join(fault.split(":")[:2]),
)
def test_what_passes_is_got_over(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet, fault: str
) -> None:
    service.inject(fault)
    location = live(service.url, PLACES[2:3])

    assert location.run().success

    mine = {
        key: status
        for key, status in get_visible_statuses(small_fleet, NOW).items()
        if key[0].split(":")[3:5] == ["eu-west-1", "123456789012"]
    }
    assert read_statuses(location) == mine


def test_without_an_endpoint_the_run_says_so_and_nothing_is_lost(
    live: BuildLiveLocation, service: Handle
) -> None:
    good = live(service.url, PLACES[:1])
    good.run()
    before = read_rows(good.lake)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"

    result = live(nowhere, PLACES[:1]).run(DAYS[1], DAYS[1])

    assert not result.success
    assert "cannot be reached" in get_failure_message(result)
    assert nowhere in get_failure_message(result)
    assert read_rows(good.lake) == before


def test_without_permission_the_run_says_which_to_grant(live: BuildLiveLocation, service: Handle) -> None:
    service.inject("deny")

    result = live(service.url, PLACES[:1]).run()

    assert not result.success
    assert "lookoutequipment:ListInferenceSchedulers" in get_failure_message(result)
    assert service.count() == 1, "asked once, not again"


def test_without_credentials_the_run_says_how_to_get_some(
    service: Handle, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=DAYS[0]),
        sources=(ApiSettings(region="us-east-1", endpoint_url=service.url),),
    )
    location = Location(
        build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(settings.lake.uri)
    )

    assert "AWS_PROFILE" in get_failure_message(location.run(DAYS[1], DAYS[1]))


def test_a_name_that_no_scheduler_has_is_told(
    live: BuildLiveLocation, service: Handle, capfd: pytest.CaptureFixture[str]
) -> None:
    location = live(service.url, PLACES[:1], schedulers=("pump-*", "punp-3"))

    assert location.run().success

    assert "has no scheduler named punp-3" in capfd.readouterr().err
    assert {row["scheduler_name"] for row in read_rows(location.lake).values()} == {"pump-1", "pump-2"}


def test_days_after_the_end_of_a_service_are_not_asked_for(live: BuildLiveLocation, service: Handle) -> None:
    location = live(service.url, PLACES[:1], service_end=date(2026, 10, 6))

    assert location.run(DAYS[2], DAYS[3]).success
    assert service.count() == 0

    assert location.run().success
    assert (
        max(location.lake.read(INFERENCE_EXECUTIONS, DAYS[1])["data_start_time"].to_pylist()).date()
        == DAYS[1]
    )
    assert set(location.lake.read(EXTRACTION_COVERAGE, DAYS[2])["complete_through"].to_pylist()) <= {None}


def test_many_days_are_one_question_a_scheduler(live: BuildLiveLocation) -> None:
    week = build_fleet(
        seed=2, history=History(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    )
    with run_sandbox(week, NOW, s3=False) as handle:
        location = live(handle.url, PLACES[:1])
        location.run(DAYS[1], DAYS[2])
        asked = handle.count(operation="ListInferenceExecutions")

    expected = 0
    for scheduler in week.listed(NOW):
        if scheduler.arn.split(":")[3:5] == ["us-east-1", "111122223333"]:
            start, end = datetime(2026, 10, 5, 22, tzinfo=UTC), datetime(2026, 10, 8, 2, tzinfo=UTC)
            found = [
                summary
                for summary in scheduler.executions(NOW)
                if summary["DataStartTime"] > start and summary["DataEndTime"] < end
            ]
            expected += max(1, -(-len(found) // 500))
    assert asked == expected


def test_saved_responses_count_though_the_service_is_gone(
    service: Handle, dumps: Any, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    service.inject("deny")
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        sources=(
            ArchiveSettings(uri=str(dumps[0])),
            ApiSettings(profile=PLACES[0][0], region=PLACES[0][1], endpoint_url=service.url),
        ),
    )
    location = Location(
        build_defs({"clock": lambda: NOW}, settings=settings), instance, Lake(settings.lake.uri)
    )

    for _ in range(2):  # the second time no file has to be read
        result = location.run()
        assert not result.success
        assert "sources failed" in get_failure_message(result)
        assert set(location.get_partition_statuses().values()) == {"MATERIALIZED"}
        assert set(read_rows(location.lake)) == dumps[1].executions
