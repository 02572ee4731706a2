"""The rows of `result_objects`: the state and the ETag of each result object.

An ETag is recorded only after the rows of the object are in the lake. An object that can no longer be read
keeps what was recorded before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.anomalies.execution_index import KEY, ExecutionIndex, ExecutionKey, ObjectLocation
from assets.anomalies.parse import READER_VERSION
from assets.framework.row_content import stamp_changes
from assets.tables import RESULT_OBJECTS
from resources.redaction import redact
from resources.results.base import FetchedResult, ObjectState, ResultRequest

_CONTENT_COLUMNS = ("etag", "size_bytes", "last_modified", "rows", "rejected", "reader_version")
_NO_CONTENT = dict[str, Any].fromkeys(_CONTENT_COLUMNS) | {
    "rows": 0,
    "rejected": 0,
    "reader_version": READER_VERSION,
}
_NULLABLE_SCHEMA = pa.schema([field.with_nullable(True) for field in RESULT_OBJECTS.schema])


@dataclass(frozen=True)
class ObjectOutcome:
    """The outcome of fetching an object, without its bytes; `rows` and `rejected` count its lines."""

    state: ObjectState
    error: str | None = None
    etag: str | None = None
    size_bytes: int | None = None
    last_modified: datetime | None = None
    rows: int = 0
    rejected: int = 0

    @classmethod
    def from_fetched(cls, fetched: FetchedResult, rows: int = 0, rejected: int = 0) -> "ObjectOutcome":
        """Copy everything but the bytes, so that these can be freed."""
        if fetched.state is ObjectState.UNCHANGED:  # most objects of a day that is read again
            return _UNCHANGED
        size = None if fetched.data is None else len(fetched.data)
        return cls(fetched.state, fetched.error, fetched.etag, size, fetched.last_modified, rows, rejected)


_UNCHANGED = ObjectOutcome(ObjectState.UNCHANGED)

REQUEST_COLUMNS = [*KEY, "result_s3_bucket", "result_s3_key", "etag", "reader_version"]
"""The columns of `result_objects` that decide which objects are requested."""


def index_object_records(existing: pa.Table) -> dict[ExecutionKey, dict[str, Any]]:
    """Return the rows of `result_objects` by execution."""
    return {(row["scheduler_arn"], row["data_start_time"]): row for row in existing.to_pylist()}


def build_requests(index: ExecutionIndex, stored: pa.Table, *, ignore_etags: bool) -> list[ResultRequest]:
    """Build a request for each object of a day; it has an ETag if the lake holds the object's current rows.

    Args:
        index: the executions of the day.
        stored: the `REQUEST_COLUMNS` of the recorded objects.
        ignore_etags: request every object without its ETag, which reads it again.
    """
    etags = [None] * len(index) if ignore_etags else _find_etags(index, stored)
    requests = []
    for location, numbers in index.executions_by_object.items():
        own = {etags[number] for number in numbers}
        etag = own.pop() if len(own) == 1 else None  # the executions of an object can differ, or lack one
        requests.append(ResultRequest(*location, etag, location[0] in index.buckets_of_service))
    return requests


def _find_etags(index: ExecutionIndex, stored: pa.Table) -> list[str | None]:
    """Return the recorded ETag of each execution's object; None: the object must be read."""
    numbers = index.find_numbers(stored)
    known = pa.array(np.flatnonzero(numbers >= 0))
    rows, executions = stored.take(known), index.rows.take(pa.array(numbers).take(known))
    is_current = pc.equal(rows["reader_version"], READER_VERSION)
    for name in ("result_s3_bucket", "result_s3_key"):
        is_current = pc.and_(is_current, pc.equal(rows[name], executions[name]))
    etags: list[str | None] = [None] * len(index)
    current = pc.if_else(is_current, rows["etag"], None).to_pylist()
    for number, etag in zip(numbers[numbers >= 0].tolist(), current, strict=True):
        etags[number] = etag
    return etags


