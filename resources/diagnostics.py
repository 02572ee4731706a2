"""What `ledger doctor` tries out: credentials, services, buckets, the lake, archives.

A probe raises nothing: whatever goes wrong is a finding, with the mend that the error brings along.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import msgspec

from resources.aws.s3_bucket import Bucket, split_uri
from resources.aws.session import SERVICE_END, AwsAccess, get_caller_arn
from resources.clock import unique_id
from resources.errors import LedgerError, PermissionsError, RetryLaterError, ServiceEndedError
from resources.results.bucket import ObjectState, ResultRequest
from resources.results.fetcher import ResultFetcher
from resources.sources.base import FileListing, ListedScheduler, LiveService
from resources.storage.local import LocalStorage
from resources.storage.open import is_s3

_SKEW_SECONDS = 60
_SKEW_AWS_REFUSES_SECONDS = 300
_LOOK_BACK = timedelta(days=400)
"""Far, so that there is something to see; only the first page of it is asked for."""

_PROBE = ".ledger-doctor"
"""Begins with a dot, so that every engine passes it over. In S3 it stays: no right to delete is needed."""


_RESULT_MENDS = {
    ObjectState.MISSING: "nothing if they were deleted on purpose; else check the bucket's lifecycle rules",
    ObjectState.FORBIDDEN: "grant s3:GetObject on it, or set results.profile or results.role_arn",
    ObjectState.KEY_MISSING: "grant kms:Decrypt on the key that it is encrypted with",
    ObjectState.WRONG_OWNER: "correct results.expected_bucket_owner, or find out who took the bucket's name",
    ObjectState.ARCHIVED: "restore the objects from their archive, or leave the results of those days out",
    ObjectState.UNREACHABLE: "check the network and AWS_ENDPOINT_URL_S3",
}


class Level(StrEnum):
    """How bad a finding is."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what to do about it (nothing where all is well)."""

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
    """Make a finding of an error."""
    return Finding(level, subject, f"{problem.what} ({problem.where})", problem.next_step)


def check_identity(access: AwsAccess, of: str) -> Finding:
    """Say who the credentials of something are. Where there is no STS to ask, that stops nothing."""
    subject = f"credentials of {of}"
    try:
        return Finding(Level.ok, subject, f"you are {get_caller_arn(access)}")
    except (RetryLaterError, ServiceEndedError):
        return Finding(
            Level.warn,
            subject,
            "STS cannot be reached, so nobody says who you are",
            "check the network; a service that is not AWS's may have no STS, then this means nothing",
        )
    except LedgerError as problem:
        return error_finding(subject, problem)


def check_service(api: LiveService, now: datetime, results: dict[str, str]) -> Iterator[Finding]:
    """Try what an extraction needs of a service: list, describe, list executions; and compare clocks.

    Args:
        api: the source.
        now: by this machine's clock.
        results: takes up a result object for each bucket that an execution names, by bucket.
    """
    try:
        schedulers = api.list_schedulers()
    except LedgerError as problem:
        yield _refused(api, problem, now.date())
        return
    yield Finding(Level.ok, api.uri, f"answers, and lists {len(schedulers)} schedulers")
    for pattern in api.find_unmatched_patterns(schedulers):
        yield Finding(
            Level.warn,
            f"{api.uri}: schedulers",
            f"none is named {pattern}",
            "correct sources.schedulers in ledger.toml, or take the name out if it was deleted",
        )
    yield from _clock(api, now)
    if schedulers:
        yield from _rights(api, schedulers[0], now, results)
    elif not api.find_unmatched_patterns(schedulers):
        yield Finding(
            Level.warn,
            f"{api.uri}: schedulers",
            "there are none, so there is nothing to extract",
            "check region and account: schedulers belong to one of each",
        )


def _refused(api: LiveService, problem: LedgerError, today: date) -> Finding:
    """Tell an ended service from a missing permission and a wrong region, as far as an answer can."""
    try:
        is_aws = api.is_aws
    except LedgerError:  # a region that never was, or a profile that is not there: the message says it
        return error_finding(api.uri, problem)
    if isinstance(problem, PermissionsError) and is_aws and today > SERVICE_END:
        return Finding(
            Level.fail,
            api.uri,
            f"AWS ended the service on {SERVICE_END}, and answers nobody any more: {problem.what}",
            "take this source out of ledger.toml; what is recorded stays, saved responses can be a source",
        )
    return error_finding(api.uri, problem)


def _rights(
    api: LiveService, scheduler: ListedScheduler, now: datetime, results: dict[str, str]
) -> Iterator[Finding]:
    tried: Mapping[str, Callable[[], object]] = {
        "DescribeInferenceScheduler": lambda: api.scheduler_exists(scheduler),
        "ListInferenceExecutions": lambda: _note_results(api, scheduler, now, results),
    }
    for action, attempt in tried.items():
        try:
            attempt()
        except LedgerError as problem:
            yield error_finding(f"{api.uri}: lookoutequipment:{action}", problem)
        else:
            yield Finding(Level.ok, f"{api.uri}: lookoutequipment:{action}", f"allowed, for {scheduler.name}")


