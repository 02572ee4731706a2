"""The selection of a report: from dates, a week and names of machines to a `ReportScope`."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from assets.framework.time_windows import FIRST_YEAR, LAST_YEAR
from assets.report.query.daily import RunQuery
from assets.report.query.scope import ReportScope
from assets.tables import EQUIPMENT_HEALTH, EXECUTION_HEALTH, INFERENCE_EXECUTIONS
from resources.config.equipment import EquipmentRegistry
from resources.errors import ConfigurationError, format_value, suggest
from resources.lake.lake import Lake
from resources.name_patterns import matches
from resources.scheduler_arns import extract_name

DEFAULT_DAYS = 7
MAX_DAYS = 92
"""The longest range of one page; `ledger sql` has no such limit."""

_ONE_DAY = timedelta(days=1)
_WEEK = re.compile(r"(\d{4})-?W(\d{1,2})")


def get_default_range(last: date) -> tuple[date, date]:
    """Return the first and the last day of the default range: the week that ends on a day."""
    return last - (DEFAULT_DAYS - 1) * _ONE_DAY, last


def find_newest_day(lake: Lake, default: date) -> date:
    """Return the newest day with recorded executions or health, else the default.

    Raises:
        LedgerError: the lake cannot be listed.
    """
    newest_days = [
        days[-1]
        for table in (INFERENCE_EXECUTIONS, EXECUTION_HEALTH, EQUIPMENT_HEALTH)
        if (days := lake.days(table))
    ]
    return max(newest_days, default=default)


def parse_week(text: str) -> tuple[date, date]:
    """Return Monday and Sunday of a week, written as 2026-W41 or as any day of it.

    Raises:
        ConfigurationError: the text is neither.
    """
    try:
        if match := _WEEK.fullmatch(text.strip()):
            monday = date.fromisocalendar(int(match[1]), int(match[2]), 1)
        else:
            day = date.fromisoformat(text.strip())
            monday = day - day.weekday() * _ONE_DAY
    except ValueError:
        monday = date.min
    if not FIRST_YEAR <= monday.year <= LAST_YEAR:
        raise ConfigurationError(
            f"Cannot read --week {format_value(text)}: it is not a week",
            where="--week",
            next_step="write 2026-W41, or any day of that week",
        )
    return monday, monday + 6 * _ONE_DAY


def select_range(
    day: date | None, week: str | None, first: date | None, last: date | None, newest: date
) -> tuple[date, date]:
    """Return the first and the last day of a report.

    Args:
        day: a single day.
        week: a week, as for `parse_week`.
        first: the first day of a range; without `last` the range ends on the newest day.
        last: the last day of a range; without `first` the range is the week that ends on it.
        newest: the newest recorded day.

    Raises:
        ConfigurationError: several ranges, the wrong order, or too many days.
    """
    if sum((day is not None, week is not None, first is not None or last is not None)) > 1:
        raise ConfigurationError(
            "Cannot select the days: more than one range is set",
            where="--date, --week, --from/--to",
            next_step="set only one of them",
        )
    if day:
        return day, day
    if week:
        return parse_week(week)
    if first is None:
        return get_default_range(last or newest)
    last = last or max(newest, first)
    if last < first:
        raise ConfigurationError(
            f"Cannot select the days: the range ends on {last}, before its start on {first}",
            where="--from, --to",
            next_step="swap the two dates",
        )
    if (last - first).days >= MAX_DAYS:
        raise ConfigurationError(
            f"Cannot write a report of {(last - first).days + 1} days: the limit is {MAX_DAYS}",
            where="--from, --to",
            next_step="select fewer days, or query the lake with `ledger sql`",
        )
    return first, last


def narrow_scope(
    scope: ReportScope, names: Sequence[str], registry: EquipmentRegistry, run_query: RunQuery
) -> ReportScope:
    """Return the scope restricted to the named machines.

    Args:
        scope: the days.
        names: names of machines or schedulers with * and ?, or ARNs; empty: all machines.
        registry: names machines.
        run_query: runs a SQL statement over the lake's tables.

    Raises:
        ConfigurationError: a name matches nothing.
    """
    if not names:
        return scope
    schedulers = run_query(
        f"""\
SELECT scheduler_arn, scheduler_name FROM inference_schedulers
UNION SELECT scheduler_arn, scheduler_name FROM inference_executions WHERE {scope.sql_days}
UNION SELECT scheduler_arn, scheduler_name FROM execution_health WHERE {scope.sql_days}"""
    ).to_pylist()
    arns, equipment, matched, candidates = set(), set(), set(), set()
    for row in schedulers:
        arn = row["scheduler_arn"]
        machine = registry.find_equipment(arn, row["scheduler_name"])
        scheduler_name = row["scheduler_name"] or machine.label
        candidates |= {machine.label, scheduler_name}
        own_names = {machine.name, machine.label, scheduler_name}
        if hits := {name for name in names if any(matches(name, own_name, arn) for own_name in own_names)}:
            matched |= hits
            arns.add(arn)
            equipment.add(machine.name)
    if unknown := [name for name in names if name not in matched]:
        raise ConfigurationError(
            f"Cannot find a machine or scheduler that matches {format_value(unknown[0])}"
            f"{suggest(unknown[0], candidates)}",
            where="--equipment",
            next_step="list the schedulers with"
            ' `ledger sql "SELECT DISTINCT scheduler_name FROM inference_schedulers"`',
        )
    return replace(scope, schedulers=tuple(sorted(arns)), equipment=tuple(sorted(equipment)))


def build_file_name(scope: ReportScope) -> str:
    """Return the file name of a page without its extension."""
    days = f"{scope.first}" if scope.first == scope.last else f"{scope.first}--{scope.last}"
    if scope.equipment is None:
        return f"report-{days}"
    slugs = "-".join(re.sub(r"[^0-9A-Za-z]+", "-", extract_name(name)).strip("-") for name in scope.equipment)
    return f"report-{days}-{slugs[:80] or 'selected'}"
