"""The guarantees of a local lake: readers see complete days, and concurrent writers lose no rows."""

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from assets.tables import INFERENCE_EXECUTIONS, INSTANT, Column, Table
from resources.encoded_texts import encode_texts
from resources.errors import ConfigurationError, LakeContractError, LedgerError, RetryLaterError
from resources.lake.lake import PART, Lake
from tests.support.readings import READINGS, SETTINGS

CHECKOUT = Path(__file__).resolve().parents[3]
DAY = date(2026, 3, 1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), lock_timeout_seconds=30)


def rows(*names: str, number: int = 1, table: Table = READINGS) -> pa.Table:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return pa.Table.from_pylist(
        [{"name": name, "number": number, "at": at} for name in names], schema=table.schema
    )


def put(lake: Lake, table: pa.Table, day: date | None = DAY, into: Table = READINGS) -> Path:
    return lake.update(into, day, lambda _: table).path


def adding(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda existing: pa.concat_tables([existing, rows(name)])


def names(table: pa.Table) -> list[str]:
    return table["name"].to_pylist()


def orphans(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


# --- Layout ------------------------------------------------------------------------------------------------


def test_a_day_is_one_file_below_a_hive_partition(lake: Lake) -> None:
    assert put(lake, rows("a")) == lake.root / "readings" / "data_date=2026-03-01" / "part-0.parquet"


def test_an_unpartitioned_table_is_one_file(lake: Lake) -> None:
    assert put(lake, rows("a"), None, SETTINGS) == lake.root / "settings" / "part-0.parquet"


@pytest.mark.parametrize(("table", "day"), [(READINGS, None), (SETTINGS, DAY)], ids=["missing", "surplus"])
def test_a_day_is_required_for_a_partitioned_table_and_for_no_other(
    lake: Lake, table: Table, day: date | None
) -> None:
    with pytest.raises(ValueError, match="a day is required for a partitioned table"):
        lake.path(table, day)


def test_reading_creates_nothing(lake: Lake) -> None:
    assert lake.days(READINGS) == []
    assert not lake.has(READINGS, DAY)
    assert lake.read(READINGS, DAY).num_rows == 0
    assert lake.read(SETTINGS).schema.equals(SETTINGS.schema)
    assert not lake.root.exists()


def test_a_day_without_rows_is_a_file(lake: Lake) -> None:
    written = lake.update(READINGS, DAY, lambda existing: existing)
    assert written.changed
    assert lake.has(READINGS, DAY)
    assert lake.days(READINGS) == [DAY]
    assert pq.read_table(written.path).num_rows == 0


def test_days_are_listed_oldest_first(lake: Lake) -> None:
    days = [date(2026, 3, 2), date(2025, 12, 31), date(2026, 3, 1)]
    for day in days:
        put(lake, rows("a"), day)
    assert lake.days(READINGS) == sorted(days)


def test_a_folder_without_a_file_is_not_a_day(lake: Lake) -> None:
    lake.path(READINGS, DAY).parent.mkdir(parents=True)
    assert lake.days(READINGS) == []


@pytest.mark.parametrize("name", ["__HIVE_DEFAULT_PARTITION__", "20260301", "2026-W09-7", "2026-3-1"])
def test_a_partition_folder_that_is_not_a_day_is_an_error_with_its_fix(lake: Lake, name: str) -> None:
    put(lake, rows("a"))
    invalid = lake.root / "readings" / f"data_date={name}" / PART
    invalid.parent.mkdir()
    shutil.copy(lake.path(READINGS, DAY), invalid)
    with pytest.raises(LakeContractError, match=f"{name} is not a day") as caught:
        lake.days(READINGS)
    assert caught.value.where == str(invalid.parent)
    assert "move it out of the lake" in caught.value.next_step


@pytest.mark.parametrize("folder", ["lake", "the [old] lake", "l?ke*", "Ofen-Köln's"])
def test_the_file_pattern_works_for_any_name_of_the_lake(tmp_path: Path, folder: str) -> None:
    lake = Lake(str(tmp_path / folder))
    put(lake, rows("a", "b"))
    put(lake, rows("c"), None, SETTINGS)
    for table, count in [(READINGS, 2), (SETTINGS, 1)]:
        assert duckdb.sql(
            "select * from read_parquet($files)", params={"files": lake.files(table)}
        ).shape == (
            count,
            4 if table.partitioned else 3,
        )


def test_engines_read_only_the_data_files(lake: Lake) -> None:
    """The names of locks and orphaned temporary files begin with a dot."""
    for day in (DAY, date(2026, 3, 2)):
        path = put(lake, rows("a", "b"), day)
        (path.parent / ".part-0.0123456789abcdef.tmp").write_bytes(b"PAR1 cut sh")
    folder = lake.root / "readings"
    assert all(path.name == PART or path.name.startswith(".") for path in folder.rglob("*") if path.is_file())
    assert ds.dataset(folder, partitioning="hive").to_table().num_rows == 4
    assert pd.read_parquet(folder).shape[0] == 4
    assert duckdb.sql(f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)").shape[0] == 4


def test_an_unsupported_scheme_is_rejected_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="not supported, only local paths and s3://") as caught:
        Lake("gs://bucket/lake")
    assert caught.value.where == "lake.uri = gs://bucket/lake"
    assert "local folder or to S3, and set lake.uri" in caught.value.next_step


# --- File content -----------------------------------------------------------------------------------------


def test_rows_are_read_as_written(lake: Lake) -> None:
    table = pa.Table.from_pylist(
        [
            {"name": "ä", "number": -(2**63), "at": datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)},
            {"name": "", "number": None, "at": None},
        ],
        schema=READINGS.schema,
    )
    put(lake, table)
    assert lake.read(READINGS, DAY).equals(table, check_metadata=True)
    assert lake.read(READINGS, DAY, columns=["number", "name"]).equals(table.select(["number", "name"]))


