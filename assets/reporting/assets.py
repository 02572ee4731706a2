"""Fragments, events and health as Dagster assets.

Belongs here: declarations, and turning what was made into events of Dagster.
Does not belong here: rules (see `assets.anomalies` and the modules beside this one).
"""

from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from time import perf_counter
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.contributors import CONTRIBUTION_COLUMNS
from assets.anomalies.events import EventRule, events
from assets.anomalies.fragments import PREDICTION_COLUMNS, STATES, fragments
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
    Table,
)
from resources.lake import Lake, Written

GROUP = "reporting"
RULE_VERSION = 1
"""Rises when the same points give other fragments or events."""

Clock = Callable[[], datetime]


def build(history: Days, rule: EventRule) -> list[dg.AssetsDefinition]:
    """Declare the assets for a history; their resources are `lake` and `clock`."""
    partitions = daily(history)

    @dg.asset(
        deps=[dg.AssetKey(ANOMALY_PREDICTIONS.name), dg.AssetKey(SENSOR_CONTRIBUTIONS.name)],
        automation_condition=upstream_content_changed(),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=_version(ANOMALY_FRAGMENTS),
        group_name=GROUP,
        kinds={"parquet"},
        description=_description(ANOMALY_FRAGMENTS),
        metadata=_definition_metadata(ANOMALY_FRAGMENTS),
    )
    def anomaly_fragments(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.Output[None]:
        with told_to_people():
            lake.read(ANOMALY_EVENTS, columns=["event_id"])  # one failure, not one a day, where it cannot be
        run = PartitionedRun(context)
        run.work(context.partition_keys, partial(_record_fragments, lake, clock))
        return run.end({}, {})

    @dg.asset(
        deps=[anomaly_fragments],
        automation_condition=upstream_content_changed(needs_all=False),
        code_version=_version(ANOMALY_EVENTS),
        group_name=GROUP,
        kinds={"parquet"},
        description=_description(ANOMALY_EVENTS),
        metadata=_definition_metadata(ANOMALY_EVENTS),
    )
    def anomaly_events(
        lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        with told_to_people():
            pieces = _fragments(lake)
            written = lake.update(
                ANOMALY_EVENTS, None, lambda existing: events(pieces, rule, existing, clock())
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(content_version(ANOMALY_EVENTS, written.rows)),
            metadata={
                "dagster/row_count": written.rows.num_rows,
                "dagster/column_schema": column_schema(ANOMALY_EVENTS),
                "fragments": pieces.num_rows,
                **_numbers_of_events(written.rows),
                **_file(written),
            },
        )

    return [anomaly_fragments, anomaly_events]


def _record_fragments(lake: Lake, clock: Clock, key: str) -> list[Materialized]:
    started, day = perf_counter(), date.fromisoformat(key)
    predictions = lake.read(ANOMALY_PREDICTIONS, day, PREDICTION_COLUMNS)
    made = fragments(predictions, lake.read(SENSOR_CONTRIBUTIONS, day, CONTRIBUTION_COLUMNS))
    written = lake.update(
        ANOMALY_FRAGMENTS,
        day,
        lambda existing: stamped(ANOMALY_FRAGMENTS, made.drop_columns([PARTITION]), existing, clock()),
    )
    points = {
        state: pc.sum(made.filter(pc.equal(made["state"], state))["points"]).as_py() for state in STATES
    }
    numbers = {f"points_{state}": count or 0 for state, count in points.items()}
    seconds = round(perf_counter() - started, 3)
    return [materialized(ANOMALY_FRAGMENTS, written.rows, numbers | _file(written) | {"seconds": seconds})]


def _fragments(lake: Lake) -> pa.Table:
    """Read the fragments of all days, with their `data_date`."""
    if lake.days(ANOMALY_FRAGMENTS):
        return lake.dataset(ANOMALY_FRAGMENTS).to_table()
    return ANOMALY_FRAGMENTS.schema.append(pa.field(PARTITION, pa.date32())).empty_table()


def _numbers_of_events(rows: pa.Table) -> dict[str, int | float]:
    states = {
        state: pc.sum(pc.equal(rows["state"], state)).as_py() or 0 for state in ("closed", "open", "cut")
    }
    minutes = (pc.sum(rows["duration_seconds"]).as_py() or 0) / 60
    return states | {"anomalous_minutes": round(minutes, 1)}


def _version(table: Table) -> str:
    return f"{table.version}.{RULE_VERSION}"


def _description(table: Table) -> str:
    return f"{table.meaning} One row: {table.grain}."


def _definition_metadata(table: Table) -> dict[str, Any]:
    return {"dagster/table_name": table.name, "dagster/column_schema": column_schema(table)}


def _file(written: Written) -> dict[str, Any]:
    return {"changed": written.changed, "path": dg.MetadataValue.path(str(written.path))}
