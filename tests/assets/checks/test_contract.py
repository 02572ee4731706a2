"""The rules on primary keys and schemas of stored files."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.checks import contract
from assets.tables import (
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    TABLES,
)
from resources.lake.lake import Lake
from resources.lake.shards import Shard, hash_scheduler
from resources.lake.table_contract import Footer
from tests.support.check_days import DAY


def keys(pairs: list[tuple[str, int]]) -> pa.Table:
    starts = [datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minute) for _, minute in pairs]
    schema = pa.schema([INFERENCE_EXECUTIONS.schema.field(name) for name in INFERENCE_EXECUTIONS.key])
    return pa.table({"scheduler_arn": [arn for arn, _ in pairs], "data_start_time": starts}, schema=schema)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=12), st.booleans())
def test_repeated_keys_are_found_in_any_order(pairs: list[tuple[str, int]], in_order: bool) -> None:
    rows = keys(sorted(pairs) if in_order else pairs)

    repeated = contract.find_repeated_keys(INFERENCE_EXECUTIONS, rows)

    expected = {key: times for key, times in Counter(pairs).items() if times > 1}
    assert sorted(repeated["rows"].to_pylist()) == sorted(expected.values())
    assert sorted(repeated["scheduler_arn"].to_pylist()) == sorted(arn for arn, _ in expected)


def test_repeated_key_is_reported_with_its_partition() -> None:
    outcome = contract.evaluate_keys_unique(
        [contract.KeyFile((INFERENCE_EXECUTIONS, DAY), lambda: [keys([("a", 1), ("a", 1), ("b", 2)])])]
    )

    assert not outcome.passed
    assert outcome.metadata == {
        "rows": 3,
        "repeated_keys": 1,
        "rows_of_other_days": 0,
        "rows_of_other_shards": 0,
    }
    assert "inference_executions of 2026-03-10" in outcome.message
    assert outcome.examples[0]["rows"] == 2


@pytest.mark.parametrize(
    "batches",
    [
        [[("a", 1)], [("a", 1), ("b", 2)]],
        [[("a", 1), ("b", 2)], [], [("b", 2)]],
        [[("b", 2)], [("a", 1)], [("b", 2)]],
    ],
    ids=["at the border of two batches", "around an empty batch", "in an unsorted file"],
)
def test_a_key_that_is_repeated_in_another_batch_is_found(batches: list[list[tuple[str, int]]]) -> None:
    outcome = contract.evaluate_keys_unique(
        [contract.KeyFile((INFERENCE_EXECUTIONS, DAY), lambda: map(keys, batches))]
    )

    assert outcome.metadata["repeated_keys"] == 1


def test_a_row_in_the_file_of_another_shard_is_reported() -> None:
    shard = Shard(hash_scheduler("a") % 4, 4)
    other = next(name for name in "bcdefgh" if hash_scheduler(name) % 4 != shard.number)

    outcome = contract.evaluate_keys_unique(
        [contract.KeyFile((INFERENCE_EXECUTIONS, DAY), lambda: [keys([("a", 1), (other, 1)])], shard)]
    )

    assert not outcome.passed
    assert outcome.metadata["rows_of_other_shards"] == 1
    assert "run it again" in outcome.message


def test_an_unsorted_file_without_repeated_keys_passes() -> None:
    batches = [[("b", 2)], [("a", 1)]]

    outcome = contract.evaluate_keys_unique(
        [contract.KeyFile((INFERENCE_EXECUTIONS, DAY), lambda: map(keys, batches))]
    )

    assert outcome.passed


def test_row_in_the_file_of_another_day_is_reported() -> None:
    outcome = contract.evaluate_keys_unique(
        [contract.KeyFile((INFERENCE_EXECUTIONS, DAY), lambda: [keys([("a", -1), ("a", 0), ("a", 1440)])])]
    )

    assert not outcome.passed
    assert outcome.metadata["rows_of_other_days"] == 2


def test_files_written_by_the_lake_match_their_declaration(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for table in TABLES:
        lake.update(table, DAY if table.partitioned else None, lambda rows: rows)
        (footer,) = lake.footers(table, DAY if table.partitioned else None)
        assert footer is not None
        assert (footer.problem, footer.version) == ("", table.version), table.name


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows.append_column("more", pa.nulls(0, pa.string())), "more"),
        (lambda rows: rows.drop_columns(["executions"]), "executions: missing"),
        (lambda rows: rows.select(rows.schema.names[::-1]), "another order"),
        (lambda rows: rows.set_column(0, "scheduler_arn", pa.nulls(0, pa.int64())), "scheduler_arn: int64"),
    ],
    ids=["one more", "one missing", "order", "type"],
)
def test_schema_mismatch_is_reported_from_the_footer(tmp_path: Path, change: Any, problem: str) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.path(EXTRACTION_COVERAGE, DAY))
    path.parent.mkdir(parents=True)
    pq.write_table(change(EXTRACTION_COVERAGE.schema.empty_table()), path)

    (footer,) = lake.footers(EXTRACTION_COVERAGE, DAY)

    assert footer is not None
    outcome = contract.evaluate_schema_matches_declaration([((EXTRACTION_COVERAGE, DAY), footer)])
    assert not outcome.passed
    assert problem in str(outcome.examples)


def test_footer_of_a_broken_file_has_a_problem_and_a_missing_file_has_none(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.path(EXTRACTION_COVERAGE, DAY))
    assert lake.footers(EXTRACTION_COVERAGE, DAY) == []
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")

    (footer,) = lake.footers(EXTRACTION_COVERAGE, DAY)

    assert footer is not None
    assert "cannot be read" in footer.problem


def test_file_of_an_older_table_version_passes() -> None:
    newer = replace(EXTRACTION_COVERAGE, version=2)

    outcome = contract.evaluate_schema_matches_declaration([((newer, DAY), Footer(1, 3, ""))])

    assert outcome.passed
    assert outcome.metadata["older_versions"] == 1
    assert "extraction_coverage of 2026-03-10" in outcome.message