def _has_location(row: Mapping[str, Any], location: ObjectLocation) -> bool:
    return (row["result_s3_bucket"], row["result_s3_key"]) == location


def merge_object_records(
    existing: pa.Table,
    index: ExecutionIndex,
    outcomes: Mapping[ObjectLocation, ObjectOutcome],
    now: datetime,
) -> pa.Table:
    """Build the rows of `result_objects` for a day; rows of other executions stay, with redacted errors."""
    if _is_unchanged(existing, index, outcomes.values()):
        return existing
    records = index_object_records(existing)
    for number, location in enumerate(index.locations):
        key = index.keys[number]
        previous = records.get(key)
        content = previous if previous and _has_location(previous, location) else _NO_CONTENT
        records[key] = {
            **dict(zip(KEY, key, strict=True)),
            "scheduler_name": index.rows["scheduler_name"][number].as_py(),
            "result_s3_bucket": location[0],
            "result_s3_key": location[1],
            **_build_outcome_columns(outcomes[location], content),
        }
    rows = [
        {**record, "error": _redact_error(record["error"]), "recorded_at": None}
        for record in records.values()
    ]
    return stamp_changes(RESULT_OBJECTS, pa.Table.from_pylist(rows, schema=_NULLABLE_SCHEMA), existing, now)


def _is_unchanged(existing: pa.Table, index: ExecutionIndex, outcomes: Iterable[ObjectOutcome]) -> bool:
    """Return whether the rows are those of the same executions and objects, all read and unchanged."""
    names = [*KEY, "scheduler_name", "result_s3_bucket", "result_s3_key"]
    return (
        all(outcome.state is ObjectState.UNCHANGED for outcome in outcomes)
        and existing.num_rows == len(index)
        and existing["error"].null_count == len(index)
        and existing["state"].unique().to_pylist() == [ObjectState.READ.value]
        and all(existing[name].equals(index.rows[name]) for name in names)
    )


def _build_outcome_columns(outcome: ObjectOutcome, previous: Mapping[str, Any]) -> dict[str, Any]:
    if outcome.state is ObjectState.READ:
        content = {name: getattr(outcome, name) for name in _CONTENT_COLUMNS if name != "reader_version"}
        return {"state": ObjectState.READ.value, "error": None, "reader_version": READER_VERSION, **content}
    state = ObjectState.READ if outcome.state is ObjectState.UNCHANGED else outcome.state
    content = {name: previous[name] for name in _CONTENT_COLUMNS}
    return {"state": state.value, "error": outcome.error, **content}


def redact_errors(existing: pa.Table, now: datetime) -> pa.Table:
    """Return the rows of `result_objects` without the credentials that an early version stored in errors."""
    position = existing.schema.get_field_index("error")
    errors = pa.array([_redact_error(error) for error in existing["error"].to_pylist()], pa.string())
    rows = existing.set_column(position, existing.schema.field(position), errors)
    return stamp_changes(RESULT_OBJECTS, rows, existing, now)


def has_credentials(errors: pa.ChunkedArray) -> bool:
    """Whether any error of `result_objects` has credentials."""
    return any(error != _redact_error(error) for error in errors.unique().to_pylist())


def _redact_error(error: str | None) -> str | None:
    return error and redact(error)  # the address of an endpoint can have credentials


def compute_contents_version(objects: pa.Table) -> str:
    """Hash the ETags of all objects of a day that have rows, without reading these rows."""
    digest = blake2b(digest_size=16)
    columns = [objects[name].to_pylist() for name in (*KEY, "etag", "reader_version", "rows")]
    for arn, start, etag, version, rows in sorted(zip(*columns, strict=True), key=lambda row: row[:2]):
        if rows:
            digest.update(f"{arn}\n{start.isoformat()}\n{etag}\n{version}\n".encode())
    return digest.hexdigest()
