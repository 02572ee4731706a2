"""Which days checks examine."""

from assets.checks import context
from assets.checks.context import parse_run_days
from assets.framework.partitions import RANGE
from tests.support.check_days import DAY, days_back


def test_the_last_days_and_the_days_of_the_run_are_examined() -> None:
    lake_days = sorted(days_back(*range(400)))

    assert context.select_days(lake_days, 10, None) == lake_days[-10:]
    run_days = (lake_days[0], lake_days[1])
    assert context.select_days(lake_days, 10, run_days) == [*lake_days[:2], *lake_days[-10:]]
    assert context.parse_run_days({"dagster/partition": "2026-03-10"}) == (DAY, DAY)
    assert context.parse_run_days({}) is None


def test_tags_that_are_no_days_select_no_days() -> None:
    assert parse_run_days(dict.fromkeys(RANGE, "2026-13-01")) is None
