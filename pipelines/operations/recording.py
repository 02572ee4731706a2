"""Recording of a service: all pages of its answers, exactly as received, in files that prove themselves.

Each page is stored durably before the next one is requested. After a kill, a query continues at the NextToken
of its last stored page. When a query is complete, its pages are read back, joined to one file, and the file
is read back and checked by the rules of the archive source.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from threading import Lock

import msgspec

from assets.framework.time_windows import get_day_window
from pipelines.operations.recording_plan import (
    SUFFIX,
    UNFINISHED,
    QueryPlan,
    RecordingContent,
    find_leftovers,
    parse_names,
    plan_queries,
)
from resources.clock import Clock
from resources.errors import BudgetSpentError, DataError, LedgerError
from resources.name_patterns import matches_any
from resources.sources.api import BrokenPagingError
from resources.sources.base import Exchange, LiveService
from resources.sources.messages import DECODE_ERRORS, ExecutionsPage, SchedulersPage, parse_scheduler
from resources.sources.recordings import read_recording
from resources.sources.warc import encode_exchange, encode_info, read_warc
from resources.storage.recording_store import RecordingStore

LIST_LIFETIME = timedelta(days=1)
"""How long a stored list of schedulers serves the commands that continue a recording."""

_ATTEMPTS = 3
"""How often a query starts from its first page, if its pages cannot be followed to the last one."""


@dataclass
class RecordingProgress:
    """The work of one command so far.

    Attributes:
        queries: the number of planned queries.
        completed: those of them that are recorded and verified.
        pages: the pages of executions that were requested.
        executions: the summaries in these pages.
        files: the names of new files.
        settled_days: days of schedulers that an earlier command recorded after they had settled.
        schedulers: the number of selected schedulers.
        notices: messages for people.
        failed: errors by name of a scheduler or of a service.
        budget_error: set if the call budget is spent.
        is_stopped: whether Ctrl-C stopped the command.
    """

    queries: int = 0
    completed: int = 0
    pages: int = 0
    executions: int = 0
    files: list[str] = field(default_factory=list)
    settled_days: int = 0
    schedulers: int = 0
    notices: list[str] = field(default_factory=list)
    failed: dict[str, LedgerError] = field(default_factory=dict)
    budget_error: BudgetSpentError | None = None
    is_stopped: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything that was requested is recorded."""
        return not (self.failed or self.budget_error or self.is_stopped) and self.completed == self.queries


