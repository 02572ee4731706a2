"""The live service as a source, or another service with its protocol (`messages`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from threading import local
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as refusals
import msgspec

from resources.aws.access import (
    RAW_BODY,
    SERVICE,
    SERVICE_END,
    AwsAccess,
    is_aws_client,
    is_aws_endpoint,
    translate_error,
)
from resources.aws.error_codes import ErrorKind, classify_error
from resources.clock import Clock, utc_now
from resources.errors import DataError, LedgerError
from resources.name_patterns import matches, matches_any
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.sources.base import DecodedSummaries, DecodeSummaries, Exchange, ListedScheduler, Page
from resources.sources.call_budget import CallBudget
from resources.sources.messages import (
    DECODE_ERRORS,
    QUERY_PADDING,
    Description,
    ExecutionsPage,
    SchedulersPage,
    parse_scheduler,
)

KIND = "api"
PAGE_SIZE = 500
THREADS = 4
"""Schedulers queried at once. The service's rate limits bound the speed: more threads only wait."""


_PAGE_ATTEMPTS = 3
"""How often a page with an invalid body is requested; botocore retries only errors."""

_PAGING_ATTEMPTS = 3
"""How often paging starts from the first page, before broken paging is an error."""


_UNREACHABLE = (refusals.EndpointConnectionError, refusals.ConnectTimeoutError, refusals.ProxyConnectionError)
"""Errors without any contact: refused connections, unknown host names and unanswered ones."""

_CHECK_PROXIES = "run it again later; if the error persists, check proxies between here and the service"


_KEPT_HEADERS = frozenset(
    {"content-type", "content-length", "date", "user-agent", "x-amz-target", "x-amzn-requestid"}
)
"""The headers of an exchange; others can hold credentials, such as signatures, session tokens and cookies."""


class BrokenPagingError(DataError):
    """The pages of a query cannot be followed to the last one."""


class _BrokenPagingError(Exception):
    """The reason of a `BrokenPagingError`."""


class _LastRequest(local):
    """The last request that this thread sent, and its response."""

    def __init__(self) -> None:
        self.request: Any = None
        self.response: dict[str, Any] = {}
        self.sent_at: datetime | None = None


@dataclass(frozen=True)
class _Response:
    """A page of a response, its summaries if they were decoded at once, and its NextToken."""

    body: bytes
    decoded: DecodedSummaries | None
    next_token: str | None


