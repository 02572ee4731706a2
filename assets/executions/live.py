"""Asking the service: which schedulers, for which days, and what its answers prove.

Belongs here: one round of questions to one live source.
Does not belong here: the protocol (see `resources.sources.api`), and what proof is worth (see `coverage`).

One scheduler that cannot be asked keeps no other from being asked. Several are asked at once; the pages of
one come one after the other, as the service gives them.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock

from assets.executions.flatten import Flattened, flatten
from assets.executions.windows import Window, day_window
from resources.errors import LedgerError
from resources.sources.api import THREADS, Api, Scheduler


@dataclass(frozen=True)
class Answer:
    """One scheduler that the service told all of, for some days, no earlier than `asked_at`."""

    scheduler: Scheduler
    days: frozenset[date]
    asked_at: datetime


@dataclass
class Round:
    """What one source told: `schedulers` as it listed them, whole `answers`, and what `failed` (by name)."""

    listed_at: datetime
    days: frozenset[date]
    schedulers: list[Scheduler] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def ask(
    api: Api,
    days: Collection[date],
    known: Mapping[str, Collection[date]],
    take: Callable[[Flattened], None],
    now: datetime,
) -> Round:
    """Ask one source for some days of all its schedulers.

    Args:
        api: the source.
        days: the days that are wanted.
        known: by ARN, days of which nothing more is to be asked.
        take: is handed every page, never two at once.
        now: when this round begins; an answer proves nothing beyond it.

    Returns:
        What came of it; a scheduler whose pages broke off has given some and is among the `failed`.
    """
    told = Round(now, frozenset(days))
    try:
        _list(api, told)
    except LedgerError as problem:
        told.failed[api.uri] = problem
        return told
    one_at_a_time = Lock()

    def take_page(page: Flattened) -> None:
        with one_at_a_time:
            take(page)

    def ask_one(scheduler: Scheduler) -> Answer | LedgerError | None:
        wanted = told.days - frozenset(known.get(scheduler.arn, ()))
        try:
            return _ask_one(api, scheduler, wanted, take_page, now) if wanted else None
        except LedgerError as problem:
            return problem

    with ThreadPoolExecutor(THREADS, thread_name_prefix="ask") as threads:
        for scheduler, came in zip(told.schedulers, threads.map(ask_one, told.schedulers), strict=True):
            if isinstance(came, LedgerError):
                told.failed[scheduler.name] = came
            elif came is not None:
                told.answers.append(came)
    return told


def _list(api: Api, told: Round) -> None:
    if api.service_end is not None:
        told.days = frozenset(day for day in told.days if day <= api.service_end)
    if not told.days:
        told.notices.append(f"{api.uri} was not asked: the service ended there on {api.service_end}.")
        return
    told.schedulers = api.schedulers()
    told.notices += [f"{api.uri} knows no scheduler named {name}." for name in api.unknown(told.schedulers)]


def _ask_one(
    api: Api, scheduler: Scheduler, days: frozenset[date], take: Callable[[Flattened], None], now: datetime
) -> Answer | None:
    window = Window(day_window(min(days)).start, day_window(max(days)).end)
    summaries = 0
    for page in flatten(api.pages(scheduler, window.start, window.end, now)):
        take(page)
        summaries += page.summaries
    # nothing is what the service also says of a scheduler that was deleted a moment ago
    if not summaries and not api.still_has(scheduler):
        return None
    return Answer(scheduler, days, now)
