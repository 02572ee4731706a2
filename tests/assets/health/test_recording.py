"""Which days a run over some days updates, and what it says about them."""

from datetime import date, timedelta

import pyarrow as pa

from assets.health.equipment_health import NEEDS_DAYS_AFTER, NEEDS_DAYS_BEFORE
from assets.health.recording import find_dependent_days, summarize_running_time

DAY = date(2026, 10, 1)


def test_a_run_updates_the_computed_days_that_depend_on_its_days() -> None:
    computed = [DAY + timedelta(number) for number in range(-60, 60) if number != 5]
    ranges = [*range(-NEEDS_DAYS_AFTER, 0), *range(2, NEEDS_DAYS_BEFORE + 2)]

    dependents = find_dependent_days([DAY, DAY + timedelta(1)], computed)

    assert dependents == [DAY + timedelta(number) for number in ranges if number != 5]
    assert find_dependent_days([], computed) == []


def build_rows(running: float, off: float, anomalous: float) -> pa.Table:
    values = {"running_minutes": running, "off_minutes": off, "unknown_minutes": 1440 - running - off}
    return pa.Table.from_pylist([{**values, "anomalous_minutes": anomalous, "events": int(anomalous > 0)}])


def test_a_day_without_results_has_no_numbers_about_running_time_and_anomalies() -> None:
    metadata, line = summarize_running_time(build_rows(0.0, 0.0, 0.0))
    assert metadata == {"unknown_minutes": 1440}
    assert line == "1 machines, 24.0 h unknown"

    metadata, line = summarize_running_time(build_rows(720.0, 0.0, 0.0))
    assert (metadata["anomalous_minutes"], metadata["events"]) == (0, 0)
    assert "12.0 h unknown, 0 minutes anomalous, 0 new events" in line

    metadata, line = summarize_running_time(build_rows(0.0, 1440.0, 0.0))
    assert (metadata["running_minutes"], metadata["off_minutes"]) == (0, 1440)
    assert "anomalous" not in line
