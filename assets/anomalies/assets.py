"""The tables of results as Dagster assets."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import partial
from time import perf_counter

import dagster as dg
import pyarrow.compute as pc

from assets.anomalies.objects import contents_version
from assets.anomalies.parse import READER_VERSION
from assets.anomalies.reading import RecordedResults, record_day
from assets.framework.automation import upstream_content_changed
from assets.framework.given import Clock
from assets.framework.partitioned_run import (
    PartitionedRun,
    PartitionResult,
    asset_spec_kwargs,
    column_schema,
    fail_without_retry,
    file_metadata,
    partition_result,
    previous_attempt,
)
from assets.framework.partitions import daily_partitions
from assets.framework.time_windows import Days
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from resources.lake.lake import Lake
from resources.results.fetcher import ObjectState, ResultFetcher

GROUP = "anomalies"
_MEGABYTE = 1_000_000


def build(history: Days) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Declare the assets for a history; their resources are `lake`, `results` and `clock`."""
    partitions = daily_partitions(history)

    @dg.asset(
        deps=[INFERENCE_EXECUTIONS.name],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),  # `dg launch` takes ranges with no other policy
        automation_condition=upstream_content_changed(),
        code_version=f"{ANOMALY_PREDICTIONS.version}.{READER_VERSION}",
        **asset_spec_kwargs(ANOMALY_PREDICTIONS, GROUP),
    )
    def anomaly_predictions(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        results: dg.ResourceParam[Callable[[], ResultFetcher]],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        recorded, _ = previous_attempt(context)
        left = [key for key in context.partition_keys if key not in recorded]
        run, numbers = PartitionedRun(context), Counter[str]()
        with fail_without_retry():
            opened = results()  # once: it knows the buckets
        run.work(left, partial(_record, lake, opened, clock, numbers, context.log.warning))
        return run.end(numbers, {})

    written_along = [
        dg.AssetSpec(
            table.name,
            deps=[anomaly_predictions],
            partitions_def=partitions,
            **asset_spec_kwargs(table, GROUP, written_by=ANOMALY_PREDICTIONS.name),
        )
        for table in (SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)
    ]
    return [anomaly_predictions, *written_along]


def _record(
    lake: Lake,
    results: ResultFetcher,
    clock: Clock,
    numbers: Counter[str],
    warn: Callable[[str], None],
    key: str,
) -> list[PartitionResult]:
    started = perf_counter()
    recorded = record_day(lake, results, date.fromisoformat(key), clock())
    counted = _counted(recorded)
    numbers.update(counted)
    if oddities := _oddities(recorded):
        warn(f"{key}: {oddities}")
    return [
        partition_result(
            ANOMALY_PREDICTIONS,
            recorded.predictions.rows,
            {
                **counted,
                "megabytes": round(recorded.bytes_read / _MEGABYTE, 3),
                "seconds": round(perf_counter() - started, 3),
                **file_metadata(recorded.predictions),
            },
        ),
        _of_contributions(recorded),
        partition_result(REJECTED_RESULTS, recorded.rejected.rows, file_metadata(recorded.rejected)),
        partition_result(
            RESULT_OBJECTS, recorded.objects.rows, {**_states(recorded), **file_metadata(recorded.objects)}
        ),
    ]


def _of_contributions(recorded: RecordedResults) -> PartitionResult:
    return PartitionResult(
        dg.AssetKey(SENSOR_CONTRIBUTIONS.name),
        contents_version(recorded.objects.rows),
        {
            "dagster/partition_row_count": recorded.contributions,
            "dagster/column_schema": column_schema(SENSOR_CONTRIBUTIONS),
            "changed": recorded.contributions_changed,
            "path": dg.MetadataValue.path(str(recorded.contributions_path)),
        },
    )


def _counted(recorded: RecordedResults) -> dict[str, int]:
    rows = recorded.predictions.rows
    return {
        **_states(recorded),
        "lines": rows.num_rows,
        "anomalous": pc.sum(pc.equal(rows["prediction"], 1)).as_py() or 0,
        "contributions": recorded.contributions,
        "rejected": recorded.rejected.rows.num_rows,
    }


def _states(recorded: RecordedResults) -> dict[str, int]:
    """Count objects by what became of them this time; zeros too, so that they can be plotted."""
    return {"objects": recorded.states.total()} | {
        f"objects_{state.value}": recorded.states[state] for state in ObjectState
    }


def _oddities(recorded: RecordedResults) -> str:
    """Say which objects could not be read, and why: one example of each state."""
    rows = recorded.objects.rows.select(["state", "error", "result_s3_bucket", "result_s3_key"]).to_pylist()
    examples = {row["state"]: row for row in reversed(rows) if ObjectState(row["state"]).is_lost}
    return "; ".join(
        f"{recorded.states[ObjectState(state)]} objects {state.replace('_', ' ')}, such as"
        f" s3://{row['result_s3_bucket']}/{row['result_s3_key']}: {row['error']}"
        for state, row in sorted(examples.items())
    )
