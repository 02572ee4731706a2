"""What one run is to extract: of which schedulers, and what it may leave out because it is known."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from assets.executions.coverage import compute_settle_time
from assets.tables import EXTRACTION_COVERAGE
from resources.errors import BudgetSpentError, ConfigurationError
from resources.lake.lake import Lake
from resources.name_patterns import matches, matches_any
from resources.sources.base import ListedScheduler

_NAMES_TOLD = 20


@dataclass(frozen=True)
class PreviousAttempt:
    """An earlier attempt that this run resumes: the days it recorded, and when it began (None: no such)."""

    done: frozenset[date] = frozenset()
    began: datetime | None = None


@dataclass(frozen=True)
class ExtractionSelection:
    """What is asked of a run, beside its days.

    Attributes:
        schedulers: Names or ARNs, with * and ?; none: all. Saved responses are read whole all the same, as
            what is in them counts as read.
        skip_settled: Leave out what coverage proves complete, scheduler by scheduler and day by day.
        earlier: The attempt that is resumed.
    """

    schedulers: tuple[str, ...] = ()
    skip_settled: bool = False
    earlier: PreviousAttempt = PreviousAttempt()

    def chosen(self, listed: Iterable[ListedScheduler]) -> list[ListedScheduler]:
        """Return the schedulers that are to be asked, of those that a source lists."""
        return [
            scheduler
            for scheduler in listed
            if not self.schedulers or matches_any(self.schedulers, scheduler.name, scheduler.arn)
        ]

    def unknown(self, listed: Collection[ListedScheduler]) -> list[str]:
        """Return the names that fit none of the schedulers that all sources list: a slip, or deleted."""
        return [
            pattern
            for pattern in self.schedulers
            if not any(matches(pattern, scheduler.name, scheduler.arn) for scheduler in listed)
        ]

    def known(self, lake: Lake, days: Collection[date], settle_after: timedelta) -> dict[str, set[date]]:
        """Return by ARN the days of which nothing more is to be asked, as the lake's coverage proves."""
        known: dict[str, set[date]] = {}
        if self.earlier.began is None and not self.skip_settled:
            return known
        for day in days:
            enough = self._enough(compute_settle_time(day, settle_after))
            rows = lake.read(EXTRACTION_COVERAGE, day, ["scheduler_arn", "complete_through"])
            for row in rows.to_pylist():
                if row["complete_through"] is not None and row["complete_through"] >= enough:
                    known.setdefault(row["scheduler_arn"], set()).add(day)
        return known

    def _enough(self, settles_at: datetime) -> datetime:
        """Return up to when a day must be proven; an earlier attempt proved what it could when it began."""
        return min(self.earlier.began, settles_at) if self.earlier.began else settles_at


SELECT_ALL = ExtractionSelection()


def contiguous_ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the first and last days of each unbroken stretch, oldest first."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = found[-1][0], day
        else:
            found.append((day, day))
    return found


def build_budget_error(
    spent: BudgetSpentError, asked: Sequence[date], reached: date | None, run_id: str, *, in_vain: bool
) -> BudgetSpentError:
    """Say how far a run got with its calls, and how to go on from there.

    Args:
        spent: what ended it.
        asked: the days that it was to extract.
        reached: the last day up to which all schedulers were asked; None: none.
        run_id: of the run.
        in_vain: not a single scheduler answered in full, so resuming would get no further.
    """
    first, last = min(asked), max(asked)
    far = f"all schedulers were asked through {reached}" if reached else "not all schedulers were asked yet"
    resume = f"ledger backfill --from {first} --to {last} --resume {run_id}"
    more = "allow it more calls (limits.max_calls_per_run in ledger.toml), as these do not reach for one"
    return BudgetSpentError(
        spent.what,
        where=f"{first}...{last}: {far}; what came is recorded",
        next_step=f"{more} scheduler; then: {resume}" if in_vain else resume,
    )


def build_unknown_scheduler_error(name: str, listed: Collection[ListedScheduler]) -> ConfigurationError:
    """Say that no scheduler is called so, and which ones there are."""
    there = sorted({scheduler.name for scheduler in listed})
    some = ", ".join(there[:_NAMES_TOLD]) + (", ..." if len(there) > _NAMES_TOLD else "")
    return ConfigurationError(
        f"no scheduler is named {name}",
        where="the schedulers that this run was asked for",
        next_step=f"use names or ARNs of those that the service lists: {some}. A deleted scheduler cannot be"
        " asked any more",
    )
