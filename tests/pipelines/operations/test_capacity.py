"""The capacity that the documentation states and that `ledger plan` computes."""

from dataclasses import replace

import pytest

from pipelines.operations.capacity import (
    FLEETS,
    RUN_MEGABYTES,
    build_capacity_table,
    build_day,
    choose_shards,
    compute_capacity,
    compute_reading_seconds,
)
from tests.support.paths import ROOT


def test_the_page_shows_the_computed_table() -> None:
    assert build_capacity_table() in (ROOT / "docs" / "explanation" / "scale.md").read_text()


@pytest.mark.parametrize(("schedulers", "seconds"), [(20, 2.8), (60, 7.9), (150, 17.7)])
def test_the_model_gives_the_measured_cpu_time_of_reading_results(schedulers: int, seconds: float) -> None:
    assert compute_reading_seconds(build_day(schedulers)) == pytest.approx(seconds, rel=0.2)


@pytest.mark.parametrize(("schedulers", "megabytes"), [(20, 450), (150, 768)])
def test_the_model_gives_the_measured_peak_memory(schedulers: int, megabytes: float) -> None:
    assert compute_capacity(build_day(schedulers)).peak_megabytes == pytest.approx(megabytes, rel=0.1)


def test_the_needs_of_fleets_of_all_sizes_are_linear() -> None:
    one = compute_capacity(build_day(1))

    requests = [compute_capacity(build_day(count)).object_requests for count in FLEETS]
    assert requests == [one.object_requests * count for count in FLEETS]


def test_shards_bound_the_memory_of_a_run() -> None:
    large = build_day(10_000)

    assert compute_capacity(large).peak_megabytes > 20_000
    shards = choose_shards(large)
    assert compute_capacity(replace(large, shards=shards)).peak_megabytes <= RUN_MEGABYTES
    assert compute_capacity(replace(large, shards=shards - 1)).peak_megabytes > RUN_MEGABYTES
    assert choose_shards(build_day(15)) == 1


def test_a_range_needs_the_memory_of_one_day() -> None:
    day = build_day(60)
    month = replace(day, days=30, scheduler_days=30 * day.scheduler_days, objects=30 * day.objects)

    assert compute_capacity(month).peak_megabytes == compute_capacity(day).peak_megabytes
    one = compute_capacity(day)
    assert compute_capacity(month).lake_megabytes == pytest.approx(30 * one.lake_megabytes)
