"""Declares the checks of each asset.

All checks of an asset share one step, because a step costs more than these checks and several of them read
the same rows. Each check can still run on its own. `keys_unique` and `schema_matches_declaration` block
downstream assets; the other checks warn.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.checks import contract, executions, result_contents
from assets.checks.completeness import (
    RESULT_COLUMNS,
    count_unread_results,
    evaluate_no_rejected_result_lines,
    evaluate_result_objects_read,
)
from assets.checks.context import CheckContext, CheckSettings, parse_run_days
from assets.checks.result import Check, CheckOutcome, build_check_result
from assets.checks.run_outcomes import evaluate_partitions_succeeded, list_failed_partitions
from assets.framework.partitioned_run import translate_to_failure
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    TABLES,
    Table,
)
from resources.clock import Clock
from resources.lake.lake import Lake
from resources.lake.shards import Shard, list_shards
from resources.sources.base import OpenSources

_WRITTEN_BY = {
    "extraction_coverage": "inference_executions",
    "execution_sources": "inference_executions",
    "forget_operations": "inference_executions",
    "archive_files": "inference_executions",
    "rejected_executions": "inference_executions",
    "result_objects": "anomaly_predictions",
    "sensor_contributions": "anomaly_predictions",
    "rejected_results": "anomaly_predictions",
    "event_notifications": "anomaly_events",
}
"""Tables without checks of their own, and the asset that writes them, whose checks examine them."""

_LARGE_TABLES = {"sensor_contributions": 2}
"""Tables with up to millions of rows a day, and the number of last days whose keys are examined."""


def build_checks(
    settings: CheckSettings, assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
) -> list[dg.AssetChecksDefinition]:
    """Declare the checks of these assets; their resources are `lake`, `sources` and `clock`."""
    steps = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]
    partitions = {
        key: step.partitions_def for step in steps for key in step.keys if key.path[-1] not in _WRITTEN_BY
    }
    checks_by_key = {key: _list_checks(key, partitions[key], settings) for key in sorted(partitions)}
    return [_build_step(key, checks, settings) for key, checks in checks_by_key.items() if checks]


def _list_checks(
    key: dg.AssetKey, partitions: dg.PartitionsDefinition | None, settings: CheckSettings
) -> list[Check]:
    asset = key.path[-1]
    scope = f"Examines the last {settings.last_days} days of the lake and the days of the run."
    checks = executions.build_execution_checks(scope) if asset == INFERENCE_EXECUTIONS.name else []
    if asset == ANOMALY_PREDICTIONS.name:
        checks += _build_result_checks(scope)
    if asset in {table.name for table in TABLES}:
        tables = [table for table in TABLES if asset in (table.name, _WRITTEN_BY.get(table.name))]
        checks += _build_table_checks(tables, scope)
    if partitions is not None:
        description = "No day is failed: the last run of each day recorded it."
        checks.append(Check("partitions_succeeded", description, partial(_check_partitions, key, partitions)))
    return checks


def _build_step(
    key: dg.AssetKey, checks: Sequence[Check], settings: CheckSettings
) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(check.name, asset=key, description=check.description, blocking=check.is_blocking)
        for check in checks
    ]

    @dg.multi_asset_check(
        name=f"{key.path[-1]}_checks",
        specs=specs,
        can_subset=True,
        description=f"Run the checks of {key.path[-1]}.",
    )
    def run_checks(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.AssetCheckResult]:
        run_days = parse_run_days(context.run.tags)
        check_context = CheckContext(settings, lake, sources, clock(), context.instance, key, run_days)
        selected = {check_key.name for check_key in context.selected_asset_check_keys}
        yield from _evaluate(key, [check for check in checks if check.name in selected], check_context)

    return run_checks


def _evaluate(
    key: dg.AssetKey, checks: Sequence[Check], context: CheckContext
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of each check; errors of single checks fail the step after all others ran."""
    failures: dict[str, dg.Failure] = {}
    for check in checks:
        try:
            with translate_to_failure():
                result = build_check_result(check, check.evaluate(context), key)
        except dg.Failure as failure:
            failures[check.name] = failure
        else:
            yield result
    if failures:
        message = "\n".join(
            f"Cannot evaluate {name}: {failure.description}" for name, failure in failures.items()
        )
        raise dg.Failure(message, allow_retries=False) from next(iter(failures.values()))


def _build_table_checks(tables: Sequence[Table], scope: str) -> list[Check]:
    names = ", ".join(table.name for table in tables)
    return [
        Check(
            "keys_unique",
            f"Each primary key occurs once, in the file of its own day and shard. Tables: {names}. {scope}",
            partial(_check_keys, tables),
            is_blocking=True,
        ),
        Check(
            "schema_matches_declaration",
            f"Each file has the declared schema of its table. Tables: {names}. {scope}",
            partial(_check_schema, tables),
            is_blocking=True,
        ),
    ]


