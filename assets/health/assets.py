"""Health tables as Dagster assets."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import dagster as dg

from assets.anomalies.events import EventRule
from assets.executions.service_state import get_service_state
from assets.framework.asset_specs import asset_spec_kwargs
from assets.framework.automation import upstream_content_changed
from assets.framework.interrupts import raise_if_interrupted
from assets.framework.partitioned_run import PartitionedRun, batches, handle_errors, select_partitions
from assets.framework.partitions import daily_partitions, parse_days
from assets.framework.time_windows import Days
from assets.tables import (
    ANOMALY_FRAGMENTS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    RESULT_OBJECTS,
    Table,
)
from resources.clock import Clock
from resources.config.equipment import EquipmentRegistry
from resources.lake.lake import Lake
from resources.sources.base import OpenSources

GROUP = "health"
RULE_VERSION = 3
"""Increase it when the same input gives different health rows."""

LoadRegistry = Callable[[], EquipmentRegistry]


def build(history: Days, settle_after: timedelta, rule: EventRule) -> list[dg.AssetsDefinition]:
    """Declare the assets for a history; their resources are `lake`, `sources`, `registry` and `clock`."""
    partitions = daily_partitions(history)
    return [
        _build_execution_health_asset(partitions, settle_after),
        _build_equipment_health_asset(partitions, rule),
    ]


def _build_execution_health_asset(
    partitions: dg.DailyPartitionsDefinition, settle_after: timedelta
) -> dg.AssetsDefinition:
    @dg.asset(
        deps=[
            dg.AssetKey(INFERENCE_EXECUTIONS.name),
            dg.AssetKey(EXTRACTION_COVERAGE.name),
            dg.AssetKey(INFERENCE_SCHEDULERS.name),
            dg.AssetKey(RESULT_OBJECTS.name),
        ],
        automation_condition=upstream_content_changed(),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=_rule_version(EXECUTION_HEALTH),
        **asset_spec_kwargs(EXECUTION_HEALTH, GROUP, "derived"),
    )
    def execution_health(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        # imported here, so that definitions load without the rules
        from assets.health.execution_health import (  # noqa: PLC0415
            SCHEDULER_COLUMNS,
            SchedulerHistory,
            build_health_policy,
        )
        from assets.health.recording import record_execution_health  # noqa: PLC0415

        with handle_errors(context):
            policy = build_health_policy(get_service_state(sources()), settle_after, clock())
            schedulers = SchedulerHistory(lake.read(INFERENCE_SCHEDULERS, columns=SCHEDULER_COLUMNS))
            run = PartitionedRun(context)
            keys = select_partitions(context, lake, INFERENCE_EXECUTIONS)
            run.process(keys, partial(record_execution_health, lake, schedulers, policy))
            return run.finish()

    return execution_health


def _build_equipment_health_asset(
    partitions: dg.DailyPartitionsDefinition, rule: EventRule
) -> dg.AssetsDefinition:
    @dg.asset(
        # Other days depend on the fragments of a day too. The run updates them itself: with a partition
        # mapping, a backfill in the Dagster UI would also request days without data, and fail for them.
        deps=[dg.AssetKey(ANOMALY_FRAGMENTS.name), dg.AssetKey(EXECUTION_HEALTH.name)],
        automation_condition=upstream_content_changed(required=[EXECUTION_HEALTH.name]),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=_rule_version(EQUIPMENT_HEALTH),
        **asset_spec_kwargs(EQUIPMENT_HEALTH, GROUP, "derived"),
    )
    def equipment_health(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        registry: dg.ResourceParam[LoadRegistry],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        # imported here, so that definitions load without the rules
        from assets.health import recording  # noqa: PLC0415

        with handle_errors(context):
            run = PartitionedRun(context)
            equipment = registry()
            keys = select_partitions(context, lake, EXECUTION_HEALTH)
            dependents = recording.find_dependent_days(parse_days(keys), lake.days(EQUIPMENT_HEALTH))
            work = [(batch, False) for batch in batches(keys, recording.DAYS_PER_BATCH)]
            work += [
                (batch, True) for batch in batches([str(day) for day in dependents], recording.DAYS_PER_BATCH)
            ]
            for batch, only_changed in work:
                raise_if_interrupted(context)
                rows = recording.compute_equipment_health(lake, parse_days(batch), equipment, rule, clock())
                run.process(
                    batch,
                    partial(recording.record_equipment_health, lake, rows, clock, only_changed=only_changed),
                )
            return run.finish()

    return equipment_health


def _rule_version(table: Table) -> str:
    return f"{table.version}.{RULE_VERSION}"