@pytest.mark.parametrize("metadata", ["declared", "none", "of another tool"])
def test_the_footer_has_the_table_version_and_the_comments_for_any_rows(lake: Lake, metadata: str) -> None:
    variants = {
        "declared": rows("a"),
        "none": rows("a").cast(pa.schema([field.remove_metadata() for field in READINGS.schema])),
        "of another tool": rows("a").replace_schema_metadata({"pandas": "{}"}),
    }
    path = put(lake, variants[metadata])
    footer = pq.read_schema(path)
    assert footer.metadata == {b"lookout_ledger.table": b"readings", b"lookout_ledger.version": b"1"}
    assert footer.field("number").metadata == {b"comment": b"how much [pieces]"}
    assert not footer.field("name").nullable


def test_columns_are_compressed_and_encoded_as_declared(lake: Lake) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    values = {
        field.name: at if field.type == INSTANT else 1 if pa.types.is_integer(field.type) else f"some {field}"
        for field in INFERENCE_EXECUTIONS.schema
    }
    table = pa.Table.from_pylist([values] * 3, schema=INFERENCE_EXECUTIONS.schema)
    metadata = pq.read_metadata(put(lake, table, into=INFERENCE_EXECUTIONS)).row_group(0)
    chunks = {metadata.column(n).path_in_schema: metadata.column(n) for n in range(metadata.num_columns)}
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    for column in INFERENCE_EXECUTIONS.columns:
        encodings = set(chunks[column.name].encodings)
        assert ("RLE_DICTIONARY" in encodings) == (column.encoding == "dictionary"), column.name
        if column.encoding == "delta":
            expected = "DELTA_BYTE_ARRAY" if column.type == pa.string() else "DELTA_BINARY_PACKED"
            assert expected in encodings, column.name
        has_statistics = column.name not in INFERENCE_EXECUTIONS.columns_without_statistics
        assert chunks[column.name].is_stats_set == has_statistics, column.name


def test_a_newer_column_is_null_in_an_older_file(lake: Lake) -> None:
    put(lake, rows("a"))
    later = replace(
        READINGS, version=2, columns=(Column("note", pa.string(), "since version 2"), *READINGS.columns)
    )
    read = lake.read(later, DAY)
    assert read.schema.equals(later.schema)
    assert read.to_pylist()[0] == {"note": None, **rows("a").to_pylist()[0]}
    assert lake.read(later, DAY, columns=["note"]).to_pylist() == [{"note": None}]
    lake.update(later, DAY, lambda existing: pa.concat_tables([existing, existing]))
    assert pq.read_schema(lake.path(later, DAY)).metadata[b"lookout_ledger.version"] == b"2"


