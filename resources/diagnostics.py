"""The checks of `ledger doctor`: credentials, services, buckets, the lake, archives.

A check raises no error: each error becomes a finding with its fix.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import msgspec

from resources.aws.access import SERVICE_END, AwsAccess
from resources.aws.s3_bucket import Bucket
from resources.aws.s3_objects import split_uri
from resources.aws.session import get_caller_arn
from resources.clock import unique_id, utc_now
from resources.errors import LedgerError, PermissionsError, RetryLaterError, ServiceEndedError, format_value
from resources.results.base import ObjectState, ResultRequest
from resources.results.fetcher import ResultFetcher
from resources.scheduler_arns import LOCAL_BUCKET
from resources.sources.base import DayListing, FileListing, ListedScheduler, LiveService
from resources.storage.base import StoredFile
from resources.storage.local import LocalStorage
from resources.storage.open import is_s3

_MAX_SKEW_SECONDS = 60
_MAX_SKEW_OF_AWS_SECONDS = 300
"""AWS rejects signatures that are older."""

_LOOK_BACK = timedelta(days=400)
"""Long enough to include executions; only the first page is requested."""

_PROBE = ".ledger-doctor"
"""Query engines ignore names with a dot. In S3 the object stays: no permission to delete is needed."""


_RESULT_FIXES = {
    ObjectState.MISSING: "nothing, if they were deleted on purpose; else check the bucket's lifecycle rules",
    ObjectState.FORBIDDEN: "grant s3:GetObject on it, or set results.profile or results.role_arn",
    ObjectState.KEY_MISSING: "grant kms:Decrypt on the key that it is encrypted with",
    ObjectState.WRONG_OWNER: "correct results.expected_bucket_owner, or find out which account owns it",
    ObjectState.NOT_ALLOWED: "add the bucket to results.allowed_buckets, if its objects are your results",
    ObjectState.ARCHIVED: "restore the objects from Glacier, or leave out the results of those days",
    ObjectState.UNREACHABLE: "check the network and AWS_ENDPOINT_URL_S3",
}


LIST_DAMAGED_FILES = 'ledger sql "SELECT uri, error FROM archive_files WHERE error IS NOT NULL"'
"""The command that lists the saved responses which runs could not read completely."""


class Level(StrEnum):
    """The severity of a finding."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Finding:
    """The result of one check; `fix` is empty if it passed."""

    level: Level
    subject: str
    message: str
    fix: str = ""


class _Result(msgspec.Struct, rename="pascal"):
    bucket: str | None = None
    key: str | None = None


class _Summary(msgspec.Struct, rename="pascal"):
    customer_result_object: _Result | None = None


class _Page(msgspec.Struct, rename="pascal"):
    inference_execution_summaries: list[_Summary] = []


def error_finding(subject: str, problem: LedgerError, level: Level = Level.fail) -> Finding:
    """Convert an error to a finding."""
    return Finding(level, subject, f"{problem.what} ({problem.where})", problem.next_step)


def check_identity(access: AwsAccess, owner: str) -> Finding:
    """Name the caller of a source or section; an unreachable STS is only a warning."""
    subject = f"credentials of {owner}"
    try:
        return Finding(Level.ok, subject, f"the caller is {get_caller_arn(access)}")
    except (RetryLaterError, ServiceEndedError):
        return Finding(
            Level.warn,
            subject,
            "Cannot reach STS to identify the caller",
            "check the network; ignore this for a service that is not AWS and has no STS",
        )
    except LedgerError as error:
        return error_finding(subject, error)


def check_service(api: LiveService, now: datetime, results: dict[str, str]) -> Iterator[Finding]:
    """Call the operations that an extraction needs, and compare clocks.

    Args:
        api: the service.
        now: the time of this machine's clock.
        results: receives the key of one result object for each bucket that an execution names.
    """
    api.fails_fast = True  # a person waits
    try:
        schedulers = api.list_schedulers()
    except LedgerError as error:
        yield _explain_error(api, error, now.date())
        return
    yield Finding(
        Level.ok, api.uri, f"lists {len(schedulers):,} scheduler{'' if len(schedulers) == 1 else 's'}"
    )
    for pattern in api.find_unmatched_patterns(schedulers):
        yield Finding(
            Level.warn,
            f"{api.uri}: schedulers",
            f"No scheduler matches {format_value(pattern)}",
            "correct sources.schedulers in ledger.toml; remove the name if the scheduler was deleted",
        )
    yield from _check_clock(api, now)
    if schedulers:
        yield from _check_permissions(api, schedulers[0], now, results)
    elif not api.find_unmatched_patterns(schedulers):
        yield Finding(
            Level.warn,
            f"{api.uri}: schedulers",
            "there are no schedulers, so there is nothing to extract",
            "check region and account: a scheduler belongs to one of each",
        )


