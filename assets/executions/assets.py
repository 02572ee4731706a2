"""The execution tables as Dagster assets."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from assets.executions import scheduler_history as schedulers
from assets.executions.api_extraction import RefusedSources
from assets.executions.extraction import Extraction, RecordedDay
from assets.executions.flatten import READER_VERSION
from assets.executions.selection import ExtractionSelection, PreviousAttempt, build_budget_error
from assets.framework.automation import upstream_content_changed
from assets.framework.partitioned_run import (
    PartitionedRun,
    PartitionResult,
    asset_spec_kwargs,
    batches,
    file_metadata,
    no_retry_on_interrupt,
    partition_result,
    previous_attempt,
    translate_to_failure,
    unpartitioned_result,
)
from assets.framework.partitions import daily_partitions, parse_days
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from resources.clock import Clock, monotonic
from resources.errors import BudgetSpentError, LedgerError
from resources.lake.lake import Lake
from resources.sources.base import OpenSources, Source
from resources.sources.call_budget import CallBudget

GROUP = "executions"
DAYS_A_BATCH = 31
"""A month of the largest fleet fits in memory; a run that dies has a month at most to read again."""

POOL = "lookoutequipment_api"
"""Runs that ask services take turns: their limits are for an account, not for a run."""

RETRIES, RETRY_DELAY_SECONDS = 2, 60
"""A service that is busy or down longer than botocore waits gets two more chances, minutes apart."""


class ExtractionConfig(dg.Config):
    """What a run of inference_executions may be told, beside its days."""

    schedulers: list[str] = Field(
        default=[],
        description="Names or ARNs of schedulers, with * and ?; empty: all. The rows of the others stay, and"
        " their days stay as open as they were. Saved responses are read whole all the same.",
    )
    skip_settled: bool = Field(
        default=False, description="Leave out the days of schedulers that coverage proves complete."
    )
    max_calls: int | None = Field(
        default=None,
        description="Calls to services after which the run stops, keeping what came;"
        " default: limits.max_calls_per_run of the settings.",
    )


def build(
    history: Days, settle_after: timedelta, max_calls: int | None = None
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Declare the assets for a history; their resources are `lake`, `sources` and `clock`.

    Args:
        history: the days that are partitions.
        settle_after: how long after its end a day may change.
        max_calls: calls to services that a run may make, where it is not told otherwise; None: any number.
    """
    partitions = daily_partitions(history)

    @dg.asset(
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),  # `dg launch` takes ranges with no other policy
        pool=POOL,
        retry_policy=dg.RetryPolicy(
            max_retries=RETRIES,
            delay=RETRY_DELAY_SECONDS,
            backoff=dg.Backoff.EXPONENTIAL,
            jitter=dg.Jitter.PLUS_MINUS,
        ),  # for RetryLaterError alone: everything else is told to people, as a failure that allows no retry
        code_version=f"{INFERENCE_EXECUTIONS.version}.{READER_VERSION}",
        **asset_spec_kwargs(INFERENCE_EXECUTIONS, GROUP),
    )
    def inference_executions(
        context: dg.AssetExecutionContext,
        config: ExtractionConfig,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.Output[None]:
        recorded, began = previous_attempt(context)
        earlier = PreviousAttempt(frozenset(parse_days(sorted(recorded))), began)
        calls = CallBudget(max_calls if config.max_calls is None else config.max_calls)
        scope, refusals = (
            ExtractionSelection(tuple(config.schedulers), config.skip_settled, earlier),
            RefusedSources(),
        )
        with no_retry_on_interrupt(), translate_to_failure():
            opened = sources()  # once: each live one has a session and a client of its own
            for source in opened:
                if source.service:
                    source.service.calls = calls
            return _extracted(
                context,
                opened,
                scope,
                calls,
                lambda: Extraction(lake, history, settle_after, clock(), context.log.info, refusals),
            )

    coverage = dg.AssetSpec(
        EXTRACTION_COVERAGE.name,
        deps=[inference_executions],
        partitions_def=partitions,
        **asset_spec_kwargs(EXTRACTION_COVERAGE, GROUP, written_by=INFERENCE_EXECUTIONS.name),
    )

    @dg.asset(
        deps=[inference_executions],
        automation_condition=upstream_content_changed(needs_all=False),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=str(INFERENCE_SCHEDULERS.version),
        **asset_spec_kwargs(INFERENCE_SCHEDULERS, GROUP),
    )
    def inference_schedulers(
        lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        with translate_to_failure():
            recorded = (
                lake.read(INFERENCE_EXECUTIONS, day, schedulers.EXECUTION_COLUMNS)
                for day in lake.days(INFERENCE_EXECUTIONS)
            )
            written = lake.update(
                INFERENCE_SCHEDULERS,
                None,
                lambda existing: schedulers.merge_observed_settings(recorded, existing, clock()),
            )
        return unpartitioned_result(
            INFERENCE_SCHEDULERS, written, {"schedulers": len(written.rows["scheduler_arn"].unique())}
        )

    return [inference_executions, coverage, inference_schedulers]


def _extracted(
    context: dg.AssetExecutionContext,
    sources: Sequence[Source],
    scope: ExtractionSelection,
    calls: CallBudget,
    begin: Callable[[], Extraction],
) -> dg.Output[None]:
    """Work through the days of a run, a batch at a time: gather, record, forget."""
    run, told, numbers = PartitionedRun(context), set[str](), Counter[str]()
    failed: dict[str, LedgerError] = {}
    stopped: LedgerError | None = None
    reached: date | None = None
    for batch in batches(context.partition_keys, DAYS_A_BATCH):
        extraction = begin()
        try:
            left = extraction.gather(sources, parse_days(batch), scope)
            run.process([day.isoformat() for day in left], partial(_record, extraction, calls))
            extraction.save_file_index()
        except LedgerError as problem:
            stopped = problem
        failed |= extraction.failed
        for notice in [
            *extraction.notices,
            *(f"{name}: {why}" for name, why in extraction.failed.items()),
        ]:
            if notice not in told:
                context.log.warning(notice)
                told.add(notice)
        numbers.update(extraction.count_results())
        stopped = stopped or extraction.budget_error
        if stopped:
            break
        reached = date.fromisoformat(batch[-1])
        context.log.info(f"through {reached}: {calls.count:,} calls, {calls.throttled:,} of them throttled")
    if isinstance(stopped, BudgetSpentError):
        stopped = build_budget_error(
            stopped,
            parse_days(context.partition_keys),
            reached,
            context.run.run_id,
            made_progress=bool(numbers["schedulers_answered"]),
        )
    # a retry would begin with a budget of its own
    return run.finish({**numbers, **calls.numbers}, failed, stopped, retries=calls.limit is None)


def _record(extraction: Extraction, calls: CallBudget, key: str) -> list[PartitionResult]:
    started = monotonic()
    recorded = extraction.record(date.fromisoformat(key))
    return [
        partition_result(
            INFERENCE_EXECUTIONS,
            recorded.executions.rows,
            {
                **_by_status(recorded),
                "rows_changed": recorded.changed_rows,
                **file_metadata(recorded.executions),
                "seconds": round(monotonic() - started, 3),
                **{f"run_{name}": number for name, number in calls.numbers.items()},
            },
        ),
        partition_result(
            EXTRACTION_COVERAGE,
            recorded.coverage.rows,
            {"schedulers": recorded.coverage.rows.num_rows, **file_metadata(recorded.coverage)},
        ),
    ]


def _by_status(recorded: RecordedDay) -> dict[str, int]:
    counted = Counter(recorded.executions.rows["status"].to_pylist())
    known = {name.lower(): counted.pop(name, 0) for name in ("SUCCESS", "FAILED", "IN_PROGRESS")}
    return known | ({"other_status": counted.total()} if counted else {})