def test_a_narrower_type_of_an_older_file_is_widened(lake: Lake) -> None:
    narrow = replace(
        READINGS, columns=(READINGS.columns[0], Column("number", pa.int32(), "how much"), READINGS.columns[2])
    )
    put(lake, rows("a", table=narrow), into=narrow)
    assert lake.read(READINGS, DAY).equals(rows("a"))


def test_a_file_of_a_newer_version_is_neither_read_nor_replaced(lake: Lake) -> None:
    newer = replace(READINGS, version=3)
    before = put(lake, rows("a"), into=newer).read_bytes()
    for attempt in (lambda: lake.read(READINGS, DAY), lambda: put(lake, rows("b"))):
        with pytest.raises(LakeContractError, match="Cannot read a newer version of the table") as caught:
            attempt()
        assert caught.value.where == str(lake.path(READINGS, DAY))
        assert "run the version of the software that wrote it" in caught.value.next_step
    assert lake.path(READINGS, DAY).read_bytes() == before


def _damage(kind: str, good: bytes, path: Path) -> None:
    if kind == "is a folder":
        path.unlink()
        path.mkdir()
        return
    foreign = path.with_name("foreign.parquet")
    pq.write_table(pa.table({"city": ["Leeds"]}), foreign)
    other_types = path.with_name("types.parquet")
    pq.write_table(pa.table({"name": ["a"], "number": ["many"]}), other_types)
    invalid_version = path.with_name("version.parquet")
    pq.write_table(rows("a").replace_schema_metadata({"lookout_ledger.version": "two"}), invalid_version)
    middle = len(good) // 2
    contents = {
        "cut short": good[:-20],
        "empty": b"",
        "text": b"name,number\na,1\n",
        "damaged inside": good[:8] + bytes(middle) + good[8 + middle :],
        "Parquet of something else": foreign.read_bytes(),
        "Parquet of other types": other_types.read_bytes(),
        "a version that is no number": invalid_version.read_bytes(),
    }
    path.write_bytes(contents[kind])


@pytest.mark.parametrize(
    "kind",
    [
        "cut short",
        "empty",
        "text",
        "damaged inside",
        "Parquet of something else",
        "Parquet of other types",
        "a version that is no number",
        "is a folder",
    ],
)
def test_a_file_that_does_not_match_the_table_is_an_error_and_stays_unchanged(lake: Lake, kind: str) -> None:
    path = put(lake, rows("a"))
    _damage(kind, path.read_bytes(), path)
    before = None if path.is_dir() else path.read_bytes()
    for attempt in (lambda: lake.read(READINGS, DAY), lambda: put(lake, rows("b"))):
        with pytest.raises(LakeContractError, match="Cannot read a file of the lake") as caught:
            attempt()
        assert caught.value.where == str(path)
        assert "move it away and materialize that day again" in caught.value.next_step
    assert path.is_dir() or path.read_bytes() == before


def test_columns_of_others_are_never_removed(lake: Lake) -> None:
    path = put(lake, rows("a"))
    with pq.ParquetFile(path) as stored:
        foreign = stored.read().append_column("my_note", pa.array(["keep"]))
    pq.write_table(foreign, path)
    before = path.read_bytes()
    newer = replace(READINGS, version=READINGS.version + 1)
    attempts: list[Callable[[], object]] = [
        lambda: put(lake, rows("b")),
        lambda: lake.update_row_groups(READINGS, DAY, lambda groups: groups),
        lambda: lake.rewrite(newer, DAY),
    ]
    for attempt in attempts:
        with pytest.raises(LakeContractError, match="does not declare its columns my_note") as caught:
            attempt()
        assert caught.value.where == str(path)
    assert path.read_bytes() == before
    assert lake.read(READINGS, DAY).equals(rows("a"))


