"""The rule on the age of the newest data."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from assets.checks import freshness
from assets.checks.scheduler_settings import SchedulerSettings
from assets.executions.service_state import ServiceState
from assets.tables import (
    PARTITION,
)
from tests.support.check_days import DAY, NOW, SETTLE, days_back

HOUR = timedelta(hours=1)


def check_freshness(due_hours_ago: float, polled_minutes_ago: int | None = 10, **more: Any) -> Any:
    due = NOW - due_hours_ago * HOUR
    polled = None if polled_minutes_ago is None else NOW - timedelta(minutes=polled_minutes_ago)
    service = more.pop("service", ServiceState(True))
    newest = [freshness.NewestData("pump-1", due - HOUR, due)]
    return freshness.evaluate_data_fresh(
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
    parts = [rows.slice(0, 1), rows.slice(1)]
    assert freshness.find_newest_data(parts, freshness.list_active_schedulers(coverage), settings_by_arn) == [
        freshness.NewestData("running", NOW + HOUR, NOW + HOUR + timedelta(minutes=7))
    ]


def test_without_a_running_scheduler_no_data_is_called_up_to_date() -> None:
    outcome = freshness.evaluate_data_fresh(
        [], NOW, ServiceState(True), history_end=None, now=NOW, late_after=SETTLE
    )

    assert outcome.passed
    assert outcome.message == "No scheduler is known to run, so no new data is expected."
