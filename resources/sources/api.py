"""The live service as a source, or whatever speaks its protocol.

A list of an unknown scheduler's executions is empty and no error, so a scheduler counts as asked only when
the service has named it before, and still names it after an empty answer. Whether the bounds of a query are
inclusive nobody knows, and both are compared with different ends of a window: queries ask two hours wider on
each side, and the cut is made afterwards. Pages may shift while they are read, so a row may come twice.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import botocore.exceptions as refusals
import msgspec

from resources.aws.session import (
    RAW_BODY,
    SERVICE,
    SERVICE_END,
    AwsAccess,
    is_aws_client,
    is_aws_endpoint,
    open_lookout_client,
    translate_error,
)
from resources.errors import DataError
from resources.name_patterns import matches, matches_any
from resources.sources.base import ListedScheduler, Page
from resources.sources.call_budget import CallBudget

KIND = "api"
PAGE_SIZE = 500
QUERY_PADDING = timedelta(hours=2)
"""A window is an hour long at most; twice that is safe under every reading of the bounds."""

THREADS = 4
"""Schedulers asked at once: the service's own limits bound the speed, more threads only wait for them."""


TRIES = 3
"""How often a page is asked for that came spoilt, though not as an error that botocore repeats."""

CHAINS = 3
"""How often pages are followed from the first one on, before a chain that breaks is an error."""


class _BrokenChainError(Exception):
    """The pages cannot be followed to their end."""


class _Head(msgspec.Struct, rename="pascal"):
    inference_execution_summaries: msgspec.Raw
    next_token: str | None = None


