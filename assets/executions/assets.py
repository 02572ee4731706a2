"""The execution tables as Dagster assets.

Belongs here: declarations, and turning what an extraction did into events.
Does not belong here: rules (see the modules beside this one).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Any

import dagster as dg

from assets.batched import (
    Materialized,
    PartitionedRun,
    attempted_before,
    batches,
    column_schema,
    materialized,
    told_to_people,
)
from assets.content import content_version
from assets.executions import schedulers
from assets.executions.extract import Earlier, Extraction, Recorded
from assets.executions.flatten import READER_VERSION
from assets.executions.windows import Days
from assets.partitions import daily, days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS, Table
from resources.errors import LedgerError
from resources.lake import Lake, Written
from resources.sources.api import Api
from resources.sources.archive import Archive

GROUP = "executions"
DAYS_A_BATCH = 31
"""A month of the largest fleet fits in memory; a run that dies has a month at most to read again."""

Clock = Callable[[], datetime]
Sources = Callable[[], Sequence[Archive | Api]]


def build(history: Days, settle_after: timedelta) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Declare the assets for a history; their resources are `lake`, `sources` and `clock`."""
    partitions = daily(history)

    @dg.asset(
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),  # `dg launch` takes ranges with no other policy
        code_version=f"{INFERENCE_EXECUTIONS.version}.{READER_VERSION}",
        group_name=GROUP,
        kinds={"parquet"},
        description=_description(INFERENCE_EXECUTIONS),
        metadata=_definition_metadata(INFERENCE_EXECUTIONS),
    )
    def inference_executions(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[Sources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        recorded, began = attempted_before(context)
        earlier = Earlier(frozenset(days(sorted(recorded))), began)
        if recorded:
            context.log.info(f"resuming: {len(recorded)} days were recorded before")
        run, told, numbers = PartitionedRun(context), set[str](), Counter[str]()
        failed: dict[str, LedgerError] = {}
        with told_to_people():
            opened = sources()  # once: each live one has a session and a client of its own
        for batch in batches(context.partition_keys, DAYS_A_BATCH):
            extraction = Extraction(lake, history, settle_after, clock(), context.log.info)
            with told_to_people():
                left = extraction.gather(opened, days(batch), earlier)
                failed |= extraction.failed
                for notice in [
                    *extraction.notices,
                    *(f"{name}: {why}" for name, why in extraction.failed.items()),
                ]:
                    if notice not in told:
                        context.log.warning(notice)
                        told.add(notice)
                run.work([day.isoformat() for day in left], partial(_record, extraction))
                extraction.remember()
            numbers.update(extraction.numbers())
        return run.end(numbers, failed)

    coverage = dg.AssetSpec(
        EXTRACTION_COVERAGE.name,
        deps=[inference_executions],
        partitions_def=partitions,
        group_name=GROUP,
        kinds={"parquet"},
        description=f"{_description(EXTRACTION_COVERAGE)} Written by the runs of inference_executions.",
        metadata=_definition_metadata(EXTRACTION_COVERAGE),
    )

    @dg.asset(
        deps=[inference_executions],
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=str(INFERENCE_SCHEDULERS.version),
        group_name=GROUP,
        kinds={"parquet"},
        description=_description(INFERENCE_SCHEDULERS),
        metadata=_definition_metadata(INFERENCE_SCHEDULERS),
    )
    def inference_schedulers(
        lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        with told_to_people():
            recorded = (
                lake.read(INFERENCE_EXECUTIONS, day, schedulers.COLUMNS)
                for day in lake.days(INFERENCE_EXECUTIONS)
            )
            written = lake.update(
                INFERENCE_SCHEDULERS, None, lambda existing: schedulers.history(recorded, existing, clock())
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(content_version(INFERENCE_SCHEDULERS, written.rows)),
            metadata={
                "dagster/row_count": written.rows.num_rows,
                "dagster/column_schema": column_schema(INFERENCE_SCHEDULERS),
                "schedulers": len(written.rows["scheduler_arn"].unique()),
                **_file(written),
            },
        )

    return [inference_executions, coverage, inference_schedulers]


def _record(extraction: Extraction, key: str) -> list[Materialized]:
    started = perf_counter()
    recorded = extraction.record(date.fromisoformat(key))
    return [
        materialized(
            INFERENCE_EXECUTIONS,
            recorded.executions.rows,
            {
                **_by_status(recorded),
                "rows_changed": recorded.changed_rows,
                **_file(recorded.executions),
                "seconds": round(perf_counter() - started, 3),
            },
        ),
        materialized(
            EXTRACTION_COVERAGE,
            recorded.coverage.rows,
            {"schedulers": recorded.coverage.rows.num_rows, **_file(recorded.coverage)},
        ),
    ]


def _by_status(recorded: Recorded) -> dict[str, int]:
    counted = Counter(recorded.executions.rows["status"].to_pylist())
    known = {name.lower(): counted.pop(name, 0) for name in ("SUCCESS", "FAILED", "IN_PROGRESS")}
    return known | ({"other_status": counted.total()} if counted else {})


def _file(written: Written) -> dict[str, Any]:
    return {"changed": written.changed, "path": dg.MetadataValue.path(str(written.path))}


def _description(table: Table) -> str:
    return f"{table.meaning} One row: {table.grain}."


def _definition_metadata(table: Table) -> dict[str, Any]:
    return {"dagster/table_name": table.name, "dagster/column_schema": column_schema(table)}