@dataclass
class Recorder:
    """Records the schedulers of some services over some days.

    Attributes:
        store: the place of the recording.
        days: the days to record.
        patterns: names or ARNs of the schedulers; empty: all.
        settle_after: time after the end of a day at which it settles.
        clock: the current time.
        report: called after each page and each query, by several threads but never at once.
    """

    store: RecordingStore
    days: Sequence[date]
    patterns: Sequence[str]
    settle_after: timedelta
    clock: Clock
    report: Callable[[RecordingProgress], None]
    progress: RecordingProgress = field(default_factory=RecordingProgress)
    _lock: Lock = field(default_factory=Lock)
    _files: set[str] = field(default_factory=set)
    _parts: dict[str, list[str]] = field(default_factory=dict)

    def record(self, services: Sequence[LiveService]) -> RecordingProgress:
        """Record all services, one after the other; an error of one does not stop the others.

        Raises:
            LedgerError: the place of the recording cannot be read.
        """
        names = self.store.list_names()
        content = parse_names(names)
        leftovers = find_leftovers(content, self.settle_after)
        self.store.delete(leftovers)
        self._files = set(names)
        for name in sorted(self._files.difference(leftovers)):
            if name.startswith(f"{UNFINISHED}/"):
                self._parts.setdefault(name.rpartition("/")[0], []).append(name)
        for service in services:
            if not (self.progress.budget_error or self.progress.is_stopped):
                try:
                    self._record_service(service, content)
                except LedgerError as error:
                    self._fail(service.uri, error)
                except KeyboardInterrupt:
                    self.progress.is_stopped = True
        return self.progress

    def _record_service(self, service: LiveService, content: RecordingContent) -> None:
        days = [day for day in self.days if service.service_end is None or day <= service.service_end]
        if not days:
            self.progress.notices.append(
                f"{service.uri} is not queried: the service ended on {service.service_end}."
            )
            return
        folder, lists = self._list_schedulers(service)
        listed = service.parse_schedulers(exchange.body for exchange in lists)
        self.progress.failed |= service.rejected_schedulers
        if self.patterns:
            listed = [
                scheduler for scheduler in listed if matches_any(self.patterns, scheduler.name, scheduler.arn)
            ]
        plans = plan_queries(listed, days, content, self.settle_after)
        self.progress.schedulers += len(listed)
        self.progress.queries += len(plans)
        planned_days = sum(len(plan.range.days) for plan in plans)
        self.progress.settled_days += len(listed) * len(days) - planned_days
        self._report()
        self._run(service, plans, _find_lists(lists))
        if self.progress.is_complete:
            self._discard_parts(folder)  # the next command lists the schedulers again

    def _list_schedulers(self, service: LiveService) -> tuple[str, list[Exchange]]:
        """Return the list of schedulers and the folder that stores it until the recording is complete."""
        digest = blake2b(service.uri.encode(), digest_size=8).hexdigest()
        folder = f"{UNFINISHED}/schedulers.{digest}"
        stored = self._load_parts(folder)
        if stored and self.clock() - stored[0].sent_at > LIST_LIFETIME:
            self._discard_parts(folder)
        return folder, self._collect(folder, service.record_schedulers)

    def _run(
        self, service: LiveService, plans: Sequence[QueryPlan], identities: Mapping[str, Exchange]
    ) -> None:
        thread_count = service.concurrency if service.calls.limit is None else 1
        threads = ThreadPoolExecutor(thread_count, thread_name_prefix="record")
        try:
            for plan, error in zip(
                plans,
                threads.map(
                    lambda plan: self._try_query(service, plan, identities[plan.scheduler.arn]), plans
                ),
                strict=True,
            ):
                if error:
                    self._fail(plan.scheduler.name, error)
        except BaseException:
            service.calls.stop()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _try_query(self, service: LiveService, plan: QueryPlan, identity: Exchange) -> LedgerError | None:
        try:
            self._record_query(service, plan, identity)
        except LedgerError as error:
            return error
        return None

    def _record_query(self, service: LiveService, plan: QueryPlan, identity: Exchange) -> None:
        start, end = get_day_window(plan.range.first).start, get_day_window(plan.range.last).end

        def request(token: str | None) -> Iterator[Exchange]:
            for exchange in service.record_executions(plan.scheduler, start, end, token):
                yield exchange
                self._count_page(exchange)

        exchanges = self._collect(plan.part_folder, request)
        name = plan.get_file_name(exchanges[0].sent_at)
        if name not in self._files:  # else the command was killed after it had written the file
            content = self._build_file(service, plan, [identity, *exchanges])
            self.store.create(name, content)
            if self.store.read(name) != content:
                raise _build_verification_error(f"{self.store.uri}: {name}", "the file has other bytes")
        self._discard_parts(plan.part_folder)
        with self._lock:
            self.progress.files.append(name)
            self.progress.completed += 1
            self._report()

    def _build_file(self, service: LiveService, plan: QueryPlan, exchanges: list[Exchange]) -> bytes:
        """Return the content of a file, after its pages were checked by the rules of the archive source.

        Raises:
            DataError: the pages do not prove the days of the plan.
        """
        if not read_recording(exchanges).responses:  # no executions, or not what was requested
            description = service.record_description(plan.scheduler)
            if description is None:
                self._discard_parts(plan.part_folder)
                raise DataError(
                    f"Cannot record {plan.scheduler.name}: it was deleted in the meantime",
                    where=service.uri,
                    next_step="nothing, if it was deleted on purpose; a deleted scheduler has no executions",
                )
            exchanges = [*exchanges, description]
        content = encode_info(exchanges[1].sent_at) + b"".join(map(encode_exchange, exchanges))
        stored = read_warc(content)
        recording = read_recording(stored.exchanges)
        proven = [
            response
            for response in recording.responses
            if response.scheduler.arn == plan.scheduler.arn and response.days >= plan.range.days
        ]
        if stored.problems or recording.problems or not proven:
            reason = "; ".join([*stored.problems, *recording.problems]) or "the pages prove no day"
            self._discard_parts(plan.part_folder)
            raise _build_verification_error(f"{self.store.uri}: {plan.part_folder}", reason)
        return content

    def _collect(self, folder: str, request: Callable[[str | None], Iterator[Exchange]]) -> list[Exchange]:
        """Return all pages of a query: those in the store, and the further ones, which are stored first."""
        for attempt in range(1, _ATTEMPTS + 1):
            exchanges = self._load_parts(folder)
            token = _get_next_token(exchanges[-1]) if exchanges else None
            if exchanges and token is None:
                return exchanges
            try:
                for number, exchange in enumerate(request(token), len(exchanges)):
                    name = f"{folder}/{number:05}{SUFFIX}"
                    self.store.create(name, encode_exchange(exchange))
                    self._parts.setdefault(folder, []).append(name)
            except BrokenPagingError as error:
                self._discard_parts(folder)
                if attempt == _ATTEMPTS:
                    raise
                self.progress.notices.append(f"{error.what}. The query starts again with its first page.")
        return self._load_parts(folder)

    def _load_parts(self, folder: str) -> list[Exchange]:
        """Read the stored pages of a query; discard them all if one is damaged or missing."""
        names = self._parts.get(folder, [])
        exchanges: list[Exchange] = []
        for number, name in enumerate(names):
            content = read_warc(self.store.read(name) or b"")
            is_next = name == f"{folder}/{number:05}{SUFFIX}"
            if not is_next or content.problems or len(content.exchanges) != 1:
                self.progress.notices.append(
                    f"{self.store.uri}: {name} is damaged. The query starts again with its first page."
                )
                self._discard_parts(folder)
                return []
            exchanges += content.exchanges
        return exchanges

    def _discard_parts(self, folder: str) -> None:
        self.store.delete(self._parts.pop(folder, []))

    def _count_page(self, exchange: Exchange) -> None:
        page = msgspec.json.decode(exchange.body, type=ExecutionsPage)
        count = len(
            msgspec.json.decode(page.inference_execution_summaries, type=list[msgspec.Raw] | None) or ()
        )
        with self._lock:
            self.progress.pages += 1
            self.progress.executions += count
            self._report()

    def _fail(self, name: str, error: LedgerError) -> None:
        if isinstance(error, BudgetSpentError):
            self.progress.budget_error = error
        else:
            self.progress.failed[name] = error

    def _report(self) -> None:
        self.report(self.progress)


def _find_lists(lists: Sequence[Exchange]) -> dict[str, Exchange]:
    """Return by ARN of a scheduler the page of the list that has it."""
    pages: dict[str, Exchange] = {}
    for exchange in lists:
        for entry in msgspec.json.decode(exchange.body, type=SchedulersPage).inference_scheduler_summaries:
            with suppress(*DECODE_ERRORS):  # an invalid entry is in `rejected_schedulers`
                pages.setdefault(parse_scheduler(entry).arn, exchange)
    return pages


def _get_next_token(exchange: Exchange) -> str | None:
    try:
        return msgspec.json.decode(exchange.body, type=_AnyPage).next_token or None
    except DECODE_ERRORS:
        return None


class _AnyPage(msgspec.Struct, rename="pascal"):
    next_token: str | None = None


def _build_verification_error(where: str, reason: str) -> DataError:
    return DataError(
        f"Cannot verify a recording: {reason}",
        where=where,
        next_step="check the disk or the bucket, and run the command again: it records this query again",
    )
