"""`ledger status`: how each day of each scheduler stands."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import From, Json, SchedulerPatterns, To
from resources.clock import utc_now

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.operations.lake_status import LakeStatus

EXAMPLES = (
    "Examples: **ledger status** · **ledger status --from 2026-09-01 --to 2026-10-07** ·"
    " **ledger status --scheduler 'pump-\\*' --json**"
)
_RECENT = timedelta(days=61)
_MOST_TROUBLES = 10
_NAMES_IN_A_LINE = 3


def status(
    first: Annotated[str | None, From] = None,
    last: Annotated[str | None, To] = None,
    schedulers: Annotated[list[str] | None, SchedulerPatterns] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Show how each day of each scheduler stands: a letter a day, capitals need a person.

    Looks at the whole history; the calendar shows its last two months, unless you say from where on. Reads
    the lake and Dagster's runs, and asks no service. Exit code 1: something needs a person; the lines below
    the calendar say what, with the command that mends it, and whom the last runs could not ask.
    """
    from rich.console import Console  # noqa: PLC0415

    from assets.framework.time_windows import Days  # noqa: PLC0415
    from pipelines.cli.arguments import last_day, parse_range  # noqa: PLC0415
    from pipelines.cli.output import print_json  # noqa: PLC0415
    from pipelines.operations.lake_status import inspect_lake  # noqa: PLC0415
    from resources.config.settings import load_settings  # noqa: PLC0415
    from resources.lake.lake import Lake  # noqa: PLC0415

    settings, now = load_settings(), utc_now()
    history = Days(settings.history.start_date, settings.history.end_date)
    end = last_day(history, now.date())
    days = parse_range(first or str(history.first), last or str(max(end, history.first)), history, now.date())
    lake = Lake(settings.lake.uri, kms_key_id=settings.lake.kms_key_id)
    found = inspect_lake(lake, settings, days, now, schedulers or ())
    if as_json:
        print_json(_as_json(found, lake.uri, now))
    else:
        _print(Console(highlight=False), found, lake.uri, now, is_whole=first is None)
    if found.needs_action:
        raise typer.Exit(1)


def _print(console: "Console", found: "LakeStatus", uri: str, now: datetime, *, is_whole: bool) -> None:
    from pipelines.cli.calendar import calendar  # noqa: PLC0415

    console.print(f"{uri}, as of {now:%Y-%m-%d %H:%M} UTC", soft_wrap=True)
    shown = [day for day in found.days if not is_whole or day > found.days[-1] - _RECENT]
    if is_whole and not found.schedulers:
        console.print("Nothing is recorded yet.")
    elif found.schedulers:
        console.print()
        for line in calendar(found.schedulers, shown, console.width):
            console.print(line, soft_wrap=True)
        console.print()
        _print_legend(console, found)
    if len(shown) < len(found.days):
        console.print(
            f"From {found.days[0]} on all days are counted; those before {shown[0]} are shown with"
            f" --from {found.days[0]}.",
            style="dim",
        )
    console.print()
    _print_trouble(console, found)


def _print_legend(console: "Console", found: "LakeStatus") -> None:
    from rich.text import Text  # noqa: PLC0415

    from pipelines.cli.calendar import LETTERS, STYLES  # noqa: PLC0415

    for state, count in found.totals.items():
        if LETTERS[state].strip():
            legend = Text(LETTERS[state], STYLES[state]).append(f" {state:<15}", "default on default")
            console.print(legend.append(f" {count:>7,}  {state.meaning}", "default on default"))


def _print_trouble(console: "Console", found: "LakeStatus") -> None:
    from rich.text import Text  # noqa: PLC0415

    _print_refused(console, found)
    if not found.needs_action:
        console.print("Nothing needs a person.")
    if not found.trouble:
        return
    many = len(found.trouble) > 1
    console.print(f"{len(found.trouble)} thing{'s need' if many else ' needs'} a person:", style="bold")
    for one in found.trouble[:_MOST_TROUBLES]:
        some = ", ".join(one.schedulers[:_NAMES_IN_A_LINE])
        left = len(one.schedulers) - _NAMES_IN_A_LINE
        who = f"{some} and {left} more" if left > 0 else some or "all schedulers"
        when = f"{one.first}" if one.first == one.last else f"{one.first} to {one.last}"
        console.print(Text(f"{one.state}: {when}, {who}"), soft_wrap=True)
        console.print(Text(f"  {one.command}", "bold"), soft_wrap=True)
    if len(found.trouble) > _MOST_TROUBLES:
        console.print(f"and {len(found.trouble) - _MOST_TROUBLES} more; --json has them all")


def _print_refused(console: "Console", found: "LakeStatus") -> None:
    from rich.text import Text  # noqa: PLC0415

    if not found.refused:
        return
    console.print("The last run could not ask:", style="bold")
    for one in found.refused[:_MOST_TROUBLES]:
        lately = f"in {one.runs_in_a_row} runs since" if one.runs_in_a_row > 1 else "at"
        console.print(Text(f"{one.name}, {lately} {one.since:%Y-%m-%d %H:%M} UTC"), soft_wrap=True)
        console.print(Text(f"  {' '.join(one.reason.split())}"), soft_wrap=True)
    if len(found.refused) > _MOST_TROUBLES:
        console.print(f"and {len(found.refused) - _MOST_TROUBLES} more; --json has them all")
    console.print(Text("  ledger doctor", "bold"))


def _as_json(found: "LakeStatus", uri: str, now: datetime) -> dict[str, Any]:
    def days_of(states: dict[date, Any]) -> dict[str, str]:
        return {day.isoformat(): str(state) for day, state in states.items()}

    return {
        "lake": uri,
        "as_of": now.isoformat(timespec="seconds"),
        "from": found.days[0].isoformat(),
        "to": found.days[-1].isoformat(),
        "needs_a_person": found.needs_action,
        "totals": {str(state): count for state, count in found.totals.items()},
        "never_extracted": [day.isoformat() for day in found.never],
        "trouble": [
            {
                "state": str(one.state),
                "from": one.first.isoformat(),
                "to": one.last.isoformat(),
                "schedulers": list(one.schedulers),
                "command": one.command,
            }
            for one in found.trouble
        ],
        "refused": [
            {
                "name": one.name,
                "since": one.since.isoformat(timespec="seconds"),
                "runs_in_a_row": one.runs_in_a_row,
                "reason": one.reason,
            }
            for one in found.refused
        ],
        "schedulers": [
            {
                "scheduler_arn": one.scheduler_arn,
                "scheduler_name": one.scheduler_name,
                "days": days_of(dict(one.states)),
            }
            for one in found.schedulers
        ],
    }
