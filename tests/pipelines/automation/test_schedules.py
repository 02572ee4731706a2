"""The schedule: one run over what is not settled, or a reason for none; on a real service and instance."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.automation.schedules import BEHIND
from pipelines.definitions import build_defs
from resources.config.settings import ApiSettings, ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.service import Handle
from tests.pipelines.conftest import END, START, Location
from tests.pipelines.end_to_end.test_live import PLACES, _accounts, service  # noqa: F401 (fixtures)

FIRST = date(2026, 9, 1)
NOON = datetime(2026, 10, 8, 12, tzinfo=UTC)

Ticking = Callable[..., "Ticks"]


class Ticks(Location):
    """A code location whose schedule is asked at a moment."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.now = NOON
        clock = {"clock": lambda: self.now}
        super().__init__(build_defs(clock, settings=settings), instance, Lake(settings.lake.uri))
        whole = self.definitions
        self.without_checks = dg.Definitions(
            assets=whole.assets, jobs=whole.jobs, resources=whole.resources, executor=whole.executor
        )

    def tick(self) -> dg.RunRequest | dg.SkipReason:
        """What the schedule wants now."""
        repository = self.definitions.get_repository_def()
        context = dg.build_schedule_context(
            self.instance,
            scheduled_execution_time=self.now,
            repository_def=repository,
            resources=dict(self.definitions.resources or {}),
        )
        context._instance = self.instance  # else it opens the same one a second time
        told = repository.get_schedule_def("refresh").evaluate_tick(context)
        if told.run_requests:
            (request,) = told.run_requests
            return request
        return dg.SkipReason(told.skip_message)

    def go(self, request: dg.RunRequest, *, checks: bool = True) -> dg.ExecuteInProcessResult:
        """Do what it wants, as the daemon would, with the checks or without."""
        job = (self.definitions if checks else self.without_checks).resolve_job_def("refresh")
        return job.execute_in_process(
            instance=self.instance, run_config=request.run_config, tags=request.tags, raise_on_error=False
        )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One on disk: schedules open it a second time, as they run in another process."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        yield local


@pytest.fixture
def ticking(tmp_path: Path, instance: dg.DagsterInstance) -> Ticking:
    def make(*sources: Any, **history: Any) -> Ticks:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(**{"start_date": FIRST} | history),
            sources=sources,
        )
        return Ticks(settings, instance)

    return make


def api(url: str, **more: Any) -> ApiSettings:
    return ApiSettings(profile=PLACES[0][0], region=PLACES[0][1], endpoint_url=url, **more)


def span(request: dg.RunRequest | dg.SkipReason) -> tuple[str, str]:
    assert isinstance(request, dg.RunRequest), request
    return request.tags[START], request.tags[END]


def reason(request: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(request, dg.SkipReason), request
    return str(request.skip_message)


def test_the_days_within_reach_are_one_run_and_then_those_alone_that_are_not_settled(
    ticking: Ticking,
    service: Handle,  # noqa: F811
) -> None:
    location = ticking(api(service.url))

    first = location.tick()
    assert span(first) == ("2026-10-01", "2026-10-08")
    assert location.go(first).success
    assert span(location.tick()) == ("2026-10-08", "2026-10-08"), "noon: yesterday settled at three"

    location.now = datetime(2026, 10, 9, 2, tzinfo=UTC)
    service.set_clock(location.now)
    assert span(location.tick()) == ("2026-10-08", "2026-10-09")


def test_days_that_were_missed_while_nothing_ran_are_caught_up(
    ticking: Ticking,
    service: Handle,  # noqa: F811
) -> None:
    location = ticking(api(service.url))
    location.go(location.tick())
    location.now = NOON + timedelta(days=3)
    service.set_clock(location.now)

    request = location.tick()

    assert span(request) == ("2026-10-08", "2026-10-11"), "with the day that was open when it stopped"
    result = location.go(request)
    assert list(location.days_of(result)) == ["2026-10-08", "2026-10-09", "2026-10-10", "2026-10-11"]


def test_what_lies_further_back_is_said_with_its_command(
    ticking: Ticking,
    service: Handle,  # noqa: F811
) -> None:
    location = ticking(api(service.url), lookback_days=2)

    behind = location.tick().tags[BEHIND]
    assert "35 days lie further back" in behind and "2026-09-01...2026-10-05" in behind
    assert "ledger backfill --from 2026-09-01 --to 2026-10-05" in behind

    location.go(location.tick())
    location.now = NOON + timedelta(days=9)
    assert "2026-10-08...2026-10-14" in location.tick().tags[BEHIND], "the last of them was open, and no more"


def test_no_second_run_while_one_is_under_way(ticking: Ticking, service: Handle) -> None:  # noqa: F811
    location = ticking(api(service.url))
    request = location.tick()
    job = location.definitions.resolve_job_def("refresh")
    run = location.instance.create_run_for_job(job, run_config=request.run_config, tags=request.tags)

    assert run.run_id in reason(location.tick())

    location.instance.report_run_canceled(run)
    assert span(location.tick())


@pytest.mark.parametrize("by", ["end_date", "service_end"])
def test_a_finished_service_is_asked_until_its_days_are_settled_and_not_for_ever(
    ticking: Ticking,
    service: Handle,  # noqa: F811
    by: str,
) -> None:
    if by == "end_date":
        location = ticking(api(service.url), end_date=date(2026, 10, 8))
    else:
        location = ticking(api(service.url, service_end=date(2026, 10, 7)))
    location.now = datetime(2026, 10, 8, 1, tzinfo=UTC)
    service.set_clock(location.now)
    location.go(location.tick())
    assert span(location.tick()) == ("2026-10-07", "2026-10-07"), "not settled yet"
    location.now = NOON
    service.set_clock(NOON)
    location.go(location.tick())

    told = reason(location.tick())
    assert "Nothing is expected any more" in told
    assert (
        "history.end_date is 2026-10-08" if by == "end_date" else "the service ended on 2026-10-07"
    ) in told
    assert "ledger backfill --from 2026-09-01 --to 2026-09-30" in told, "nor is the past forgotten"


def test_a_service_that_refused_to_the_end_is_left_alone_in_the_end(
    ticking: Ticking,
    service: Handle,  # noqa: F811
) -> None:
    location = ticking(api(service.url, service_end=date(2026, 10, 7)))
    location.now = datetime(2026, 10, 15, 12, tzinfo=UTC)

    assert "ledger backfill --from 2026-09-01 --to 2026-10-07" in reason(location.tick())
    assert service.count() == 0, "the schedule itself asks the lake alone"


def test_without_a_live_source_there_is_nothing_to_ask(ticking: Ticking, tmp_path: Path) -> None:
    assert "No sources are set" in reason(ticking().tick())
    assert "No live source" in reason(ticking(ArchiveSettings(uri=str(tmp_path))).tick())


def test_the_schedule_and_the_sensor_are_on_from_the_start_and_the_cron_is_that_of_the_settings(
    tmp_path: Path,
) -> None:
    settings = Settings.model_validate(
        {"lake": {"uri": str(tmp_path)}, "schedule": {"cron": "*/20 6-18 * * 1-5"}}
    )
    repository = build_defs(settings=settings).get_repository_def()

    schedule = repository.get_schedule_def("refresh")
    assert schedule.cron_schedule == "*/20 6-18 * * 1-5"
    assert schedule.execution_timezone == "UTC"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert repository.get_sensor_def("automation").default_status is dg.DefaultSensorStatus.RUNNING
