"""The operations of the service: what it answers to a checked request, at a given clock."""

import bisect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sandbox.descriptions import description, model_name, row, status
from sandbox.events import events
from sandbox.fleet import Fleet
from sandbox.forms import wire
from sandbox.paging import NO_TRICKS, Listing, Rank, Tricks, page
from sandbox.protocol import ServiceError
from sandbox.schedulers import Scheduler
from sandbox.switches import Switches
from sandbox.timeline import Timeline, instant

Item = TypeVar("Item")


@dataclass(frozen=True)
class Caller:
    """Whose schedulers are asked for."""

    account: str
    region: str


@dataclass(frozen=True)
class Question:
    """A request, understood.

    Attributes:
        operation: Its name.
        caller: Who asks.
        members: The request's members, checked.
        clock: When.
        tricks: What goes wrong with its page.
    """

    operation: str
    caller: Caller
    members: Mapping[str, Any]
    clock: datetime
    tricks: Tricks = NO_TRICKS

    def of(self, *about: object) -> tuple[object, ...]:
        """What tokens of this question fit: all of it but the place and the size of the page."""
        filters = {
            name: value for name, value in self.members.items() if name not in {"NextToken", "MaxResults"}
        }
        return (self.operation, self.caller, sorted(filters.items()), *about)


class Operations:
    """All operations on one fleet."""

    def __init__(self, fleet: Fleet, switches: Switches) -> None:
        self.fleet = fleet
        self.switches = switches
        self.timelines = {scheduler.arn: Timeline(scheduler) for scheduler in fleet.schedulers}

    def answer(self, question: Question) -> bytes:
        """The body of the response.

        Raises:
            ServiceError: As the service answers instead.
        """
        operations: dict[str, Callable[[Question], bytes]] = {
            "ListInferenceSchedulers": self._list_schedulers,
            "DescribeInferenceScheduler": self._describe_scheduler,
            "ListInferenceExecutions": self._list_executions,
            "ListInferenceEvents": self._list_events,
        }
        return operations[question.operation](question)

    def _list_schedulers(self, question: Question) -> bytes:
        members, clock = question.members, question.clock
        found = [
            one
            for one in self._of(question)
            if one.name.startswith(members.get("InferenceSchedulerNameBeginsWith", ""))
            and members.get("ModelName") in (None, model_name(one))
            and members.get("Status") in (None, status(one, clock))
        ]
        found.sort(key=lambda one: one.name)
        listing = Listing(found, lambda one: one.name, question.of(), clock)
        return self._page(
            question, listing, "InferenceSchedulerSummaries", lambda one: wire(row(one, clock)).encode()
        )

    def _describe_scheduler(self, question: Question) -> bytes:
        found = self._named(question)
        if found is None:
            raise _unknown(question)
        return wire(description(found, question.clock)).encode()

    def _list_executions(self, question: Question) -> bytes:
        found = self._named(question)
        if found is None:
            return self._of_nobody(question, "InferenceExecutionSummaries")
        timeline, clock = self.timelines[found.arn], question.clock
        numbers: Sequence[int] = _within(timeline, question, self.switches)
        wanted = question.members.get("Status")
        if wanted is not None:
            numbers = [number for number in numbers if timeline.status(number, clock) == wanted]
        items, rank = self._ordered(numbers, lambda number: timeline.starts[number])
        listing = Listing(items, rank, question.of(found.arn), clock)
        return self._page(
            question, listing, "InferenceExecutionSummaries", lambda number: timeline.summary(number, clock)
        )

    def _list_events(self, question: Question) -> bytes:
        found = self._named(question)
        if found is None:
            return self._of_nobody(question, "InferenceEventSummaries")
        start, end = (instant(question.members[f"Interval{side}Time"]) for side in ("Start", "End"))
        known = events(found, question.clock, start, end)
        numbers, rank = self._ordered(range(len(known)), lambda number: known[number].start.timestamp())
        listing = Listing(numbers, rank, question.of(found.arn), question.clock)
        return self._page(
            question,
            listing,
            "InferenceEventSummaries",
            lambda number: wire(known[number].summary).encode(),
        )

    def _of(self, question: Question) -> list[Scheduler]:
        caller = question.caller
        return [
            one
            for one in self.fleet.listed(question.clock)
            if (one.account, one.region) == (caller.account, caller.region)
        ]

    def _named(self, question: Question) -> Scheduler | None:
        name = question.members["InferenceSchedulerName"]
        return next((one for one in self._of(question) if one.name == name), None)

    def _of_nobody(self, question: Question, member: str) -> bytes:
        if self.switches.unknown_scheduler == "error":
            raise _unknown(question)
        nothing: Listing[int] = Listing((), lambda number: number, question.of(), question.clock)
        return self._page(question, nothing, member, lambda _: b"")

    def _ordered(
        self, oldest_first: Sequence[int], start: Callable[[int], float]
    ) -> tuple[Sequence[int], Callable[[int], Rank]]:
        """The items in the order of the switch, and the rank that puts them so."""
        match self.switches.order:
            case "newest":
                return oldest_first[::-1], lambda number: -int(start(number))
            case "oldest":
                return oldest_first, lambda number: int(start(number))
            case "shuffled":
                # Times of a lifetime times an odd number, cut to 32 bits: no two of them meet.
                def anywhere(number: int) -> Rank:
                    return int(start(number)) * 0x9E3779B1 & 0xFFFFFFFF

                return sorted(oldest_first, key=anywhere), anywhere

    def _page(
        self, question: Question, listing: Listing[Item], member: str, render: Callable[[Item], bytes]
    ) -> bytes:
        size = question.members.get("MaxResults", self.switches.page_size)
        token = question.members.get("NextToken")
        items, following = page(listing, size, token, self.switches, question.tricks)
        body = b'{"%b":[%b]' % (member.encode(), b",".join(map(render, items)))
        if following is not None:
            body += b',"NextToken":%b' % json.dumps(following).encode()
        return body + b"}"


def _within(timeline: Timeline, question: Question, switches: Switches) -> range:
    """The executions that show, between the bounds on the times of their data."""
    first, last = 0, timeline.count(question.clock)
    after = question.members.get("DataStartTimeAfter")
    before = question.members.get("DataEndTimeBefore")
    strict = switches.bounds == "strict"
    if after is not None:
        first = (bisect.bisect_right if strict else bisect.bisect_left)(timeline.starts, after)
    if before is not None:
        last = min(last, (bisect.bisect_left if strict else bisect.bisect_right)(timeline.ends, before))
    return range(first, max(first, last))


def _unknown(question: Question) -> ServiceError:
    name = question.members["InferenceSchedulerName"]
    return ServiceError("ResourceNotFoundException", f"No inference scheduler has the name {name}")
