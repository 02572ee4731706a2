"""`ledger plan`: the cost of a backfill, estimated before it runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.executions.cost_estimate import CostEstimate, Estimate, SchedulerEstimate
from pipelines.cli.arguments import parse_range_of_history, select_schedulers
from pipelines.cli.json_output import EstimatedCount, PlanCapacity, PlanOutput, PlanScheduler, SourceFailure
from pipelines.cli.options import HistoryFrom, HistoryTo, Json, SchedulerPatterns, SkipSettled
from pipelines.cli.output import format_count, open_console, print_json
from pipelines.operations.backfill_plan import (
    SourceListing,
    estimate_workload,
    list_known_schedulers,
    list_sources,
    plan_backfill,
)
from pipelines.operations.capacity import SENSORS, Workload, choose_shards, compute_capacity
from resources.clock import utc_now
from resources.config.settings import load_settings
from resources.lake.lake import Lake
from resources.sources.factory import open_sources

EXAMPLES = (
    "ledger plan",
    "ledger plan --from 2026-09-01 --to 2026-10-07",
    "ledger plan --from 2026-01-01 --to yesterday --scheduler 'pump-*' --skip-settled",
)


def plan(  # noqa: PLR0913, PLR0917 (each is an option)
    first: Annotated[str | None, HistoryFrom] = None,
    last: Annotated[str | None, HistoryTo] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    skip_settled: Annotated[bool, SkipSettled] = False,
    calls_per_second: Annotated[
        float,
        typer.Option(min=0.01, metavar="N", help="API calls per second, for the estimate of the minutes."),
    ] = 10.0,
    sensors: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Sensors of each scheduler, for the estimate of memory and size."
        ),
    ] = SENSORS,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Estimate the API calls, requests, minutes, CPU time, memory and size of a backfill.

    The plan itself makes one or two calls to each service, to list the schedulers. It searches each bucket
    for output prefixes, which takes one request per folder and about twenty per prefix. Settled days are
    counted from the lake; other days are estimated from the frequency of the scheduler. Exit code 1: a
    source could not be listed.
    """
    settings, now = load_settings(), utc_now()
    days = parse_range_of_history(first, last, settings.history, now.date())
    listing = list_sources(open_sources(settings), days)
    lake = Lake.from_settings(settings)
    arns = select_schedulers(schedulers or (), list_known_schedulers(lake, listing))
    estimate = plan_backfill(
        lake,
        listing,
        days,
        timedelta(minutes=settings.history.settle_after_minutes),
        now,
        arns=arns,
        skip_settled=skip_settled,
        max_calls=settings.limits.max_calls_per_run,
    )
    command = _build_command(estimate, schedulers or [], skip_settled=skip_settled)
    workload = replace(
        estimate_workload(lake, estimate, listing, days), sensors=sensors, shards=settings.lake.shards
    )
    capacity = _build_capacity(workload, estimate, is_local=lake.is_local)
    if as_json:
        print_json(_build_json(estimate, listing, command, calls_per_second, capacity))
    else:
        _print(estimate, listing, command, calls_per_second, capacity)
    if listing.failed:
        raise typer.Exit(1)


def _build_capacity(workload: Workload, estimate: CostEstimate, *, is_local: bool) -> PlanCapacity:
    capacity = compute_capacity(workload)
    calls = Counter[str]()
    for row in estimate.schedulers:  # arn:aws:lookoutequipment:REGION:ACCOUNT:...
        calls[":".join(row.scheduler.arn.split(":")[3:5])] += row.calls.expected
    return PlanCapacity(
        result_objects=workload.objects,
        contributions=workload.contributions,
        cpu_seconds=round(capacity.first_seconds, 1),
        peak_megabytes=round(capacity.peak_megabytes, 1),
        shards=workload.shards,
        recommended_shards=choose_shards(workload),
        lake_megabytes=round(capacity.lake_megabytes, 1),
        lake_requests=0 if is_local else capacity.lake_requests,
        event_rows=capacity.event_rows,
        event_megabytes=round(capacity.event_megabytes, 1),
        calls_of_busiest_account=max(calls.values(), default=0),
        accounts=len(calls),
    )


def _print_capacity(console: Console, capacity: PlanCapacity) -> None:
    console.print(
        f"Needs:   {capacity.cpu_seconds / 60:,.1f} minutes of CPU time for all stages,"
        f" {capacity.peak_megabytes / 1e3:,.1f} GB of memory for an average day"
    )
    if capacity.recommended_shards > capacity.shards:
        text = f"! Set lake.shards = {capacity.recommended_shards}, and a run needs less than 1.6 GB."
        console.print(Text(text, "yellow"), soft_wrap=True)
    requests = f"{capacity.result_objects:,} GET requests for results"
    if capacity.lake_requests:
        requests += f", about {capacity.lake_requests:,} requests for the tables in S3"
    console.print(f"         {requests}")
    console.print(
        f"         {capacity.lake_megabytes:,.0f} MB of Parquet, {capacity.event_rows:,} event rows in"
        f" Dagster ({capacity.event_megabytes:,.1f} MB)"
    )
    if capacity.accounts > 1:
        console.print(
            f"         {capacity.calls_of_busiest_account:,} calls in the busiest of {capacity.accounts:,}"
            " accounts and regions"
        )


