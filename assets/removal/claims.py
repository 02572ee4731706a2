"""Which source returned which executions of a day, and what forgetting some sources means for each row.

All functions are pure. A claim is the statement of a source that an execution exists. A bucket claims an
execution under the placeholder ARN of its prefix, so a row is matched by its key and by the prefix of its
result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.executions.bucket_identity import KnownSchedulers, find_placeholders, merge_with_bucket_rows
from assets.executions.provenance import ReturnedKeys, Starts, expand_run, merge_returned_keys
from assets.executions.tombstones import ForgetOperation, find_selected_rows
from assets.framework.row_content import stamp_changes
from assets.framework.time_windows import DAY_MS, get_day_window, to_milliseconds
from assets.tables import EXECUTION_SOURCES, INFERENCE_EXECUTIONS
from resources.encoded_texts import decode_texts, encode_texts
from resources.sources.bucket import KIND as BUCKET

Kinds = Mapping[str, frozenset[str]]
"""The kinds of rows that each source can return: `api`, `archive` or `bucket`."""

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_KINDS = ("api", "archive", "bucket")
_EPOCH = date(1970, 1, 1)


class Fate(IntEnum):
    """What forgetting means for a recorded execution."""

    unselected = 0
    unaffected = 1
    reread = 2
    removed = 3


@dataclass(frozen=True)
class Claims:
    """The claims of a day, one per position of the arrays.

    Attributes:
        sources: the distinct sources.
        arns: the distinct ARNs.
        source: the position in `sources`.
        arn: the position in `arns`.
        start: the start of the execution, in milliseconds since 1970.
    """

    sources: Sequence[str]
    arns: Sequence[str]
    source: Numbers
    arn: Numbers
    start: Starts

    @classmethod
    def from_rows(cls, rows: pa.Table, day: date) -> "Claims":
        """Expand the rows of `execution_sources` for a day."""
        window = get_day_window(day)
        touches_day = pc.and_(
            pc.less(rows["first_data_start_time"], pa.scalar(window.end)),
            pc.greater_equal(rows["last_data_start_time"], pa.scalar(window.start)),
        )
        sources, arns = dict[str, int](), dict[str, int]()
        parts: list[Numbers] = []
        for row in rows.filter(touches_day).to_pylist():
            starts = _select_day(expand_run(row), day)
            numbers = (
                sources.setdefault(row["source"], len(sources)),
                arns.setdefault(row["scheduler_arn"], len(arns)),
            )
            parts.append(np.stack([*(np.full(len(starts), number, np.int64) for number in numbers), starts]))
        source, arn, start = np.concatenate([np.zeros((3, 0), np.int64), *parts], axis=1)
        return cls([*sources], [*arns], source, arn, start)

    def mark_selected(self, operation: ForgetOperation, day: date) -> Mask:
        """Mark the claims that an operation forgets."""
        if not operation.selects_day(day):
            return np.zeros(len(self.start), bool)
        by_source = [operation.selects_source(source) for source in self.sources]
        by_arn = [operation.selects_scheduler(arn) for arn in self.arns]
        return _look_up(by_source, self.source) & _look_up(by_arn, self.arn)

    def mark_returned(self, returned: ReturnedKeys) -> Mask:
        """Mark the claims that were confirmed by reading the sources again."""
        mask = np.zeros(len(self.start), bool)
        for key, own in self._group(np.ones(len(self.start), bool)):
            if key in returned:
                mask[own] = np.isin(self.start[own], returned[key])
        return mask

    def get_keys(self, mask: Mask) -> ReturnedKeys:
        """Return the marked claims as keys."""
        return {key: np.unique(self.start[own]) for key, own in self._group(mask)}

    def _group(self, mask: Mask) -> Iterator[tuple[tuple[str, str], Numbers]]:
        """Yield source and ARN with the positions of their marked claims."""
        positions = np.flatnonzero(mask)
        pairs = self.source[positions] * max(len(self.arns), 1) + self.arn[positions]
        order = np.argsort(pairs, kind="stable")
        numbers, firsts = np.unique(pairs[order], return_index=True)
        groups = np.split(positions[order], firsts[1:]) if len(numbers) else []
        for number, own in zip(numbers.tolist(), groups, strict=True):
            yield (self.sources[number // len(self.arns)], self.arns[number % len(self.arns)]), own


def _look_up(flags: Sequence[bool], positions: Numbers) -> Mask:
    mask: Mask = np.array([*flags, False], bool)[positions]
    return mask


def _select_day(starts: Starts, day: date) -> Starts:
    inside: Starts = starts[starts // DAY_MS == (day - _EPOCH).days]
    return inside


class DayClaims:
    """The recorded executions of a day, and the claims of the sources for each of them."""

    def __init__(
        self,
        rows: pa.Table,
        claims: Claims,
        operation: ForgetOperation,
        kinds: Kinds,
        day: date,
        *,
        is_incomplete: bool = False,
    ) -> None:
        """Match rows of `inference_executions` with the claims of the same day.

        Args:
            rows: the rows.
            claims: the claims.
            operation: what is forgotten.
            kinds: the kinds of rows of each source.
            day: the day.
            is_incomplete: whether a file may have returned executions of the day without a claim.
        """
        self._numbers = dict[str, int]()
        self._claims = claims
        self._claim_keys = self._encode(pa.array(claims.arns, pa.string()).take(claims.arn), claims.start)
        self._row_keys = self._encode_rows(rows["scheduler_arn"], rows)
        self._location_keys = self._encode_rows(find_placeholders(rows), rows)
        self.is_selected_claim = claims.mark_selected(operation, day)
        by_kind = {kind: self._mark_by_kind(kind, kinds) for kind in _KINDS}
        values = [decode_texts(rows.select([name]))[name] for name in ("source", "outcome_source")]
        is_of_kind = {kind: [_to_mask(pc.equal(column, kind)) for column in values] for kind in _KINDS}
        none = np.zeros(rows.num_rows, bool)
        self._has_unrecorded = none
        if operation.sources is None:
            is_selected = (
                _to_mask(find_selected_rows(rows, operation)) if operation.selects_day(day) else none
            )
            is_affected = is_selected
        else:
            is_selected = self._claimed_by(self.is_selected_claim)
            is_affected = none
            for kind, masks in is_of_kind.items():
                has_values = masks[0] | masks[1]
                is_affected = is_affected | (
                    has_values & self._claimed_by(self.is_selected_claim & by_kind[kind])
                )
                is_explained = self._claimed_by(by_kind[kind])
                if is_incomplete and kind != BUCKET:
                    is_explained = none
                self._has_unrecorded = self._has_unrecorded | (has_values & ~is_explained)
        has_other = self._claimed_by(~self.is_selected_claim) | self._has_unrecorded
        self.fates = np.full(rows.num_rows, Fate.unselected, np.int8)
        self.fates[is_selected] = Fate.unaffected
        self.fates[is_affected & has_other] = Fate.reread
        self.fates[is_affected & ~has_other] = Fate.removed

    def _mark_by_kind(self, kind: str, kinds: Kinds) -> Mask:
        """Mark the claims of sources that can return rows of a kind."""
        every = frozenset(_KINDS)  # of a source that is new since the operation was planned
        by_source = [kind in kinds.get(source, every) for source in self._claims.sources]
        return _look_up(by_source, self._claims.source)

    def _encode_rows(self, arns: pa.ChunkedArray, rows: pa.Table) -> Numbers:
        starts = rows["data_start_time"].combine_chunks().cast(pa.int64()).to_numpy()
        return self._encode(decode_texts(pa.table({"arn": arns}))["arn"].combine_chunks(), starts)

    def _encode(self, arns: pa.Array, starts: Starts) -> Numbers:
        """Return a number for each ARN and start; -1 for a null."""
        encoded = arns.dictionary_encode()
        numbers = [
            self._numbers.setdefault(arn, len(self._numbers)) for arn in encoded.dictionary.to_pylist()
        ]
        codes = encoded.indices.fill_null(0).to_numpy().astype(np.int64)
        keys: Numbers = np.array([*numbers, 0], np.int64)[codes] * DAY_MS + starts % DAY_MS
        keys[_to_mask(arns.is_null())] = -1
        return keys

    def _claimed_by(self, claims: Mask) -> Mask:
        """Mark the rows that some claims are about."""
        keys = self._claim_keys[claims]
        mask: Mask = np.isin(self._row_keys, keys) | np.isin(self._location_keys, keys)
        return mask

    def mark_kept(self, returned: ReturnedKeys) -> Mask:
        """Mark the rows to read again whose other sources did not all return them."""
        missing = ~self.is_selected_claim & ~self._claims.mark_returned(returned)
        incomplete = self._claimed_by(missing) | self._has_unrecorded
        mask: Mask = (self.fates == Fate.reread) & incomplete
        return mask

    def get_keys(self, claims: Mask) -> ReturnedKeys:
        """Return the marked claims as keys."""
        return self._claims.get_keys(claims)

    def mark_claims_about(self, rows: Mask) -> Mask:
        """Mark the claims that are about some rows."""
        keys = np.concatenate([self._row_keys[rows], self._location_keys[rows]])
        mask: Mask = np.isin(self._claim_keys, keys[keys >= 0])
        return mask

    def filter_candidates(self, candidates: pa.Table, rows: Mask) -> pa.Table:
        """Select the candidates that the remaining sources claim about some rows."""
        claims = self.mark_claims_about(rows) & ~self.is_selected_claim
        keys = self._encode_rows(candidates["scheduler_arn"], candidates)
        return candidates.filter(pa.array(np.isin(keys, self._claim_keys[claims])))


@dataclass(frozen=True)
class RebuiltDay:
    """The executions of a day after forgetting.

    Attributes:
        rows: the new rows.
        removed: the number of executions that only forgotten sources returned.
        reread: the number of executions that other sources returned again.
        kept: the number of executions whose other sources could not be read.
        unaffected: the number of executions whose values come from other sources.
        kept_keys: the forgotten claims about kept executions; a repetition finds them.
    """

    rows: pa.Table
    removed: int
    reread: int
    kept: int
    unaffected: int
    kept_keys: ReturnedKeys


@dataclass(frozen=True)
class RereadSources:
    """What the remaining sources returned: candidates of a day, and the keys by source."""

    candidates: pa.Table
    returned: ReturnedKeys


def rebuild_executions(
    existing: pa.Table,
    claims: DayClaims,
    reread: RereadSources,
    find_schedulers: Callable[[], KnownSchedulers],
    now: datetime,
) -> RebuiltDay:
    """Build the executions of a day without the forgotten claims.

    Args:
        existing: the recorded rows.
        claims: the claims about them.
        reread: what the remaining sources returned.
        find_schedulers: returns the schedulers of output prefixes; called only if there are bucket rows.
        now: becomes `recorded_at` of rows whose content changes.
    """
    is_kept = claims.mark_kept(reread.returned)
    is_reread = (claims.fates == Fate.reread) & ~is_kept
    is_removed = claims.fates == Fate.removed
    rows = existing
    if (is_reread | is_removed).any():
        candidates = claims.filter_candidates(reread.candidates, is_reread)
        others = existing.filter(pa.array(~(is_reread | is_removed)))
        merged = merge_with_bucket_rows(others, candidates, find_schedulers, now)
        recorded = encode_texts(existing, INFERENCE_EXECUTIONS.encoded_schema)
        rows = stamp_changes(INFERENCE_EXECUTIONS, merged, recorded, now)
    kept_claims = claims.is_selected_claim & claims.mark_claims_about(is_kept)
    return RebuiltDay(
        rows,
        removed=int(is_removed.sum()),
        reread=int(is_reread.sum()),
        kept=int(is_kept.sum()),
        unaffected=int((claims.fates == Fate.unaffected).sum()),
        kept_keys=claims.get_keys(kept_claims),
    )


def remove_claims(
    existing: pa.Table, operation: ForgetOperation, kept: ReturnedKeys, now: datetime
) -> pa.Table:
    """Remove the claims of an operation from the rows of `execution_sources`.

    Args:
        existing: the rows.
        operation: what is forgotten.
        kept: claims that stay.
        now: becomes `recorded_at` of rows whose content changes.
    """
    others: list[int] = []
    remaining: dict[tuple[str, str], list[Starts]] = {}
    for position, row in enumerate(existing.to_pylist()):
        key = row["source"], row["scheduler_arn"]
        if not (operation.selects_source(key[0]) and operation.selects_scheduler(key[1])):
            others.append(position)
            continue
        starts = expand_run(row)
        is_kept = np.isin(starts, kept.get(key, [])) | ~_is_in_range(starts, operation)
        remaining.setdefault(key, []).append(starts[is_kept])
    keys = {key: np.unique(np.concatenate(parts)) for key, parts in remaining.items()}
    keys = {key: starts for key, starts in keys.items() if len(starts)}
    merged = existing.take(pa.array(others, pa.int64()))
    if keys:
        merged = merge_returned_keys(merged, keys, now)
    return stamp_changes(EXECUTION_SOURCES, merged, existing, now)


def _is_in_range(starts: Starts, operation: ForgetOperation) -> Mask:
    mask = np.ones(len(starts), bool)
    if operation.first_date:
        mask &= starts >= to_milliseconds(get_day_window(operation.first_date).start)
    if operation.last_date:
        mask &= starts < to_milliseconds(get_day_window(operation.last_date).end)
    return mask


def list_claimed_days(rows: pa.Table, operation: ForgetOperation) -> set[date]:
    """Return the days with claims that an operation forgets."""
    days: set[date] = set()
    for row in rows.to_pylist():
        if operation.selects_source(row["source"]) and operation.selects_scheduler(row["scheduler_arn"]):
            starts = expand_run(row)
            numbers = np.unique(starts[_is_in_range(starts, operation)] // DAY_MS)
            days |= {date.fromordinal(_EPOCH.toordinal() + int(number)) for number in numbers}
    return days


def _to_mask(values: pa.Array | pa.ChunkedArray) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
    return mask
