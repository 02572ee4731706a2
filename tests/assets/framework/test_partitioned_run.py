"""One run over many partitions: an error that affects many of them is logged once, as plain text."""

from collections.abc import Iterator

import dagster as dg

from assets.framework.materializations import PartitionResult
from assets.framework.partitioned_run import PartitionedRun, handle_errors
from resources.errors import DataError

DAYS = [f"2026-10-0{number}" for number in range(1, 6)]


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition("2026-10-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def table(context: dg.AssetExecutionContext) -> dg.Output[None]:
    with handle_errors(context):
        run = PartitionedRun(context)
        run.process(context.partition_keys, read_day)
        return run.finish()


def read_day(day: str) -> Iterator[PartitionResult]:
    if day == DAYS[0]:
        yield PartitionResult("table", "1", {})
    elif day == DAYS[1]:
        raise DataError("Cannot read the sensor\x1b[2J", where="plant", next_step="connect it")
    else:
        raise DataError("Cannot read a file", where=f"lake/{day}.parquet", next_step="restore it")


def test_an_error_of_many_days_is_logged_once_with_all_its_days() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [table],
            instance=instance,
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": DAYS[0],
                "dagster/asset_partition_range_end": DAYS[-1],
            },
        )
        messages = [entry.user_message for entry in instance.all_logs(result.run_id)]

    logged = [message for message in messages if message.startswith(("2026", "Failed for"))]
    assert [message.partition("\n")[0] for message in logged] == [
        rf"{DAYS[1]} failed: Cannot read the sensor\x1b[2J",
        f"{DAYS[2]} failed: Cannot read a file",
        f"Failed for the same reason as {DAYS[2]}: {DAYS[3]}, {DAYS[4]}",
    ]
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data is not None
    text = str(failed.step_failure_data.user_failure_data.description)
    assert text.count("Cannot read a file") == text.count(r"Cannot read the sensor\x1b[2J") == 1