def test_flipped_bits_give_rows_or_a_contract_error(lake: Lake) -> None:
    path = put(lake, rows(*map(str, range(200))))
    good = path.read_bytes()
    chance = random.Random(1)  # noqa: S311
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        flipped = bytearray(good)
        flipped[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            lake.read(READINGS, DAY)
            outcomes["read"] += 1
        except LakeContractError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50


@pytest.mark.parametrize(
    ("new_rows", "problem"),
    [
        pytest.param(rows("a").drop_columns("number"), "number: missing where int64", id="column missing"),
        pytest.param(rows("a").append_column("x", pa.array([1])), "x: int64 where nothing", id="surplus"),
        pytest.param(
            rows("a").set_column(1, "number", pa.array(["1"])), "number: string where int64", id="other type"
        ),
        pytest.param(rows("a").select(["number", "name", "at"]), "another order", id="other order"),
        pytest.param(
            rows("a").cast(pa.schema([("name", pa.string()), ("number", pa.int64()), ("at", INSTANT)])),
            "name: string where string, required",
            id="required may be null",
        ),
        pytest.param(
            pa.table([pa.array([None], pa.string()), [1], [None]], schema=READINGS.schema),
            "no value where one is required: name",
            id="required is null",
        ),
    ],
)
def test_rows_that_do_not_match_are_rejected_and_the_old_rows_stay(
    lake: Lake, new_rows: pa.Table, problem: str
) -> None:
    path = put(lake, rows("old"))
    before = path.read_bytes()
    with pytest.raises(LakeContractError, match="Cannot write rows that do not match readings") as caught:
        put(lake, new_rows)
    assert problem in caught.value.what
    assert caught.value.where == str(path)
    assert path.read_bytes() == before
    assert not orphans(path.parent)


# --- Updates ----------------------------------------------------------------------------------------------


def test_an_update_returns_the_rows_before_and_after(lake: Lake) -> None:
    put(lake, rows("a"))
    written = lake.update(READINGS, DAY, adding("b"))
    assert (names(written.before), names(written.rows), written.changed) == (["a"], ["a", "b"], True)
    assert names(lake.read(READINGS, DAY)) == ["a", "b"]


@pytest.mark.parametrize("stored", [rows("a", "b"), READINGS.schema.empty_table()], ids=["rows", "no rows"])
def test_equal_rows_are_not_written_again(lake: Lake, stored: pa.Table) -> None:
    path = put(lake, stored)
    os.utime(path, (1, 1))
    before = path.stat()
    written = lake.update(READINGS, DAY, lambda _: pa.concat_tables([stored.slice(0, 1), stored.slice(1)]))
    assert not written.changed
    assert written.rows.equals(stored)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_encoded_rows_are_dictionaries_and_give_the_same_file(lake: Lake) -> None:
    plain = rows("a", "b", "a")
    expected = put(lake, plain).read_bytes()
    encoded = encode_texts(plain, READINGS.encoded_schema)
    fewer = encode_texts(plain.slice(2), READINGS.encoded_schema)
    assert not lake.update(READINGS, DAY, lambda existing: existing, encoded=True).changed
    written = lake.update(READINGS, DAY, lambda _: fewer, encoded=True)
    assert (written.before.equals(encoded), written.rows.equals(fewer)) == (True, True)
    assert lake.read(READINGS, DAY).equals(plain.slice(2))
    assert lake.update(READINGS, DAY, lambda _: encoded, encoded=True).path.read_bytes() == expected


@pytest.mark.parametrize(
    "problem",
    [
        OSError(errno.ENOENT, "of the rule"),
        pa.ArrowNotImplementedError("of the rule"),
        KeyError("of the rule"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_an_exception_of_the_merge_function_is_raised_unchanged(lake: Lake, problem: Exception) -> None:
    """It is not an error of the lake, so a translation would hide the cause."""
    path = put(lake, rows("a"))

    def failing(_: pa.Table) -> pa.Table:
        raise problem

    with pytest.raises(type(problem), match="of the rule"):
        lake.update(READINGS, DAY, failing)
    assert names(lake.read(READINGS, DAY)) == ["a"]
    assert not orphans(path.parent)
    assert lake.update(READINGS, DAY, adding("b")).changed  # and the lock is free


# --- Concurrency ------------------------------------------------------------------------------------------

PRELUDE = f"""
import os, signal, sys, time
import pyarrow as pa
sys.path.insert(0, {str(CHECKOUT)!r})
from datetime import UTC, date, datetime
from assets.tables import INSTANT, Column, Table
from resources.lake.lake import Lake

READINGS = Table("readings", "", "", ("name",), (
    Column("name", pa.string(), "who", required=True),
    Column("number", pa.int64(), "how much"),
    Column("at", INSTANT, "when", encoding="delta"),
), partitioned=True)
lake, day = Lake(sys.argv[1], lock_timeout_seconds=60), date(2026, 3, 1)

def rows(*names, number=1):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return pa.Table.from_pylist(
        [{{"name": name, "number": number, "at": at}} for name in names], schema=READINGS.schema)

def numbered(number):
    return rows(*map(str, range(300)), number=number)
"""
"""The common start of the scripts that other processes run."""


@contextmanager
def other_process(lake: Lake, part: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PRELUDE + part, str(lake.root), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


ADD_KEYS = """
for n in range(int(sys.argv[3])):
    lake.update(READINGS, day, lambda existing: pa.concat_tables([existing, rows(f"{sys.argv[2]}-{n}")]))
"""


@pytest.mark.parametrize("writers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_that_update_the_same_day_lose_no_rows(
    lake: Lake, rounds: Callable[[int], int], writers: int
) -> None:
    count = rounds(40)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(other_process(lake, ADD_KEYS, str(writer), str(count)))
            for writer in range(writers)
        ]
        assert [process.wait(600) for process in processes] == [0] * writers
    expected = {f"{writer}-{n}" for writer in range(writers) for n in range(count)}
    assert set(names(lake.read(READINGS, DAY))) == expected
    assert not orphans(lake.path(READINGS, DAY).parent)


def test_threads_that_update_the_same_day_lose_no_rows(lake: Lake) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: lake.update(READINGS, DAY, adding(str(n))), range(40)))
    assert sorted(map(int, names(lake.read(READINGS, DAY)))) == list(range(40))


REWRITE = """
for number in range(int(sys.argv[2])):
    lake.update(READINGS, day, lambda _: numbered(number))
"""


def test_a_reader_sees_complete_days_during_rewrites(lake: Lake, rounds: Callable[[int], int]) -> None:
    seen: list[int] = []
    with other_process(lake, REWRITE, str(rounds(150))) as writer:
        while writer.poll() is None:
            if not lake.has(READINGS, DAY):
                continue  # not written yet; after the first write it always exists
            for read in (lake.read(READINGS, DAY), pq.ParquetFile(lake.path(READINGS, DAY)).read()):
                assert read.num_rows == 300
                (number,) = set(read["number"].to_pylist())
                seen.append(number)
        assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 10


# --- Killed writers ---------------------------------------------------------------------------------------

MOST_KILLS = 1000
"""On a busy machine, many kills can pass before one meets a write."""

KILLED_REPEATEDLY = """
numbered(0)  # loads pandas, which pyarrow imports with the first rows
for command in sys.stdin:
    milliseconds, number = map(int, command.split())
    at_work, begun = os.pipe()
    writer = os.fork()  # without repeating the imports
    if not writer:
        while True:
            lake.update(READINGS, day, lambda _: numbered(number))
            os.write(begun, b".")
            number += 1
    os.read(at_work, 1)
    time.sleep(milliseconds / 1000)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    print("killed", flush=True)
"""


def test_a_writer_killed_at_random_times_leaves_the_old_or_the_new_rows(
    lake: Lake, rounds: Callable[[int], int]
) -> None:
    put(lake, rows(*map(str, range(300)), number=0))
    folder = lake.path(READINGS, DAY).parent
    chance = random.Random(7)  # noqa: S311
    last, orphaned, least = 0, 0, rounds(60)
    with other_process(lake, KILLED_REPEATEDLY) as killer:
        assert killer.stdin
        for number in range(max(least, MOST_KILLS)):
            if number >= least and last > 10 and orphaned:
                break
            killer.stdin.write(f"{chance.randrange(30)} {last + 1}\n")
            killer.stdin.flush()
            assert line(killer) == "killed"
            orphaned += bool(orphans(folder))
            read = lake.read(READINGS, DAY)
            (written,) = set(read["number"].to_pylist())
            assert read.num_rows == 300
            assert written >= last
            last = written
    assert last > 10, "the writer never wrote, so the test proves nothing"
    assert orphaned, "the writer was never killed during a write, so the test proves nothing"
    lake.update(READINGS, DAY, adding("after"))
    assert not orphans(folder)


STOPPED = """
original = getattr(os, sys.argv[2])
def stop(*arguments):
    if sys.argv[2] == "open" and not os.path.isdir(arguments[0]):
        return original(*arguments)  # the lock or the file, not the folder
    print("stopped", flush=True)
    time.sleep(60)
setattr(os, sys.argv[2], stop)
lake.update(READINGS, day, lambda _: rows("new"))
"""


@pytest.mark.parametrize(
    ("call", "survivor"),
    [("fsync", "old"), ("replace", "old"), ("open", "new")],
    ids=["before it is flushed", "before it is renamed", "before the folder is flushed"],
)
def test_the_next_writer_deletes_orphaned_temporary_files(lake: Lake, call: str, survivor: str) -> None:
    path = put(lake, rows("old"))
    with other_process(lake, STOPPED, call) as writer:
        assert line(writer) == "stopped"
        writer.kill()
        writer.wait()
    assert len(orphans(path.parent)) == (survivor == "old")
    assert names(lake.read(READINGS, DAY)) == [survivor]
    lake.update(READINGS, DAY, lambda existing: existing)  # also without a write
    assert not orphans(path.parent)


HOLDING = """
def hold(existing):
    print("holding", flush=True)
    time.sleep(60)
lake.update(READINGS, day, hold)
"""


def test_the_lock_ends_with_its_process(lake: Lake) -> None:
    impatient = Lake(str(lake.root), lock_timeout_seconds=0.1)
    with other_process(lake, HOLDING) as holder:
        assert line(holder) == "holding"
        with pytest.raises(RetryLaterError, match="another writer has held the lock") as caught:
            impatient.update(READINGS, DAY, adding("a"))
        assert caught.value.where == str(lake.path(READINGS, DAY).parent / ".lock")
        assert "wait for the other run to end" in caught.value.next_step
        assert impatient.update(READINGS, date(2026, 3, 2), adding("a")).changed, "another day is not locked"
        assert not impatient.read(READINGS, DAY).num_rows, "a reader does not wait"
        holder.kill()
        holder.wait()
        assert impatient.update(READINGS, DAY, adding("a")).changed


def test_an_old_lock_file_does_not_block(lake: Lake) -> None:
    path = lake.path(READINGS, DAY)
    path.parent.mkdir(parents=True)
    (path.parent / ".lock").write_text("12345\nsome-host\n")
    assert Lake(str(lake.root), lock_timeout_seconds=0.1).update(READINGS, DAY, adding("a")).changed


# --- Unusable locations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("file", id="is a file"),
        pytest.param("file/lake", id="below a file"),
        pytest.param("/proc/lake", id="where no folder can be created"),
    ],
)
def test_an_unusable_location_is_an_error_with_its_fix(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    lake = Lake(str(tmp_path / place))
    with pytest.raises(ConfigurationError, match=r"Cannot write to the lake: [A-Z]") as caught:
        put(lake, rows("a"))
    assert f"lake.uri = {lake.root}" in caught.value.where
    assert "set lake.uri to a writable folder" in caught.value.next_step


def test_a_lake_below_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="Cannot read the lake: Not a directory"):
        Lake(str(tmp_path / "file")).read(READINGS, DAY)