_PAGES = {"list_inference_executions": ExecutionsPage, "list_inference_schedulers": SchedulersPage}


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
        limits: ReadLimits = DEFAULT_LIMITS,
        clock: Clock = utc_now,
    ) -> None:
        """Send no request yet.

        Args:
            access: credentials, region and endpoint.
            patterns: names or ARNs of schedulers, with `*` and `?`.
            service_end: the last day of the service; None: that of AWS for an endpoint of AWS, else no end.
            client: a boto3 client to use instead of an own one; it is slower, because it parses every row.
            limits: limits of each request and query; a client of the caller has its own limits of a request.
            clock: the time of the requests, which only exchanges have.
        """
        self.rejected_schedulers: dict[str, LedgerError] = {}
        self._limits = limits
        self.access = access
        self.patterns = tuple(patterns)
        self.calls = CallBudget()
        self.fails_fast = False
        self.date_header: str | None = None
        self._service_end = service_end
        self._custom_client = client
        self._clock = clock
        self._last = _LastRequest()

    @property
    def uri(self) -> str:
        """The name in messages."""
        return f"api ({self.access})"

    @property
    def service(self) -> "ApiSource":
        """Query it scheduler by scheduler."""
        return self

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401
        from resources.aws.session import open_lookout_client  # noqa: PLC0415 (imports boto3)

        client = self._custom_client or open_lookout_client(
            self.access,
            connections=THREADS,
            limits=self._limits,
            is_stopped=lambda: self.calls.is_stopped,
        )
        # the event comes before every request, also before retries; an error raised in it reaches the caller
        client.meta.events.register(f"before-send.{SERVICE}", self._note_request)
        client.meta.events.register(f"response-received.{SERVICE}", self._note_response)
        # the first handler comes before botocore's, which waits
        client.meta.events.register_first(f"needs-retry.{SERVICE}", self._fail_fast)
        return client

    def _fail_fast(self, caught_exception: Exception | None, **_: Any) -> None:  # noqa: ANN401
        if self.fails_fast and isinstance(caught_exception, _UNREACHABLE):
            raise caught_exception

    def _note_request(self, request: Any, **_: Any) -> None:  # noqa: ANN401
        self.calls.count_call()
        self._last.request, self._last.sent_at = request, self._clock()

    def _note_response(
        self,
        response_dict: dict[str, Any] | None,
        parsed_response: dict[str, Any] | None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        self._last.response = response_dict or {}
        self.calls.count_throttling(parsed_response)
        metadata = (parsed_response or {}).get("ResponseMetadata", {})
        self.date_header = metadata.get("HTTPHeaders", {}).get("date", self.date_header)

    @property
    def is_aws(self) -> bool:
        """Whether this is AWS, not another service with its protocol."""
        endpoint = self.access.endpoint_url
        if endpoint is None or self._custom_client:
            return is_aws_client(self._client)
        return is_aws_endpoint(endpoint)  # without a client, which is slow to open: schedules need this often

    @property
    def service_end(self) -> date | None:
        """The last day that can be queried; None: there is no end."""
        return self._service_end or (SERVICE_END if self.is_aws else None)

    @cached_property
    def listed_schedulers(self) -> list[ListedScheduler]:
        """The schedulers, listed at the first access: one list serves a whole run."""
        return self.list_schedulers()

    def list_schedulers(self) -> list[ListedScheduler]:
        """List the schedulers that match the patterns of this source.

        Invalid entries of the list are left out; their errors are in `rejected_schedulers`.

        Raises:
            LedgerError: the service returned an error, or cannot be reached.
            BudgetSpentError: the run has no calls left. All queries raise it.
        """
        request = {"MaxResults": PAGE_SIZE}
        responses = self._query("list_inference_schedulers", "list the schedulers", request)
        return self.parse_schedulers(response.body for response in responses)

    def parse_schedulers(self, bodies: Iterable[bytes]) -> list[ListedScheduler]:
        """Return the schedulers of a list that match the patterns; set `rejected_schedulers`."""
        summaries = [
            summary
            for body in bodies
            for summary in msgspec.json.decode(body, type=SchedulersPage).inference_scheduler_summaries
        ]
        if len(summaries) > self._limits.entries:
            raise self._build_limit_error("list the schedulers", self._limits.too_many_entries)
        self.rejected_schedulers = {}
        listed: list[ListedScheduler] = []
        for position, summary in enumerate(summaries):
            try:
                listed.append(parse_scheduler(summary))
            except DECODE_ERRORS as error:
                name = f"{self.uri}: entry {position} of the list of schedulers"
                self.rejected_schedulers[name] = DataError(
                    f"Cannot use an entry of the list of schedulers: {error}",
                    where=f"{self.access}: {bytes(summary)[:200].decode(errors='backslashreplace')}",
                    next_step="report it to the operator of the service; the other schedulers are extracted",
                )
        return [
            scheduler for scheduler in listed if matches_any(self.patterns, scheduler.name, scheduler.arn)
        ]

    def find_unmatched_patterns(self, listed: Sequence[ListedScheduler]) -> list[str]:
        """Return the patterns that match none of these schedulers: misspelled, or deleted."""
        return [
            pattern
            for pattern in self.patterns
            if pattern != "*"
            and not any(matches(pattern, scheduler.name, scheduler.arn) for scheduler in listed)
        ]

    def read_pages(
        self,
        scheduler: ListedScheduler,
        start: datetime,
        end: datetime,
        read_at: datetime,
        decode: DecodeSummaries | None = None,
    ) -> Iterator[Page]:
        """Query all executions whose data starts in [start, end); the pages have some others too.

        With `decode`, a page is not parsed a second time for its NextToken.

        Raises:
            LedgerError: the service returned an error, or cannot be reached.
            DataError: the pages could not be followed to the last one.
        """
        responses = self._query(
            "list_inference_executions",
            _describe_query(scheduler),
            _build_query(scheduler, start, end),
            decode,
        )
        return (
            Page(response.body, KIND, scheduler.arn, read_at, decoded=response.decoded)
            for response in responses
        )

    def record_schedulers(self, token: str | None = None) -> Iterator[Exchange]:
        """List the schedulers; yield each exchange. Raises what `record_executions` raises."""
        return self._record(
            "list_inference_schedulers", "list the schedulers", {"MaxResults": PAGE_SIZE}, token
        )

    def record_executions(
        self, scheduler: ListedScheduler, start: datetime, end: datetime, token: str | None = None
    ) -> Iterator[Exchange]:
        """Query as `read_pages` does; yield each exchange.

        Args:
            scheduler: the scheduler.
            start: the start of the first window, without padding.
            end: the end of the last window, without padding.
            token: the NextToken of the last page of an interrupted query; None: the first page.

        Raises:
            LedgerError: the service returned an error, or cannot be reached.
            BrokenPagingError: the pages could not be followed to the last one. Start with the first page.
        """
        return self._record(
            "list_inference_executions",
            _describe_query(scheduler),
            _build_query(scheduler, start, end),
            token,
        )

    def record_description(self, scheduler: ListedScheduler) -> Exchange | None:
        """Describe a scheduler; None: the service does not have it any more, by ARN.

        Raises:
            LedgerError: the service returned an error, or cannot be reached.
        """
        return self._build_exchange() if self.scheduler_exists(scheduler) else None

    def _record(
        self, operation: str, action: str, request: dict[str, Any], token: str | None
    ) -> Iterator[Exchange]:
        try:
            for _ in self._follow_pages(operation, action, request, token):
                yield self._build_exchange()
        except _BrokenPagingError as error:
            raise BrokenPagingError(
                f"Cannot {action}: {error}", where=str(self.access), next_step=_CHECK_PROXIES
            ) from None
        except (refusals.ClientError, refusals.BotoCoreError) as error:
            raise translate_error(error, self.access, action) from None

    def _build_exchange(self) -> Exchange:
        request, response = self._last.request, self._last.response
        sent_at = self._last.sent_at
        assert sent_at is not None  # noqa: S101 (a request was sent)
        target = request.headers["X-Amz-Target"]
        url = urlsplit(request.url)
        return Exchange(
            url=url._replace(netloc=url.netloc.rpartition("@")[2]).geturl(),
            operation=(target.decode() if isinstance(target, bytes) else target).rpartition(".")[2],
            request=request.body if isinstance(request.body, bytes) else str(request.body).encode(),
            sent_at=sent_at,
            body=response["body"],
            request_headers=_keep_headers(request.headers),
            response_headers=_keep_headers(response["headers"]),
        )

    def scheduler_exists(self, scheduler: ListedScheduler) -> bool:
        """Return whether the service has this scheduler, not a re-created one with its name."""
        try:
            body = self._call("describe_inference_scheduler", InferenceSchedulerName=scheduler.name)
            description = msgspec.json.decode(body, type=Description)
        except DECODE_ERRORS as error:
            raise DataError(
                f"Cannot describe {scheduler.name}: the response is not valid: {error}",
                where=str(self.access),
                next_step=_CHECK_PROXIES,
            ) from None
        except (refusals.ClientError, refusals.BotoCoreError) as error:
            if classify_error(error).kind is ErrorKind.NO_RESOURCE:
                return False
            raise translate_error(error, self.access, f"describe {scheduler.name}") from None
        return description.inference_scheduler_arn == scheduler.arn

    def _query(
        self, operation: str, action: str, request: dict[str, Any], decode: DecodeSummaries | None = None
    ) -> Iterator[_Response]:
        """Yield all pages; if paging breaks, start again from the first page.

        Callers deduplicate executions, so a page may come twice.
        """
        for _ in range(_PAGING_ATTEMPTS):
            try:
                yield from self._follow_pages(operation, action, request, decode=decode)
            except _BrokenPagingError as error:
                reason = str(error)
            except (refusals.ClientError, refusals.BotoCoreError) as error:
                raise translate_error(error, self.access, action) from None
            else:
                return
        raise DataError(
            f"Cannot {action}: {reason}, in {_PAGING_ATTEMPTS} attempts",
            where=str(self.access),
            next_step=_CHECK_PROXIES,
        )

    def _follow_pages(
        self,
        operation: str,
        action: str,
        request: dict[str, Any],
        token: str | None = None,
        decode: DecodeSummaries | None = None,
    ) -> Iterator[_Response]:
        used_tokens = {token} if token else set[str]()
        size_bytes = 0
        for _ in range(self._limits.pages):
            response = self._request_page(operation, request, token, used_tokens, decode)
            size_bytes += len(response.body)
            if size_bytes > self._limits.size_bytes:
                raise self._build_limit_error(action, self._limits.too_large)
            yield response
            token = response.next_token
            if not token:
                return
            used_tokens.add(token)
        raise self._build_limit_error(action, self._limits.too_many_pages)

    def _build_limit_error(self, action: str, reason: str) -> DataError:
        return DataError(
            f"Cannot {action}: the response {'is' if reason == self._limits.too_large else 'has'} {reason}",
            where=str(self.access),
            next_step="extract fewer days in one run, or raise the limit; a service that works returns fewer",
        )

    def _request_page(
        self,
        operation: str,
        request: dict[str, Any],
        token: str | None,
        used_tokens: set[str],
        decode: DecodeSummaries | None,
    ) -> _Response:
        reason = ""
        for _ in range(_PAGE_ATTEMPTS):
            try:
                body = self._call(operation, **request, **({"NextToken": token} if token else {}))
                response = _parse_page(operation, body, decode)
            except DECODE_ERRORS as error:
                reason = f"a response is not valid ({error})"
                continue
            except refusals.ClientError as error:
                if token and classify_error(error).kind is ErrorKind.INVALID_REQUEST:
                    raise _BrokenPagingError(f"the service rejects its NextToken ({error})") from None
                raise
            if response.next_token not in used_tokens:
                return response
            reason = "the service returned the same NextToken twice, so the pages have no end"
        raise _BrokenPagingError(reason)

    def _call(self, operation: str, **request: Any) -> bytes:  # noqa: ANN401
        """Return the body of a response; encode it again if a custom client has parsed it."""
        response: dict[str, Any] = getattr(self._client, operation)(**request)
        if RAW_BODY in response:
            return bytes(response[RAW_BODY])
        return msgspec.json.encode(
            {name: value for name, value in response.items() if name != "ResponseMetadata"}
        )


def _parse_page(operation: str, body: bytes, decode: DecodeSummaries | None) -> _Response:
    """Find the NextToken of a page; its summaries are decoded if it has some and all are valid.

    Raises:
        DECODE_ERRORS: the body is not a page.
    """
    decoded = decode(body, is_lines=False) if decode else None
    if decoded and body.lstrip()[:1] == b"{" and isinstance(decoded.next_token, str | None):
        return _Response(body, decoded, decoded.next_token)
    return _Response(body, None, msgspec.json.decode(body, type=_PAGES[operation]).next_token)


def _build_query(scheduler: ListedScheduler, start: datetime, end: datetime) -> dict[str, Any]:
    return {
        "InferenceSchedulerName": scheduler.name,
        "DataStartTimeAfter": start - QUERY_PADDING,
        "DataEndTimeBefore": end + QUERY_PADDING,
        "MaxResults": PAGE_SIZE,
    }


def _describe_query(scheduler: ListedScheduler) -> str:
    return f"list the executions of {scheduler.name}"


def _keep_headers(headers: Mapping[str, str | bytes]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value.decode() if isinstance(value, bytes) else value)
        for name, value in headers.items()
        if name.lower() in _KEPT_HEADERS
    )
