"""The API source with boto3 against the sandbox over HTTP, on real Dagster instances."""

import socket
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.executions.api_extraction import poll_service
from assets.executions.extraction import Extraction
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from pipelines.definitions import build_defs
from resources.aws.access import AwsAccess
from resources.clock import monotonic
from resources.config.settings import ApiSettings, ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from resources.sources import api
from resources.sources.api import ApiSource
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.code_location import DAYS, Location
from tests.support.live_service import NOW, PLACES, BuildLiveLocation, get_visible_statuses, read_statuses
from tests.support.run_results import get_failure_message, read_output_metadata, read_rows


def test_several_accounts_and_regions_give_every_execution_and_scheduler_of_the_service(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet
) -> None:
    location = live(service.url)

    result = location.run()

    assert result.success
    listed = small_fleet.list_schedulers(NOW)
    assert read_statuses(location) == get_visible_statuses(small_fleet, NOW)
    assert {row["source"] for row in read_rows(location.lake).values()} == {"api"}
    assert read_output_metadata(result)["schedulers_answered"] == len(listed)
    assert location.run().success
    latest = {row["scheduler_arn"]: row for row in location.lake.read(INFERENCE_SCHEDULERS).to_pylist()}
    for scheduler in listed:
        assert latest[scheduler.arn]["status"] in ("RUNNING", "STOPPED")
        assert latest[scheduler.arn]["output_s3_bucket"] == scheduler.output.bucket