@pytest.fixture
def drop_privileges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], None]]:
    """Switch from root to a user without privileges."""
    for folder in (tmp_path_factory.getbasetemp(), *tmp_path_factory.getbasetemp().parents[:1]):
        folder.chmod(0o755)
    yield lambda: os.seteuid(65534) if os.geteuid() == 0 else None
    if os.getuid() == 0:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="requires POSIX permissions")
def test_missing_permissions_are_not_reported_as_a_damaged_file(
    tmp_path: Path, lake: Lake, drop_privileges: Callable[[], None]
) -> None:
    path = put(lake, rows("a"))
    tmp_path.chmod(0o755)
    path.chmod(0o000)
    drop_privileges()
    with pytest.raises(ConfigurationError, match="Cannot read the lake: Permission denied") as caught:
        lake.read(READINGS, DAY)
    assert str(path) in caught.value.where
    if os.getuid() == 0:
        with pytest.raises(ConfigurationError, match="Cannot write to the lake: Permission denied") as caught:
            put(lake, rows("b"))
        assert "make that folder writable for this user" in caught.value.next_step


READS: dict[str, Callable[[Lake], Any]] = {
    "days": lambda lake: lake.days(READINGS),
    "has": lambda lake: lake.has(READINGS, DAY),
    "shards": lambda lake: lake.shards(READINGS, DAY),
    "read": lambda lake: lake.read(READINGS, DAY).num_rows,
    "digests": lambda lake: lake.digests(READINGS, DAY),
    "footers": lambda lake: [footer.rows for footer in lake.footers(READINGS, DAY) if not footer.problem],
    "row groups": lambda lake: sum(group.num_rows for group in lake.read_row_groups(READINGS, DAY)),
    "batches": lambda lake: sum(batch.num_rows for batch in lake.read_batches(READINGS, DAY, ["name"])),
    "version": lambda lake: lake.read_version(READINGS, DAY),
    "dataset": lambda lake: lake.dataset(READINGS).count_rows(),
    "scan": lambda lake: lake.scan(READINGS).num_rows,
}
"""Every method that reads."""


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="requires POSIX permissions")
@pytest.mark.parametrize("level", range(4), ids=["the file", "its day", "its table", "the lake"])
def test_what_may_not_be_read_never_counts_as_missing(
    tmp_path: Path, lake: Lake, drop_privileges: Callable[[], None], level: int
) -> None:
    path = put(lake, rows("a"))
    tmp_path.chmod(0o755)
    for folder in list(path.parents)[:3]:
        folder.chmod(0o755)
    expected = {name: read(lake) for name, read in READS.items()}
    closed = [path, *path.parents][level]
    closed.chmod(0o000)
    drop_privileges()
    for name, read in READS.items():
        refused, answer = "", None
        try:
            answer = read(lake)
        except (LedgerError, OSError) as error:
            refused = str(error)
        assert "Permission denied" in refused or answer == expected[name], (name, refused, answer)