def _build_result_checks(scope: str) -> list[Check]:
    return [
        Check(
            "result_objects_read",
            f"Each result object that an execution names was read. {scope}",
            _check_result_objects,
        ),
        Check(
            "no_rejected_result_lines",
            f"No line of a result object was rejected: rejected_results is empty. {scope}",
            _check_result_lines,
        ),
        Check(
            "result_times_in_window",
            f"The lines of each result are in the data window of their execution. {scope}",
            _check_result_times,
        ),
        Check(
            "output_prefixes_not_shared",
            "Nothing shows that several schedulers write to one output prefix of a bucket: neither the times"
            f" of the results, nor their sensors. {scope}",
            _check_output_prefixes,
        ),
    ]


def _check_keys(tables: Sequence[Table], context: CheckContext) -> CheckOutcome:
    return contract.evaluate_keys_unique(_list_key_files(tables, context))


def _list_key_files(tables: Sequence[Table], context: CheckContext) -> Iterator[contract.KeyFile]:
    lake = context.lake
    for table, day in context.iterate_partitions(tables, _LARGE_TABLES):
        count = lake.shards(table, day) if day else 1
        for number in range(count):
            read_keys = partial(lake.read_batches, table, day, table.key, number)
            yield contract.KeyFile((table, day), read_keys, Shard(number, count))


def _check_schema(tables: Sequence[Table], context: CheckContext) -> CheckOutcome:
    return contract.evaluate_schema_matches_declaration(
        ((table, day), footer)
        for table, day in context.iterate_partitions(tables)
        for footer in context.lake.footers(table, day)
    )


def _check_partitions(
    key: dg.AssetKey, partitions: dg.PartitionsDefinition, context: CheckContext
) -> CheckOutcome:
    failed, count = list_failed_partitions(context.instance, key, partitions)
    return evaluate_partitions_succeeded(key.path[-1], failed, count)


def _check_result_objects(context: CheckContext) -> CheckOutcome:
    shown = ["data_start_time", "scheduler_name", "result_s3_bucket", "result_s3_key", "state", "error"]
    due = context.now - context.settings.settle_after
    lake = context.lake

    def read_shards(day: date) -> Iterator[tuple[date, pa.Table, int]]:
        for shard in list_shards(lake.shards(INFERENCE_EXECUTIONS, day)):
            objects = lake.read(RESULT_OBJECTS, day, ["scheduler_arn", *shown], shard)
            executions = lake.read(INFERENCE_EXECUTIONS, day, RESULT_COLUMNS, shard)
            unread = count_unread_results(executions, objects, due)
            yield day, objects.drop_columns("scheduler_arn"), unread

    return evaluate_result_objects_read(part for day in context.execution_days for part in read_shards(day))


def _check_result_lines(context: CheckContext) -> CheckOutcome:
    columns = ["result_s3_bucket", "result_s3_key", "line_number", "reason"]
    objects = context.read_checked_files(RESULT_OBJECTS, ["state"])
    objects_read = sum(pc.sum(pc.equal(rows["state"], "read")).as_py() or 0 for rows in objects)
    rejected = context.read_checked_files(REJECTED_RESULTS, columns)
    return evaluate_no_rejected_result_lines(rejected, objects_read)


def _check_result_times(context: CheckContext) -> CheckOutcome:
    results, outside = 0, list[pa.Table]()
    for day in context.list_checked_days(ANOMALY_PREDICTIONS):
        for shard in list_shards(context.lake.shards(ANOMALY_PREDICTIONS, day)):
            predictions, executions = (
                context.lake.read(table, day, columns, shard)
                for table, columns in (
                    (ANOMALY_PREDICTIONS, result_contents.PREDICTION_COLUMNS),
                    (INFERENCE_EXECUTIONS, result_contents.EXECUTION_COLUMNS),
                )
            )
            examined, rows = result_contents.find_times_outside_window(executions, predictions)
            results += examined
            outside.append(rows)
    return result_contents.evaluate_result_times_in_window(results, outside)


def _check_output_prefixes(context: CheckContext) -> CheckOutcome:
    arns, with_sensors, shared = set[str](), 0, list[result_contents.SharedPrefix]()
    columns = result_contents.DIAGNOSTIC_COLUMNS
    for day in context.execution_days:
        for shard in list_shards(context.lake.shards(SENSOR_CONTRIBUTIONS, day)):
            executions = result_contents.select_bucket_rows(
                context.lake.read(INFERENCE_EXECUTIONS, day, result_contents.EXECUTION_COLUMNS, shard)
            )
            if not executions.num_rows:
                continue
            shard_arns = executions["scheduler_arn"].unique()
            sensors = result_contents.SensorSets()
            for batch in context.lake.read_batches(SENSOR_CONTRIBUTIONS, day, columns, shard.number):
                sensors.add(batch.filter(pc.is_in(batch["scheduler_arn"], shard_arns)))
            arns.update(shard_arns.to_pylist())
            with_sensors += sensors.results
            shared += result_contents.find_shared_prefixes(day, executions, sensors)
    return result_contents.evaluate_output_prefixes_not_shared(len(arns), with_sensors, shared)
