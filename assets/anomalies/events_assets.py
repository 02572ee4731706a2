"""Fragments and events as Dagster assets.

Belongs here: declarations, and turning what was made into events of Dagster.
Does not belong here: rules (see `fragments` and `events`), results (see the module of theirs).
"""

from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from typing import Any

import dagster as dg
import pyarrow.compute as pc

from assets.anomalies.contributors import CONTRIBUTION_COLUMNS
from assets.anomalies.events import EventRule, events
from assets.anomalies.fragments import PREDICTION_COLUMNS, fragments
from assets.automation import upstream_content_changed
from assets.batched import Materialized, PartitionedRun, column_schema, materialized, told_to_people
from assets.content import content_version, stamped
from assets.executions.windows import Days
from assets.partitions import daily
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    PARTITION,
    SENSOR_CONTRIBUTIONS,
)
from resources.lake import Lake

GROUP = "anomalies"
RULE_VERSION = 1
"""Rises when the same points give other fragments or events."""

Clock = Callable[[], datetime]


def build(history: Days, rule: EventRule) -> list[dg.AssetsDefinition]:
    """Declare the assets for a history; their resources are `lake` and `clock`."""

    @dg.asset(
        deps=[dg.AssetKey(ANOMALY_PREDICTIONS.name), dg.AssetKey(SENSOR_CONTRIBUTIONS.name)],
        partitions_def=daily(history),
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=upstream_content_changed(),
        code_version=f"{ANOMALY_FRAGMENTS.version}.{RULE_VERSION}",
        group_name=GROUP,
        kinds={"parquet"},
        description=f"{ANOMALY_FRAGMENTS.meaning} One row: {ANOMALY_FRAGMENTS.grain}.",
        metadata={
            "dagster/table_name": ANOMALY_FRAGMENTS.name,
            "dagster/column_schema": column_schema(ANOMALY_FRAGMENTS),
        },
    )
    def anomaly_fragments(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.Output[None]:
        run = PartitionedRun(context)
        run.work(context.partition_keys, partial(_record_fragments, lake, clock))
        return run.end({}, {})

    @dg.asset(
        deps=[anomaly_fragments],
        automation_condition=upstream_content_changed(missing_is_no_obstacle=True),
        code_version=f"{ANOMALY_EVENTS.version}.{RULE_VERSION}",
        group_name=GROUP,
        kinds={"parquet"},
        description=f"{ANOMALY_EVENTS.meaning} One row: {ANOMALY_EVENTS.grain}.",
        metadata={
            "dagster/table_name": ANOMALY_EVENTS.name,
            "dagster/column_schema": column_schema(ANOMALY_EVENTS),
        },
    )
    def anomaly_events(
        lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        with told_to_people():
            all_days = lake.days(ANOMALY_FRAGMENTS)
            pieces = lake.dataset(ANOMALY_FRAGMENTS).to_table() if all_days else _no_fragments()
            written = lake.update(
                ANOMALY_EVENTS, None, lambda existing: events(pieces, rule, existing, clock())
            )
        rows = written.rows
        states = dict(pc.value_counts(rows["state"]).to_pandas().tolist()) if False else {}
        return dg.MaterializeResult(
            data_version=dg.DataVersion(content_version(ANOMALY_EVENTS, rows)),
            metadata={
                "dagster/row_count": rows.num_rows,
                "dagster/column_schema": column_schema(ANOMALY_EVENTS),
                "fragments": pieces.num_rows,
                **states,
            },
        )

    return [anomaly_fragments, anomaly_events]
