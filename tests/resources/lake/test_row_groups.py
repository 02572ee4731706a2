"""Reading and writing a table one row group at a time, locally and in S3."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.tables import Column, Table
from resources.errors import LakeContractError
from resources.lake.lake import Lake

DAY = date(2026, 10, 7)
TABLE = Table(
    "numbers",
    meaning="Numbers.",
    grain="one number",
    key=("number",),
    columns=(
        Column("number", pa.int64(), "a number", "number", required=True),
        Column("word", pa.string(), "a word"),
    ),
    partitioned=True,
)


def rows(*numbers: int) -> pa.Table:
    return pa.table([list(numbers), [f"w{number}" for number in numbers]], schema=TABLE.schema)


def groups(*each: pa.Table) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
    def merge(existing: Iterator[pa.Table]) -> Iterator[pa.Table]:
        yield from existing
        yield from each

    return merge


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(
        str(tmp_path / "lake") if request.param == "folder" else request.getfixturevalue("bucket").uri
    )


def test_each_table_becomes_a_row_group_in_order(lake: Lake) -> None:
    lake.update_row_groups(TABLE, DAY, groups(rows(1, 2), rows(3)))
    lake.update_row_groups(TABLE, DAY, groups(rows(4, 5, 6)))

    assert [group.num_rows for group in lake.read_row_groups(TABLE, DAY)] == [2, 1, 3]
    assert lake.read(TABLE, DAY).equals(rows(1, 2, 3, 4, 5, 6))
    (footer,) = lake.footers(TABLE, DAY)
    assert footer is not None
    assert (footer.rows, footer.version, footer.problem) == (6, TABLE.version, "")


def test_without_a_file_there_are_no_row_groups(lake: Lake) -> None:
    assert list(lake.read_row_groups(TABLE, DAY)) == []
    assert not lake.has(TABLE, DAY)


def test_without_row_groups_the_file_has_no_rows(lake: Lake) -> None:
    lake.update_row_groups(TABLE, DAY, groups())

    assert lake.has(TABLE, DAY)
    assert lake.read(TABLE, DAY).equals(rows())


def test_a_failed_update_leaves_the_old_file(lake: Lake) -> None:
    lake.update_row_groups(TABLE, DAY, groups(rows(1)))

    def fail_midway(existing: Iterator[pa.Table]) -> Iterator[pa.Table]:
        yield from existing
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        lake.update_row_groups(TABLE, DAY, fail_midway)
    with pytest.raises(LakeContractError, match="Cannot write rows that do not match numbers"):
        lake.update_row_groups(TABLE, DAY, groups(rows(2).drop_columns("word")))

    assert lake.read(TABLE, DAY).equals(rows(1))


def test_a_file_that_is_not_parquet_is_an_error(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.update_row_groups(TABLE, DAY, groups(rows(1)))
    Path(lake.path(TABLE, DAY)).write_bytes(b"not Parquet")

    with pytest.raises(LakeContractError, match="Cannot read a file of the lake"):
        list(lake.read_row_groups(TABLE, DAY))


def test_newer_columns_of_an_older_file_are_null(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.update_row_groups(TABLE, DAY, groups(rows(1)))
    path: Any = lake.path(TABLE, DAY)
    pq.write_table(rows(1, 2).drop_columns("word"), path)

    (group,) = lake.read_row_groups(TABLE, DAY)

    assert group.to_pylist() == [{"number": 1, "word": None}, {"number": 2, "word": None}]
