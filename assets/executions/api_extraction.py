"""Extraction from live services: which schedulers are queried for which days, and what the responses prove.

An error for one scheduler does not stop the queries of the others. Several schedulers are queried in
parallel, but the pages of one scheduler arrive in sequence. With a call budget, schedulers are queried one
after the other, so that the end of the budget interrupts at most one sequence of pages.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from threading import Lock

from assets.executions.flatten import FlattenedPages, decode_summaries, flatten_pages
from assets.executions.selection import SELECT_ALL, ExtractionSelection, contiguous_ranges
from assets.framework.time_windows import Window, filter_window, get_day_window
from resources.errors import BudgetSpentError, LedgerError, RetryLaterError
from resources.sources.base import ListedScheduler, LiveService, SchedulerResponse


@dataclass
class ApiPoll:
    """The results of polling one service.

    Attributes:
        listed_at: When the poll started.
        days: The days to query, without those after the end of the service.
        is_listed: Whether the service listed its schedulers.
        schedulers: The listed schedulers.
        responses: The complete responses.
        failed: Errors by name of a scheduler, or by URI of the service.
        notices: Messages for people.
        budget_error: Set if the call budget is spent; the remaining schedulers were not queried completely.
    """

    listed_at: datetime
    days: frozenset[date]
    is_listed: bool = False
    schedulers: list[ListedScheduler] = field(default_factory=list)
    responses: list[SchedulerResponse] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    budget_error: BudgetSpentError | None = None

    def add_error(self, name: str, error: LedgerError) -> None:
        """Add the error of a scheduler or of the whole service."""
        if isinstance(error, BudgetSpentError):
            self.budget_error = error
        else:
            self.failed[name] = error


@dataclass
class RefusedSources:
    """Permanent errors of a run, by URI of a service and by ARN of a scheduler.

    A run does not query these services and schedulers again.

    Attributes:
        sources: Services by URI.
        schedulers: Schedulers by ARN.
        failed_lists: Errors of any kind of a list that the run requested early; the next poll raises them
            instead of a second request.
    """

    sources: dict[str, LedgerError] = field(default_factory=dict)
    schedulers: dict[str, LedgerError] = field(default_factory=dict)
    failed_lists: dict[str, LedgerError] = field(default_factory=dict)

    def add_source(self, uri: str, error: LedgerError) -> None:
        """Add a service, if its error is permanent."""
        if _is_permanent(error):
            self.sources[uri] = error

    def add_scheduler(self, arn: str, error: LedgerError) -> None:
        """Add a scheduler, if its error is permanent."""
        if _is_permanent(error):
            self.schedulers[arn] = error


def poll_service(  # noqa: PLR0913, PLR0917 (the last two have defaults)
    service: LiveService,
    days: Collection[date],
    days_to_skip: Mapping[str, Collection[date]],
    handle_page: Callable[[FlattenedPages], None],
    now: datetime,
    selection: ExtractionSelection = SELECT_ALL,
    refusals: RefusedSources | None = None,
) -> ApiPoll:
    """Query one service for some days of its schedulers.

    Args:
        service: the service.
        days: the requested days.
        days_to_skip: by ARN, the days that need no query.
        handle_page: called with every page, cut to the requested days; calls never overlap.
        now: when the poll starts; responses prove nothing after this time.
        selection: the selected schedulers.
        refusals: services and schedulers that are not queried again; permanent errors are added to it.

    Returns:
        The results. A scheduler in `failed` may have returned some pages before the error.
    """
    poll, refusals = ApiPoll(now, frozenset(days)), refusals or RefusedSources()
    try:
        if error := refusals.sources.get(service.uri) or refusals.failed_lists.pop(service.uri, None):
            raise error
        _list_schedulers(service, poll)
    except LedgerError as error:
        poll.add_error(service.uri, error)
        refusals.add_source(service.uri, error)
        return poll
    lock = Lock()

    def handle_page_alone(page: FlattenedPages) -> None:
        with lock:
            handle_page(page)

    def query(scheduler: ListedScheduler) -> tuple[frozenset[date], LedgerError | None]:
        if refusal := refusals.schedulers.get(scheduler.arn):
            return frozenset(), refusal
        requested = poll.days - frozenset(days_to_skip.get(scheduler.arn, ()))
        return _query_scheduler(service, scheduler, requested, handle_page_alone, now)

    schedulers = selection.select_schedulers(poll.schedulers)
    thread_count = service.concurrency if service.calls.limit is None else 1
    with ThreadPoolExecutor(thread_count, thread_name_prefix="query") as threads:
        try:
            for scheduler, (answered, failure) in zip(
                schedulers, threads.map(query, schedulers), strict=True
            ):
                if answered:
                    poll.responses.append(SchedulerResponse(scheduler, answered, now))
                if failure:
                    poll.add_error(scheduler.name, failure)
                    refusals.add_scheduler(scheduler.arn, failure)
        except BaseException:  # an interrupt: otherwise the pool would wait for responses, for minutes
            service.calls.stop()
            raise
    return poll


def _is_permanent(error: LedgerError) -> bool:
    return not isinstance(error, RetryLaterError | BudgetSpentError)


def _list_schedulers(service: LiveService, poll: ApiPoll) -> None:
    if service.service_end is not None:
        poll.days = frozenset(day for day in poll.days if day <= service.service_end)
    if not poll.days:
        poll.notices.append(f"{service.uri} is not queried: the service ended on {service.service_end}.")
        return
    poll.schedulers = service.listed_schedulers
    poll.is_listed = True
    poll.failed |= service.rejected_schedulers
    poll.notices += [
        f"{service.uri} has no scheduler named {name}."
        for name in service.find_unmatched_patterns(poll.schedulers)
    ]


def _query_scheduler(
    service: LiveService,
    scheduler: ListedScheduler,
    days: frozenset[date],
    handle_page: Callable[[FlattenedPages], None],
    now: datetime,
) -> tuple[frozenset[date], LedgerError | None]:
    """Query each contiguous range of days; return the completely answered days, and the error if any."""
    answered, empty = set[date](), set[date]()
    try:
        for first, last in contiguous_ranges(days):
            window = Window(get_day_window(first).start, get_day_window(last).end)
            summaries = 0
            # the service returns executions around the window, too, as queries are padded
            pages = service.read_pages(scheduler, window.start, window.end, now, decode_summaries)
            for page in flatten_pages(pages):
                handle_page(replace(page, rows=filter_window(page.rows, window)))
                summaries += page.summaries
            (answered if summaries else empty).update(day for day in days if first <= day <= last)
        # an empty response can also mean that the scheduler was deleted in the meantime
        if empty and service.scheduler_exists(scheduler):
            answered |= empty
    except LedgerError as error:
        return frozenset(answered), error
    return frozenset(answered), None
