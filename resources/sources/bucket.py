"""The output bucket of the service as a source: executions from the keys of result objects.

A key shows the start of a data window, and that its execution succeeded. It shows nothing else: a window
without an object may have failed, or the scheduler was off. A bucket therefore proves no day complete.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import groupby

import msgspec

from resources.errors import ConfigurationError
from resources.scheduler_arns import build_placeholder_arn, name_prefix
from resources.sources.base import ListedScheduler, ListingEstimate, ListingProblem, OutputPrefix, Page
from resources.sources.bucket_keys import (
    GridEvidence,
    ResultKey,
    find_certain_range,
    has_step,
    infer_frequency,
    parse_folder_time,
    parse_result_keys,
)
from resources.sources.bucket_listings import KeyListing, PrefixSearch

KIND = "bucket"
_A_DAY = timedelta(days=1)
_PAGE = 1_000
_EVIDENCE_DAYS = 3
_SHORTEST_MINUTES = 5


@dataclass(frozen=True)
class BucketOptions:
    """What the settings say about the scheduler of a bucket; None: unknown."""

    scheduler_name: str | None = None
    scheduler_arn: str | None = None
    frequency_minutes: int | None = None
    delay_minutes: int | None = None
    zone: tzinfo | None = None


@dataclass(frozen=True)
class _Sample:
    """The results of a prefix in [`first`, `stop`), and what they show about the frequency."""

    first: date
    stop: date
    results: list[ResultKey]
    evidence: GridEvidence


class BucketSource:
    """The output prefixes of one or several schedulers, in S3 or as a local copy."""

    kind = KIND
    files = None
    service = None

    def __init__(self, uri: str, listing: KeyListing, options: BucketOptions | None = None) -> None:
        """Make no request yet.

        Args:
            uri: the location, as in the settings.
            listing: lists the keys at the location.
            options: what is known about the scheduler.
        """
        self.uri = uri
        self._listing = listing
        self._options = options or BucketOptions()
        self._search: PrefixSearch | None = None
        self._search_requests = 0
        self._skipped = Counter[str]()
        self._grids: dict[str, GridEvidence] = {}
        self._mixed: dict[str, str] = {}

    @property
    def days(self) -> "BucketSource":
        """Read it day by day."""
        return self

    @property
    def requests(self) -> int:
        """The number of list requests so far."""
        return self._listing.requests

    def describe_reading(self) -> list[str]:
        """Describe what was read so far: the schedulers, how they were distinguished, and skipped keys."""
        if self._search is None:
            return []
        skipped = ", ".join(
            f"{count:,} {kind}"
            for kind, count in sorted((self._skipped + self._listing.skipped).items())
            if count
        )
        grids = (f"{prefix or '(no prefix)'}: {grid.text}" for prefix, grid in sorted(self._grids.items()))
        prefixes = (
            f"{len(self._search.prefixes):,} output prefixes. Schedulers are distinguished by their prefix:"
            " each counts as one scheduler, unless its times, its sensors or another source contradict it"
        )
        return [
            f"{self.uri}: {self.requests:,} list requests, {prefixes}.",
            *grids,
            *([f"{self.uri}: skipped {skipped}."] if skipped else []),
        ]

    @property
    def problems(self) -> list[ListingProblem]:
        """Prefixes that schedulers seem to share, and folders that were not searched or cannot be read."""
        problems = [
            ListingProblem(
                f"Several schedulers seem to write to {prefix}: {text}. Their executions look alike, so the"
                " end of each window stays unknown",
                "set frequency if there is only one scheduler",
            )
            for prefix, text in sorted(self._mixed.items())
        ]
        if self._search and (unsearched := self._search.unsearched):
            problems.append(
                ListingProblem(
                    f"{self.uri}: {len(unsearched):,} folders were not searched for results, such as"
                    f" {unsearched[0]}",
                    "set uri of this source to the output prefix of a scheduler",
                )
            )
        if self._listing.unreadable:
            problems.append(
                ListingProblem(f"{self.uri}: {self._describe_unreadable()}", self._listing.unreadable_fix)
            )
        return problems

    def _describe_unreadable(self) -> str:
        unreadable = self._listing.unreadable
        path, reason = next(iter(unreadable.items()))
        return f"{len(unreadable):,} folders or files cannot be read, the first is {path}: {reason}"

    def _find_prefixes(self) -> list[str]:
        if self._search is None:
            search = self._listing.find_prefixes()
            self._search_requests = self.requests
            self._check_search(search)
            self._search = search
        return self._search.prefixes

    def _check_search(self, search: PrefixSearch) -> None:
        if not search.prefixes:
            raise ConfigurationError(
                "Cannot read a bucket: no folder below it is named after a time, such as"
                " 2026-09-10T00:00:00Z",
                where=f"sources.uri = {self.uri}",
                next_step="set uri to the output prefix of a scheduler, or to a folder above it",
            )
        is_named = self._options.scheduler_arn or self._options.scheduler_name
        if is_named and len(search.prefixes) > 1:
            raise ConfigurationError(
                f"Cannot name the scheduler of {len(search.prefixes)} output prefixes:"
                f" {', '.join(search.prefixes[:5])}",
                where=f"sources.uri = {self.uri}",
                next_step="set uri to one of them, or remove scheduler_name and scheduler_arn",
            )

    def list_schedulers(self) -> list[ListedScheduler]:
        """List a scheduler for each output prefix.

        Raises:
            LedgerError: the bucket cannot be listed, or holds no results.
        """
        return list(self.list_by_placeholder().values())

    def list_by_placeholder(self) -> dict[str, ListedScheduler]:
        """List a scheduler for each output prefix by its placeholder ARN; see `list_schedulers`."""
        minutes = self._options.frequency_minutes
        return {
            self._get_placeholder(prefix): ListedScheduler(
                self._options.scheduler_arn or self._get_placeholder(prefix),
                self._get_name(prefix),
                frequency=f"PT{minutes}M" if minutes else None,
                delay_minutes=self._options.delay_minutes,
            )
            for prefix in self._find_prefixes()
        }

    def find_named_schedulers(self) -> dict[str, ListedScheduler]:
        """Return the scheduler that the settings name, by the placeholder ARN of its output prefix."""
        if not (self._options.scheduler_arn or self._options.scheduler_name):
            return {}
        return self.list_by_placeholder()

    def list_prefixes(self) -> list[OutputPrefix]:
        """Describe the output prefixes, each with the evidence for its frequency.

        Raises:
            LedgerError: the bucket cannot be listed, or holds no results.
        """
        return [self._describe_prefix(prefix) for prefix in self._find_prefixes()]

    def _select_prefixes(self, placeholders: Collection[str] | None) -> list[str]:
        prefixes = self._find_prefixes()
        if placeholders is None:
            return prefixes
        return [prefix for prefix in prefixes if self._get_placeholder(prefix) in placeholders]

    def _describe_prefix(self, prefix: str) -> OutputPrefix:
        start, end = self._find_edges(prefix)
        samples = self._read_samples(prefix, start, end)
        example = samples[-1].results[-1].key if samples[-1].results else None
        minutes = _find_shortest_minutes(samples)
        if self._options.frequency_minutes:
            minutes, evidence = self._options.frequency_minutes, "set by frequency"
        else:
            evidence = "; ".join(
                f"from {sample.first:%Y-%m-%d}: {sample.evidence.text}" for sample in samples
            )
        return OutputPrefix(
            self._listing.bucket,
            prefix,
            self._options.scheduler_arn or self._get_placeholder(prefix),
            self._get_name(prefix),
            minutes,
            evidence,
            start,
            end,
            example,
            any(sample.evidence.is_mixed for sample in samples),
        )

    def _find_edges(self, prefix: str) -> tuple[datetime, datetime]:
        """Return the first and the last DataStartTime of a prefix."""
        folders = (self._listing.find_edge_folder(prefix, last=last) for last in (False, True))
        start, end = (parse_folder_time(name or "", self._options.zone or UTC) for name in folders)
        assert start is not None and end is not None  # noqa: PT018, S101 (it has such folders)
        return start, end

    def _read_samples(self, prefix: str, start: datetime, end: datetime) -> list[_Sample]:
        """Read the first and the last days of a prefix; only once if they are the same."""
        length = _EVIDENCE_DAYS * _A_DAY
        days = {(start.date(), min(start + length, end + _A_DAY).date())}
        days.add((max(start, end - length + _A_DAY).date(), (end + _A_DAY).date()))
        samples = []
        for first, stop in sorted(days):
            results = [result for day in self._read_prefix(prefix, first, stop) for result in day]
            evidence = infer_frequency([result.start for result in results])
            samples.append(_Sample(first, stop, results, evidence))
        return samples

    def find_span(self) -> tuple[date, date]:
        """Return the first and the last day with results."""
        folders = [
            self._listing.find_edge_folder(prefix, last=last)
            for prefix in self._find_prefixes()
            for last in (False, True)
        ]
        times = [parse_folder_time(name or "", self._options.zone or UTC) for name in folders]
        days = [time.date() for time in times if time]
        return min(days), max(days)

    def estimate(
        self, batches: Sequence[Sequence[date]], placeholders: Collection[str] | None = None
    ) -> ListingEstimate:
        """Predict the list requests and results of a run over batches of contiguous days.

        An unknown frequency is inferred from the results of the first and the last days, which are counted;
        the shorter one counts for the days between them. Windows without a result are not known there.
        """
        prefixes = self._select_prefixes(placeholders)
        results, requests = 0, self._search_requests  # the run searches again
        for prefix in prefixes:
            start, end = self._find_edges(prefix)
            minutes = self._options.frequency_minutes
            samples = [] if minutes else self._read_samples(prefix, start, end)
            minutes = minutes or _find_shortest_minutes(samples) or _SHORTEST_MINUTES
            counted = _count_by_day(samples)
            per_day = 24 * 60 // minutes
            first, last = start.date(), end.date()
            for batch in batches:
                results += sum(
                    counted[day] if day in counted else _count_windows(day, start, end, minutes)
                    for day in batch
                )
                listed_days = min(last, batch[-1] + _A_DAY) - max(first, batch[0] - _A_DAY)
                requests += 1 + per_day * max(0, listed_days.days + 1) // _PAGE
        is_bound = self._options.frequency_minutes is not None
        return ListingEstimate(len(prefixes), results, requests if self.requests else 0, is_bound)

    def read_pages(
        self, days: Collection[date], read_at: datetime, placeholders: Collection[str] | None = None
    ) -> Iterator[Page]:
        """Return the executions of some days, at most a day of one prefix a page.

        Args:
            days: the days.
            read_at: the current time.
            placeholders: the prefixes to list, by the placeholder ARN of their scheduler; None: all.

        Raises:
            LedgerError: the bucket cannot be listed; or, after all pages, folders of a copy cannot be.
        """
        self._listing.start_reading()
        wanted = sorted(days)
        for prefix in self._select_prefixes(placeholders):
            for first, last in _find_ranges(wanted):
                yield from self._read_range(prefix, first, last, read_at)
        if self._listing.unreadable:
            raise ConfigurationError(
                f"Cannot read a bucket completely: {self._describe_unreadable()}",
                where=f"sources.uri = {self.uri}",
                next_step=f"{self._listing.unreadable_fix}; the others were read",
            )

    def _read_range(self, prefix: str, first: date, last: date, read_at: datetime) -> Iterator[Page]:
        # a day more on both sides, for the frequency of days with few results
        by_day = list[list[ResultKey]]()
        for results in self._read_prefix(prefix, first - _A_DAY, last + 2 * _A_DAY):
            by_day.append(results)
            if len(by_day) > 2:  # noqa: PLR2004 (a day with both neighbors)
                yield self._build_page(prefix, by_day[-3:], by_day[-2], read_at)
                del by_day[:-2]
            elif len(by_day) == 2:  # noqa: PLR2004
                yield self._build_page(prefix, by_day, by_day[0], read_at)
        if by_day:
            yield self._build_page(prefix, by_day[-2:], by_day[-1], read_at)

    def _read_prefix(self, prefix: str, first: date, end: date) -> Iterator[list[ResultKey]]:
        """Yield the results of each day with results in [first, end), sorted."""
        margin = _A_DAY if self._options.zone else timedelta(0)
        pages = self._listing.list_keys(prefix, (first - margin).isoformat(), (end + margin).isoformat())
        results = (
            result
            for page in _complete_folders(pages, len(prefix))
            for result in parse_result_keys(page, prefix, self._options.zone, self._skipped)
        )
        for day, group in groupby(results, key=lambda result: result.start.date()):
            if first <= day < end:
                yield list(group)

    def _build_page(
        self,
        prefix: str,
        neighbors: Sequence[Sequence[ResultKey]],
        results: Sequence[ResultKey],
        at: datetime,
    ) -> Page:
        minutes = self._options.frequency_minutes
        first, last = results[0].start, results[-1].start
        if minutes is None and (inferred := self._infer(prefix, neighbors, results)):
            minutes, first, last = inferred
        bucket = self._listing.bucket
        location = {"S3OutputConfiguration": {"Bucket": bucket, "Prefix": prefix}}
        scheduler = {
            "InferenceSchedulerArn": self._get_placeholder(prefix),
            "InferenceSchedulerName": name_prefix(bucket, prefix),
        }
        summaries = []
        for result in results:
            summary = {
                **scheduler,
                "DataStartTime": result.start.isoformat(),
                "DataOutputConfiguration": location,
                "CustomerResultObject": {"Bucket": bucket, "Key": result.key},
                "Status": "SUCCESS",
            }
            if minutes and first <= result.start <= last:
                end = result.start + timedelta(minutes=minutes)
                summary["DataEndTime"] = end.isoformat()
                if self._options.delay_minutes is not None:
                    due = end + timedelta(minutes=self._options.delay_minutes)
                    summary["ScheduledStartTime"] = due.isoformat()
            summaries.append(summary)
        return Page(msgspec.json.encode(summaries), KIND, f"{bucket}/{prefix}", at)

    def _infer(
        self, prefix: str, neighbors: Sequence[Sequence[ResultKey]], results: Sequence[ResultKey]
    ) -> tuple[int, datetime, datetime] | None:
        """Infer the frequency of a day, and the first and the last start that certainly have it.

        If the day is too little, its neighbors count too.
        """
        day = results[0].start.date()
        near = [group for group in neighbors if abs(group[0].start.date() - day) <= _A_DAY]
        nearby = [result.start for group in near for result in group]
        evidence = infer_frequency([result.start for result in results])
        if evidence.minutes is None and not evidence.is_mixed:
            wider = infer_frequency(nearby)
            # a frequency that only the neighbors show may have changed between the days
            if wider.minutes and has_step(nearby, day, wider.minutes):
                evidence = wider
        if evidence.is_mixed:
            self._mixed.setdefault(prefix, evidence.text)
        if prefix not in self._grids or evidence.minutes:
            self._grids[prefix] = evidence
        certain = find_certain_range(nearby, day, evidence.minutes) if evidence.minutes else None
        return (evidence.minutes, *certain) if evidence.minutes and certain else None

    def _get_placeholder(self, prefix: str) -> str:
        return build_placeholder_arn(self._listing.bucket, prefix)

    def _get_name(self, prefix: str) -> str:
        options = self._options
        arn_name = options.scheduler_arn.split("/")[1] if options.scheduler_arn else None
        return options.scheduler_name or arn_name or name_prefix(self._listing.bucket, prefix)


def _find_shortest_minutes(samples: Iterable[_Sample]) -> int | None:
    """Return the shortest frequency that a sample shows; None: no sample shows one."""
    return min((sample.evidence.minutes for sample in samples if sample.evidence.minutes), default=None)


def _count_by_day(samples: Iterable[_Sample]) -> dict[date, int]:
    """Return the number of results of each day of the samples."""
    counts: dict[date, int] = {}
    for sample in samples:
        starts = Counter(result.start.date() for result in sample.results)
        days = (sample.stop - sample.first).days
        counts |= {day: starts[day] for day in (sample.first + number * _A_DAY for number in range(days))}
    return counts


def _count_windows(day: date, start: datetime, end: datetime, minutes: int) -> int:
    """Return the number of windows that start on a day, if the first and the last start are known."""
    midnight = datetime.combine(day, time(), UTC)
    first, last = max(midnight, start), min(midnight + _A_DAY - timedelta(minutes=minutes), end)
    return max(0, (last - first) // timedelta(minutes=minutes) + 1)


def _find_ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] == _A_DAY:
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return ranges


def _complete_folders(pages: Iterable[Sequence[str]], prefix_length: int) -> Iterator[list[str]]:
    """Regroup sorted keys so that no folder is split between two pages."""
    waiting = list[str]()
    for page in pages:
        waiting += page
        last = waiting[-1][prefix_length:].partition("/")[0] if waiting else ""
        start = waiting[-1][:prefix_length] + last + "/" if waiting else ""
        complete = [key for key in waiting if not key.startswith(start)]
        if complete:
            yield complete
        waiting = waiting[len(complete) :]
    if waiting:
        yield waiting
