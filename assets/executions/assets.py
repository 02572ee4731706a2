"""The execution tables as Dagster assets."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from assets.executions import scheduler_history as schedulers
from assets.executions.api_extraction import RefusedSources
from assets.executions.cost_estimate import get_frequency
from assets.executions.extraction import Extraction, RecordedDay
from assets.executions.flatten import READER_VERSION
from assets.executions.selection import ExtractionSelection, PreviousAttempt, build_budget_error
from assets.executions.statuses import FINAL_STATUSES, IN_PROGRESS
from assets.framework.asset_specs import asset_spec_kwargs
from assets.framework.automation import upstream_content_changed
from assets.framework.interrupts import is_interrupt, raise_if_interrupted
from assets.framework.materializations import (
    PartitionResult,
    combine_results,
    partition_result,
    unpartitioned_result,
)
from assets.framework.metadata import INTERACTIVE_TAG
from assets.framework.partitioned_run import (
    PartitionedRun,
    batches,
    handle_errors,
    previous_attempt,
    yield_outputs,
)
from assets.framework.partitions import daily_partitions, list_partitions, parse_days
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from resources.clock import Clock, monotonic
from resources.errors import BudgetSpentError, LedgerError
from resources.lake.lake import Lake
from resources.sources.base import ListedScheduler, OpenSources, Source
from resources.sources.bucket import KIND
from resources.sources.call_budget import CallBudget

GROUP = "executions"
DAYS_PER_BATCH = 31
"""An interrupted run repeats at most one batch."""

FILE_DAYS_PER_BATCH = 1_000
"""A run that reads only files reads each of them once: there is no query to repeat, and rows are packed."""

ROWS_PER_BATCH = 500_000
"""The most expected executions of a batch of several days; a single day can have more."""

_A_DAY = timedelta(days=1)

POOL = "lookoutequipment_api"
"""Only one run at a time calls the services, because their limits apply to an account."""

RETRIES, RETRY_DELAY_SECONDS = 2, 60
"""botocore retries for seconds; this policy retries minutes later."""


class ExtractionConfig(dg.Config):
    """Run config of inference_executions."""

    schedulers: list[str] = Field(
        default=[],
        description="Names or ARNs of schedulers, with the wildcards * and ?. Empty: all schedulers."
        " Rows and coverage of other schedulers stay as they are. Saved responses are read whole.",
    )
    skip_settled: bool = Field(
        default=False, description="Skip the days of a scheduler whose coverage proves them complete."
    )
    only_files: bool = Field(
        default=False, description="Read only saved responses and query no live service."
    )
    max_calls: int | None = Field(
        default=None,
        description="Maximum number of service calls. The run stops there and keeps what it recorded."
        " Default: limits.max_calls_per_run of the settings.",
    )


def build(
    history: Days,
    settle_after: timedelta,
    max_calls: int | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> list[dg.AssetsDefinition]:
    """Declare the assets; their resources are `lake`, `sources` and `clock`.

    Args:
        history: the days that are partitions.
        settle_after: how long after its end a day may change.
        max_calls: service calls per run if the run config sets no limit; None: unlimited.
        freshness_policy: how often inference_executions must be materialized; None: no policy.
    """
    partitions = daily_partitions(history)
    executions = _build_executions_asset(partitions, history, settle_after, max_calls, freshness_policy)
    return [executions, _build_schedulers_asset()]


def _build_executions_asset(
    partitions: dg.DailyPartitionsDefinition,
    history: Days,
    settle_after: timedelta,
    max_calls: int | None,
    freshness_policy: dg.FreshnessPolicy | None,
) -> dg.AssetsDefinition:
    retry_policy = dg.RetryPolicy(  # only for RetryLaterError; other failures allow no retry
        max_retries=RETRIES,
        delay=RETRY_DELAY_SECONDS,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )

    @dg.multi_asset(
        specs=_declare_execution_tables(freshness_policy),
        can_subset=True,  # a run that selects one of them writes both
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),  # `dg launch` takes ranges with no other policy
        pool=POOL,
    )
    def inference_executions(
        context: dg.AssetExecutionContext,
        config: ExtractionConfig,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[OpenSources],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.Output[None]]:
        recorded, started = previous_attempt(context)
        earlier = PreviousAttempt(frozenset(parse_days(sorted(recorded))), started)
        selection = ExtractionSelection(tuple(config.schedulers), config.skip_settled, earlier)
        calls = CallBudget(max_calls if config.max_calls is None else config.max_calls)
        refusals = RefusedSources()
        with handle_errors(context, retry_policy):
            opened = sources()  # once, because each live source has its own session and client
            if config.only_files:
                opened = [source for source in opened if source.files]
            for source in opened:
                if source.service:
                    source.service.calls = calls
                    source.service.fails_fast = INTERACTIVE_TAG in context.run.tags
            result = _extract(
                context,
                opened,
                selection,
                calls,
                refusals,
                lambda: Extraction(lake, history, settle_after, clock(), context.log.info, refusals),
            )
        yield from yield_outputs(context, result)

    return inference_executions


def _declare_execution_tables(freshness_policy: dg.FreshnessPolicy | None) -> list[dg.AssetSpec]:
    """Declare the tables that an extraction writes."""
    executions = dg.AssetSpec(
        INFERENCE_EXECUTIONS.name,
        freshness_policy=freshness_policy,
        code_version=f"{INFERENCE_EXECUTIONS.version}.{READER_VERSION}",
        **asset_spec_kwargs(INFERENCE_EXECUTIONS, GROUP, "raw", kinds=["aws"]),
    )
    coverage = dg.AssetSpec(
        EXTRACTION_COVERAGE.name,
        deps=[executions],
        **asset_spec_kwargs(EXTRACTION_COVERAGE, GROUP, "derived", written_by=INFERENCE_EXECUTIONS.name),
    )
    return [executions, coverage]


def _build_schedulers_asset() -> dg.AssetsDefinition:
    @dg.asset(
        deps=[INFERENCE_EXECUTIONS.name],
        automation_condition=upstream_content_changed(required=()),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=str(INFERENCE_SCHEDULERS.version),
        **asset_spec_kwargs(INFERENCE_SCHEDULERS, GROUP, "derived"),
    )
    def inference_schedulers(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        with handle_errors(context):
            days = lake.days(INFERENCE_EXECUTIONS)
            columns = schedulers.EXECUTION_COLUMNS
            written = lake.update(
                INFERENCE_SCHEDULERS,
                None,
                lambda existing: schedulers.merge_observed_settings(
                    (rows for day in days for rows in lake.read_files(INFERENCE_EXECUTIONS, day, columns)),
                    existing,
                    clock(),
                ),
            )
        scheduler_count = len(written.rows["scheduler_arn"].unique())
        context.log.info(
            f"{scheduler_count:,} schedulers with {written.rows.num_rows:,} settings in {len(days):,} days"
        )
        return unpartitioned_result(INFERENCE_SCHEDULERS, written, {"schedulers": scheduler_count})

    return inference_schedulers


def compute_days_per_batch(schedulers: Iterable[ListedScheduler]) -> int:
    """Return the number of days that a run reads before it records them, at least one.

    Args:
        schedulers: the schedulers that the run queries.
    """
    executions_per_day = sum(_A_DAY / get_frequency(scheduler) for scheduler in schedulers)
    return max(1, min(DAYS_PER_BATCH, int(ROWS_PER_BATCH / max(executions_per_day, 1))))


def choose_days_per_batch(
    sources: Sequence[Source], selection: ExtractionSelection, first: date, refusals: RefusedSources
) -> int:
    """Return the number of days that a run from a day on reads before it records them."""
    if all(source.files for source in sources):
        return FILE_DAYS_PER_BATCH
    return compute_days_per_batch(_list_schedulers(sources, selection, first, refusals))


def _list_schedulers(
    sources: Sequence[Source], selection: ExtractionSelection, first: date, refusals: RefusedSources
) -> Iterator[ListedScheduler]:
    """Yield the schedulers that the run queries; the query reports why a service cannot be listed."""
    for source in sources:
        service = source.service
        if source.days:
            try:
                yield from source.days.list_schedulers()
            except LedgerError:  # the extraction reports it
                continue
        if service and (service.service_end is None or first <= service.service_end):
            try:
                listed = service.listed_schedulers
            except LedgerError as error:
                refusals.failed_lists[service.uri] = error
            else:
                yield from selection.select_schedulers(listed)


def _extract(
    context: dg.AssetExecutionContext,
    sources: Sequence[Source],
    selection: ExtractionSelection,
    calls: CallBudget,
    refusals: RefusedSources,
    new_extraction: Callable[[], Extraction],
) -> dg.Output[None]:
    """Extract and record the days of a run batch by batch."""
    run, logged, totals = PartitionedRun(context), set[str](), Counter[str]()
    failed: dict[str, LedgerError] = {}
    stopped: LedgerError | None = None
    reached: date | None = None
    keys = list_partitions(context)
    first = date.fromisoformat(keys[0])
    days_per_batch = choose_days_per_batch(sources, selection, first, refusals)
    for batch in batches(keys, days_per_batch):
        raise_if_interrupted(context)
        extraction = new_extraction()
        try:
            days = extraction.gather(sources, parse_days(batch), selection)
            run.process([day.isoformat() for day in days], partial(_record_day, extraction, calls))
            extraction.save_file_index()
        except LedgerError as error:
            if is_interrupt(error):
                raise
            stopped = error
        failed |= extraction.failed
        reasons = (f"{name}: {reason}" for name, reason in extraction.failed.items())
        for notice in [*extraction.notices, *reasons]:
            if notice not in logged:
                context.log.warning(notice)
                logged.add(notice)
        totals.update(extraction.count_results())
        stopped = stopped or extraction.budget_error
        if stopped:
            break
        reached = date.fromisoformat(batch[-1])
        context.log.info(
            f"Extracted through {reached} of {keys[-1]}:"
            f" {totals['rows_changed']:,} rows new or changed,"
            f" {calls.count:,} calls ({calls.throttled:,} throttled)"
        )
    for listing in (source.days for source in sources if source.days):
        for message in listing.describe_reading():
            context.log.info(message)
        totals["list_requests"] += listing.requests
    if isinstance(stopped, BudgetSpentError):
        stopped = build_budget_error(
            stopped,
            parse_days(keys),
            reached,
            context.run.run_id,
            made_progress=bool(totals["schedulers_answered"]),
        )
    # A retry would start with a full budget, so runs with a limit are not retried.
    return run.finish({**totals, **calls.numbers}, failed, stopped, retries=calls.limit is None)


def _record_day(extraction: Extraction, calls: CallBudget, key: str) -> list[PartitionResult]:
    started = monotonic()
    recorded = extraction.record(date.fromisoformat(key))
    coverage = recorded.coverage
    return [
        combine_results(
            [shard.result for shard in recorded.shards],
            {
                **_count_by_status(recorded),
                "rows_changed": recorded.changed_rows,
                "seconds": round(monotonic() - started, 3),
                **{f"run_{name}": number for name, number in calls.numbers.items()},
            },
            _summarize(recorded),
        ),
        partition_result(EXTRACTION_COVERAGE, coverage, {"schedulers": coverage.rows.num_rows}),
    ]


def _summarize(recorded: RecordedDay) -> str:
    """Return the log line of a day; a day without executions has none, because a log line costs an event."""
    count = sum(shard.statuses.total() for shard in recorded.shards)
    return f"{count:,} executions, {recorded.changed_rows:,} new or changed" if count else ""


def _count_by_status(recorded: RecordedDay) -> dict[str, int]:
    """Count executions by status. A bucket shows only success, so nothing is said about other statuses."""
    counts = Counter[str | None]()
    outcome_sources = set[str]()
    for shard in recorded.shards:
        counts.update(shard.statuses)
        outcome_sources |= shard.outcome_sources
    is_bucket_only = outcome_sources == {KIND}
    statuses = ("SUCCESS",) if is_bucket_only else (*FINAL_STATUSES, IN_PROGRESS)
    by_status = {name.lower(): counts.pop(name, 0) for name in statuses}
    return by_status | ({"other_status": counts.total()} if counts else {})
