"""Every version reads, merges and rewrites the lakes of all earlier releases."""

import json
import shutil
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.framework.row_content import sort_by_key
from assets.tables import PARTITION, TABLES, Table
from pipelines.operations.query import query_once
from resources.lake.lake import Lake
from tests.support.engine_world import DAYS, EMPTY_DAY, build_rows
from tests.support.release_lake import RELEASES, ROWS

Rows = list[dict[str, Any]]
UNPUBLISHED = "for a release that is not published: python -m tests.support.release_lake --again"
FOLDERS = sorted(RELEASES.iterdir())


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Lake, dict[str, Rows]]:
    """A copy of the lake of a release, and its rows by table."""
    shutil.copytree(request.param, tmp_path / "lake")
    return Lake(str(tmp_path / "lake")), json.loads((tmp_path / "lake" / ROWS).read_text("utf-8"))


def to_json(rows: pa.Table, columns: list[str]) -> Rows:
    selected = rows.select(columns).to_pylist()
    return json.loads(json.dumps(selected, default=lambda value: value.isoformat()))  # type: ignore[no-any-return]


def list_released(rows: dict[str, Rows]) -> list[tuple[Table, Rows, date | None]]:
    tables = {table.name: table for table in TABLES}
    return [
        (tables[name], expected, DAYS[0] if tables[name].partitioned else None)
        for name, expected in rows.items()
    ]


def test_the_lake_of_this_version_has_every_table() -> None:
    rows = json.loads((RELEASES / version("lookout-ledger") / ROWS).read_text("utf-8"))
    missing = {table.name for table in TABLES} - rows.keys()
    assert not missing, UNPUBLISHED


def test_a_release_is_read_completely(release: tuple[Lake, dict[str, Rows]]) -> None:
    lake, released = release
    for table, expected, day in list_released(released):
        columns = [name for name in expected[0] if name != PARTITION]
        wanted = sorted(({name: row[name] for name in columns} for row in expected), key=str)
        assert sorted(to_json(lake.read(table, day), columns), key=str) == wanted, table.name
        (footer,) = lake.footers(table, day)
        assert footer is not None
        assert (footer.rows, footer.problem) == (len(expected), ""), f"{table.name}; {UNPUBLISHED}"
        if table.partitioned:
            assert lake.days(table) == [DAYS[0], EMPTY_DAY]
            assert lake.read(table, EMPTY_DAY).num_rows == 0
        counted = query_once(lake, f"SELECT count(*) AS rows FROM {table.name}")  # noqa: S608 (a declared name)
        assert counted["rows"].to_pylist() == [len(expected)]


def test_rows_of_a_release_stay_in_a_merge_and_a_migration(release: tuple[Lake, dict[str, Rows]]) -> None:
    lake, released = release
    for table, expected, day in list_released(released):
        new = pa.Table.from_pylist(build_rows(table, DAYS[1]), schema=table.schema)
        lake.update(
            table, day, lambda old, new=new, table=table: sort_by_key(table, pa.concat_tables([old, new]))
        )
        assert lake.read(table, day).num_rows == len(expected) + new.num_rows
        assert lake.read_version(table, day) == table.version
        if table.partitioned:
            lake.rewrite(table, EMPTY_DAY)
            assert lake.read_version(table, EMPTY_DAY) == table.version
