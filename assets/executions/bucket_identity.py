"""Which scheduler a result in a bucket belongs to: merging of bucket rows with rows of other sources.

The key of a result names no scheduler, so a bucket row has the placeholder ARN of its output prefix. It is
the same execution as a row of another source if both have the same result folder. That is the result key
without the file name, or the output prefix with the start of the window.

- One other row claims the folder: the bucket row gets its key. The usual merge then finalizes an execution
  that was IN_PROGRESS.
- Several other rows claim it: the result is ambiguous. The bucket row is dropped and finalizes none of them;
  the result is marked in `rejected_executions`.
- No row claims it: the bucket row gets the scheduler of its prefix, if exactly one is known. If that
  scheduler has an execution with another result at that time, the bucket row keeps its placeholder.

Recorded bucket rows are separated again before each merge. The order of sources therefore does not change the
result, also if another claim arrives later.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.executions.flatten import REJECTED, ROWS, extract_arn_parts
from assets.executions.merge import merge_executions, reduce_candidates
from assets.executions.statuses import FINAL_STATUSES, IN_PROGRESS
from assets.framework.row_content import stamp_changes
from assets.tables import INFERENCE_EXECUTIONS, INSTANT
from resources.encoded_texts import decode_texts, encode_texts
from resources.scheduler_arns import LOCAL_BUCKET, PLACEHOLDER, build_placeholder_arn, name_prefix
from resources.sources.base import ListedScheduler
from resources.sources.bucket import KIND

IDENTITY_COLUMNS = ["scheduler_arn", "scheduler_name", "output_s3_bucket", "output_s3_prefix"]
"""The columns that `find_known_schedulers` reads."""

_RESULT = ("failed_reason", "result_s3_bucket", "result_s3_key")


@dataclass(frozen=True)
class KnownScheduler:
    """The scheduler of an output prefix; None: unknown."""

    arn: str | None
    name: str | None


_LOCATION = [
    "data_start_time",
    "output_s3_bucket",
    "output_s3_prefix",
    "result_s3_bucket",
    "result_s3_key",
]

KnownSchedulers = Mapping[str, KnownScheduler]
"""Schedulers by the placeholder ARN of their output prefix."""


@dataclass(frozen=True)
class SharedResults:
    """The results of a merge that several executions claim.

    Attributes:
        examined: the URIs of all results of the bucket rows.
        rejected: rows of `rejected_executions` for those that several executions claim.
    """

    examined: frozenset[str]
    rejected: pa.Table

    @classmethod
    def join(cls, parts: Sequence["SharedResults"]) -> "SharedResults":
        """Return the results of several merges of the same day; there is at least one."""
        examined = frozenset[str]().union(*(part.examined for part in parts))
        return cls(examined, pa.concat_tables([part.rejected for part in parts]))


def find_known_schedulers(
    tables: Iterable[pa.Table], from_settings: KnownSchedulers | None = None
) -> dict[str, KnownScheduler]:
    """Find the output prefixes to which exactly one scheduler writes.

    Args:
        tables: rows with `IDENTITY_COLUMNS`.
        from_settings: what the user says; it counts before all rows.
    """
    known = {
        placeholder: KnownScheduler(*next(iter(by_arn.items())))
        for placeholder, by_arn in _find_writers(tables).items()
        if len(by_arn) == 1
    }
    for placeholder, stated in (from_settings or {}).items():
        scheduler = known.get(placeholder)
        name = stated.name or (scheduler.name if scheduler and stated.arn in {None, scheduler.arn} else None)
        known[placeholder] = KnownScheduler(stated.arn or (scheduler.arn if scheduler else None), name)
    return known


def select_prefixes(
    listed: Mapping[str, ListedScheduler],
    tables: Iterable[pa.Table],
    is_selected: Callable[[ListedScheduler], bool],
) -> set[str]:
    """Return the placeholder ARNs of the output prefixes that a selection of schedulers needs.

    Args:
        listed: the schedulers of a bucket by their placeholder ARN.
        tables: rows with `IDENTITY_COLUMNS`; all schedulers that are known to write to a prefix count.
        is_selected: whether a scheduler is selected.
    """
    writers = _find_writers(tables)
    return {
        placeholder
        for placeholder, scheduler in listed.items()
        if is_selected(scheduler)
        or is_selected(ListedScheduler(placeholder, scheduler.name))
        or any(
            is_selected(ListedScheduler(arn, name or arn))
            for arn, name in writers.get(placeholder, {}).items()
        )
    }


def _find_writers(tables: Iterable[pa.Table]) -> dict[str, dict[str, str | None]]:
    """Return the ARN and name of each scheduler of each output prefix, by the prefix's placeholder ARN."""
    writers: dict[str, dict[str, str | None]] = {}
    for table in tables:
        for row in table.select(IDENTITY_COLUMNS).group_by(IDENTITY_COLUMNS).aggregate([]).to_pylist():
            arn, name, bucket, prefix = (row[column] for column in IDENTITY_COLUMNS)
            if bucket is not None and prefix is not None and not arn.startswith(PLACEHOLDER):
                writers.setdefault(build_placeholder_arn(bucket, prefix), {})[arn] = name
    return writers