@pytest.mark.parametrize("code", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows always locks")
def test_a_file_system_without_locks_is_rejected(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """The soft lock to which filelock would fall back is never released if its process is killed."""
    number = getattr(errno, code)

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(
        ConfigurationError, match="without locks, concurrent writers would lose rows"
    ) as caught:
        put(lake, rows("a"))
    assert str(lake.root) in caught.value.where
    assert "local disk" in caught.value.next_step
    assert not lake.has(READINGS, DAY)


FILLED = """
import secrets
lake.update(READINGS, day, lambda _: rows("old"))
os.system(sys.argv[2])
try:
    lake.update(READINGS, day, lambda _: rows(*(secrets.token_hex(50) for _ in range(5000))))
except Exception as problem:
    print(type(problem).__name__, problem, sep="\\n")
folder = lake.path(READINGS, day).parent
print(*lake.read(READINGS, day)["name"].to_pylist(), *sorted(os.listdir(folder)))
"""


SLOW = pytest.mark.slow
DISKS = {  # the options of the file system, a command between the updates, and the reason of the error
    "full": ("size=128k", "true", "No space left on device"),
    "no inodes": ("nr_inodes=5", "true", "No space left on device"),
    "read-only": ("size=1m", "mount -o remount,ro,size=1m {}", "Read-only file system"),
    "file size": ("", "true", "File too large"),
}


@pytest.mark.parametrize(
    "disk",
    [
        "full",
        "file size",
        *(pytest.param(disk, marks=pytest.mark.slow) for disk in ("no inodes", "read-only")),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="requires resource limits")
def test_on_a_full_disk_the_old_rows_stay_without_orphans(lake: Lake, disk: str) -> None:
    import resource  # noqa: PLC0415 (POSIX only)

    options, between, reason = DISKS[disk]
    command = [sys.executable, "-c", PRELUDE + FILLED, str(lake.root), between.format(lake.root)]
    before = None
    if options:
        lake.root.mkdir()
        mount = f"mount -t tmpfs -o {options} tmpfs {lake.root}"
        alone = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
        if (
            not shutil.which("unshare")
            or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("cannot mount a small disk here")
        command = [*alone, *command]
    else:
        before = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))  # noqa: E731
    output = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=before).stdout
    kind, what, where, fix, remaining = output.splitlines()
    assert kind == "ConfigurationError"
    assert what.startswith("Cannot write to the lake: ")
    assert what.endswith(reason)
    assert str(lake.root) in where
    is_full = "free disk space and run again; the existing files are unchanged" in fix
    assert is_full is (disk != "read-only")
    assert remaining == "old .lock part-0.parquet"
