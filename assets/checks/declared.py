"""The asset checks, declared: which asset has which, and which of them block.

Belongs here: declarations, and reading what the rules judge.
Does not belong here: the rules (see the modules beside this one), and what makes a run fail.

Two block what is downstream, as it would be wrong: `keys_unique` and `fits_declaration`. All others warn.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date

import dagster as dg

from assets.batched import told_to_people
from assets.checks import contract, looked_at
from assets.checks.executions import build as build_executions
from assets.checks.looked_at import Rules
from assets.checks.members import result_lines_usable, result_objects_read
from assets.checks.runs import failed_partitions, partitions_succeeded
from assets.checks.verdict import Verdict, as_result
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    TABLES,
    Table,
)
from resources.lake import Lake

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
_WRITTEN_WITH = {
    "extraction_coverage": "inference_executions",
    "archive_files": "inference_executions",
    "rejected_executions": "inference_executions",
    "result_objects": "anomaly_predictions",
    "sensor_contributions": "anomaly_predictions",
    "rejected_results": "anomaly_predictions",
    "told_events": "anomaly_events",
}
"""Tables that no step of their own writes, and the asset whose run does: they are looked at after it."""

_LARGE = {"sensor_contributions": 2}
"""Of these tables only so many of the last days are looked at by rows: a day may have millions."""


def build(
    rules: Rules, assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
) -> list[dg.AssetChecksDefinition]:
    """Declare the checks of these assets; their resources are `lake`, `sources` and `clock`."""
    steps = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]
    partitions = {key: step.partitions_def for step in steps for key in step.keys}
    names = {key.path[-1] for key in partitions}
    checks = build_executions(rules) if INFERENCE_EXECUTIONS.name in names else []
    for name in sorted(names & {table.name for table in TABLES}):
        written = [table for table in TABLES if name in (table.name, _WRITTEN_WITH.get(table.name))]
        checks += [_keys_unique(name, written, rules), _fits_declaration(name, written, rules)]
    if ANOMALY_PREDICTIONS.name in names:
        checks += [_result_objects_read(rules), _result_lines_usable(rules)]
    checks += [
        _partitions_succeeded(key, defined)
        for key, defined in sorted(partitions.items())
        if defined is not None
    ]
    return checks


def _keys_unique(asset: str, tables: Sequence[Table], rules: Rules) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="keys_unique",
        blocking=True,
        description=f"Every key of {_listed(tables)} stands once, in its own day. {_days(rules)}",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        with told_to_people():
            read = (
                ((table, day), lake.read(table, day, list(table.key)))
                for table, day in _places(lake, tables, rules, context, large=_LARGE)
            )
            return as_result(contract.keys_unique(read), _ERROR)

    return check


def _fits_declaration(asset: str, tables: Sequence[Table], rules: Rules) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="fits_declaration",
        blocking=True,
        description=f"Every file of {_listed(tables)} holds what the table declares. {_days(rules)}",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        with told_to_people():
            found = (
                ((table, day), lake.footer(table, day))
                for table, day in _places(lake, tables, rules, context)
            )
            return as_result(
                contract.fits_declaration((place, footer) for place, footer in found if footer), _ERROR
            )

    return check


def _partitions_succeeded(key: dg.AssetKey, partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key,
        name="partitions_succeeded",
        description="No day stands as failed: the last run over it recorded it.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        failed, known = failed_partitions(context.instance, key, partitions)
        return as_result(partitions_succeeded(key.path[-1], failed, known), _WARN)

    return check


def _result_objects_read(rules: Rules) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=ANOMALY_PREDICTIONS.name,
        name="result_objects_read",
        description=f"Every result object that an execution names could be read. {_days(rules)}",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        columns = ["scheduler_name", "result_s3_bucket", "result_s3_key", "state", "error"]
        return _of_days(context, lake, RESULT_OBJECTS, columns, result_objects_read, rules)

    return check


def _result_lines_usable(rules: Rules) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=ANOMALY_PREDICTIONS.name,
        name="result_lines_usable",
        description=f"No line of a result object had to be put aside in rejected_results. {_days(rules)}",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        columns = ["result_s3_bucket", "result_s3_key", "line_number", "reason"]
        return _of_days(context, lake, REJECTED_RESULTS, columns, result_lines_usable, rules)

    return check


def _of_days(
    context: dg.AssetCheckExecutionContext,
    lake: Lake,
    table: Table,
    columns: list[str],
    judge: Callable[..., Verdict],
    rules: Rules,
) -> dg.AssetCheckResult:
    with told_to_people():
        days = [day for _, day in _places(lake, [table], rules, context) if day is not None]
        return as_result(judge(looked_at.read_days(lake, table, days, columns)), _WARN)


def _places(
    lake: Lake,
    tables: Collection[Table],
    rules: Rules,
    context: dg.AssetCheckExecutionContext,
    large: dict[str, int] | None = None,
) -> Iterator[tuple[Table, date | None]]:
    of_run = looked_at.days_of_run(context.run.tags)
    for table in tables:
        if not table.partitioned:
            yield table, None
            continue
        last = (large or {}).get(table.name, 0)
        days = looked_at.chosen(lake.days(table), last or rules.last_days, None if last else of_run)
        yield from ((table, day) for day in days)


def _listed(tables: Sequence[Table]) -> str:
    return ", ".join(table.name for table in tables)


def _days(rules: Rules) -> str:
    return f"Looks at the last {rules.last_days} days of the lake and at those of its run."