def merge_with_bucket_rows(
    existing: pa.Table,
    candidates: pa.Table,
    find_schedulers: Callable[[], KnownSchedulers],
    now: datetime,
    report_shared: Callable[[SharedResults], None] | None = None,
) -> pa.Table:
    """Merge candidates into the recorded rows of a day; see `merge_executions`.

    Args:
        existing: recorded rows of `inference_executions`.
        candidates: rows with the same columns in any number and order.
        find_schedulers: returns the schedulers of output prefixes; called only if there are bucket rows.
        now: becomes `recorded_at` of rows whose content changes.
        report_shared: called if there are bucket rows, perhaps repeatedly; the last call counts.
    """
    if not (has_bucket_rows(existing) or has_bucket_rows(candidates)):
        return merge_executions(existing, candidates, now)
    pool = pa.concat_tables([decode_texts(existing), decode_texts(candidates)], promote_options="permissive")
    index = pool.schema.get_field_index("recorded_at")
    pool = pool.set_column(index, ROWS.field("recorded_at"), pa.nulls(pool.num_rows, INSTANT))
    separated = decode_texts(reduce_candidates(encode_texts(_separate_bucket_rows(pool), ROWS)))
    assigned, shared = _assign_schedulers(separated, find_schedulers())
    merged = reduce_candidates(encode_texts(assigned, ROWS))
    if report_shared:
        report_shared(shared)
    recorded = encode_texts(existing, INFERENCE_EXECUTIONS.encoded_schema)
    return stamp_changes(INFERENCE_EXECUTIONS, merged, recorded, now)


def has_bucket_rows(rows: pa.Table) -> bool:
    """Return whether any value comes from a bucket."""
    return any(KIND in rows[name].unique().to_pylist() for name in ("source", "outcome_source"))


def find_placeholders(rows: pa.Table) -> pa.ChunkedArray:
    """Return for each row the placeholder ARN of the prefix of its result, whether or not there is one.

    Null: the prefix is unknown. A bucket that holds the result returns the execution under this ARN.
    """
    folders = _locate_results(decode_texts(rows.select(_LOCATION)))
    prefixes = pc.replace_substring_regex(folders, "[^/]*$", "")
    return pc.binary_join_element_wise(PLACEHOLDER, prefixes, "")


def _separate_bucket_rows(rows: pa.Table) -> pa.Table:
    """Undo earlier assignments: restore placeholders, and take absorbed rows out of other rows."""
    is_bucket = pc.equal(rows["source"], KIND)
    has_absorbed = pc.and_not(pc.equal(rows["outcome_source"], KIND), is_bucket)
    absorbed = rows.filter(has_absorbed)
    return pa.concat_tables(
        [
            rows.filter(pc.invert(pc.or_(is_bucket, has_absorbed))),
            _reset_outcome(absorbed),
            _reset_identity(rows.filter(is_bucket)),
            _reset_identity(_extract_bucket_rows(absorbed)),
        ],
        promote_options="permissive",
    )


def _reset_outcome(rows: pa.Table) -> pa.Table:
    """Return rows as they were before a bucket row finalized them."""
    rows = _set(rows, "status", pa.repeat(IN_PROGRESS, rows.num_rows))
    rows = _set(rows, "outcome_source", rows["source"])
    for name in _RESULT:
        rows = _set(rows, name, pa.nulls(rows.num_rows, pa.string()))
    return rows