def _note_results(
    api: LiveService, scheduler: ListedScheduler, now: datetime, results: dict[str, str]
) -> None:
    until = (
        datetime(*api.service_end.timetuple()[:3], tzinfo=UTC) + timedelta(days=1) if api.service_end else now
    )
    page = next(api.read_pages(scheduler, min(until, now) - _LOOK_BACK, min(until, now), now), None)
    for summary in msgspec.json.decode(page.body, type=_Page).inference_execution_summaries if page else ():
        found = summary.customer_result_object
        if found and found.bucket and found.key:
            results.setdefault(found.bucket, found.key)


def _clock(api: LiveService, now: datetime) -> Iterator[Finding]:
    if api.date_header is None:
        return
    off = abs((parsedate_to_datetime(api.date_header) - now).total_seconds())
    subject = f"clock against {api.uri}"
    if off <= _SKEW_SECONDS:
        yield Finding(Level.ok, subject, f"{off:.0f} s apart")
        return
    is_grave = api.is_aws and off > _SKEW_AWS_REFUSES_SECONDS
    yield Finding(
        Level.fail if is_grave else Level.warn,
        subject,
        f"{timedelta(seconds=round(off))} apart",
        "set this machine's clock (NTP): what an answer proves is reckoned by it, and AWS refuses signatures"
        " that are five minutes off. A test service may have a clock of its own",
    )


def check_results(opened: ResultFetcher, named: Mapping[str, str]) -> Iterator[Finding]:
    """Try what reading results needs: get one object of each bucket that executions name.

    Args:
        opened: they, as a run opens them.
        named: an object for each bucket.
    """
    try:
        wanted = [ResultRequest(bucket, key) for bucket, key in sorted(named.items())]
        found = [one for load in opened.fetch(wanted) for one in load]
    except LedgerError as problem:
        yield error_finding("results", problem)
        return
    for one in sorted(found, key=lambda one: one.request.bucket):
        subject = f"results in s3://{one.request.bucket}"
        if one.state in (ObjectState.READ, ObjectState.UNCHANGED):
            yield Finding(Level.ok, subject, "can be read (its key of KMS too, where it has one)")
        elif one.state is ObjectState.MISSING:
            said = f"{one.request.key} is not there, though an execution names it"
            yield Finding(Level.warn, subject, said, _RESULT_MENDS[one.state])
        else:
            yield Finding(Level.fail, subject, f"{one.request.key}: {one.error}", _RESULT_MENDS[one.state])


def check_lake(uri: str, kms_key_id: str | None = None) -> Finding:
    """Write to the lake and see that it is as safe as it must be: whole files, one writer at a time."""
    try:
        if is_s3(uri, "lake.uri"):
            return _lake_in_s3(uri, kms_key_id)
        storage = LocalStorage(Path(uri), timeout_seconds=10)
        name = f"{_PROBE}-{unique_id()}"
        storage.update(name, lambda _: (None, _write_probe))
        storage.location(name).unlink(missing_ok=True)
    except LedgerError as problem:
        return error_finding("lake", problem)
    return Finding(Level.ok, "lake", f"{uri} can be written to, with a lock")


def _write_probe(sink: BinaryIO) -> None:
    sink.write(b"probe")


def _lake_in_s3(uri: str, kms_key_id: str | None) -> Finding:
    name, prefix = split_uri(uri)
    bucket = Bucket(name, "lake.uri", more_actions=("kms:GenerateDataKey",) if kms_key_id else ())
    key = f"{prefix.rstrip('/')}/{_PROBE}".lstrip("/")
    options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
    before = bucket.get(key)
    bucket.put(key, unique_id().encode(), replacing=before.etag if before else None, **options)
    stale = before.etag if before else None
    if bucket.put(key, unique_id().encode(), replacing=stale, **options):
        return Finding(
            Level.fail,
            "lake",
            f"the store at {uri} ignores If-Match: two writers would lose each other's rows",
            "keep the lake in Amazon S3 or another store with conditional writes, or in a local folder",
        )
    return Finding(Level.ok, "lake", f"{uri} can be read and written to, and keeps writers apart")


def check_archive(source: FileListing) -> Finding:
    """Look for saved responses, and open one of them."""
    subject = f"archive {source.uri}"
    try:
        files = source.list_files()
        if files:
            source.read(files[0])
    except LedgerError as problem:
        return error_finding(subject, problem)
    if not files:
        return Finding(
            Level.warn,
            subject,
            "holds no saved response: nothing there is named *.json[l]",
            "put some there: ledger import PATH",
        )
    return Finding(Level.ok, subject, f"{len(files)} saved responses can be read")
