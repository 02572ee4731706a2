"""Recorded queries: what the pages of a recording prove.

A recording proves days of a scheduler if it holds a query that covers them, every page of it up to the last
one, and before it the description or list entry of the scheduler by the service. Without any execution, a
description after the last page must confirm that the scheduler still existed. These are the rules of live
queries; the proof counts at the time of the first request.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import pyarrow as pa

from resources.sources.base import Exchange, ListedScheduler, SchedulerResponse
from resources.sources.messages import (
    DECODE_ERRORS,
    DESCRIBE_SCHEDULER,
    LIST_EXECUTIONS,
    LIST_SCHEDULERS,
    QUERY_PADDING,
    Description,
    ExecutionsPage,
    SchedulersPage,
    parse_scheduler,
)

_A_DAY = timedelta(days=1)
_MAX_DAYS = 366 * 20
"""A query of more days proves only as many; the service is younger."""

_QUERY_MEMBERS = frozenset(
    {"InferenceSchedulerName", "DataStartTimeAfter", "DataEndTimeBefore", "MaxResults"}
)
"""With any other member, such as `Status`, a query does not return all executions."""


@dataclass
class RecordedQuery:
    """One query and the pages that are recorded of it, in their order.

    Attributes:
        scheduler_name: the name in the request.
        days: the days that a complete response proves.
        queried_at: when the first request was sent.
        scheduler: what the service listed under this name before; None: it is not recorded.
        next_token: the NextToken of the last page; None: there is no further page.
        executions: the number of summaries.
        is_confirmed: whether the service described the scheduler after the last page.
    """

    scheduler_name: str
    days: frozenset[date]
    queried_at: datetime
    scheduler: ListedScheduler | None
    next_token: str | None = None
    executions: int = 0
    is_confirmed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the last page is recorded."""
        return self.next_token is None

    @property
    def response(self) -> SchedulerResponse | None:
        """What the query proves; None: nothing."""
        if self.scheduler is None or not self.days or not self.is_complete:
            return None
        if not self.executions and not self.is_confirmed:
            return None
        return SchedulerResponse(self.scheduler, self.days, self.queried_at)


_PACKING = "zstd"
_SUMMARIES = msgspec.json.Decoder(list[msgspec.Raw] | None)