def _extract_bucket_rows(rows: pa.Table) -> pa.Table:
    """Return only what the bucket contributed to rows of other sources."""
    kept_columns = {"scheduler_arn", "data_start_time", "data_end_time", "status", "outcome_source", *_RESULT}
    for field in rows.schema:
        if field.name not in kept_columns:
            rows = _set(rows, field.name, pa.nulls(rows.num_rows, field.type))
    rows = _set(rows, "source", rows["outcome_source"])
    rows = _set(rows, "output_s3_bucket", rows["result_s3_bucket"])
    return _set(
        rows, "output_s3_prefix", pc.replace_substring_regex(rows["result_s3_key"], "[^/]*/[^/]*$", "")
    )


def _reset_identity(rows: pa.Table) -> pa.Table:
    bucket, prefix = rows["output_s3_bucket"], rows["output_s3_prefix"]
    identities = pa.table({"bucket": bucket, "prefix": prefix}).group_by(["bucket", "prefix"]).aggregate([])
    arns, names = dict[str, str](), dict[str, str]()
    for row in identities.to_pylist():
        arn = build_placeholder_arn(row["bucket"], row["prefix"])
        arns[f"{row['bucket']}/{row['prefix']}"] = arn
        names[f"{row['bucket']}/{row['prefix']}"] = name_prefix(row["bucket"], row["prefix"])
    joined = pc.binary_join_element_wise(bucket, prefix, "/")
    rows = _set(rows, "scheduler_arn", _translate(joined, arns))
    rows = _set(rows, "scheduler_name", _translate(joined, names))
    for name in ("account_id", "region"):
        rows = _set(rows, name, pa.nulls(rows.num_rows, pa.string()))
    return rows


def _assign_schedulers(rows: pa.Table, schedulers: KnownSchedulers) -> tuple[pa.Table, SharedResults]:
    """Assign bucket rows to the executions that claim their folder, or to the scheduler of their prefix.

    Rows that several executions claim are not in the returned table.
    """
    is_bucket = pc.equal(rows["source"], KIND)
    others, own = rows.filter(pc.invert(is_bucket)), rows.filter(is_bucket)
    folders = (
        pa.chunked_array([*_locate_results(others).chunks, *_locate_results(own).chunks], pa.string())
        .combine_chunks()
        .dictionary_encode()
    )
    codes = folders.indices.fill_null(-1).to_numpy()
    other_codes, own_codes = codes[: others.num_rows], codes[others.num_rows :]
    is_located = other_codes >= 0
    # such an execution is known to have another result, or none
    is_final = pc.is_in(others["status"], pa.array(FINAL_STATUSES)).to_numpy()
    is_blocking = is_located | is_final
    claims = np.bincount(other_codes[is_located], minlength=len(folders.dictionary))[own_codes]
    claimants = np.zeros(len(folders.dictionary), np.int64)
    claimants[other_codes[is_located]] = np.flatnonzero(is_located)
    claimed = own.filter(pa.array(claims == 1))
    claimant = others.take(pa.array(claimants[own_codes[claims == 1]]))
    for name in ("scheduler_arn", "data_start_time"):
        claimed = _set(claimed, name, claimant[name])
    unclaimed = own.filter(pa.array(claims == 0))
    if schedulers and unclaimed.num_rows:
        unclaimed = _name_schedulers(unclaimed, schedulers, others.filter(pa.array(is_blocking)))
    shared = _describe_shared_results(own, own_codes, claims, others["scheduler_arn"], other_codes)
    return pa.concat_tables([others, claimed, unclaimed], promote_options="permissive"), shared


def _describe_shared_results(
    own: pa.Table,
    own_codes: NDArray[np.int64],
    claims: NDArray[np.int64],
    arns: pa.ChunkedArray,
    other_codes: NDArray[np.int64],
) -> SharedResults:
    """Describe the bucket rows that several executions claim.

    Args:
        own: the bucket rows.
        own_codes: the number of the folder of each bucket row.
        claims: the number of executions that claim each bucket row.
        arns: the schedulers of all other rows.
        other_codes: the number of the folder of each other row.
    """
    locations = own.select(["result_s3_bucket", "result_s3_key"])
    rejected = []
    for position in np.flatnonzero(claims > 1):
        (location,) = locations.slice(position, 1).to_pylist()
        claimants = sorted(arns.take(np.flatnonzero(other_codes == own_codes[position])).to_pylist())
        summary = {
            "CustomerResultObject": {"Bucket": location["result_s3_bucket"], "Key": location["result_s3_key"]}
        }
        rejected.append(
            {
                "source": _build_uri(**location),
                "position": 0,
                "reason": describe_claimants(claimants),
                "raw": json.dumps(summary),
            }
        )
    examined = frozenset(_build_uri(**location) for location in locations.to_pylist())
    return SharedResults(examined, pa.Table.from_pylist(rejected, schema=REJECTED))