class ApiSource:
    """The schedulers of one account and region."""

    kind = KIND
    files = None
    days = None
    concurrency = THREADS

    def __init__(
        self,
        access: AwsAccess,
        patterns: Sequence[str] = ("*",),
        *,
        service_end: date | None = None,
        client: Any = None,  # noqa: ANN401
    ) -> None:
        """Name the place; nothing is asked yet.

        Args:
            access: how to reach it.
            patterns: names of schedulers, with `*` and `?`.
            service_end: the last day of the service; AWS's own if the client speaks to AWS.
            client: a boto3 client to use instead of one of our own; it is slower, as it parses every row.

        `calls` counts what is asked; a run puts its own count there, one for all its sources. `date_header`
        is the service's clock, as its last answer had it.
        """
        self.access = access
        self.patterns = tuple(patterns)
        self.calls = CallBudget()
        self.date_header: str | None = None
        self._service_end = service_end
        self._given = client

    @property
    def uri(self) -> str:
        """What to call this source in messages."""
        return f"api ({self.access})"

    @property
    def service(self) -> "ApiSource":
        """Query it scheduler by scheduler."""
        return self

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401
        client = self._given or open_lookout_client(self.access, connections=THREADS)
        # botocore tells of every request that it sends, those that it repeats by itself included, and what
        # is raised before one is sent comes out here
        client.meta.events.register(f"before-send.{SERVICE}", lambda **_: self.calls.begin())
        client.meta.events.register(f"response-received.{SERVICE}", self._received)
        return client

    def _received(self, parsed_response: dict[str, Any] | None, **_: Any) -> None:  # noqa: ANN401
        self.calls.note(parsed_response)
        answer = (parsed_response or {}).get("ResponseMetadata", {})
        self.date_header = answer.get("HTTPHeaders", {}).get("date", self.date_header)

    @property
    def is_aws(self) -> bool:
        """Whether this is AWS itself, and not something of its kind."""
        named = self.access.endpoint_url
        # to open a client takes a while, and schedules ask this all the time
        return is_aws_client(self._client) if named is None or self._given else is_aws_endpoint(named)

    @property
    def service_end(self) -> date | None:
        """The last day of which anything can be asked; None where there is none."""
        return self._service_end or (SERVICE_END if self.is_aws else None)

    @cached_property
    def listed_schedulers(self) -> list[ListedScheduler]:
        """The schedulers as they were when this was first asked for: one list serves a whole run."""
        return self.list_schedulers()

    def list_schedulers(self) -> list[ListedScheduler]:
        """List the schedulers whose names match.

        Raises:
            LedgerError: whatever keeps the service from answering; see `resources.aws.session.told`.
            BudgetSpentError: the run may make no more calls; so it is with all that asks.
        """
        listed = [
            scheduler
            for answer in self._answers(
                "list_inference_schedulers", "listing the schedulers", MaxResults=PAGE_SIZE
            )
            for scheduler in map(_scheduler, answer.get("InferenceSchedulerSummaries", []))
        ]
        return [found for found in listed if matches_any(self.patterns, found.name, found.arn)]

    def find_unmatched_patterns(self, found: Sequence[ListedScheduler]) -> list[str]:
        """Return the patterns that match none of the schedulers that were found: a slip, or deleted."""
        return [
            pattern
            for pattern in self.patterns
            if pattern != "*" and not any(matches(pattern, one.name, one.arn) for one in found)
        ]

    def read_pages(
        self, scheduler: ListedScheduler, start: datetime, end: datetime, read_at: datetime
    ) -> Iterator[Page]:
        """Hand on all executions whose window may start between two moments, and some beside them.

        Raises:
            LedgerError: whatever keeps the service from answering; see `resources.aws.session.told`.
            DataError: the pages could not be followed to their end.
        """
        answers = self._answers(
            "list_inference_executions",
            f"listing the executions of {scheduler.name}",
            InferenceSchedulerName=scheduler.name,
            DataStartTimeAfter=start - QUERY_PADDING,
            DataEndTimeBefore=end + QUERY_PADDING,
            MaxResults=PAGE_SIZE,
        )
        return (Page(_body(answer), KIND, scheduler.arn, read_at) for answer in answers)

    def scheduler_exists(self, scheduler: ListedScheduler) -> bool:
        """Tell whether the service still knows this very scheduler, not one re-created under its name."""
        try:
            described = self._ask("describe_inference_scheduler", InferenceSchedulerName=scheduler.name)
        except refusals.ClientError as problem:
            if problem.response["Error"]["Code"] == "ResourceNotFoundException":
                return False
            raise translate_error(problem, self.access, f"describing {scheduler.name}") from None
        except refusals.BotoCoreError as problem:
            raise translate_error(problem, self.access, f"describing {scheduler.name}") from None
        return bool(described.get("InferenceSchedulerArn", scheduler.arn) == scheduler.arn)

    def _answers(
        self,
        operation: str,
        doing: str,
        **request: Any,  # noqa: ANN401
    ) -> Iterator[dict[str, Any]]:
        """Follow the pages; where the chain of tokens breaks, begin again: what comes twice counts once."""
        where = f"{doing}; {self.access}"
        for _ in range(CHAINS):
            try:
                yield from self._chain(operation, request)
            except _BrokenChainError as problem:
                broken = str(problem)
            except (refusals.ClientError, refusals.BotoCoreError) as problem:
                raise translate_error(problem, self.access, doing) from None
            else:
                return
        raise DataError(
            f"{broken}, again and again",
            where=where,
            next_step="run it again later; if it stays so, something on the way spoils answers",
        )

    def _chain(self, operation: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        token: str | None = None
        while True:
            answer, token = self._page(operation, request, token, seen)
            yield answer
            if token is None:
                return
            seen.add(token)

    def _page(
        self, operation: str, request: dict[str, Any], token: str | None, seen: set[str]
    ) -> tuple[dict[str, Any], str | None]:
        broken = ""
        for _ in range(TRIES):
            try:
                answer = self._ask(operation, **request, **({"NextToken": token} if token else {}))
                following = _next_token(answer)
            except msgspec.DecodeError as problem:
                broken = f"an answer that is no JSON ({problem})"
                continue
            except refusals.ClientError as problem:
                if token and problem.response["Error"]["Code"] == "ValidationException":
                    raise _BrokenChainError(f"a NextToken is not taken any more ({problem})") from None
                raise
            if following not in seen:
                return answer, following
            broken = "the same NextToken came again, so the pages have no end"
        raise _BrokenChainError(broken)

    def _ask(self, operation: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        return getattr(self._client, operation)(**request)  # type: ignore[no-any-return]


def _next_token(answer: dict[str, Any]) -> str | None:
    """Return the token of the next page, and make sure that the answer is a whole one.

    botocore takes a body that breaks off for an empty answer: neither items nor a token, and no error.
    """
    if RAW_BODY in answer:
        return msgspec.json.decode(answer[RAW_BODY], type=_Head).next_token
    if not any(name.endswith("Summaries") for name in answer):
        raise msgspec.DecodeError("it breaks off")
    return answer.get("NextToken")


def _body(answer: dict[str, Any]) -> bytes:
    """Return the bytes of an answer; a client that was handed in gives it parsed."""
    if RAW_BODY in answer:
        return bytes(answer[RAW_BODY])
    return msgspec.json.encode({name: value for name, value in answer.items() if name != "ResponseMetadata"})


def _scheduler(summary: dict[str, Any]) -> ListedScheduler:
    return ListedScheduler(
        arn=summary["InferenceSchedulerArn"],
        name=summary["InferenceSchedulerName"],
        status=summary.get("Status"),
        model_arn=summary.get("ModelArn"),
        model_name=summary.get("ModelName"),
        frequency=summary.get("DataUploadFrequency"),
        delay_minutes=summary.get("DataDelayOffsetInMinutes"),
    )
