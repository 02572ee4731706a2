"""Which days and machines somebody means who asks for a page."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from assets.report.query.answers import RunQuery
from assets.report.query.scope import ReportScope
from assets.tables import EQUIPMENT_HEALTH, EXECUTION_HEALTH, INFERENCE_EXECUTIONS
from resources.config.equipment import EquipmentRegistry
from resources.config.validation_errors import format_value, suggest
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.name_patterns import matches

USUAL_DAYS = 7
LONGEST_DAYS = 92
"""More days than that are no page that anybody reads; there is `ledger sql` for them."""

_A_DAY = timedelta(days=1)
_WEEK = re.compile(r"(\d{4})-?W(\d{1,2})")


def default_days(last: date) -> tuple[date, date]:
    """Return the days that a page shows of which nobody said more than its last day: a week."""
    return last - (USUAL_DAYS - 1) * _A_DAY, last


def newest_day(lake: Lake, otherwise: date) -> date:
    """Return the newest day of which anything is recorded.

    Raises:
        LedgerError: the lake cannot be looked into.
    """
    found = [
        days[-1]
        for table in (INFERENCE_EXECUTIONS, EXECUTION_HEALTH, EQUIPMENT_HEALTH)
        if (days := lake.days(table))
    ]
    return max(found, default=otherwise)


def week_of(text: str) -> tuple[date, date]:
    """Return Monday and Sunday of a week: 2026-W41, or any day of it.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        if named := _WEEK.fullmatch(text.strip()):
            monday = date.fromisocalendar(int(named[1]), int(named[2]), 1)
        else:
            day = date.fromisoformat(text.strip())
            monday = day - day.weekday() * _A_DAY
    except ValueError:
        raise _mistake(
            f"{format_value(text)} is no week", "--week", "write 2026-W41, or any day of that week"
        ) from None
    return monday, monday + 6 * _A_DAY


def range_of(
    day: date | None, week: str | None, first: date | None, last: date | None, newest: date
) -> tuple[date, date]:
    """Return the first and the last day that are meant.

    Args:
        day: one day.
        week: one week.
        first: the first day of a range; without `last` it goes to the newest day.
        last: the last day of a range; without `first` it begins a week before.
        newest: the newest day that is recorded.

    Raises:
        ConfigurationError: they contradict each other, or are too many days.
    """
    if sum((day is not None, week is not None, first is not None or last is not None)) > 1:
        raise _mistake("more than one range is given", "--date, --week, --from/--to", "give one of them")
    if day:
        return day, day
    if week:
        return week_of(week)
    if first is None:
        return default_days(last or newest)
    last = last or max(newest, first)
    if last < first:
        raise _mistake(f"the range ends on {last}, before it begins on {first}", "--from, --to", "swap them")
    if (last - first).days >= LONGEST_DAYS:
        raise _mistake(
            f"{(last - first).days + 1} days are too many for a page; {LONGEST_DAYS} are the most",
            "--from, --to",
            "ask for fewer days; `ledger sql` answers about all of them",
        )
    return first, last


def narrow_scope(
    scope: ReportScope, names: Sequence[str], registry: EquipmentRegistry, ask: RunQuery
) -> ReportScope:
    """Return the scope with only the machines that are named.

    Args:
        scope: the days.
        names: of machines or schedulers, with * and ?; ARNs too. None: all.
        registry: names machines.
        ask: answers a statement in SQL over the lake's tables.

    Raises:
        ConfigurationError: no machine has such a name.
    """
    if not names:
        return scope
    known = ask(
        f"""\
SELECT scheduler_arn, scheduler_name FROM inference_schedulers
UNION SELECT scheduler_arn, scheduler_name FROM inference_executions WHERE {scope.in_days}
UNION SELECT scheduler_arn, scheduler_name FROM execution_health WHERE {scope.in_days}"""
    ).to_pylist()
    arns, machines, heard, all_names = [], set(), set(), set()
    for row in known:
        machine = registry.find_equipment(row["scheduler_arn"], row["scheduler_name"])
        called = {machine.name, machine.label, row["scheduler_name"] or machine.label}
        all_names |= {machine.label, row["scheduler_name"] or machine.label}
        hits = {name for name in names if any(matches(name, one, row["scheduler_arn"]) for one in called)}
        if hits:
            heard |= hits
            arns.append(row["scheduler_arn"])
            machines.add(machine.name)
    if unknown := [name for name in names if name not in heard]:
        raise _mistake(
            f"no machine and no scheduler is called {format_value(unknown[0])}"
            f"{suggest(unknown[0], all_names)}",
            "--equipment",
            '`ledger sql "SELECT DISTINCT scheduler_name FROM inference_schedulers"` lists the schedulers',
        )
    return replace(scope, schedulers=tuple(sorted(arns)), equipment=tuple(sorted(machines)))


def file_name(scope: ReportScope) -> str:
    """Return the name of a page's file, without its ending."""
    span = f"{scope.first}" if scope.first == scope.last else f"{scope.first}--{scope.last}"
    if scope.equipment is None:
        return f"report-{span}"
    slugs = "-".join(re.sub(r"[^0-9A-Za-z]+", "-", _short(name)).strip("-") for name in scope.equipment)
    return f"report-{span}-{slugs[:80] or 'selected'}"


def _short(name: str) -> str:
    return name.split("/")[1] if name.startswith("arn:") and "/" in name else name


def _mistake(what: str, where: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(what, where=where, next_step=next_step)