def describe_claimants(arns: Sequence[str]) -> str:
    """Return the reason in `rejected_executions` for a result that several executions claim."""
    return f"{len(arns)} executions claim this result, so it finalizes none of them: {', '.join(arns)}"


def find_claimed_result(reason: str, raw: str | None) -> tuple[str, str] | None:
    """Return bucket and key of a result that several executions claim; None: it is another rejected row."""
    if "executions claim this result" not in reason or not raw:
        return None
    result = json.loads(raw)["CustomerResultObject"]
    return result["Bucket"], result["Key"]


def find_claimants(rows: pa.Table, bucket: str, key: str) -> list[str]:
    """Return the ARNs of the executions of a day that claim a result, sorted; bucket rows claim none."""
    others = rows.filter(pc.not_equal(rows["source"], KIND))
    folders = _locate_results(decode_texts(others.select(_LOCATION)))
    is_claimant = pc.equal(folders, f"{bucket}/{key.rpartition('/')[0]}")
    return sorted(decode_texts(others.filter(is_claimant))["scheduler_arn"].to_pylist())


def _build_uri(result_s3_bucket: str, result_s3_key: str) -> str:
    is_local = result_s3_bucket == LOCAL_BUCKET
    return result_s3_key if is_local else f"s3://{result_s3_bucket}/{result_s3_key}"


def _locate_results(rows: pa.Table) -> pa.ChunkedArray:
    """Return bucket and folder of each row's result, whether or not there is one; null: unknown."""
    starts = pc.strftime(
        rows["data_start_time"].cast(pa.timestamp("s", "UTC"), safe=False), "%Y-%m-%dT%H:%M:%SZ"
    )
    expected = pc.binary_join_element_wise(rows["output_s3_prefix"], starts, "")
    actual = pc.replace_substring_regex(rows["result_s3_key"], "/[^/]*$", "")
    return pc.coalesce(
        pc.binary_join_element_wise(rows["result_s3_bucket"], actual, "/"),
        pc.binary_join_element_wise(rows["output_s3_bucket"], expected, "/"),
    )


def _name_schedulers(rows: pa.Table, schedulers: KnownSchedulers, blocking: pa.Table) -> pa.Table:
    """Assign bucket rows to the schedulers of their prefixes, unless that contradicts another row."""
    placeholders = rows["scheduler_arn"]
    arns = {placeholder: known.arn for placeholder, known in schedulers.items() if known.arn}
    names = {placeholder: known.name for placeholder, known in schedulers.items() if known.name}
    assigned = pc.coalesce(_translate(placeholders, arns), placeholders)
    is_rival = _find_rivals(assigned, rows["data_start_time"], blocking)
    rows = _set(rows, "scheduler_arn", pc.if_else(is_rival, placeholders, assigned))
    known_names = pc.coalesce(_translate(placeholders, names), rows["scheduler_name"])
    rows = _set(rows, "scheduler_name", pc.if_else(is_rival, rows["scheduler_name"], known_names))
    for name, values in extract_arn_parts(rows["scheduler_arn"].combine_chunks()).items():
        rows = _set(rows, name, values)
    return rows


def _find_rivals(arns: pa.ChunkedArray, starts: pa.ChunkedArray, blocking: pa.Table) -> pa.Array:
    """Mark the keys that occur more than once, or that a blocking row has."""
    keys = list(zip(arns.to_pylist(), starts.to_pylist(), strict=True))
    counts = Counter(keys)
    own = blocking.filter(pc.is_in(blocking["scheduler_arn"], arns.unique()))
    counts.update(zip(own["scheduler_arn"].to_pylist(), own["data_start_time"].to_pylist(), strict=True))
    return pa.array([counts[key] > 1 for key in keys], pa.bool_())


def _translate(values: pa.ChunkedArray, translations: Mapping[str, str]) -> pa.Array:
    """Replace each value by its translation; null: it has none."""
    positions = pc.index_in(values.combine_chunks(), pa.array(list(translations), pa.string()))
    return pa.array(list(translations.values()), pa.string()).take(positions)


def _set(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
