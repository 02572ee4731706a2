"""Partitions of a run."""

from datetime import date

import dagster as dg
import pytest

from assets.framework.partitioned_run import handle_errors
from assets.framework.partitions import RANGE, daily_partitions, list_partitions
from assets.framework.time_windows import Days

HISTORY = daily_partitions(Days(date(2026, 10, 1), date(2026, 10, 8)))


@dg.asset(partitions_def=HISTORY, backfill_policy=dg.BackfillPolicy.single_run())
def days(context: dg.AssetExecutionContext) -> dg.Output[None]:
    with handle_errors(context):
        return dg.Output(None, metadata={"days": len(list_partitions(context))})


def run(first: str, last: str) -> dg.ExecuteInProcessResult:
    tags = dict(zip(RANGE, (first, last), strict=True))
    return dg.materialize([days], tags=tags, raise_on_error=False)


def test_a_range_has_its_partitions() -> None:
    events = run("2026-10-05", "2026-10-06").get_asset_materialization_events()
    assert [event.materialization.metadata["days"].value for event in events] == [2, 2]


@pytest.mark.parametrize(("first", "last"), [("2026-10-06", "2026-10-05"), ("2026-10-07", "2026-10-01")])
def test_a_range_without_days_fails_in_words(first: str, last: str) -> None:
    result = run(first, last)

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert f"Cannot materialize a range without days: {first} is after {last}" in str(details.description)
    assert f"run it again from {last} to {first}" in str(details.description)
