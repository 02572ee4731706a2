"""The number of days that a run reads before it records them: it bounds memory for any fleet."""

import pytest

from assets.executions.assets import DAYS_PER_BATCH, ROWS_PER_BATCH, compute_days_per_batch
from resources.sources.base import ListedScheduler


def build_fleet(count: int, frequency: str | None) -> list[ListedScheduler]:
    return [
        ListedScheduler(f"arn:{number}", f"pump-{number}", frequency=frequency) for number in range(count)
    ]


@pytest.mark.parametrize(
    ("schedulers", "frequency", "days"),
    [
        (0, "PT5M", DAYS_PER_BATCH),
        (15, "PT5M", DAYS_PER_BATCH),
        (100, "PT5M", 17),
        (1_000, "PT5M", 1),
        (1_000, "PT1H", 20),
        (100_000, "PT5M", 1),
        (100, None, 17),  # the shortest frequency that exists
    ],
)
def test_a_batch_has_a_limited_number_of_rows_and_days(
    schedulers: int, frequency: str | None, days: int
) -> None:
    assert compute_days_per_batch(build_fleet(schedulers, frequency)) == days


@pytest.mark.parametrize("schedulers", [1, 60, 500, 1_700])
def test_a_batch_of_several_days_stays_below_the_row_limit(schedulers: int) -> None:
    days = compute_days_per_batch(build_fleet(schedulers, "PT5M"))
    assert days == 1 or days * schedulers * 288 <= ROWS_PER_BATCH
