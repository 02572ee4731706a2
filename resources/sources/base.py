"""The protocol of a source: up to three ways to read executions, and what passes through them.

A source returns raw pages and knows no columns. A new kind of source is a class that implements `Source`, its
settings, and one entry in `resources.sources.factory`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Protocol

from resources.aws.access import AwsAccess
from resources.errors import LedgerError
from resources.sources.call_budget import CallBudget
from resources.storage.base import StoredFile


@dataclass(frozen=True)
class Page:
    """Some summaries of executions, as bytes.

    Attributes:
        body: JSON: a response of ListInferenceExecutions, a list of summaries, or one summary per line.
        kind: the kind of the source: `api`, `archive` or `bucket`.
        origin: the URI of a file or the ARN of a scheduler.
        read_at: when the source returned the page.
        zone: the time zone of times without an offset; None: such times are rejected.
        is_lines: whether the body has one summary per line.
        decoded: the summaries, if the source let them be decoded (`DecodeSummaries`).
    """

    body: bytes
    kind: str
    origin: str
    read_at: datetime
    zone: tzinfo | None = None
    is_lines: bool = False
    decoded: "DecodedSummaries | None" = field(default=None, compare=False)


class DecodedSummaries(Protocol):
    """The decoded summaries of a page."""

    @property
    def next_token(self) -> object:
        """The NextToken of a response; None in other forms."""

    def __len__(self) -> int: ...


class DecodeSummaries(Protocol):
    """Decodes a page at once. A source does not know columns, so its caller passes this function."""

    def __call__(self, body: bytes, *, is_lines: bool) -> DecodedSummaries | None:
        """Decode summaries; None: one is invalid or has unknown members, or the body has another form.

        Args:
            body: a response, a list of summaries, or one summary per line.
            is_lines: whether each line is one summary; a list has only summaries, too.
        """


@dataclass(frozen=True)
class ListedScheduler:
    """A scheduler as the service lists it; `frequency` is in the service's spelling, such as PT5M."""

    arn: str
    name: str
    status: str | None = None
    model_arn: str | None = None
    model_name: str | None = None
    frequency: str | None = None
    delay_minutes: int | None = None


@dataclass(frozen=True)
class SchedulerResponse:
    """A complete answer of the service: all executions of one scheduler on some days.

    It proves these days complete up to `queried_at`. It comes from the live service or from a recording.
    """

    scheduler: ListedScheduler
    days: frozenset[date]
    queried_at: datetime


@dataclass(frozen=True)
class Exchange:
    """One request that the service answered with success, as sent and as received.

    Attributes:
        url: the endpoint, without credentials.
        operation: such as ListInferenceExecutions.
        request: the body of the request, JSON.
        sent_at: when the request was sent, in UTC.
        body: the body of the response.
        request_headers: headers of the request, without credentials and signature.
        response_headers: headers of the response.
    """

    url: str
    operation: str
    request: bytes
    sent_at: datetime
    body: bytes
    request_headers: tuple[tuple[str, str], ...] = ()
    response_headers: tuple[tuple[str, str], ...] = ()


class SavedFile(Protocol):
    """One saved file. Everything else is known after its last page, `kind` and `days` with the first one."""

    @property
    def kind(self) -> str:
        """The kind of the source of the summaries: `api` for a recording, which is what the API returned."""

    @property
    def days(self) -> frozenset[date] | None:
        """The days whose executions count; None: all. The queries of a recording are wider than its days."""

    @property
    def content_hash(self) -> str:
        """It depends on the bytes and on the time zone of the source."""

    @property
    def complete(self) -> bool:
        """False if the last response ends with a NextToken, so pages are missing."""

    @property
    def problems(self) -> tuple[str, ...]:
        """The parts of the file that could not be read; the rest was read."""

    @property
    def responses(self) -> tuple[SchedulerResponse, ...]:
        """What the file proves complete; only a recording of queries proves anything."""

    def read_ahead(self) -> bytes | None:
        """Read a small file whole; its pages then need no access to it.

        Returns:
            Its bytes. None: the file is large, or could not be read; then `read_pages` reads it, or raises
            the error.
        """

    def compute_hash(self) -> None:
        """Read the file only to compute `content_hash`, which is known then.

        Raises:
            UnreadableArchiveError: the file cannot be read.
        """

    def read_pages(self, read_at: datetime, decode: DecodeSummaries | None = None) -> Iterator[Page]:
        """Read the summaries in pages, once.

        Args:
            read_at: the time of reading.
            decode: decodes a page at once, so that the file need not be parsed twice; None: do not decode.

        Raises:
            UnreadableArchiveError: the file cannot be read, or not to its end.
        """


class FileListing(Protocol):
    """Saved responses in files. A file that has not changed need not be read again."""

    @property
    def uri(self) -> str:
        """The file or folder."""

    def list_files(self) -> list[StoredFile]:
        """List the files that look like saved responses."""

    def open(self, file: StoredFile) -> SavedFile:
        """Return one file to read."""


@dataclass(frozen=True)
class OutputPrefix:
    """The results of one scheduler in a bucket.

    Attributes:
        bucket: the bucket.
        prefix: the output prefix.
        scheduler_arn: its ARN, or a placeholder.
        name: its name, or the prefix.
        frequency_minutes: the shorter frequency of the first and the last days; None: it cannot be inferred.
        evidence: how the frequency is known, or why not.
        first: the first DataStartTime.
        last: the last DataStartTime.
        example: the key of one result object.
        is_mixed: whether several schedulers seem to write to it.
    """

    bucket: str
    prefix: str
    scheduler_arn: str
    name: str
    frequency_minutes: int | None
    evidence: str
    first: datetime
    last: datetime
    example: str | None = None
    is_mixed: bool = False


