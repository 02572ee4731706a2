"""Selection of the schedulers and days that one run extracts."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from assets.executions.coverage import compute_settle_time
from assets.tables import EXTRACTION_COVERAGE
from resources.errors import BudgetSpentError
from resources.lake.lake import Lake
from resources.name_patterns import matches, matches_any
from resources.sources.base import ListedScheduler


@dataclass(frozen=True)
class PreviousAttempt:
    """A previous attempt that this run resumes.

    Attributes:
        recorded_days: Days that the attempt recorded.
        started_at: When the attempt started; None if there is none.
    """

    recorded_days: frozenset[date] = frozenset()
    started_at: datetime | None = None


@dataclass(frozen=True)
class ExtractionSelection:
    """The schedulers and days of a run that are queried.

    Attributes:
        schedulers: Names or ARNs, with the wildcards * and ?; all schedulers if empty. Saved responses are
            always read completely, because the index records a file as read.
        skip_settled: Whether to skip the days of each scheduler that coverage proves complete.
        previous: The attempt to resume.
    """

    schedulers: tuple[str, ...] = ()
    skip_settled: bool = False
    previous: PreviousAttempt = PreviousAttempt()

    def select_schedulers(self, listed: Iterable[ListedScheduler]) -> list[ListedScheduler]:
        """Return the selected schedulers among those that a source lists."""
        return [
            scheduler
            for scheduler in listed
            if not self.schedulers or matches_any(self.schedulers, scheduler.name, scheduler.arn)
        ]

    def find_unmatched_names(self, listed: Collection[ListedScheduler]) -> list[str]:
        """Return the names that match no scheduler of any source: misspelled, or deleted schedulers."""
        return [
            pattern
            for pattern in self.schedulers
            if not any(matches(pattern, scheduler.name, scheduler.arn) for scheduler in listed)
        ]

    def find_days_to_skip(
        self, lake: Lake, days: Collection[date], settle_after: timedelta
    ) -> dict[str, set[date]]:
        """Return by ARN the days that need no query, because coverage proves them complete."""
        skipped: dict[str, set[date]] = {}
        if self.previous.started_at is None and not self.skip_settled:
            return skipped
        for day in days:
            required = self._get_required_time(compute_settle_time(day, settle_after))
            rows = lake.read(EXTRACTION_COVERAGE, day, ["scheduler_arn", "complete_through"])
            for row in rows.to_pylist():
                if row["complete_through"] is not None and row["complete_through"] >= required:
                    skipped.setdefault(row["scheduler_arn"], set()).add(day)
        return skipped

    def _get_required_time(self, settles_at: datetime) -> datetime:
        """Return the time through which a day must be proven to be skipped.

        A query of the previous attempt proved the day only through the start of that attempt.
        """
        return min(self.previous.started_at, settles_at) if self.previous.started_at else settles_at


SELECT_ALL = ExtractionSelection()


def contiguous_ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the first and last day of each contiguous range, oldest first."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return ranges


def build_budget_error(
    error: BudgetSpentError,
    days: Sequence[date],
    last_complete_day: date | None,
    run_id: str,
    *,
    made_progress: bool,
) -> BudgetSpentError:
    """Return the error with the progress of the run and the command that resumes it.

    Args:
        error: the error that ended the run.
        days: the days of the run.
        last_complete_day: the last day for which all schedulers were queried; None if there is none.
        run_id: the ID of the run.
        made_progress: whether any scheduler was queried completely; if not, resuming with the same budget
            would fail again.
    """
    first, last = min(days), max(days)
    progress = (
        f"all schedulers are queried through {last_complete_day}"
        if last_complete_day
        else "no day is queried for all schedulers"
    )
    resume = f"ledger backfill --from {first} --to {last} --resume {run_id}"
    raise_budget = "raise limits.max_calls_per_run in ledger.toml, which is too low for a single scheduler"
    return BudgetSpentError(
        error.what,
        where=f"{first}...{last}: {progress}; all responses are recorded",
        next_step=resume if made_progress else f"{raise_budget}; then: {resume}",
    )
