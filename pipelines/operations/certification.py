"""Writes and verifies completeness certificates, without a terminal."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from assets.certificate import verifier
from assets.certificate.comparison import compare_days, compare_files, get_files
from assets.certificate.documents import CertificateHeader, JsonCertificate
from assets.certificate.evidence import (
    DAILY_TABLES,
    OTHER_TABLES,
    Selection,
    read_days,
    read_incomplete_files,
    read_other_digests,
)
from assets.certificate.render import CertificatePage, render_html, render_markdown
from assets.certificate.statements import chain_statements
from assets.certificate.summary import CertificateSummary
from assets.certificate.traces import DeclaredFrequency
from assets.executions.service_state import get_service_state
from assets.executions.tombstones import ForgetOperation, read_operations
from assets.framework.time_windows import get_day_window
from assets.health.execution_health import HealthPolicy, build_health_policy
from assets.tables import INFERENCE_SCHEDULERS
from resources.config.settings import BucketSettings, Settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.name_patterns import matches, no_scheduler_error
from resources.redaction import redact
from resources.sources.factory import open_sources
from resources.storage.local import make_folders, write_atomically
from resources.storage.report_store import write_page
from resources.storage.small_files import read_regular_file

VERIFIER_NAME = "verify_certificate.py"
"""The verifier, which is written beside each JSON certificate."""

FORMATS = (".json", ".html", ".md")

Track = Callable[[Iterable[Any]], Iterable[Any]]
"""Passes the days through, and shows the progress."""


@dataclass(frozen=True)
class CertificationResult:
    """The totals, the digest of the days (None without days) and the files that were written."""

    page: CertificatePage
    files: Sequence[str]


def certify(
    lake: Lake, settings: Settings, selection: Selection, now: datetime, outputs: Sequence[Path], track: Track
) -> CertificationResult:
    """Build the certificate of a selection once, and write it in each format.

    Raises:
        ConfigurationError: a file has another ending than `FORMATS`, or cannot be written; a pattern matches
            no scheduler.
        LedgerError: the lake cannot be read.
    """
    check_formats(outputs)
    _check_patterns(lake, selection)
    policy, header = build_policy(settings, selection, now), build_header(lake, settings, selection, now)
    summary = CertificateSummary((selection.last - selection.first).days + 1)
    created_at = now.isoformat(timespec="seconds")
    digest = None
    with ExitStack() as stack:
        documents = [
            JsonCertificate(stack.enter_context(_open_atomically(path)), header)
            for path in outputs
            if path.suffix == ".json"
        ]
        days = read_days(lake, selection, policy, list_declared(settings, header.as_of))
        for statement, digest in chain_statements(track(days)):
            summary.add(statement)
            for document in documents:
                document.add(statement, digest)
        other_files = read_other_digests(lake)
        for document in documents:
            document.finish(summary, other_files, {"at": created_at, "lake": redact(lake.uri)})
    page = CertificatePage(header, summary, digest, redact(lake.uri), created_at)
    return CertificationResult(page, [*_write_pages(page, outputs), *_write_verifiers(outputs)])


def find_changes(
    lake: Lake, settings: Settings, path: Path, certificate: dict[str, Any], now: datetime, track: Track
) -> Iterator[str]:
    """Yield everything that changed since a certificate, or that is wrong in it.

    Args:
        lake: the lake.
        settings: the settings of its project.
        path: the file of the certificate, for messages.
        certificate: its content.
        now: the current time.
        track: shows the progress.

    Raises:
        ConfigurationError: the content is not a certificate.
        LedgerError: the lake cannot be read.
    """
    try:
        yield from list(verifier.find_broken_seals(certificate))
        predicate = certificate["predicate"]
        first, last = date.fromisoformat(predicate["from"]), date.fromisoformat(predicate["to"])
        selection = Selection(first, last, predicate["schedulers_selected"])
        days = {day["predicate"]["date"]: day for day in predicate["days"]}
        before_files = get_files(certificate["subject"][1:])
        before_settings, before_versions = predicate["settings"], predicate["versions"]
    except _INVALID as error:
        raise _build_invalid_error(path, error) from None
    header = build_header(lake, settings, selection, now).describe()
    yield from _compare_values("setting", before_settings, header["settings"])
    yield from _compare_values("version", before_versions, header["versions"])
    yield from compare_files(before_files, read_other_digests(lake))
    as_of = _compute_as_of(settings, selection, now)
    recorded = read_days(
        lake, selection, build_policy(settings, selection, now), list_declared(settings, as_of)
    )
    for statement, _ in chain_statements(track(recorded)):
        day = statement["predicate"]["date"]
        if day not in days:
            yield f"{day}: the certificate has no statement"
            continue
        try:
            yield from list(compare_days([days[day]], [statement]))
        except _INVALID as error:
            raise _build_invalid_error(path, error) from None


_INVALID = (ValueError, KeyError, TypeError, IndexError, AttributeError)


def load_certificate(path: Path) -> dict[str, Any]:
    """Read a JSON certificate.

    Raises:
        ConfigurationError: the file cannot be read, or is not a certificate.
    """
    try:
        certificate = json.loads(read_regular_file(path))
        if not isinstance(certificate["predicate"]["days"], list):
            raise TypeError("days is not a list")
    except OSError as problem:
        raise ConfigurationError(
            f"Cannot read the certificate: {problem.strerror}",
            where=str(path),
            next_step="pass a JSON certificate that ledger certify wrote",
        ) from None
    except (*_INVALID, RecursionError) as error:
        raise _build_invalid_error(path, error) from None
    return dict(certificate)


def _build_invalid_error(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot read the certificate: it is not one, or it is damaged ({error!r})",
        where=str(path),
        next_step="pass a JSON certificate that ledger certify wrote",
    )


def build_policy(settings: Settings, selection: Selection, now: datetime) -> HealthPolicy:
    """Build the policy of a certificate: executions that were due after `as_of` are not expected."""
    service = get_service_state(open_sources(settings) if settings.sources else ())
    as_of = _compute_as_of(settings, selection, now)
    return build_health_policy(service, _settle_after(settings), now, as_of)


def build_header(lake: Lake, settings: Settings, selection: Selection, now: datetime) -> CertificateHeader:
    """Build the header of a certificate: settings that change what is expected, and what was forgotten."""
    tables = {table.name: table.version for table in (*DAILY_TABLES, *OTHER_TABLES)}
    described: dict[str, Any] = {
        "history.start_date": settings.history.start_date.isoformat(),
        "history.end_date": settings.history.end_date.isoformat() if settings.history.end_date else None,
        "history.settle_after_minutes": settings.history.settle_after_minutes,
        "sources": [source.kind for source in settings.sources],
        "sources.frequency": {
            source.copy_of or source.uri: source.frequency
            for source in settings.sources
            if isinstance(source, BucketSettings) and source.frequency
        },
    }
    return CertificateHeader(
        selection.first,
        selection.last,
        tuple(selection.patterns),
        _compute_as_of(settings, selection, now),
        {"lookout-ledger": version("lookout-ledger"), "tables": tables},
        described,
        tuple(_describe_operation(operation) for operation in read_operations(lake)),
        read_incomplete_files(lake),
    )


def list_declared(settings: Settings, as_of: datetime) -> list[DeclaredFrequency]:
    """List the frequencies of bucket sources, for the days of the history up to `as_of`.

    The default start of the history is no evidence: the first result counts then.
    """
    history = settings.history
    has_start = "start_date" in history.model_fields_set
    start = get_day_window(history.start_date).start if has_start else None
    end = min(get_day_window(history.end_date).start, as_of) if history.end_date else as_of
    return [
        DeclaredFrequency(*source.location, timedelta(minutes=source.frequency_minutes), start, end)
        for source in settings.sources
        if isinstance(source, BucketSettings) and source.frequency_minutes
    ]


def _describe_operation(operation: ForgetOperation) -> dict[str, Any]:
    return {
        "id": operation.operation_id,
        "selection": operation.describe(),
        "state": operation.state,
        "started_at": operation.started_at.isoformat(timespec="seconds"),
        "executions_removed": operation.executions_removed,
        "executions_reread": operation.executions_reread,
        "executions_kept": operation.executions_kept,
    }


def check_formats(outputs: Sequence[Path]) -> None:
    """Check the endings of the files.

    Raises:
        ConfigurationError: an ending is not one of `FORMATS`.
    """
    for path in outputs:
        if path.suffix not in FORMATS:
            raise ConfigurationError(
                f"Cannot write a certificate with the ending {path.suffix or 'of a file without one'}",
                where=f"--out {path}",
                next_step=f"use one of {', '.join(FORMATS)}",
            )


def _check_patterns(lake: Lake, selection: Selection) -> None:
    known = lake.read(INFERENCE_SCHEDULERS, columns=["scheduler_arn", "scheduler_name"]).to_pylist()
    for pattern in selection.patterns:
        if not any(matches(pattern, row["scheduler_name"], row["scheduler_arn"]) for row in known):
            names = (row["scheduler_name"] or row["scheduler_arn"] for row in known)
            raise no_scheduler_error(pattern, names, "--scheduler")


def _compute_as_of(settings: Settings, selection: Selection, now: datetime) -> datetime:
    """Return a time that does not depend on the clock once the days have settled."""
    return min(now.replace(microsecond=0), get_day_window(selection.last).end + _settle_after(settings))


def _settle_after(settings: Settings) -> timedelta:
    return timedelta(minutes=settings.history.settle_after_minutes)


def _compare_values(kind: str, before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            yield f"{kind} {key}: {json.dumps(before.get(key))}, now {json.dumps(now.get(key))}"


@contextmanager
def _open_atomically(path: Path) -> Iterator[TextIO]:
    """Open a new text file that replaces `path` when it is complete."""
    try:
        make_folders(path.parent)
        with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
    except OSError as problem:
        raise ConfigurationError(
            f"Cannot write the certificate: {problem.strerror or problem}",
            where=str(path),
            next_step="make the folder writable for this user, or use another --out",
        ) from None


def _write_pages(page: CertificatePage, outputs: Sequence[Path]) -> Iterator[str]:
    for path in outputs:
        if path.suffix == ".html":
            write_page(path, render_html(page))
        elif path.suffix == ".md":
            write_page(path, render_markdown(page))
        yield str(path)


def _write_verifiers(outputs: Sequence[Path]) -> Iterator[str]:
    for folder in sorted({path.parent for path in outputs if path.suffix == ".json"}):
        yield str(write_page(folder / VERIFIER_NAME, Path(verifier.__file__).read_text("utf-8")))
