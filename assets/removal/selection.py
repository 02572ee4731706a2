"""What a use of `ledger forget` selects: sources by name, schedulers with their placeholders, and files."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import pyarrow as pa

from assets.executions.archive_index import ArchiveRecord
from assets.executions.bucket_identity import IDENTITY_COLUMNS
from assets.removal.claims import Kinds
from resources.errors import ConfigurationError, format_value, suggest
from resources.name_patterns import matches, no_scheduler_error
from resources.redaction import redact
from resources.scheduler_arns import PLACEHOLDER, build_placeholder_arn
from resources.sources.base import Source

SERVICE_PREFIX = "api ("
"""The start of the name of a live service (`ApiSource.uri`); all others are locations."""

_MAX_NAMES = 5


def select_sources(
    spellings: Sequence[str], names: Iterable[str], option: str, *, is_folder_allowed: bool = True
) -> tuple[str, frozenset[str]]:
    """Return the spelling that the lake knows, and the sources with this name or in such a folder.

    Args:
        spellings: the name as the user wrote it, and as an absolute path.
        names: the sources that the lake knows.
        option: the option of the command, for messages.
        is_folder_allowed: whether the name may be that of a folder or prefix.

    Raises:
        ConfigurationError: the lake knows no such source.
    """
    known = sorted(set(names))
    for spelling in spellings:
        folder = spelling.rstrip("/") + "/"
        found = {name for name in known if name.rstrip("/") + "/" == folder}
        if is_folder_allowed:
            found |= {name for name in known if name.startswith(folder)}
        if found:
            return spelling, frozenset(found)
    listed = ", ".join(known[:_MAX_NAMES]) + (
        f" and {len(known) - _MAX_NAMES} more" if known[_MAX_NAMES:] else ""
    )
    raise ConfigurationError(
        f"Cannot forget {format_value(spellings[0])}: the lake knows no such source"
        f"{suggest(spellings[0], known)}",
        where=option,
        next_step=f"use one of: {listed or 'none, because the lake is empty'}",
    )


def select_arns(scheduler: str, settings: pa.Table) -> frozenset[str]:
    """Return the ARNs of a scheduler, and the placeholders of the prefixes to which only it wrote.

    Args:
        scheduler: a name or an ARN, with * and ?.
        settings: rows of `inference_schedulers` with `IDENTITY_COLUMNS`.

    Raises:
        ConfigurationError: no scheduler matches.
    """
    rows = settings.select(IDENTITY_COLUMNS).to_pylist()
    arns = {
        row["scheduler_arn"]
        for row in rows
        if matches(scheduler, row["scheduler_name"], row["scheduler_arn"])
    }
    if not arns:
        names = (row["scheduler_name"] or row["scheduler_arn"] for row in rows)
        raise no_scheduler_error(scheduler, names, "--scheduler")
    writers: dict[str, set[str]] = {}
    for row in rows:
        bucket, prefix = row["output_s3_bucket"], row["output_s3_prefix"]
        if bucket is not None and prefix is not None and not row["scheduler_arn"].startswith(PLACEHOLDER):
            writers.setdefault(build_placeholder_arn(bucket, prefix), set()).add(row["scheduler_arn"])
    return frozenset(arns | {placeholder for placeholder, others in writers.items() if others <= arns})


def select_hashes(sources: frozenset[str], records: Mapping[str, ArchiveRecord]) -> frozenset[str]:
    """Return the content hashes of the selected files, without those of other files that stay."""
    hashes = {uri: record.content_hash for uri, record in records.items() if record.content_hash}
    staying = {content_hash for uri, content_hash in hashes.items() if uri not in sources}
    return frozenset(content_hash for uri, content_hash in hashes.items() if uri in sources) - staying


def find_kinds(claims: pa.Table, records: Mapping[str, ArchiveRecord], sources: Collection[Source]) -> Kinds:
    """Return the kinds of rows that each source in `execution_sources` can return.

    A recording returns what the API returned; what it proves, or its name, shows it.
    """
    configured = {redact(source.uri): source.kind for source in sources if not source.files}
    arns: dict[str, str] = dict(
        zip(claims["source"].to_pylist(), claims["scheduler_arn"].to_pylist(), strict=True)
    )
    kinds = {}
    for name, arn in arns.items():
        if name in configured:
            kinds[name] = {configured[name]}
        elif name in records:
            is_recording = bool(records[name].proven_dates) or ".warc" in name
            kinds[name] = {"archive", "api"} if is_recording else {"archive"}
        elif name.startswith(SERVICE_PREFIX):
            kinds[name] = {"api"}
        else:
            kinds[name] = {"bucket"} if arn.startswith(PLACEHOLDER) else {"archive", "api"}
    return {name: frozenset(values) for name, values in kinds.items()}
