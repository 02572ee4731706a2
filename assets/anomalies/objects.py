"""What is remembered of each result object: the rows of `result_objects`.

A tag is remembered only with rows that stand in the lake. An object that is gone keeps what was known of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from assets.anomalies.execution_index import KEY, ExecutionIndex, ExecutionKey, ObjectLocation
from assets.anomalies.parse import READER_VERSION
from assets.framework.row_content import stamp_changes
from assets.tables import RESULT_OBJECTS
from resources.results.fetcher import FetchedResult, ObjectState, ResultRequest

_OF_CONTENT = ("etag", "size_bytes", "last_modified", "rows", "rejected", "reader_version")
_NOTHING = dict[str, Any].fromkeys(_OF_CONTENT) | {"rows": 0, "rejected": 0, "reader_version": READER_VERSION}


@dataclass(frozen=True)
class ObjectOutcome:
    """What came of an object, without its bytes; `rows` and `rejected` count its lines."""

    state: ObjectState
    error: str | None = None
    etag: str | None = None
    size_bytes: int | None = None
    last_modified: datetime | None = None
    rows: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, fetched: FetchedResult, rows: int = 0, rejected: int = 0) -> "ObjectOutcome":
        """Keep the facts, let go of the bytes."""
        size = None if fetched.data is None else len(fetched.data)
        return cls(fetched.state, fetched.error, fetched.etag, size, fetched.last_modified, rows, rejected)


ObjectRecords = Mapping[ExecutionKey, Mapping[str, Any]]


def index_object_records(existing: pa.Table) -> dict[ExecutionKey, dict[str, Any]]:
    """Return the rows of `result_objects` by execution."""
    return {(row["scheduler_arn"], row["data_start_time"]): row for row in existing.to_pylist()}


def build_requests(named: ExecutionIndex, before: ObjectRecords, *, afresh: bool) -> list[ResultRequest]:
    """Return all objects of a day, with the tag of those whose rows the lake holds as they would be read now.

    Args:
        named: the day's executions.
        before: what is remembered.
        afresh: read all of them again, whatever is remembered.
    """
    return [
        ResultRequest(
            *place, None if afresh else _tag(place, [before.get(named.keys[one]) for one in numbers])
        )
        for place, numbers in named.objects.items()
    ]


def _tag(place: ObjectLocation, rows: Collection[Mapping[str, Any] | None]) -> str | None:
    tags = {
        row["etag"]
        if row is not None and _is_of(row, place) and row["reader_version"] == READER_VERSION
        else None
        for row in rows
    }
    return tags.pop() if len(tags) == 1 else None


def _is_of(row: Mapping[str, Any], place: ObjectLocation) -> bool:
    return (row["result_s3_bucket"], row["result_s3_key"]) == place


def merge_object_records(
    existing: pa.Table, named: ExecutionIndex, outcomes: Mapping[ObjectLocation, ObjectOutcome], now: datetime
) -> pa.Table:
    """Merge what became of the objects into `result_objects`; rows of other executions stay."""
    rows = index_object_records(existing)
    for number, place in enumerate(named.places):
        key = named.keys[number]
        before = rows.get(key)
        rows[key] = {
            **dict(zip(KEY, key, strict=True)),
            "scheduler_name": named.rows["scheduler_name"][number].as_py(),
            "result_s3_bucket": place[0],
            "result_s3_key": place[1],
            **_facts(outcomes[place], before if before and _is_of(before, place) else _NOTHING),
        }
    table = pa.Table.from_pylist([{**row, "recorded_at": None} for row in rows.values()], schema=_NULLABLE)
    return stamp_changes(RESULT_OBJECTS, table, existing, now)


_NULLABLE = pa.schema([field.with_nullable(True) for field in RESULT_OBJECTS.schema])


def _facts(outcome: ObjectOutcome, before: Mapping[str, Any]) -> dict[str, Any]:
    if outcome.state is ObjectState.READ:
        content = {name: getattr(outcome, name) for name in _OF_CONTENT if name != "reader_version"}
        return {"state": ObjectState.READ.value, "error": None, "reader_version": READER_VERSION, **content}
    told = ObjectState.READ if outcome.state is ObjectState.UNCHANGED else outcome.state
    return {"state": told.value, "error": outcome.error, **{name: before[name] for name in _OF_CONTENT}}


def compute_contents_version(objects: pa.Table) -> str:
    """Fingerprint of what all objects of a day hold, by their tags: it looks at no row."""
    digest = blake2b(digest_size=16)
    columns = [objects[name].to_pylist() for name in (*KEY, "etag", "reader_version", "rows")]
    for arn, start, etag, version, rows in sorted(zip(*columns, strict=True), key=lambda row: row[:2]):
        if rows:
            digest.update(f"{arn}\n{start.isoformat()}\n{etag}\n{version}\n".encode())
    return digest.hexdigest()