def _explain_error(api: LiveService, error: LedgerError, today: date) -> Finding:
    """Distinguish the end of the service from a missing permission or a wrong region."""
    try:
        is_aws = api.is_aws
    except LedgerError:  # region or profile do not exist; the first error names it
        return error_finding(api.uri, error)
    if isinstance(error, PermissionsError) and is_aws and today > SERVICE_END:
        return Finding(
            Level.fail,
            api.uri,
            f"AWS ended the service on {SERVICE_END} and denies all requests: {error.what}",
            "remove this source from ledger.toml; recorded data stays, and saved responses can be a source",
        )
    return error_finding(api.uri, error)


def _check_permissions(
    api: LiveService, scheduler: ListedScheduler, now: datetime, results: dict[str, str]
) -> Iterator[Finding]:
    calls: Mapping[str, Callable[[], object]] = {
        "DescribeInferenceScheduler": lambda: api.scheduler_exists(scheduler),
        "ListInferenceExecutions": lambda: _collect_results(api, scheduler, now, results),
    }
    for action, call in calls.items():
        try:
            call()
        except LedgerError as error:
            yield error_finding(f"{api.uri}: lookoutequipment:{action}", error)
        else:
            yield Finding(Level.ok, f"{api.uri}: lookoutequipment:{action}", f"allowed, for {scheduler.name}")


def _collect_results(
    api: LiveService, scheduler: ListedScheduler, now: datetime, results: dict[str, str]
) -> None:
    until = (
        datetime(*api.service_end.timetuple()[:3], tzinfo=UTC) + timedelta(days=1) if api.service_end else now
    )
    page = next(api.read_pages(scheduler, min(until, now) - _LOOK_BACK, min(until, now), now), None)
    for summary in msgspec.json.decode(page.body, type=_Page).inference_execution_summaries if page else ():
        result = summary.customer_result_object
        if result and result.bucket and result.key:
            results.setdefault(result.bucket, result.key)


def _check_clock(api: LiveService, now: datetime) -> Iterator[Finding]:
    if api.date_header is None:
        return
    skew = abs((parsedate_to_datetime(api.date_header) - now).total_seconds())
    subject = f"clock against {api.uri}"
    if skew <= _MAX_SKEW_SECONDS:
        yield Finding(Level.ok, subject, f"{skew:.0f} s apart")
        return
    is_rejected = api.is_aws and skew > _MAX_SKEW_OF_AWS_SECONDS
    yield Finding(
        Level.fail if is_rejected else Level.warn,
        subject,
        f"{timedelta(seconds=round(skew))} apart",
        "set this machine's clock (NTP): it decides when a day is complete, and AWS rejects signatures that"
        " are five minutes off. Ignore this for a test service with its own clock",
    )


def check_results(fetcher: ResultFetcher, keys: Mapping[str, str]) -> Iterator[Finding]:
    """Read one object from each bucket.

    Args:
        fetcher: as in a run.
        keys: the key of one object, by bucket.
    """
    requests = [ResultRequest(bucket, key, is_named_by_service=True) for bucket, key in sorted(keys.items())]
    try:
        results = [result for batch in fetcher.fetch(requests) for result in batch]
    except LedgerError as error:
        yield error_finding("results", error)
        return
    for result in sorted(results, key=lambda result: result.request.bucket):
        bucket, key = result.request.bucket, result.request.key
        is_local = bucket == LOCAL_BUCKET
        subject = f"results in {'a local folder' if is_local else f's3://{bucket}'}"
        if result.state in (ObjectState.READ, ObjectState.UNCHANGED):
            extent = "" if is_local else " (including its KMS key, if it has one)"
            yield Finding(Level.ok, subject, f"can be read{extent}")
        elif result.state is ObjectState.MISSING:
            message = f"{key} does not exist, although an execution names it"
            yield Finding(Level.warn, subject, message, _RESULT_FIXES[result.state])
        else:
            yield Finding(Level.fail, subject, f"{key}: {result.error}", _RESULT_FIXES[result.state])


def check_lake(uri: str, kms_key_id: str | None = None, owner: str | None = None) -> Finding:
    """Write a file to the lake, and verify that concurrent writers cannot overwrite each other."""
    try:
        if is_s3(uri, "lake.uri"):
            return _check_s3_lake(uri, kms_key_id, owner)
        storage = LocalStorage(Path(uri), timeout_seconds=10)
        name = f"{_PROBE}-{unique_id()}"
        storage.update(name, lambda _: (None, _write_probe))
        storage.location(name).unlink(missing_ok=True)
    except LedgerError as error:
        return error_finding("lake", error)
    return Finding(Level.ok, "lake", f"{uri} can be written to, with a lock")