def _print(
    estimate: CostEstimate,
    listing: SourceListing,
    command: str,
    calls_per_second: float,
    capacity: PlanCapacity,
) -> None:
    console = open_console()
    console.print(
        f"{estimate.first} to {estimate.last}: {format_count(estimate.days, 'day')} in one run of"
        f" {format_count(estimate.batches, 'batch', 'batches')}; {estimate.settled_days} already settled."
    )
    console.print()
    if estimate.schedulers:
        console.print(_build_table(estimate.schedulers))
        console.print()
    if estimate.calls.most or listing.calls or listing.failed:
        _print_calls(console, estimate, calls_per_second)
    else:
        console.print("Calls:   none, because no source is a live service")
    console.print(f"Files:   {_format_estimate(estimate.files_to_read)} saved responses to read")
    console.print(f"         at most {estimate.files_to_write:,} lake files to write; unchanged files stay")
    for uri, bucket in estimate.buckets.items():
        prefixes = format_count(bucket.prefixes, "output prefix", "output prefixes")
        about = "at most" if bucket.is_bound else "about"
        text = f"{about} {bucket.requests:,} list requests and {bucket.results:,} results of {prefixes}"
        console.print(Text(f"Bucket:  {uri}: {text}"), soft_wrap=True)
    _print_capacity(console, capacity)
    if estimate.budget is not None:
        verdict = "may stop this run" if estimate.may_exceed_budget else "is enough"
        console.print(f"Limit:   limits.max_calls_per_run = {estimate.budget:,} {verdict}")
    if listing.calls:
        console.print(f"Used:    {format_count(listing.calls, 'call')} for this plan")
    for notice in [*listing.notices, *(f"{name}: {error}" for name, error in listing.failed.items())]:
        console.print(Text(f"! {notice}", "yellow"), soft_wrap=True)
    console.print()
    console.print(Text(command, "bold"), soft_wrap=True)


def _print_calls(console: Console, estimate: CostEstimate, calls_per_second: float) -> None:
    console.print(
        f"Calls:   {_format_estimate(estimate.calls)}, {estimate.list_calls} to list the schedulers"
    )
    if not estimate.calls.is_exact:
        console.print(
            f"         {estimate.calls.expected:,} if each scheduler ran all the time,"
            f" {estimate.calls.least:,} to {estimate.calls.most:,} in any case"
        )
    minutes = estimate.estimate_minutes(calls_per_second)
    console.print(f"Time:    {minutes:,.1f} minutes at {calls_per_second:g} calls per second")


def _build_table(schedulers: Sequence[SchedulerEstimate]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("scheduler", overflow="fold")
    for name in ("every", "days", "queries", "executions", "calls"):
        table.add_column(name, justify="right")
    table.add_column("based on")
    for row in schedulers:
        table.add_row(
            Text(row.scheduler.name),
            row.scheduler.frequency or "?",
            f"{row.days:,}",
            f"{row.queries:,}",
            _format_estimate(row.executions),
            _format_estimate(row.calls),
            _describe_basis(row),
        )
    return table


def _describe_basis(row: SchedulerEstimate) -> str:
    if row.settled_days == row.days:
        return "the lake"
    return "lake and frequency" if row.settled_days else "its frequency"


def _format_estimate(estimate: Estimate) -> str:
    return f"{estimate.most:,}" if estimate.is_exact else f"at most {estimate.most:,}"


def _build_command(estimate: CostEstimate, patterns: Sequence[str], *, skip_settled: bool) -> str:
    words = ["ledger backfill", f"--from {estimate.first}", f"--to {estimate.last}"]
    words += [f"--scheduler {quote(pattern)}" for pattern in patterns]
    return " ".join([*words, *(["--skip-settled"] if skip_settled else [])])


def _build_json(
    estimate: CostEstimate,
    listing: SourceListing,
    command: str,
    calls_per_second: float,
    capacity: PlanCapacity,
) -> PlanOutput:
    return PlanOutput(
        first=estimate.first,
        last=estimate.last,
        days=estimate.days,
        settled_days=estimate.settled_days,
        batches=estimate.batches,
        calls=_build_count(estimate.calls),
        listing_calls=estimate.list_calls,
        calls_made=listing.calls,
        calls_per_second=calls_per_second,
        duration_minutes=estimate.estimate_minutes(calls_per_second),
        files_to_read=_build_count(estimate.files_to_read),
        list_requests=estimate.list_requests,
        max_files_to_write=estimate.files_to_write,
        max_calls_per_run=estimate.budget,
        may_exceed_max_calls=estimate.may_exceed_budget,
        capacity=capacity,
        command=command,
        failed_sources=[SourceFailure(name, str(error)) for name, error in listing.failed.items()],
        schedulers=[
            PlanScheduler(
                scheduler_arn=row.scheduler.arn,
                scheduler_name=row.scheduler.name,
                source=row.source,
                frequency=row.scheduler.frequency,
                days=row.days,
                settled_days=row.settled_days,
                queries=row.queries,
                executions=_build_count(row.executions),
                calls=_build_count(row.calls),
            )
            for row in estimate.schedulers
        ],
    )


def _build_count(estimate: Estimate) -> EstimatedCount:
    return EstimatedCount(estimate.least, estimate.expected, estimate.most, estimate.is_exact)
