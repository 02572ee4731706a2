"""The pure rules of forgetting: the fate of a row, the rest of a day's coverage, and tombstones."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from assets.executions.provenance import expand_run, merge_returned_keys
from assets.executions.tombstones import ForgetOperation, Tombstones, load_operations, save_operation
from assets.removal.claims import Claims, DayClaims, Fate, remove_claims
from assets.removal.coverage import ProofOfDay, rebuild_coverage
from assets.tables import EXECUTION_SOURCES, EXTRACTION_COVERAGE, FORGET_OPERATIONS, INFERENCE_EXECUTIONS
from resources.sources.base import ListedScheduler, SchedulerResponse

DAY, NOW = date(2026, 10, 6), datetime(2026, 10, 9, tzinfo=UTC)
START = datetime(2026, 10, 6, tzinfo=UTC)
SETTLES_AT = START + timedelta(hours=27)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0"
OTHER = ARN.replace("pump-1", "fan-2")
NO_CLAIMS = EXECUTION_SOURCES.schema.empty_table()
FORGET = ForgetOperation("a1", NOW, NOW, source="dump", sources=frozenset(["dump"]))
KINDS = {kind: frozenset([kind]) for kind in ("api", "archive", "bucket")} | {
    "dump": frozenset(["archive"]),
    "recording": frozenset(["archive", "api"]),
}


def build_rows(source: str, outcome_source: str) -> pa.Table:
    schema = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    row = {
        "scheduler_arn": ARN,
        "data_start_time": START,
        "source": source,
        "outcome_source": outcome_source,
    }
    return pa.Table.from_pylist([row], schema=schema)


def build_claims(*sources: str) -> Claims:
    starts = np.array([round(START.timestamp() * 1000)], np.int64)
    rows = merge_returned_keys(NO_CLAIMS, {(source, ARN): starts for source in sources}, NOW)
    return Claims.from_rows(rows, DAY)


@pytest.mark.parametrize(
    ("kinds", "sources", "fate"),
    [
        (("archive", "archive"), ["dump"], Fate.removed),
        (("archive", "archive"), ["dump", "archive"], Fate.reread),
        (("archive", "archive"), ["archive"], Fate.unselected),
        (("api", "api"), ["dump", "api"], Fate.unaffected),
        (("api", "archive"), ["dump", "api"], Fate.reread),
        (("archive", "bucket"), ["dump"], Fate.reread),  # a bucket returned it, which is not recorded
        (("api", "api"), ["dump", "recording"], Fate.unaffected),
    ],
)
def test_a_row_is_affected_only_if_its_values_can_come_from_a_forgotten_source(
    kinds: tuple[str, str], sources: list[str], fate: Fate
) -> None:
    claims = DayClaims(build_rows(*kinds), build_claims(*sources), FORGET, KINDS, DAY)
    assert claims.fates.tolist() == [fate]


def test_without_a_source_all_rows_of_the_selection_go() -> None:
    operation = replace(FORGET, sources=None, first_date=DAY, last_date=DAY)
    claims = DayClaims(build_rows("archive", "bucket"), build_claims("dump"), operation, KINDS, DAY)
    assert claims.fates.tolist() == [Fate.removed]
    elsewhere = replace(operation, first_date=DAY + timedelta(1), last_date=None)
    claims = DayClaims(build_rows("archive", "bucket"), build_claims("dump"), elsewhere, KINDS, DAY)
    assert claims.fates.tolist() == [Fate.unselected]


keys = st.dictionaries(
    st.tuples(st.sampled_from(["dump", "archive"]), st.sampled_from([ARN, OTHER])),
    st.sets(st.integers(-30, 60), min_size=1).map(
        lambda hours: np.array(
            sorted(round((START + timedelta(hours=hour)).timestamp() * 1000) for hour in hours), np.int64
        )
    ),
)


def expand(rows: pa.Table) -> set[tuple[str, str, int]]:
    return {
        (row["source"], row["scheduler_arn"], int(start))
        for row in rows.to_pylist()
        for start in expand_run(row)
    }


@how(deadline=None, max_examples=20)
@given(keys, st.sampled_from([None, frozenset([ARN])]), st.booleans())
def test_removed_claims_are_those_of_the_selection(
    returned: Any, arns: frozenset[str] | None, of_one_day: bool
) -> None:
    bounds = {"first_date": DAY, "last_date": DAY} if of_one_day else {}
    operation = replace(FORGET, scheduler_arns=arns, **bounds)
    rows = merge_returned_keys(NO_CLAIMS, returned, NOW)
    removed = expand(rows) - expand(remove_claims(rows, operation, {}, NOW))
    assert removed == {
        (source, arn, start)
        for source, arn, start in expand(rows)
        if source == "dump"
        and (arns is None or arn in arns)
        and (not of_one_day or datetime.fromtimestamp(start / 1000, UTC).date() == DAY)
    }
    assert remove_claims(rows, operation, returned, NOW).equals(rows), "kept claims stay"


def build_coverage(**rows: Any) -> pa.Table:
    empty = {"scheduler_name": None, "executions": 0, "in_progress": 0, "failed": 0, "sources": None}
    return pa.Table.from_pylist(
        [
            {"scheduler_arn": arn, **empty, "complete_through": None, "recorded_at": START, **row}
            for arn, row in rows.items()
        ],
        schema=EXTRACTION_COVERAGE.schema,
    )


@pytest.mark.parametrize(
    ("proof", "through"),
    [
        (ProofOfDay(), SETTLES_AT),
        (ProofOfDay(is_revoked=True, listed={ARN}), None),
        (ProofOfDay(is_revoked=True, query_times={ARN: START}, names={ARN: "pump-1"}), START),
    ],
    ids=["of others", "revoked", "proven again"],
)
def test_a_proof_of_a_forgotten_source_is_revoked(proof: ProofOfDay, through: datetime | None) -> None:
    existing = build_coverage(**{ARN: {"complete_through": SETTLES_AT, "executions": 3, "sources": "api"}})
    rows = rebuild_coverage({}, existing, FORGET, proof, settles_at=SETTLES_AT, now=NOW)
    (row,) = rows.to_pylist()
    assert (row["complete_through"], row["executions"], row["sources"]) == (through, 0, None)


def test_a_scheduler_that_nothing_shows_any_more_has_no_coverage() -> None:
    existing = build_coverage(**{ARN: {"executions": 3, "sources": "archive"}})
    rows = rebuild_coverage(
        {},
        existing,
        FORGET,
        ProofOfDay(),
        settles_at=SETTLES_AT,
        now=NOW,
    )
    assert not rows.num_rows


texts = st.sampled_from(["a", "b c", '"quoted"', "ü"])
sets = st.none() | st.frozensets(texts)
days = st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1))
moments = st.none() | st.just(NOW)
operations = st.builds(
    ForgetOperation,
    texts,
    st.just(START),
    st.just(NOW),
    *(st.none() | texts, st.none() | texts, days, days, sets, sets, sets),
    *(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), moments, moments),
)


@how(deadline=None, max_examples=20)
@given(st.lists(operations, unique_by=lambda operation: operation.operation_id))
def test_operations_are_stored_completely_and_saved_once(recorded: list[ForgetOperation]) -> None:
    rows = FORGET_OPERATIONS.schema.empty_table()
    for operation in recorded:
        rows = save_operation(rows, operation, NOW)
    assert set(load_operations(rows)) == set(recorded)
    later = NOW + timedelta(days=1)
    for operation in recorded:
        assert save_operation(rows, operation, later).equals(rows)


@pytest.mark.parametrize(
    ("change", "is_skipped"),
    [
        (lambda operation: operation, True),
        (lambda operation: replace(operation, lifted_at=NOW), False),
        (lambda operation: replace(operation, first_date=DAY), False),
        (lambda operation: replace(operation, scheduler_arns=frozenset([ARN])), False),
    ],
)
def test_only_an_active_operation_over_whole_sources_skips_a_file(
    change: Callable[[ForgetOperation], ForgetOperation], is_skipped: bool
) -> None:
    tombstones = Tombstones.from_operations([change(replace(FORGET, content_hashes=frozenset(["1f"])))])
    assert (tombstones.find_whole_source("another name", "1f") is not None) is is_skipped
    assert tombstones.find_whole_source("dump", "2e") is None, "the file has other content now"


def test_a_response_proves_nothing_about_forgotten_days() -> None:
    tombstones = Tombstones((replace(FORGET, sources=None, first_date=DAY, last_date=DAY),))
    days = frozenset([DAY, DAY + timedelta(1)])
    response = SchedulerResponse(ListedScheduler(ARN, "pump-1"), days, NOW)
    (kept,) = tombstones.filter_responses([response], "api")
    assert kept.days == {DAY + timedelta(1)}
    assert not tombstones.filter_responses([replace(response, days=frozenset([DAY]))], "api")