@dataclass(frozen=True)
class ListingEstimate:
    """The cost of listing a bucket.

    Attributes:
        prefixes: the number of output prefixes.
        results: the number of results.
        requests: the number of list requests.
        is_bound: whether the numbers are upper bounds, because the frequency is known.
    """

    prefixes: int
    results: int
    requests: int
    is_bound: bool = False


@dataclass(frozen=True)
class ListingProblem:
    """What a listing could not read or tell apart, and how to fix it; its text is one message."""

    message: str
    fix: str

    def __str__(self) -> str:
        """Return the message and the fix as two sentences."""
        return f"{self.message}. {self.fix[0].upper()}{self.fix[1:]}."


class DayListing(Protocol):
    """Executions that are found by day, such as from the keys of a bucket. It proves no day complete."""

    @property
    def uri(self) -> str:
        """The location."""

    @property
    def requests(self) -> int:
        """The number of list requests so far."""

    @property
    def problems(self) -> list[ListingProblem]:
        """Problems of what was read so far that stop nothing."""

    def describe_reading(self) -> list[str]:
        """Describe what was read so far."""

    def list_schedulers(self) -> list[ListedScheduler]:
        """List the schedulers, perhaps under placeholders of their ARNs."""

    def list_by_placeholder(self) -> dict[str, ListedScheduler]:
        """List the schedulers by the placeholder of their ARN."""

    def find_named_schedulers(self) -> dict[str, ListedScheduler]:
        """Return the schedulers that the settings name, by the placeholder of their ARN."""

    def list_prefixes(self) -> list[OutputPrefix]:
        """Describe the output prefixes."""

    def find_span(self) -> tuple[date, date]:
        """Return the first and the last day with executions."""

    def estimate(
        self, batches: Sequence[Sequence[date]], placeholders: Collection[str] | None = None
    ) -> ListingEstimate:
        """Predict the cost of `read_pages` for some days, in batches of contiguous days."""

    def read_pages(
        self, days: Collection[date], read_at: datetime, placeholders: Collection[str] | None = None
    ) -> Iterator[Page]:
        """Return the executions of some days, and perhaps some of the days around them.

        `placeholders` selects schedulers of `list_by_placeholder`; None: all.
        """


class LiveService(Protocol):
    """A service that answers queries. An answer proves a scheduler's days complete at the time of the query.

    A kind whose queries cost nothing does not count them in `calls`.
    """

    calls: CallBudget
    """Counts the calls. A run replaces it by one budget for all its sources."""

    fails_fast: bool
    """Whether an endpoint that cannot be reached is an error at once, without the usual retries."""

    concurrency: int
    """How many schedulers may be queried at once."""

    date_header: str | None
    """The clock of the service, as of its last answer."""

    rejected_schedulers: dict[str, LedgerError]
    """Errors of the entries that the last list of schedulers had and that cannot be used, by description."""

    @property
    def uri(self) -> str:
        """The name of the service in messages."""

    @property
    def access(self) -> AwsAccess:
        """The credentials, region and endpoint that it is called with."""

    @property
    def is_aws(self) -> bool:
        """Whether this is AWS, not another endpoint with its protocol."""

    @property
    def service_end(self) -> date | None:
        """The last day that can be queried; None: there is no end."""

    @property
    def listed_schedulers(self) -> list[ListedScheduler]:
        """The schedulers, listed once and then cached."""

    def list_schedulers(self) -> list[ListedScheduler]:
        """List the selected schedulers."""

    def find_unmatched_patterns(self, listed: Sequence[ListedScheduler]) -> list[str]:
        """Return the name patterns of this source that match none of these schedulers."""

    def read_pages(
        self,
        scheduler: ListedScheduler,
        start: datetime,
        end: datetime,
        read_at: datetime,
        decode: DecodeSummaries | None = None,
    ) -> Iterator[Page]:
        """Query one scheduler: all executions whose data starts in [start, end), and some around them.

        `decode` decodes a page at once, so that it need not be parsed twice; None: do not decode.
        """

    def scheduler_exists(self, scheduler: ListedScheduler) -> bool:
        """Return whether the service still has this scheduler, by ARN."""

    def record_schedulers(self, token: str | None = None) -> Iterator[Exchange]:
        """List the schedulers, from the page of a NextToken on; yield each exchange."""

    def parse_schedulers(self, bodies: Iterable[bytes]) -> list[ListedScheduler]:
        """Return the selected schedulers of recorded lists; set `rejected_schedulers`."""

    def record_executions(
        self, scheduler: ListedScheduler, start: datetime, end: datetime, token: str | None = None
    ) -> Iterator[Exchange]:
        """Query as `read_pages` does, from the page of a NextToken on; yield each exchange."""

    def record_description(self, scheduler: ListedScheduler) -> Exchange | None:
        """Describe a scheduler; None: the service does not have it any more, by ARN."""


class Source(Protocol):
    """Where executions come from. A way to read that a kind does not offer is None."""

    @property
    def kind(self) -> str:
        """The kind, as in the settings."""

    @property
    def uri(self) -> str:
        """The name of the source in messages."""

    @property
    def files(self) -> FileListing | None:
        """Read it file by file."""

    @property
    def days(self) -> DayListing | None:
        """Read it day by day."""

    @property
    def service(self) -> LiveService | None:
        """Query it scheduler by scheduler; only such a source gets new executions by itself."""


OpenSources = Callable[[], Sequence[Source]]
"""Opens the configured sources; the Dagster resource `sources` has this type."""
