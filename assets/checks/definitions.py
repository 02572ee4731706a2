"""The asset checks, declared: which asset has which, and which of them block.

A step costs Dagster more than these checks cost, and several of them judge the same rows. So all checks of an
asset are one step, which reads once what they share, and any of them can be run without the others.

Two checks block downstream assets: `keys_unique` and `schema_matches_declaration`. The others warn.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import dagster as dg

from assets.checks import context as looked_at
from assets.checks import contract, executions
from assets.checks.completeness import no_rejected_result_lines, result_objects_read
from assets.checks.context import CheckContext, CheckSettings
from assets.checks.result import Check, CheckOutcome, build_check_result
from assets.checks.run_outcomes import list_failed_partitions, partitions_succeeded
from assets.framework.partitioned_run import translate_to_failure
from assets.tables import (
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    TABLES,
    Table,
)
from resources.clock import Clock
from resources.lake.lake import Lake
from resources.sources.base import OpenSources

_WRITTEN_WITH = {
    "extraction_coverage": "inference_executions",
    "archive_files": "inference_executions",
    "rejected_executions": "inference_executions",
    "result_objects": "anomaly_predictions",
    "sensor_contributions": "anomaly_predictions",
    "rejected_results": "anomaly_predictions",
    "event_notifications": "anomaly_events",
}
"""Tables that no step of their own writes, and the asset whose run does: they are looked at after it."""

_LARGE = {"sensor_contributions": 2}
"""Of these tables only so many of the last days are looked at by rows: a day may have millions."""


def build_checks(
    rules: CheckSettings, assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
) -> list[dg.AssetChecksDefinition]:
    """Declare the checks of these assets; their resources are `lake`, `sources` and `clock`."""
    steps = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]
    partitions = {key: step.partitions_def for step in steps for key in step.keys}
    declared = {key: _checks(key, partitions[key], rules) for key in sorted(partitions)}
    return [_step(key, checks, rules) for key, checks in declared.items() if checks]


def _checks(
    key: dg.AssetKey, partitions: dg.PartitionsDefinition | None, rules: CheckSettings
) -> list[Check]:
    asset = key.path[-1]
    looks = f"Looks at the last {rules.last_days} days of the lake and at those of its run."
    found = executions.build_execution_checks(looks) if asset == INFERENCE_EXECUTIONS.name else []
    if asset == ANOMALY_PREDICTIONS.name:
        found += _of_results(looks)
    if asset in {table.name for table in TABLES}:
        written = [table for table in TABLES if asset in (table.name, _WRITTEN_WITH.get(table.name))]
        found += _of_tables(written, looks)
    if partitions is not None:
        said = "No day stands as failed: the last run over it recorded it."
        found.append(Check("partitions_succeeded", said, partial(_partitions_succeeded, key, partitions)))
    return found


def _step(key: dg.AssetKey, checks: Sequence[Check], rules: CheckSettings) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(check.name, asset=key, description=check.description, blocking=check.is_blocking)
        for check in checks
    ]

    @dg.multi_asset_check(
        name=f"{key.path[-1]}_checks",
        specs=specs,
        can_subset=True,
        description=f"All checks of {key.path[-1]}.",
    )
    def look_at_all(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.AssetCheckResult]:
        of_run = looked_at.parse_run_days(context.run.tags)
        look = CheckContext(rules, lake, sources, clock(), context.instance, of_run)
        selected = {chosen.name for chosen in context.selected_asset_check_keys}
        yield from _results(key, [check for check in checks if check.name in selected], look)

    return look_at_all


def _results(key: dg.AssetKey, checks: Sequence[Check], look: CheckContext) -> Iterator[dg.AssetCheckResult]:
    """Give what each check finds; one that cannot look keeps no other from it, and fails the step last."""
    problems: dict[str, dg.Failure] = {}
    for check in checks:
        try:
            with translate_to_failure():
                result = build_check_result(check, check.judge(look), key)
        except dg.Failure as problem:
            problems[check.name] = problem
        else:
            yield result
    if problems:
        said = "\n".join(
            f"{name} could not look: {problem.description}" for name, problem in problems.items()
        )
        raise dg.Failure(said, allow_retries=False) from next(iter(problems.values()))


def _of_tables(tables: Sequence[Table], looks: str) -> list[Check]:
    listed = ", ".join(table.name for table in tables)
    return [
        Check(
            "keys_unique",
            f"Every key of {listed} stands once, in its own day. {looks}",
            partial(_keys_unique, tables),
            is_blocking=True,
        ),
        Check(
            "schema_matches_declaration",
            f"Every file of {listed} holds what the table declares. {looks}",
            partial(_fits_declaration, tables),
            is_blocking=True,
        ),
    ]


def _of_results(looks: str) -> list[Check]:
    return [
        Check(
            "result_objects_read",
            f"Every result object that an execution names could be read. {looks}",
            _result_objects_read,
        ),
        Check(
            "no_rejected_result_lines",
            f"No line of a result object had to be put aside in rejected_results. {looks}",
            _result_lines_usable,
        ),
    ]


def _keys_unique(tables: Sequence[Table], look: CheckContext) -> CheckOutcome:
    return contract.keys_unique(
        ((table, day), look.lake.read(table, day, list(table.key)))
        for table, day in look.places(tables, _LARGE)
    )


def _fits_declaration(tables: Sequence[Table], look: CheckContext) -> CheckOutcome:
    found = (((table, day), look.lake.footer(table, day)) for table, day in look.places(tables))
    return contract.schema_matches_declaration((place, footer) for place, footer in found if footer)


def _partitions_succeeded(
    key: dg.AssetKey, partitions: dg.PartitionsDefinition, look: CheckContext
) -> CheckOutcome:
    failed, known = list_failed_partitions(look.instance, key, partitions)
    return partitions_succeeded(key.path[-1], failed, known)


def _result_objects_read(look: CheckContext) -> CheckOutcome:
    columns = ["scheduler_name", "result_s3_bucket", "result_s3_key", "state", "error"]
    return result_objects_read(look.read(RESULT_OBJECTS, columns))


def _result_lines_usable(look: CheckContext) -> CheckOutcome:
    columns = ["result_s3_bucket", "result_s3_key", "line_number", "reason"]
    return no_rejected_result_lines(look.read(REJECTED_RESULTS, columns))
