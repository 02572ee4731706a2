"""`ledger plan`: what a backfill will cost, before anything is spent."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import From, Json, SchedulerPatterns, To
from resources.clock import utc_now

if TYPE_CHECKING:
    from assets.executions.cost_estimate import BackfillPlan, Estimate, SchedulerEstimate
    from pipelines.operations.backfill_plan import SourceListing

EXAMPLES = (
    "Examples: **ledger plan --from 2026-09-01 --to 2026-10-07** ·"
    " **ledger plan --from 2026-01-01 --to yesterday --scheduler 'pump-\\*' --skip-settled**"
)


def plan(
    first: Annotated[str, From],
    last: Annotated[str, To],
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    skip_settled: Annotated[
        bool, typer.Option("--skip-settled", help="Leave out what is settled, day by day.")
    ] = False,
    calls_per_second: Annotated[
        float, typer.Option(min=0.01, help="The rate that the minutes are reckoned with.")
    ] = 10.0,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Say what a backfill will cost, before anything is spent: questions, calls, minutes, files.

    Lists the schedulers, which takes a call or two a source, and counts the rest: exactly for days that are
    settled in the lake, else as many executions as the scheduler's frequency allows. Exit code 1: a source
    could not be asked.
    """
    from assets.framework.time_windows import Days  # noqa: PLC0415
    from pipelines.cli.arguments import parse_range, select_schedulers  # noqa: PLC0415
    from pipelines.cli.output import print_json  # noqa: PLC0415
    from pipelines.operations.backfill_plan import list_sources, plan_backfill  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415
    from resources.sources.factory import open_sources  # noqa: PLC0415

    settings, now = load_settings(), utc_now()
    history = Days(settings.history.start_date, settings.history.end_date)
    days = parse_range(first, last, history, now.date())
    found = list_sources(open_sources(settings), days)
    arns = select_schedulers(schedulers or (), [scheduler for _, scheduler in found.schedulers])
    made = plan_backfill(
        Lake(settings.lake.uri, kms_key_id=settings.lake.kms_key_id),
        found,
        days,
        timedelta(minutes=settings.history.settle_after_minutes),
        now,
        chosen=arns,
        skip_settled=skip_settled,
        budget=settings.limits.max_calls_per_run,
    )
    command = _command(made, schedulers or [], skip_settled=skip_settled)
    if as_json:
        print_json(_as_json(made, found, command, calls_per_second))
    else:
        _print(made, found, command, calls_per_second)
    if found.failed:
        raise typer.Exit(1)


def _print(made: "BackfillPlan", found: "SourceListing", command: str, calls_per_second: float) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(
        f"{made.first} to {made.last}: {_count(made.days, 'day')} in one run, worked through in"
        f" {_count(made.batches, 'batch', 'batches')}; {made.settled_days} of them settled already."
    )
    console.print()
    if made.asked:
        drawn = Table(header_style="bold", box=None, pad_edge=False)
        drawn.add_column("scheduler", overflow="fold")
        for name in ("every", "days", "questions", "executions", "calls"):
            drawn.add_column(name, justify="right")
        drawn.add_column("known from")
        for one in made.asked:
            drawn.add_row(
                Text(one.scheduler.name),
                one.scheduler.frequency or "?",
                f"{one.days:,}",
                f"{one.questions:,}",
                _shown(one.executions),
                _shown(one.calls),
                _known_from(one),
            )
        console.print(drawn)
        console.print()
    console.print(f"Calls:   {_shown(made.calls)}, {made.listing} of them to list the schedulers")
    if not made.calls.is_exact:
        console.print(
            f"         {made.calls.expected:,} if every scheduler ran all the time,"
            f" from {made.calls.least:,} to {made.calls.most:,} whatever they did"
        )
    minutes = made.minutes(calls_per_second)
    console.print(f"Time:    {minutes:,.1f} minutes at {calls_per_second:g} calls a second")
    console.print(f"Files:   {_shown(made.files_to_read)} saved responses to read")
    console.print(f"         at most {made.files_to_write:,} files of the lake to write; equal ones stay")
    if made.budget is not None:
        verdict = "may stop this run" if made.is_stopped else "is enough"
        console.print(f"Budget:  limits.max_calls_per_run = {made.budget:,} {verdict}")
    console.print(f"Spent:   {found.calls} calls for this plan")
    for notice in [*found.notices, *(f"{name}: {why}" for name, why in found.failed.items())]:
        console.print(Text(f"! {notice}", "yellow"), soft_wrap=True)
    console.print()
    console.print(Text(command, "bold"), soft_wrap=True)


def _known_from(one: "SchedulerEstimate") -> str:
    if one.settled_days == one.days:
        return "the lake"
    return "lake and frequency" if one.settled_days else "its frequency"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _shown(amount: "Estimate") -> str:
    return f"{amount.most:,}" if amount.is_exact else f"at most {amount.most:,}"


def _command(made: "BackfillPlan", patterns: list[str], *, skip_settled: bool) -> str:
    from shlex import quote  # noqa: PLC0415

    words = ["ledger backfill", f"--from {made.first}", f"--to {made.last}"]
    words += [f"--scheduler {quote(pattern)}" for pattern in patterns]
    return " ".join([*words, *(["--skip-settled"] if skip_settled else [])])


def _as_json(
    made: "BackfillPlan", found: "SourceListing", command: str, calls_per_second: float
) -> dict[str, Any]:
    def amount(number: "Estimate") -> dict[str, Any]:
        return {
            "at_least": number.least,
            "expected": number.expected,
            "at_most": number.most,
            "exact": number.is_exact,
        }

    return {
        "from": made.first.isoformat(),
        "to": made.last.isoformat(),
        "days": made.days,
        "settled_days": made.settled_days,
        "runs": 1,
        "batches": made.batches,
        "calls": amount(made.calls),
        "calls_to_list_schedulers": made.listing,
        "calls_spent_on_this_plan": found.calls,
        "minutes": made.minutes(calls_per_second),
        "files_to_read": amount(made.files_to_read),
        "files_to_write_at_most": made.files_to_write,
        "max_calls_per_run": made.budget,
        "may_be_stopped_by_it": made.is_stopped,
        "command": command,
        "could_not_be_asked": {name: str(why) for name, why in found.failed.items()},
        "schedulers": [
            {
                "scheduler_arn": one.scheduler.arn,
                "scheduler_name": one.scheduler.name,
                "source": one.source,
                "frequency": one.scheduler.frequency,
                "days": one.days,
                "settled_days": one.settled_days,
                "questions": one.questions,
                "executions": amount(one.executions),
                "calls": amount(one.calls),
            }
            for one in made.asked
        ],
    }
