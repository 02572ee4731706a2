"""Asking the service: which schedulers, for which days, and what its answers prove.

One scheduler that cannot be asked keeps no other from being asked. Several are asked at once; the pages of
one come one after the other, as the service gives them. Where calls are limited they are asked one after
another: then the end of the budget breaks off one chain of pages, not several.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from threading import Lock

from assets.executions.flatten import FlattenedPages, flatten_pages
from assets.executions.selection import SELECT_ALL, ExtractionSelection, contiguous_ranges
from assets.framework.time_windows import Window, filter_window, get_day_window
from resources.errors import BudgetSpentError, LedgerError, RetryLaterError
from resources.sources.base import ListedScheduler, LiveService, SchedulerResponse


@dataclass
class ApiPoll:
    """What one source told: `schedulers` if it listed them, whole `answers`, and what `failed` (by name).

    `spent` is set where the run may make no more calls: who has not answered by then was not asked in full.
    """

    listed_at: datetime
    days: frozenset[date]
    is_listed: bool = False
    schedulers: list[ListedScheduler] = field(default_factory=list)
    answers: list[SchedulerResponse] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    spent: BudgetSpentError | None = None

    def note(self, name: str, problem: LedgerError) -> None:
        """Note what kept a scheduler, or the whole source, from answering."""
        if isinstance(problem, BudgetSpentError):
            self.spent = problem
        else:
            self.failed[name] = problem


@dataclass
class RefusedSources:
    """Who refused for good during a run, which does not ask them again: by uri of a source, or by ARN."""

    sources: dict[str, LedgerError] = field(default_factory=dict)
    schedulers: dict[str, LedgerError] = field(default_factory=dict)


def poll_source(  # noqa: PLR0913, PLR0917 (the last two have defaults)
    api: LiveService,
    days: Collection[date],
    known: Mapping[str, Collection[date]],
    take: Callable[[FlattenedPages], None],
    now: datetime,
    scope: ExtractionSelection = SELECT_ALL,
    refusals: RefusedSources | None = None,
) -> ApiPoll:
    """Ask one source for some days of its schedulers.

    Args:
        api: the source.
        days: the days that are wanted.
        known: by ARN, days of which nothing more is to be asked.
        take: is handed every page, cut to the days that were asked for, and never two pages at once.
        now: when this round begins; an answer proves nothing beyond it.
        scope: which schedulers.
        refusals: who is not asked again; those that refuse for good now are put among them.

    Returns:
        What came of it; a scheduler whose pages broke off has given some and is among the `failed`.
    """
    told, refusals = ApiPoll(now, frozenset(days)), refusals or RefusedSources()
    try:
        if api.uri in refusals.sources:
            raise refusals.sources[api.uri]
        _list(api, told)
    except LedgerError as problem:
        told.note(api.uri, problem)
        if _is_for_good(problem):
            refusals.sources[api.uri] = problem
        return told
    one_at_a_time = Lock()

    def take_page(page: FlattenedPages) -> None:
        with one_at_a_time:
            take(page)

    def ask_one(scheduler: ListedScheduler) -> tuple[frozenset[date], LedgerError | None]:
        wanted = told.days - frozenset(known.get(scheduler.arn, ()))
        refused = refusals.schedulers.get(scheduler.arn)
        return (frozenset(), refused) if refused else _ask_one(api, scheduler, wanted, take_page, now)

    chosen = scope.chosen(told.schedulers)
    with ThreadPoolExecutor(
        api.concurrency if api.calls.limit is None else 1, thread_name_prefix="ask"
    ) as threads:
        for scheduler, (answered, broke) in zip(chosen, threads.map(ask_one, chosen), strict=True):
            if answered:
                told.answers.append(SchedulerResponse(scheduler, answered, now))
            if broke:
                told.note(scheduler.name, broke)
                if _is_for_good(broke):
                    refusals.schedulers[scheduler.arn] = broke
    return told


def _is_for_good(problem: LedgerError) -> bool:
    return not isinstance(problem, RetryLaterError | BudgetSpentError)


def _list(api: LiveService, told: ApiPoll) -> None:
    if api.service_end is not None:
        told.days = frozenset(day for day in told.days if day <= api.service_end)
    if not told.days:
        told.notices.append(f"{api.uri} was not asked: the service ended there on {api.service_end}.")
        return
    told.schedulers = api.listed_schedulers
    told.is_listed = True
    told.notices += [
        f"{api.uri} knows no scheduler named {name}." for name in api.find_unmatched_patterns(told.schedulers)
    ]


def _ask_one(
    api: LiveService,
    scheduler: ListedScheduler,
    days: frozenset[date],
    take: Callable[[FlattenedPages], None],
    now: datetime,
) -> tuple[frozenset[date], LedgerError | None]:
    """Ask for each unbroken stretch of days; return the days that were answered in full, and what broke."""
    answered, silent = set[date](), set[date]()
    try:
        for first, last in contiguous_ranges(days):
            window = Window(get_day_window(first).start, get_day_window(last).end)
            summaries = 0
            for page in flatten_pages(api.read_pages(scheduler, window.start, window.end, now)):
                take(replace(page, rows=filter_window(page.rows, window)))
                summaries += page.summaries
            (answered if summaries else silent).update(day for day in days if first <= day <= last)
        # nothing is what the service also says of a scheduler that was deleted a moment ago
        if silent and api.scheduler_exists(scheduler):
            answered |= silent
    except LedgerError as problem:
        return frozenset(answered), problem
    return frozenset(answered), None