def _write_probe(sink: BinaryIO) -> None:
    sink.write(b"probe")


def _check_s3_lake(uri: str, kms_key_id: str | None, owner: str | None) -> Finding:
    name, prefix = split_uri(uri)
    actions = ("kms:GenerateDataKey",) if kms_key_id else ()
    bucket = Bucket(name, "lake.uri", more_actions=actions, owner=owner)
    key = f"{prefix.rstrip('/')}/{_PROBE}".lstrip("/")
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}

    def write(replacing: str | None) -> bool:
        return bucket.put(key, unique_id().encode(), replacing=replacing, options=options)

    write(None)  # may exist from an earlier check
    content = bucket.get(key)
    ignored = ["If-None-Match"] if write(None) else []
    if content and write(content.etag) and write(content.etag):  # with an outdated ETag
        ignored.append("If-Match")
    if ignored:
        return Finding(
            Level.fail,
            "lake",
            f"the store at {uri} ignores {' and '.join(ignored)}: concurrent writers would overwrite each"
            " other",
            "keep the lake in Amazon S3 or another store with conditional writes, or in a local folder",
        )
    return Finding(Level.ok, "lake", f"{uri} can be read and written to, with conditional writes")


def check_archive(source: FileListing, errors: Mapping[str, str]) -> Finding:
    """List the saved responses, and read the first page of the first one.

    Args:
        source: the archive.
        errors: why files were not read completely when a run last read them, by URI.
    """
    subject = f"archive {source.uri}"
    try:
        files = source.list_files()
        readable = [file for file in files if not file.problem]
        problems = _read_first_page(source, readable[0]) if readable else ()
    except LedgerError as error:
        return error_finding(subject, error)
    if unreadable := [file for file in files if file.problem]:
        return Finding(
            Level.warn,
            subject,
            f"{len(unreadable)} of {len(files)} entries cannot be read, the first is {unreadable[0].uri}:"
            f" {unreadable[0].problem}",
            "make them readable for this user, or remove them; the others are read",
        )
    if not files:
        return Finding(
            Level.warn,
            subject,
            "contains no saved response: no file has a name such as *.json or *.jsonl",
            "add saved responses: ledger import PATH",
        )
    count = f"{len(files):,} file{'' if len(files) == 1 else 's'}"
    if damaged := [file.uri for file in files if file.uri in errors]:
        return Finding(
            Level.warn,
            subject,
            f"{count}; a run could not read {len(damaged):,} of them completely, the first is {damaged[0]}:"
            f" {errors[damaged[0]]}",
            f"save them again, or remove them. To list them: {LIST_DAMAGED_FILES}",
        )
    if problems:
        return Finding(
            Level.warn,
            subject,
            f"{count}; the first one, {readable[0].uri}, {problems[0]}",
            "save it again, or remove it; a run reads the others",
        )
    opened = "only the first one was opened, and its" if len(files) > 1 else "its"
    return Finding(Level.ok, subject, f"{count}; {opened} first page can be read")


def _read_first_page(source: FileListing, file: StoredFile) -> Sequence[str]:
    """Return what is wrong with a file that has no page; empty if it has one."""
    saved = source.open(file)
    page = next(iter(saved.read_pages(utc_now())), None)
    return () if page else saved.problems


def check_bucket(source: DayListing, results: dict[str, str]) -> Iterator[Finding]:
    """Search a bucket for output prefixes, and describe each.

    Args:
        source: the bucket.
        results: receives the key of one result object for each bucket.
    """
    subject = f"bucket {source.uri}"
    try:
        prefixes = source.list_prefixes()
    except LedgerError as error:
        yield error_finding(subject, error)
        return
    for prefix in prefixes:
        if prefix.example:
            results.setdefault(prefix.bucket, prefix.example)
        period = f"results from {prefix.first:%Y-%m-%d} to {prefix.last:%Y-%m-%d}"
        frequency = (
            f"every {prefix.frequency_minutes} minutes" if prefix.frequency_minutes else "frequency unknown"
        )
        fix = "set frequency of this source; the end of each window is unknown"
        assumption = "; counts as one scheduler: nothing in its keys contradicts it"
        if prefix.is_mixed:
            assumption = ""
            frequency = "several schedulers seem to write to it"
            fix = f"find out which schedulers used this prefix; if it is only one, {fix}"
        yield Finding(
            Level.ok if prefix.frequency_minutes else Level.warn,
            f"{subject}: {prefix.prefix or '(no prefix)'}",
            f"{period}, {frequency} ({prefix.evidence}){assumption}",
            "" if prefix.frequency_minutes else fix,
        )
    for problem in source.problems:
        yield Finding(Level.warn, subject, problem.message, problem.fix)
