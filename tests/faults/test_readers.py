"""DuckDB next to a writer: a query returns the rows of one version of a day, or repeats itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from pyarrow.dataset import dataset

from assets.tables import INFERENCE_SCHEDULERS
from pipelines.operations import query
from resources.errors import DataError
from resources.lake.lake import Lake
from tests.support.engine_world import build_rows

DAY = date(2026, 3, 1)
STATEMENT = "SELECT count(*) AS n, count(DISTINCT region) AS regions FROM inference_schedulers"


def build_schedulers(count: int, region: str) -> pa.Table:
    """Build schedulers that all have one region."""
    row = build_rows(INFERENCE_SCHEDULERS, DAY)[0]
    named = [{**row, "scheduler_arn": f"arn:{number}", "region": region} for number in range(count)]
    return pa.Table.from_pylist(named, schema=INFERENCE_SCHEDULERS.schema)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    lake.update(INFERENCE_SCHEDULERS, None, lambda _: build_schedulers(3, "eu-west-1"))
    return lake


def damage(file: Path) -> Callable[[float], None]:
    """Damage a file as a reader sees it during a replacement; return a function that completes it."""
    complete = file.read_bytes()
    file.write_bytes(complete[:4] + bytes(len(complete) - 12) + complete[-8:])
    return lambda _seconds: file.write_bytes(complete) and None


def run_open_query(lake: Lake) -> int:
    with query.open_query(lake) as run:
        count: int = run(STATEMENT)["n"][0].as_py()
    return count


def run_stream(lake: Lake) -> int:
    with query.connect(lake) as connection:
        relation = query.run_statement(connection, STATEMENT)
        assert relation is not None
        return sum(row["n"] for batch in query.stream_batches(relation) for row in batch.to_pylist())


READERS: dict[str, Callable[[Lake], int]] = {
    "query_once": lambda lake: query.query_once(lake, STATEMENT)["n"][0].as_py(),
    "open_query": run_open_query,
    "stream_batches": run_stream,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_query_is_repeated_after_a_replacement(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    monkeypatch.setattr(query, "sleep_up_to", damage(Path(lake.path(INFERENCE_SCHEDULERS))))
    assert READERS[reader](lake) == 3


def test_a_damaged_file_is_an_error_that_names_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(Path(lake.path(INFERENCE_SCHEDULERS)))
    pauses: list[float] = []
    monkeypatch.setattr(query, "sleep_up_to", pauses.append)
    with pytest.raises(DataError, match="inference_schedulers"):
        query.query_once(lake, STATEMENT)
    assert len(pauses) == 4


def test_an_error_of_the_statement_is_not_repeated(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "sleep_up_to", lambda _seconds: pytest.fail("it was repeated"))
    with pytest.raises(DataError, match="nothing"):
        query.query_once(lake, "SELECT nothing FROM inference_schedulers")


def write_until(uri: str, pause_seconds: float, is_started: Event, stop: Event) -> None:
    """Replace the file, with rows of another size each time."""
    for number in count():
        rows = build_schedulers(500 + number % 7 * 300, f"region-{number}")
        Lake(uri).update(INFERENCE_SCHEDULERS, None, lambda _, rows=rows: rows)
        is_started.set()
        if stop.wait(pause_seconds):
            return


@contextmanager
def writer(lake: Lake, pause_seconds: float = 0) -> Iterator[None]:
    """Replace the file again and again, in another process."""
    process = get_context("spawn")
    is_started, stop = process.Event(), process.Event()
    writer = process.Process(target=write_until, args=(lake.uri, pause_seconds, is_started, stop))
    writer.start()
    try:
        assert is_started.wait(60)
        yield
    finally:
        stop.set()
        writer.join()


@pytest.mark.slow
def test_queries_next_to_a_writer_return_one_version(lake: Lake, rounds: Callable[[int], int]) -> None:
    with writer(lake), duckdb.connect() as connection:
        files = lake.files(INFERENCE_SCHEDULERS)
        for _ in range(rounds(400)):
            statement = STATEMENT.replace("inference_schedulers", f"read_parquet('{files}')")
            assert query.execute(connection, statement)["regions"].to_pylist() == [1]


def read_with_polars(lake: Lake) -> list[str]:
    return pl.read_parquet(lake.files(INFERENCE_SCHEDULERS), columns=["region"])["region"].to_list()


def read_with_pyarrow(lake: Lake) -> list[str]:
    regions: list[str] = dataset(lake.path(INFERENCE_SCHEDULERS)).to_table(["region"])["region"].to_pylist()
    return regions


ERRORS = (OSError, pa.ArrowException, pl.exceptions.PolarsError)


def check_reads(
    read: Callable[[], Sequence[str]], reads: int, errors: tuple[type[Exception], ...] = ERRORS
) -> None:
    """Read next to a writer: an engine that opens the file twice may fail, but it returns no mixed rows.

    Reads go on until two versions were read: on a busy machine, the writer may need some time.
    """
    versions, failed, done = set(), 0, 0
    while done < reads or (len(versions) < 2 and done < 100 * reads):
        done += 1
        try:
            regions = read()
        except errors:
            failed += 1
            continue
        (region,) = set(regions)
        assert len(regions) == 500 + int(region.removeprefix("region-")) % 7 * 300
        versions.add(region)
    assert failed < done
    assert len(versions) > 1, "the file was not replaced, so the test proves nothing"


@pytest.mark.slow
@pytest.mark.parametrize("read", [read_with_polars, read_with_pyarrow])
def test_engines_next_to_a_writer_never_mix_versions(
    lake: Lake, rounds: Callable[[int], int], read: Callable[[Lake], list[str]]
) -> None:
    with writer(lake):
        check_reads(lambda: read(lake), rounds(200))


@pytest.mark.spark
def test_spark_next_to_a_writer_never_mixes_versions(
    lake: Lake, rounds: Callable[[int], int], spark: Any
) -> None:
    from py4j.protocol import Py4JError  # noqa: PLC0415 (an extra)
    from pyspark.errors import PySparkException  # noqa: PLC0415

    def read() -> list[str]:
        rows = spark.read.parquet(str(lake.path(INFERENCE_SCHEDULERS))).select("region").collect()
        return [row["region"] for row in rows]

    with writer(lake, pause_seconds=5):  # a replacement during a query is an error of Spark
        check_reads(read, rounds(10), (PySparkException, Py4JError))
