"""Behavior that a local lake and a lake in S3 share; each file is one object."""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.executions.extraction import Extraction
from assets.framework.time_windows import Days
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INSTANT,
    REJECTED_EXECUTIONS,
    TABLES,
    Column,
    Table,
)
from pipelines.operations.query import connect, query_once
from resources.errors import DataError, LakeContractError, PermissionsError
from resources.lake.lake import Lake
from resources.sources.archive import ArchiveSource
from sandbox.dumps import write_history
from sandbox.fleet import History
from tests.support.fleets import build_sparse_fleet
from tests.support.readings import READINGS, SETTINGS

DAY, NEXT_DAY = date(2026, 3, 1), date(2026, 3, 2)
NAME = "readings/data_date=2026-03-01/part-0.parquet"


class StoredLake(ABC):
    """A lake, with direct access to its files."""

    lake: Lake

    @abstractmethod
    def read(self, name: str) -> bytes: ...

    @abstractmethod
    def write(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def stamps(self) -> dict[str, Any]:
        """A value that changes when the file is written again."""

    @abstractmethod
    def location(self, name: str) -> str: ...


@dataclass
class OnDisk(StoredLake):
    folder: Path

    def __post_init__(self) -> None:
        self.lake = Lake(str(self.folder))

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)

    def stamps(self) -> dict[str, Any]:
        files = (path for path in self.folder.rglob("*.parquet"))
        return {
            str(path.relative_to(self.folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
            for path in files
        }

    def location(self, name: str) -> str:
        return str(self.folder / name)


@dataclass
class InS3(StoredLake):
    bucket: Any

    def __post_init__(self) -> None:
        self.lake = Lake(f"{self.bucket.uri}/a lake/of ours")

    def read(self, name: str) -> bytes:
        data: bytes = self.bucket.get(f"a lake/of ours/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        self.bucket.put(f"a lake/of ours/{name}", data)

    def stamps(self) -> dict[str, Any]:
        stored = self.bucket.client.list_objects_v2(Bucket=self.bucket.name).get("Contents", [])
        puts = self.bucket.moto.count("PUT")  # another server has only the time
        return {
            place["Key"].removeprefix("a lake/of ours/"): (place["ETag"], place["LastModified"], puts)
            for place in stored
        }

    def location(self, name: str) -> str:
        return f"{self.bucket.uri}/a lake/of ours/{name}"


@pytest.fixture(params=["on disk", "in S3"])
def stored_lake(request: pytest.FixtureRequest, tmp_path: Path) -> StoredLake:
    if request.param == "on disk":
        return OnDisk(tmp_path / "a lake")
    return InS3(request.getfixturevalue("bucket"))


@pytest.fixture
def lake(stored_lake: StoredLake) -> Lake:
    return stored_lake.lake


def rows(*names: str, number: int = 1, table: Table = READINGS) -> pa.Table:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return pa.Table.from_pylist(
        [{"name": name, "number": number, "at": at} for name in names], schema=table.schema
    )


def adding(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda existing: pa.concat_tables([existing, rows(name)])


def names(table: pa.Table) -> list[str]:
    stored: list[str] = table["name"].to_pylist()
    return stored


# --- Guarantees --------------------------------------------------------------------------------------------


def test_a_new_lake_is_empty(stored_lake: StoredLake, lake: Lake) -> None:
    assert lake.days(READINGS) == []
    assert not lake.has(READINGS, DAY)
    assert not lake.has(SETTINGS)
    assert lake.read(READINGS, DAY).schema.equals(READINGS.schema)
    assert lake.read(SETTINGS).num_rows == 0
    assert lake.read(READINGS, DAY, ["at"]).schema.names == ["at"]
    assert stored_lake.stamps() == {}


def test_rows_are_read_as_written(stored_lake: StoredLake, lake: Lake) -> None:
    table = pa.Table.from_pylist(
        [
            {"name": "ä", "number": -(2**63), "at": datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)},
            {"name": "", "number": None, "at": None},
        ],
        schema=READINGS.schema,
    )
    written = lake.update(READINGS, DAY, lambda _: table)
    assert str(written.path) == str(lake.path(READINGS, DAY)) == stored_lake.location(NAME)
    assert lake.read(READINGS, DAY).equals(table, check_metadata=True)
    assert lake.read(READINGS, DAY, ["number", "name"]).equals(table.select(["number", "name"]))
    assert set(stored_lake.stamps()) == {NAME}


def test_both_lakes_write_identical_bytes(tmp_path: Path, bucket: Any) -> None:
    places = [OnDisk(tmp_path), InS3(bucket)]
    for place in places:
        place.lake.update(READINGS, DAY, lambda _: rows("a", "b"))
    disk, s3 = (place.read(NAME) for place in places)
    assert disk == s3
    assert pq.read_schema(io.BytesIO(s3)).metadata[b"lookout_ledger.table"] == b"readings"


def test_a_day_without_rows_is_a_file(lake: Lake) -> None:
    assert lake.update(READINGS, DAY, lambda existing: existing).changed
    assert lake.has(READINGS, DAY)
    assert lake.days(READINGS) == [DAY]
    assert not lake.update(READINGS, DAY, lambda existing: existing).changed


def test_an_unpartitioned_table_is_one_file(stored_lake: StoredLake, lake: Lake) -> None:
    lake.update(SETTINGS, None, lambda _: rows("a", table=SETTINGS))
    assert lake.has(SETTINGS)
    assert names(lake.read(SETTINGS)) == ["a"]
    assert set(stored_lake.stamps()) == {"settings/part-0.parquet"}


def test_only_days_are_listed_oldest_first(stored_lake: StoredLake, lake: Lake) -> None:
    for day in (NEXT_DAY, date(2025, 12, 31), DAY):
        lake.update(READINGS, day, lambda existing: existing)
    for stranger in (
        "readings/data_date=2026-03-05/notes.txt",
        "readings/data_date=2026-03-06/deeper/part-0.parquet",
        "readings/part-0.parquet",
        "readings2/data_date=2026-03-07/part-0.parquet",
    ):
        stored_lake.write(stranger, b"")
    assert lake.days(READINGS) == [date(2025, 12, 31), DAY, NEXT_DAY]


def test_a_partition_folder_that_is_not_a_day_is_an_error(stored_lake: StoredLake, lake: Lake) -> None:
    stored_lake.write("readings/data_date=20260301/part-0.parquet", b"")
    with pytest.raises(LakeContractError, match="20260301 is not a day") as caught:
        lake.days(READINGS)
    assert caught.value.where == stored_lake.location("readings/data_date=20260301")


def test_an_update_merges_with_the_stored_rows(lake: Lake) -> None:
    assert lake.update(READINGS, DAY, adding("a")).before.num_rows == 0
    written = lake.update(READINGS, DAY, adding("b"))
    assert (names(written.before), names(written.rows), written.changed) == (["a"], ["a", "b"], True)
    assert names(lake.read(READINGS, DAY)) == ["a", "b"]
    assert not lake.has(READINGS, NEXT_DAY)


@pytest.mark.parametrize("held", [rows("a", "b"), READINGS.schema.empty_table()], ids=["rows", "no rows"])
def test_equal_rows_are_not_written_again(stored_lake: StoredLake, lake: Lake, held: pa.Table) -> None:
    lake.update(READINGS, DAY, lambda _: held)
    before = stored_lake.stamps()
    written = lake.update(READINGS, DAY, lambda _: pa.concat_tables([held.slice(0, 1), held.slice(1)]))
    assert not written.changed
    assert written.rows.equals(held)
    assert stored_lake.stamps() == before


def test_a_newer_column_is_null_in_an_older_file(stored_lake: StoredLake, lake: Lake) -> None:
    lake.update(READINGS, DAY, adding("a"))
    later = replace(
        READINGS, version=2, columns=(Column("note", pa.string(), "since version 2"), *READINGS.columns)
    )
    assert lake.read(later, DAY).to_pylist() == [{"note": None, **rows("a").to_pylist()[0]}]
    assert lake.read(later, DAY, columns=["note"]).to_pylist() == [{"note": None}]
    lake.update(later, DAY, lambda existing: pa.concat_tables([existing, existing]))
    assert pq.read_schema(io.BytesIO(stored_lake.read(NAME))).metadata[b"lookout_ledger.version"] == b"2"


def test_a_file_of_a_newer_version_is_neither_read_nor_replaced(stored_lake: StoredLake, lake: Lake) -> None:
    newer = replace(READINGS, version=3)
    lake.update(newer, DAY, adding("a"))
    lake.update(newer, DAY, lambda _: rows("a", table=newer))
    before = stored_lake.stamps()
    for attempt in (
        lambda: lake.read(READINGS, DAY),
        lambda: lake.update(READINGS, DAY, adding("b")),
    ):
        with pytest.raises(LakeContractError, match="Cannot read a newer version of the table") as caught:
            attempt()
        assert caught.value.where == stored_lake.location(NAME)
    assert stored_lake.stamps() == before


@pytest.mark.parametrize("content", ["cut short", "empty", "text"])
def test_a_file_that_does_not_match_the_table_is_an_error_and_stays_unchanged(
    stored_lake: StoredLake, lake: Lake, content: str
) -> None:
    lake.update(READINGS, DAY, adding("a"))
    broken = {"cut short": stored_lake.read(NAME)[:-20], "empty": b"", "text": b"name,number\na,1\n"}[content]
    stored_lake.write(NAME, broken)
    for attempt in (
        lambda: lake.read(READINGS, DAY),
        lambda: lake.update(READINGS, DAY, adding("b")),
    ):
        with pytest.raises(LakeContractError, match="Cannot read a file of the lake") as caught:
            attempt()
        assert caught.value.where == stored_lake.location(NAME)
    assert stored_lake.read(NAME) == broken


def test_rows_that_do_not_match_are_rejected_and_the_old_rows_stay(
    stored_lake: StoredLake, lake: Lake
) -> None:
    lake.update(READINGS, DAY, adding("old"))
    before = stored_lake.stamps()
    with pytest.raises(LakeContractError, match="Cannot write rows that do not match readings") as caught:
        lake.update(READINGS, DAY, lambda _: rows("a").drop_columns("number"))
    assert caught.value.where == stored_lake.location(NAME)
    assert stored_lake.stamps() == before


def test_an_exception_of_the_merge_function_is_raised_unchanged(stored_lake: StoredLake, lake: Lake) -> None:
    lake.update(READINGS, DAY, adding("old"))
    before = stored_lake.stamps()
    with pytest.raises(ZeroDivisionError):
        lake.update(READINGS, DAY, lambda _: 1 // 0)
    assert stored_lake.stamps() == before


def test_threads_that_update_the_same_day_lose_no_rows(lake: Lake) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: lake.update(READINGS, DAY, adding(str(n))), range(12)))
    assert sorted(map(int, names(lake.read(READINGS, DAY)))) == list(range(12))


# --- A whole extraction -----------------------------------------------------------------------------------

TODAY = date(2026, 10, 6)
START = datetime(2026, 10, 6, tzinfo=UTC)
NOW = START + timedelta(days=3)
RECORDED = (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE, REJECTED_EXECUTIONS, ARCHIVE_FILES)


def extracted(lake: Lake, archive: ArchiveSource) -> Extraction:
    extraction = Extraction(lake, Days(TODAY), timedelta(hours=3), NOW, lambda _: None)
    extraction.gather([archive], [TODAY])
    extraction.record(TODAY)
    extraction.save_file_index()
    return extraction


def contents(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of the lake, with relative file names and without etags."""
    tables = {}
    for table in RECORDED:
        held = lake.read(table, TODAY if table.partitioned else None)
        if "etag" in held.column_names:
            held = held.drop_columns("etag")
        tables[table.name] = [
            {
                name: _below(value) if name in ("uri", "source", "sources") else value
                for name, value in row.items()
            }
            for row in held.to_pylist()
        ]
        tables[table.name].sort(key=lambda row: [str(row.get(name)) for name in table.key])
    return tables


def _below(value: Any) -> Any:
    return value.partition("/dumps/")[2] or value if isinstance(value, str) else value


def test_an_extraction_from_s3_to_s3_equals_one_from_disk_to_disk(tmp_path: Path, bucket: Any) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    write_history(build_sparse_fleet(1, History(START, START + timedelta(days=1))), folder, NOW)
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.put(f"dumps/{path.relative_to(folder).as_posix()}", path.read_bytes())
    on_disk, in_s3 = Lake(str(tmp_path / "lake")), Lake(f"{bucket.uri}/lake")
    first = extracted(on_disk, ArchiveSource(str(folder)))
    second = extracted(in_s3, ArchiveSource(f"{bucket.uri}/dumps"))
    assert contents(in_s3) == contents(on_disk)
    assert first.count_results() == second.count_results()
    assert len(contents(in_s3)["inference_executions"]) > 500
    assert len(contents(in_s3)["archive_files"]) == len(list(filter(Path.is_file, folder.rglob("*"))))

    bucket.server.requests.clear()
    again = extracted(in_s3, ArchiveSource(f"{bucket.uri}/dumps"))
    numbers = again.count_results()
    assert (numbers["files_read"], numbers["days_changed"], numbers["rows_changed"]) == (0, 0, 0)
    assert bucket.server.count("PUT") == 0


# --- SQL --------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(stored_lake: StoredLake) -> StoredLake:
    """Three days of executions, of two rows, one row and none."""
    for number, day in enumerate((DAY, NEXT_DAY, date(2026, 3, 3))):
        held = pa.Table.from_pylist(
            [_execution(day, n) for n in range(2 - number)], INFERENCE_EXECUTIONS.schema
        )
        stored_lake.lake.update(INFERENCE_EXECUTIONS, day, lambda _, held=held: held)
    return stored_lake


def _execution(day: date, number: int) -> dict[str, Any]:
    at = datetime(day.year, day.month, day.day, number, tzinfo=UTC)
    return {
        field.name: at
        if field.type == INSTANT
        else number
        if pa.types.is_integer(field.type)
        else f"{field.name} {number}"
        for field in INFERENCE_EXECUTIONS.schema
    }


ANSWERS = {
    "SELECT data_date, count(*) AS n FROM inference_executions GROUP BY 1 ORDER BY 1": [
        {"data_date": DAY, "n": 2},
        {"data_date": NEXT_DAY, "n": 1},
    ],
    "SELECT scheduler_name AS s FROM inference_executions WHERE data_date = '2026-03-02'": [
        {"s": "scheduler_name 0"}
    ],
    "SELECT max(data_start_time)::VARCHAR AS t FROM inference_executions": [{"t": "2026-03-02 00:00:00+00"}],
    "SELECT count(*) AS n FROM extraction_coverage": [{"n": 0}],  # a table without files
    "SELECT count(*) AS n FROM rejected_executions": [{"n": 0}],  # and without partitions
}


def test_sql_returns_the_same_rows(filled: StoredLake) -> None:
    answers = {statement: query_once(filled.lake, statement).to_pylist() for statement in ANSWERS}
    assert answers == ANSWERS


def test_sql_sees_the_same_columns(tmp_path: Path, bucket: Any) -> None:
    described = []
    for stored_lake in (OnDisk(tmp_path), InS3(bucket)):
        for table in TABLES:
            stored_lake.lake.update(table, DAY if table.partitioned else None, lambda existing: existing)
        with connect(stored_lake.lake) as connection:
            described.append(
                [connection.sql("SHOW TABLES").fetchall()]
                + [connection.sql(f"DESCRIBE {table.name}").fetchall() for table in TABLES]
            )
    assert described[0] == described[1]


def objects_read(server: Any) -> list[str]:
    return sorted(
        {
            request.path.split("data_date=")[1][:10]
            for request in server.requests
            if "data_date=" in request.path
        }
    )


DAYS_READ = {
    "data_date = DATE '2026-03-02'": ["2026-03-02"],
    "data_date = '2026-03-01'": ["2026-03-01"],
    "data_date BETWEEN DATE '2026-03-01' AND DATE '2026-03-02'": ["2026-03-01", "2026-03-02"],
    "data_date > DATE '2026-03-09'": [],
    "status = 'x'": ["2026-03-01", "2026-03-02", "2026-03-03"],
}


def test_only_the_selected_days_are_read(bucket: Any) -> None:
    stored_lake = InS3(bucket)
    for day in (1, 2, 3):
        stored_lake.lake.update(INFERENCE_EXECUTIONS, date(2026, 3, day), lambda existing: existing)
    read = {}
    for where in DAYS_READ:
        bucket.server.requests.clear()
        query_once(stored_lake.lake, f"SELECT count(status) FROM inference_executions WHERE {where}")  # noqa: S608
        read[where] = objects_read(bucket.server)
    assert read == DAYS_READ


def test_sql_reads_null_for_a_newer_column_of_an_older_day(bucket: Any) -> None:
    stored_lake = InS3(bucket)
    stored_lake.lake.update(READINGS, DAY, adding("a"))
    later = replace(
        READINGS, version=2, columns=(Column("note", pa.string(), "since version 2"), *READINGS.columns)
    )
    noted = pa.Table.from_pylist([{"note": "new", "name": "b"}], schema=later.schema)
    stored_lake.lake.update(later, NEXT_DAY, lambda _: noted)
    with duckdb.connect() as connection:
        connection.register("readings", stored_lake.lake.dataset(later))
        stored = connection.sql("SELECT name, note, data_date FROM readings ORDER BY name").fetchall()
    assert stored == [("a", None, DAY), ("b", "new", NEXT_DAY)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_errors_of_s3_in_sql_are_translated(bucket: Any, method: str) -> None:
    bucket.server.fail_next(method, "403 Forbidden", "AccessDenied" if method == "GET" else "")
    with pytest.raises(PermissionsError, match=r"Cannot [a-z ]+ S3: (AccessDenied|HTTP 403)") as caught:
        query_once(InS3(bucket).lake, "SELECT count(status) FROM inference_executions")
    assert bucket.uri in caught.value.where


def test_a_file_that_sql_cannot_read_is_named(filled: StoredLake) -> None:
    filled.write("inference_executions/data_date=2026-03-02/part-0.parquet", b"no Parquet")
    with pytest.raises(DataError, match=r"data_date=2026-03-02/part-0\.parquet"):
        query_once(filled.lake, "SELECT count(status) FROM inference_executions")
