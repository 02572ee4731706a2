"""The schedules: one run over the unsettled days or a skip reason, against a real service and instance."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.automation.schedules import BACKLOG_TAG, REFRESH
from pipelines.automation.sensors import build_automation_sensor
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, ArchiveSettings, Settings
from sandbox.service import Handle
from tests.support.code_location import RANGE_END, RANGE_START
from tests.support.live_service import PLACES
from tests.support.scheduled_location import NOON, BuildScheduledLocation


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: schedules open it a second time, as they run in another process."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


def build_seoul_settings(url: str, **more: Any) -> ApiSettings:
    """Name the place with the fewest executions."""
    account, region = PLACES[3]
    return ApiSettings(profile=account, region=region, endpoint_url=url, **more)


def span(request: dg.RunRequest | dg.SkipReason) -> tuple[str, str]:
    assert isinstance(request, dg.RunRequest), request
    return request.tags[RANGE_START], request.tags[RANGE_END]


def reason(request: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(request, dg.SkipReason), request
    return str(request.skip_message)


def test_first_tick_requests_the_lookback_period_and_later_ticks_only_unsettled_days(
    schedule_location: BuildScheduledLocation,
    service: Handle,
) -> None:
    location = schedule_location(build_seoul_settings(service.url))

    first = location.tick()
    assert span(first) == ("2026-10-01", "2026-10-08")
    assert location.execute(first, checks=False).success
    assert span(location.tick()) == ("2026-10-08", "2026-10-08"), "yesterday settled at 03:00"

    location.now = datetime(2026, 10, 9, 2, tzinfo=UTC)
    service.set_clock(location.now)
    assert span(location.tick()) == ("2026-10-08", "2026-10-09")


def test_days_missed_during_an_outage_are_caught_up_in_one_run(
    schedule_location: BuildScheduledLocation,
    service: Handle,
) -> None:
    location = schedule_location(build_seoul_settings(service.url))
    location.execute(location.tick(), checks=False)
    location.now = NOON + timedelta(days=3)
    service.set_clock(location.now)

    request = location.tick()

    assert span(request) == ("2026-10-08", "2026-10-11"), "includes the day that was open at the outage"
    result = location.execute(request, checks=False)
    assert list(location.get_materializations(result)) == [
        "2026-10-08",
        "2026-10-09",
        "2026-10-10",
        "2026-10-11",
    ]


def test_unsettled_days_before_the_lookback_period_are_tagged_with_their_backfill_command(
    schedule_location: BuildScheduledLocation,
    service: Handle,
) -> None:
    location = schedule_location(build_seoul_settings(service.url), lookback_days=2)

    backlog = location.tick().tags[BACKLOG_TAG]
    assert "35 days before the lookback period" in backlog and "2026-09-01...2026-10-05" in backlog
    assert "ledger backfill --from 2026-09-01 --to 2026-10-05" in backlog

    location.execute(location.tick(), checks=False)
    location.now = NOON + timedelta(days=9)
    assert "2026-10-08...2026-10-14" in location.tick().tags[BACKLOG_TAG], (
        "only the last of these days was open"
    )


def test_tick_is_skipped_while_a_run_is_in_progress(
    schedule_location: BuildScheduledLocation, service: Handle
) -> None:
    location = schedule_location(build_seoul_settings(service.url))
    request = location.tick()
    job = location.definitions.resolve_job_def(REFRESH)
    run = location.instance.create_run_for_job(job, run_config=request.run_config, tags=request.tags)

    assert run.run_id in reason(location.tick())

    location.instance.report_run_canceled(run)
    assert span(location.tick())


@pytest.mark.parametrize("by", ["end_date", "service_end"])
def test_ended_service_is_polled_until_its_days_are_settled(
    schedule_location: BuildScheduledLocation,
    service: Handle,
    by: str,
) -> None:
    if by == "end_date":
        location = schedule_location(build_seoul_settings(service.url), end_date=date(2026, 10, 8))
    else:
        location = schedule_location(build_seoul_settings(service.url, service_end=date(2026, 10, 7)))
    location.now = datetime(2026, 10, 8, 1, tzinfo=UTC)
    service.set_clock(location.now)
    location.execute(location.tick(), checks=False)
    assert span(location.tick()) == ("2026-10-07", "2026-10-07"), "not settled yet"
    location.now = NOON
    service.set_clock(NOON)
    location.execute(location.tick(), checks=False)

    message = reason(location.tick())
    assert "No new data is expected" in message
    assert (
        "history.end_date is 2026-10-08" if by == "end_date" else "the service ended on 2026-10-07"
    ) in message
    assert "ledger backfill --from 2026-09-01 --to 2026-09-30" in message, "names unsettled past days"


def test_ended_service_without_data_is_not_polled_after_the_lookback_period(
    schedule_location: BuildScheduledLocation,
    service: Handle,
) -> None:
    location = schedule_location(build_seoul_settings(service.url, service_end=date(2026, 10, 7)))
    location.now = datetime(2026, 10, 15, 12, tzinfo=UTC)

    assert "ledger backfill --from 2026-09-01 --to 2026-10-07" in reason(location.tick())
    assert service.count() == 0, "the schedule itself reads only the lake"


def test_tick_is_skipped_without_a_live_source(
    schedule_location: BuildScheduledLocation, tmp_path: Path
) -> None:
    assert "No source is configured" in reason(schedule_location().tick())
    assert "No live source" in reason(schedule_location(ArchiveSettings(uri=str(tmp_path))).tick())


def test_schedule_and_sensor_run_by_default_with_the_configured_cron(
    tmp_path: Path,
) -> None:
    settings = Settings.model_validate(
        {"lake": {"uri": str(tmp_path)}, "schedule": {"cron": "*/20 6-18 * * 1-5"}}
    )
    repository = build_defs(settings=settings).get_repository_def()

    schedule = repository.get_schedule_def("refresh_unsettled_days")
    assert schedule.cron_schedule == "*/20 6-18 * * 1-5"
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert repository.get_sensor_def("automation").default_status is dg.DefaultSensorStatus.RUNNING


def test_automation_lets_runs_of_people_leave_the_queue_first() -> None:
    (priority,) = build_automation_sensor().run_tags.values()
    assert int(priority) < 0, "runs have priority 0 by default"