class RecordedSummaries:
    """JSON of executions in their order. Their pages are held compressed, at a thirtieth of their size.

    Which days count is known only after the last page.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._pages: list[tuple[bytes, int]] = []
        self._count = 0

    def add(self, page: msgspec.Raw) -> int:
        """Add a list of executions, or null, and return their number.

        Raises:
            DECODE_ERRORS: it is neither.
        """
        count = len(_SUMMARIES.decode(page) or ())
        if count:
            content = memoryview(page)
            self._pages.append((pa.compress(content, _PACKING, asbytes=True), len(content)))
            self._count += count
        return count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[msgspec.Raw]:
        for packed, size in self._pages:
            yield from _SUMMARIES.decode(pa.decompress(packed, size, _PACKING, asbytes=True)) or ()


@dataclass
class Recording:
    """The content of a recording.

    Attributes:
        exchanges: the number of all exchanges.
        summaries: JSON of all executions.
        queries: the queries in the order of their first page.
        problems: descriptions of pages that could not be used.
    """

    exchanges: int = 0
    summaries: RecordedSummaries = field(default_factory=RecordedSummaries)
    queries: list[RecordedQuery] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def responses(self) -> tuple[SchedulerResponse, ...]:
        """Everything that the recording proves."""
        responses = (query.response for query in self.queries)
        return tuple(response for response in responses if response is not None)

    @property
    def days(self) -> frozenset[date] | None:
        """The days of all queries, if each is proven; the padding around them is then cut off.

        None: some executions belong to no complete query, so that none is cut off.
        """
        if self.problems or any(query.response is None for query in self.queries):
            return None
        return frozenset(day for query in self.queries for day in query.days)


def read_recording(exchanges: Iterable[Exchange]) -> Recording:
    """Combine the pages of a recording to queries; pages of several queries may alternate."""
    recording = Recording()
    listed: dict[str, ListedScheduler] = {}
    open_queries: dict[bytes, RecordedQuery] = {}
    for number, exchange in enumerate(exchanges, 1):
        recording.exchanges = number
        try:
            match exchange.operation:
                case operation if operation == LIST_SCHEDULERS:
                    listed |= _list_schedulers(exchange.body)
                case operation if operation == DESCRIBE_SCHEDULER:
                    _confirm(exchange, recording.queries)
                case operation if operation == LIST_EXECUTIONS:
                    if not _add_page(exchange, recording, open_queries, listed):
                        recording.problems.append(f"page {number} does not follow a page of its query")
        except DECODE_ERRORS as error:
            recording.problems.append(f"page {number} is not a response: {error}")
    return recording


def _list_schedulers(body: bytes) -> dict[str, ListedScheduler]:
    listed = {}
    for summary in msgspec.json.decode(body, type=SchedulersPage).inference_scheduler_summaries:
        try:
            scheduler = parse_scheduler(summary)
        except DECODE_ERRORS:
            continue  # as in a live list, where invalid entries do not affect the others
        listed[scheduler.name] = scheduler
    return listed


def _confirm(exchange: Exchange, queries: Iterable[RecordedQuery]) -> None:
    arn = msgspec.json.decode(exchange.body, type=Description).inference_scheduler_arn
    for query in queries:
        if query.scheduler and query.scheduler.arn == arn and query.is_complete:
            query.is_confirmed = True


def _add_page(
    exchange: Exchange,
    recording: Recording,
    open_queries: dict[bytes, RecordedQuery],
    listed: Mapping[str, ListedScheduler],
) -> bool:
    """Add the summaries of a page, and the page to its query; return whether it follows the previous page."""
    page = msgspec.json.decode(exchange.body, type=ExecutionsPage)
    count = recording.summaries.add(page.inference_execution_summaries)
    request = msgspec.json.decode(exchange.request, type=dict[str, Any])
    token = request.pop("NextToken", None)
    key = msgspec.json.encode(request, order="deterministic")
    if token is None:
        open_queries[key] = query = _build_query(request, exchange.sent_at, listed)
        recording.queries.append(query)
    elif key not in open_queries or open_queries[key].next_token != token:
        return False
    query = open_queries[key]
    query.next_token = page.next_token or None
    query.executions += count
    return True


def _build_query(
    request: Mapping[str, Any], sent_at: datetime, listed: Mapping[str, ListedScheduler]
) -> RecordedQuery:
    name = str(request.get("InferenceSchedulerName"))
    days = frozenset[date]()
    if request.keys() <= _QUERY_MEMBERS:
        days = select_proven_days(request.get("DataStartTimeAfter"), request.get("DataEndTimeBefore"))
    return RecordedQuery(name, days, sent_at, listed.get(name))


def select_proven_days(after: object, before: object) -> frozenset[date]:
    """Return the days whose windows a query contains for every meaning of its bounds.

    Args:
        after: `DataStartTimeAfter`, in seconds since 1970.
        before: `DataEndTimeBefore`.
    """
    if not isinstance(after, int | float) or not isinstance(before, int | float):
        return frozenset()
    try:
        start = datetime.fromtimestamp(after, UTC) + QUERY_PADDING
        end = datetime.fromtimestamp(before, UTC) - QUERY_PADDING
        first = start.date() if start.timetz() == time(tzinfo=UTC) else start.date() + _A_DAY
    except (ValueError, OverflowError, OSError):
        return frozenset()
    count = max(0, min((end.date() - first).days, _MAX_DAYS))
    return frozenset(first + number * _A_DAY for number in range(count))