@pytest.mark.parametrize(
    ("order", "bounds"),
    [
        ("shuffled", "strict"),
        pytest.param("newest", "strict", marks=pytest.mark.slow),
        pytest.param("oldest", "inclusive", marks=pytest.mark.slow),
    ],
)
def test_any_split_of_the_days_gives_the_rows_of_one_run(
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


def test_a_response_completes_a_day_up_to_the_time_of_the_response(
    live: BuildLiveLocation, service: Handle, small_fleet: Fleet
) -> None:
    noon = datetime(2026, 10, 7, 12, tzinfo=UTC)
    service.set_clock(noon)
    location = live(service.url, clock=noon)
    location.run(DAYS[1], DAYS[2])

    def read_complete_through(day: date) -> set[datetime | None]:
        return set(location.lake.read(EXTRACTION_COVERAGE, day)["complete_through"].to_pylist())

    assert read_complete_through(DAYS[1]) == {datetime(2026, 10, 7, 3, tzinfo=UTC)}, (
        "settled three hours after the end of the day"
    )
    assert read_complete_through(DAYS[2]) == {noon}
    coverage = location.lake.read(EXTRACTION_COVERAGE, DAYS[2])
    assert set(coverage["scheduler_arn"].to_pylist()) == {
        scheduler.arn for scheduler in small_fleet.list_schedulers(noon)
    }
    assert None not in coverage["scheduler_name"].to_pylist()


def test_a_later_run_updates_executions_in_progress(
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


def test_a_denied_scheduler_does_not_affect_others_and_a_retry_requests_only_it(
    live: BuildLiveLocation, service: Handle
) -> None:
    service.inject("deny:ListInferenceExecutions:scheduler=pump-2")
    location = live(service.url, PLACES[:1], clock=datetime.now(UTC))

    first = location.run()

    assert not first.success
    assert "pump-2" in get_failure_message(first)
    assert service.count(operation="ListInferenceExecutions", scheduler="pump-2") == 1, (
        "requested once, without a retry"
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
    requests = service.requests(operation="ListInferenceExecutions")
    assert {kind.scheduler for kind in requests if kind.outcome == "ok"} >= {"pump-1", "pump-2"}
    retried_requests = service.count(operation="ListInferenceExecutions") - before
    assert retried_requests == service.count(
        operation="ListInferenceExecutions", scheduler="pump-2", outcome="ok"
    )


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    "fault",
    [
        "throttle:ListInferenceExecutions:count=3",
        "internal:count=3",
        "unavailable:count=3",
        "drop:ListInferenceExecutions:count=2",
        "hangup:count=2",
        "reset:count=2",
        "truncate:ListInferenceExecutions:count=2",
        "truncate:ListInferenceSchedulers:count=2",
        "drop:ListInferenceSchedulers:count=2",
        "repeat-token:ListInferenceExecutions:scheduler=pump-1:after=1:count=1",
        "expire-token:ListInferenceExecutions:scheduler=pump-1:after=1:count=1",
        "empty-page:ListInferenceExecutions:count=4",
        "shift:ListInferenceExecutions:share=0.5",
        "shuffle:ListInferenceExecutions",
    ],
    ids=lambda fault: "-".join(fault.split(":")[:2]),
)
def test_an_extraction_recovers_from_transient_faults(
    small_fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(api, "PAGE_SIZE", 100)
    account, region = PLACES[2]
    extraction = Extraction(Lake(str(tmp_path)), Days(DAYS[0]), timedelta(hours=3), NOW, lambda _: None)

    with run_sandbox(small_fleet, NOW, s3=False, faults=[fault]) as handle:
        source = ApiSource(AwsAccess(region, profile=account, endpoint_url=handle.url))
        for day in extraction.gather([source], DAYS):
            extraction.record(day)
        assert handle.count(operation="ListInferenceExecutions") > len(source.listed_schedulers), "more pages"

    assert not extraction.failed
    expected = {
        key: status
        for key, status in get_visible_statuses(small_fleet, NOW).items()
        if key[0].split(":")[3:5] == [region, account]
    }
    assert {key: row["status"] for key, row in read_rows(extraction.lake).items()} == expected


def test_an_unreachable_endpoint_fails_the_run_and_keeps_all_rows(
    live: BuildLiveLocation, service: Handle
) -> None:
    location = live(service.url, PLACES[:1])
    location.run()
    before = read_rows(location.lake)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed_url = f"http://127.0.0.1:{free.getsockname()[1]}"

    result = live(closed_url, PLACES[:1]).run(DAYS[1], DAYS[1])

    assert not result.success
    assert "cannot be reached" in get_failure_message(result)
    assert closed_url in get_failure_message(result)
    assert read_rows(location.lake) == before


def test_a_missing_permission_fails_the_run_and_names_the_permission(
    live: BuildLiveLocation, service: Handle
) -> None:
    service.inject("deny")

    result = live(service.url, PLACES[:1]).run()

    assert not result.success
    assert "lookoutequipment:ListInferenceSchedulers" in get_failure_message(result)
    assert service.count() == 1, "requested once, without a retry"


def test_missing_credentials_fail_the_run_with_a_hint(
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


def test_an_unknown_scheduler_name_is_logged(
    live: BuildLiveLocation, service: Handle, capfd: pytest.CaptureFixture[str]
) -> None:
    location = live(service.url, PLACES[:1], schedulers=("pump-*", "punp-3"))

    assert location.run().success

    assert "has no scheduler named punp-3" in capfd.readouterr().err
    assert {row["scheduler_name"] for row in read_rows(location.lake).values()} == {"pump-1", "pump-2"}


def test_days_after_the_end_of_the_service_are_not_requested(
    live: BuildLiveLocation, service: Handle
) -> None:
    location = live(service.url, PLACES[:1], service_end=date(2026, 10, 6))

    assert location.run(DAYS[2], DAYS[3]).success
    assert service.count() == 0

    assert location.run().success
    assert (
        max(location.lake.read(INFERENCE_EXECUTIONS, DAYS[1])["data_start_time"].to_pylist()).date()
        == DAYS[1]
    )
    assert set(location.lake.read(EXTRACTION_COVERAGE, DAYS[2])["complete_through"].to_pylist()) <= {None}


def test_a_range_of_days_is_one_request_per_scheduler(live: BuildLiveLocation) -> None:
    week = build_fleet(
        seed=2, history=History(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    )
    with run_sandbox(week, NOW, s3=False) as handle:
        location = live(handle.url, PLACES[:1])
        location.run(DAYS[1], DAYS[2])
        requests = handle.count(operation="ListInferenceExecutions")

    expected = 0
    for scheduler in week.list_schedulers(NOW):
        if scheduler.arn.split(":")[3:5] == ["us-east-1", "111122223333"]:
            start, end = datetime(2026, 10, 5, 22, tzinfo=UTC), datetime(2026, 10, 8, 2, tzinfo=UTC)
            executions = [
                summary
                for summary in scheduler.executions(NOW)
                if summary["DataStartTime"] > start and summary["DataEndTime"] < end
            ]
            expected += max(1, -(-len(executions) // 500))
    assert requests == expected


def test_saved_responses_are_recorded_if_the_service_is_unavailable(
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

    for _ in range(2):  # the second run does not read the files again
        result = location.run()
        assert not result.success
        assert "sources failed" in get_failure_message(result)
        assert set(location.get_partition_statuses().values()) == {"MATERIALIZED"}
        assert set(read_rows(location.lake)) == dumps[1].executions


def test_an_empty_response_of_a_scheduler_that_was_deleted_meanwhile_proves_no_day(
    service: Handle, small_fleet: Fleet
) -> None:
    (deleted,) = (each for each in small_fleet.schedulers if each.name == "fan-1")
    assert deleted.deleted_at is not None
    service.set_clock(deleted.deleted_at - timedelta(seconds=1))
    source = ApiSource(AwsAccess(PLACES[3][1], profile=PLACES[3][0], endpoint_url=service.url))
    listed = {scheduler.arn for scheduler in source.listed_schedulers}
    service.set_clock(NOW)

    poll = poll_service(source, DAYS, {}, lambda _: None, NOW)

    assert {response.scheduler.arn for response in poll.responses} == listed - {deleted.arn} != listed


def test_an_interrupt_does_not_wait_for_the_responses_of_other_schedulers(service: Handle) -> None:
    source = ApiSource(AwsAccess(PLACES[3][1], profile=PLACES[3][0], endpoint_url=service.url))
    _, *others = source.listed_schedulers
    service.inject(*(f"slow:ListInferenceExecutions:scheduler={other.name}:seconds=300" for other in others))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    started = monotonic()
    with pytest.raises(KeyboardInterrupt):
        poll_service(source, DAYS, {}, interrupt, NOW)

    assert monotonic() - started < 60
