"""The operations of the service: the response to a valid request at a given time."""

import bisect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sandbox.descriptions import build_description, build_summary, get_model_name, get_status
from sandbox.events import find_events
from sandbox.fleet import Fleet
from sandbox.forms import format_wire
from sandbox.paging import NO_PAGE_FAULTS, Listing, PageFaults, Rank, get_page
from sandbox.protocol import ServiceError
from sandbox.schedulers import Scheduler
from sandbox.switches import Switches
from sandbox.timeline import Timeline, parse_epoch_seconds

Item = TypeVar("Item")


@dataclass(frozen=True)
class Caller:
    """The account and region of a request."""

    account: str
    region: str


@dataclass(frozen=True)
class Request:
    """A parsed request.

    Attributes:
        operation: The name of the operation.
        caller: The account and region.
        members: The validated members of the request.
        clock: The time of the request.
        page_faults: The faults to apply to the page.
    """

    operation: str
    caller: Caller
    members: Mapping[str, Any]
    clock: datetime
    page_faults: PageFaults = NO_PAGE_FAULTS

    def get_token_scope(self, *parts: object) -> tuple[object, ...]:
        """Return what a token is valid for: everything but the page and its size."""
        filters = {
            name: value for name, value in self.members.items() if name not in {"NextToken", "MaxResults"}
        }
        return (self.operation, self.caller, sorted(filters.items()), *parts)


class Operations:
    """All operations, on the schedulers of a fleet."""

    def __init__(self, fleet: Fleet, switches: Switches) -> None:
        self.fleet = fleet
        self.switches = switches
        self.timelines = {scheduler.arn: Timeline(scheduler) for scheduler in fleet.schedulers}

    def execute(self, request: Request) -> bytes:
        """Return the body of the response.

        Raises:
            ServiceError: The response is an error.
        """
        operations: dict[str, Callable[[Request], bytes]] = {
            "ListInferenceSchedulers": self._list_schedulers,
            "DescribeInferenceScheduler": self._describe_scheduler,
            "ListInferenceExecutions": self._list_executions,
            "ListInferenceEvents": self._list_events,
        }
        return operations[request.operation](request)

    def _list_schedulers(self, request: Request) -> bytes:
        members, clock = request.members, request.clock
        schedulers = [
            scheduler
            for scheduler in self._list_schedulers_of_caller(request)
            if scheduler.name.startswith(members.get("InferenceSchedulerNameBeginsWith", ""))
            and members.get("ModelName") in (None, get_model_name(scheduler))
            and members.get("Status") in (None, get_status(scheduler, clock))
        ]
        schedulers.sort(key=lambda scheduler: scheduler.name)
        listing = Listing(schedulers, lambda scheduler: scheduler.name, request.get_token_scope(), clock)
        return self._build_page(
            request,
            listing,
            "InferenceSchedulerSummaries",
            lambda scheduler: format_wire(build_summary(scheduler, clock)).encode(),
        )

    def _describe_scheduler(self, request: Request) -> bytes:
        scheduler = self._find_scheduler(request)
        if scheduler is None:
            raise _build_not_found_error(request)
        return format_wire(build_description(scheduler, request.clock)).encode()

    def _list_executions(self, request: Request) -> bytes:
        scheduler = self._find_scheduler(request)
        if scheduler is None:
            return self._list_nothing(request, "InferenceExecutionSummaries")
        timeline, clock = self.timelines[scheduler.arn], request.clock
        numbers: Sequence[int] = _select_executions(timeline, request, self.switches)
        status = request.members.get("Status")
        if status is not None:
            numbers = [number for number in numbers if timeline.status(number, clock) == status]
        items, rank = self._sort(numbers, lambda number: timeline.starts[number])
        listing = Listing(items, rank, request.get_token_scope(scheduler.arn), clock)
        return self._build_page(
            request, listing, "InferenceExecutionSummaries", lambda number: timeline.summary(number, clock)
        )

    def _list_events(self, request: Request) -> bytes:
        scheduler = self._find_scheduler(request)
        if scheduler is None:
            return self._list_nothing(request, "InferenceEventSummaries")
        start, end = (
            parse_epoch_seconds(request.members[f"Interval{side}Time"]) for side in ("Start", "End")
        )
        events = find_events(scheduler, request.clock, start, end)
        numbers, rank = self._sort(range(len(events)), lambda number: events[number].start.timestamp())
        listing = Listing(numbers, rank, request.get_token_scope(scheduler.arn), request.clock)
        return self._build_page(
            request,
            listing,
            "InferenceEventSummaries",
            lambda number: format_wire(events[number].summary).encode(),
        )

    def _list_schedulers_of_caller(self, request: Request) -> list[Scheduler]:
        caller = request.caller
        return [
            scheduler
            for scheduler in self.fleet.list_schedulers(request.clock)
            if (scheduler.account, scheduler.region) == (caller.account, caller.region)
        ]

    def _find_scheduler(self, request: Request) -> Scheduler | None:
        name = request.members["InferenceSchedulerName"]
        return next(
            (scheduler for scheduler in self._list_schedulers_of_caller(request) if scheduler.name == name),
            None,
        )

    def _list_nothing(self, request: Request, member: str) -> bytes:
        if self.switches.unknown_scheduler == "error":
            raise _build_not_found_error(request)
        empty: Listing[int] = Listing((), lambda number: number, request.get_token_scope(), request.clock)
        return self._build_page(request, empty, member, lambda _: b"")

    def _sort(
        self, oldest_first: Sequence[int], start: Callable[[int], float]
    ) -> tuple[Sequence[int], Callable[[int], Rank]]:
        """Return the items in the configured order, and the rank that defines the order."""
        match self.switches.order:
            case "newest":
                return oldest_first[::-1], lambda number: -int(start(number))
            case "oldest":
                return oldest_first, lambda number: int(start(number))
            case "shuffled":
                # A multiplication by this constant modulo 2^32 is a bijection, so ranks are unique.
                def scatter(number: int) -> Rank:
                    return int(start(number)) * 0x9E3779B1 & 0xFFFFFFFF

                return sorted(oldest_first, key=scatter), scatter

    def _build_page(
        self, request: Request, listing: Listing[Item], member: str, render: Callable[[Item], bytes]
    ) -> bytes:
        size = request.members.get("MaxResults", self.switches.page_size)
        token = request.members.get("NextToken")
        items, next_token = get_page(listing, size, token, self.switches, request.page_faults)
        body = b'{"%b":[%b]' % (member.encode(), b",".join(map(render, items)))
        if next_token is not None:
            body += b',"NextToken":%b' % json.dumps(next_token).encode()
        return body + b"}"


def _select_executions(timeline: Timeline, request: Request, switches: Switches) -> range:
    """Return the visible executions within the requested times."""
    first, last = 0, timeline.count(request.clock)
    after = request.members.get("DataStartTimeAfter")
    before = request.members.get("DataEndTimeBefore")
    strict = switches.bounds == "strict"
    if after is not None:
        first = (bisect.bisect_right if strict else bisect.bisect_left)(timeline.starts, after)
    if before is not None:
        last = min(last, (bisect.bisect_left if strict else bisect.bisect_right)(timeline.ends, before))
    return range(first, max(first, last))


def _build_not_found_error(request: Request) -> ServiceError:
    name = request.members["InferenceSchedulerName"]
    return ServiceError("ResourceNotFoundException", f"No inference scheduler has the name {name}")
