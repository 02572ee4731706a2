"""DuckDB queries over the lake of a year, next to one ideal file and next to uncompressed files.

The ideal file has all rows of the year in the order of the lake. Each query runs several times.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.cases import OURS, Case, Contender, Environment, Target, limit_ratio

DAYS, DAYS_OF_MONTH = 365, 30
SPANS = {"day": (1, 20), "month": (30, 8), "year": (DAYS, 3)}
"""The days of a query, and how often it runs."""

Counts = Mapping[str, Any]
_FOLDER, _SPAN = "BENCHMARK_FOLDER", "BENCHMARK_SPAN"
_STATUS = "SELECT status, count(*), sum(model_version) FROM {source} {where} GROUP BY status"


def _prepare(build_source: Callable[[Any, Path], str], select: str = _STATUS) -> Callable[[], Counts]:
    """Return the query of a span; its first run counts the bytes that it reads."""
    import duckdb

    from benchmarks import query

    days, repeats = SPANS[os.environ[_SPAN]]
    last = query.FIRST + timedelta(days=DAYS - 1)
    where = f"WHERE data_date BETWEEN DATE '{last - timedelta(days=days - 1)}' AND DATE '{last}'"
    connection = duckdb.connect()
    source = build_source(connection, Path(os.environ[_FOLDER]))
    statement = select.format(source=source, where=where)

    def work() -> Counts:
        before = query.read_bytes()
        rows = connection.sql(statement).fetchall()
        read = query.read_bytes() - before
        for _ in range(repeats - 1):
            connection.sql(statement).fetchall()
        return {"rows": sorted(map(str, rows)), "_bytes": read, "_size": int(os.environ["BENCHMARK_SIZE"])}

    return work


def _open_lake(connection: Any, folder: Path) -> str:  # noqa: ANN401
    from assets.tables import INFERENCE_EXECUTIONS
    from assets.tables.duckdb_views import render_view
    from resources.lake.lake import Lake

    files = Lake(str(folder / "lake")).files(INFERENCE_EXECUTIONS)
    connection.execute(render_view(INFERENCE_EXECUTIONS, files))
    return INFERENCE_EXECUTIONS.name


def prepare_lake() -> Callable[[], Counts]:
    """Return the query over the view of `ledger sql`."""
    return _prepare(_open_lake)


def prepare_plain_files() -> Callable[[], Counts]:
    """Return the query over the daily files of the span alone, named one by one: no day is looked for."""

    def list_files(_: object, folder: Path) -> str:
        days, _ = SPANS[os.environ[_SPAN]]
        files = sorted(map(str, folder.glob("plain/*.parquet")))[-days:]
        return f"read_parquet({files})"

    return _prepare(list_files)


def prepare_month_files() -> Callable[[], Counts]:
    """Return the query over files of 30 days, named one by one: those that have a day of the span."""

    def list_files(_: object, folder: Path) -> str:
        days, _ = SPANS[os.environ[_SPAN]]
        files = sorted(map(str, folder.glob("months/*.parquet")))[-days // DAYS_OF_MONTH :]
        return f"read_parquet({files})"

    return _prepare(list_files)


def prepare_one_file() -> Callable[[], Counts]:
    """Return the query over the ideal file."""
    return _prepare(lambda _, folder: f"read_parquet('{folder / 'ideal.parquet'}')")


def _build_scan() -> str:
    from assets.tables import INFERENCE_EXECUTIONS

    hashes = ", ".join(f"bit_xor(hash({name}))" for name in INFERENCE_EXECUTIONS.schema.names)
    return f"SELECT {hashes} FROM {{source}} {{where}}"


def prepare_scan() -> Callable[[], Counts]:
    """Return a scan of all columns of the lake's files."""
    return _prepare(lambda _, folder: _read_files(folder / "lake"), _build_scan())


def prepare_uncompressed_scan() -> Callable[[], Counts]:
    """Return the same scan of uncompressed files."""
    return _prepare(lambda _, folder: _read_files(folder / "uncompressed"), _build_scan())


def _read_files(folder: Path) -> str:
    return f"read_parquet('{folder}/inference_executions/*/*.parquet', hive_partitioning = true)"


@contextmanager
def serve(span: str) -> Iterator[Environment]:
    """Yield the lake of a year, which all cases share, and the span of the query."""
    folder, sizes = _write_year()
    days, _ = SPANS[span]
    yield {_FOLDER: folder.name, _SPAN: span, "BENCHMARK_SIZE": str(sum(sizes[-days:]))}


@cache
def _write_year() -> tuple[tempfile.TemporaryDirectory[str], list[int]]:
    """Write the five forms of the year; return their folder and the sizes of the lake's files by day."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from assets.tables import INFERENCE_EXECUTIONS
    from benchmarks import query

    folder = tempfile.TemporaryDirectory()
    lake = query.write_lake(Path(folder.name), DAYS)
    sizes, rows = [], []
    Path(folder.name, "plain").mkdir()
    for number in range(DAYS):
        day = query.FIRST + timedelta(days=number)
        path = Path(lake.path(INFERENCE_EXECUTIONS, day))
        sizes.append(path.stat().st_size)
        table = pq.ParquetFile(path).read()
        rows.append(table.append_column("data_date", pa.repeat(pa.scalar(day), len(table))))
        plain = rows[-1].replace_schema_metadata(None)
        pq.write_table(plain, Path(folder.name, "plain", f"{day}.parquet"), compression="zstd")
        uncompressed = Path(folder.name, "uncompressed", path.relative_to(lake.root))
        uncompressed.parent.mkdir(parents=True)
        pq.write_table(table, uncompressed, compression="none")
    pq.write_table(pa.concat_tables(rows), Path(folder.name, "ideal.parquet"), compression="zstd")
    Path(folder.name, "months").mkdir()
    for stop in range(DAYS, 0, -DAYS_OF_MONTH):  # the last file ends with the last day of each span
        month = pa.concat_tables(rows[max(stop - DAYS_OF_MONTH, 0) : stop])
        pq.write_table(month, Path(folder.name, "months", f"{stop:03}.parquet"), compression="zstd")
    return folder, sizes


def _compute_share_read(costs: Mapping[str, Any]) -> float | None:
    if OURS not in costs:
        return None
    return float(costs[OURS].result["_bytes"] / costs[OURS].result["_size"])


ONE_FILE, UNCOMPRESSED, PLAIN = "one ideal file", "uncompressed files", "plain daily files"
MONTHS = f"files of {DAYS_OF_MONTH} days"
_FILES = (
    "DuckDB lists 365 folders for each query, computes the day of each, binds 27 declared columns, and opens"
    " each file of the span. Files by month would be necessary, and would be rewritten with each day."
    " The floor reads the files of the span by name, without our columns and metadata."
)
_READ = "DuckDB reads the end of each file twice, for its footer."
_KEYS = (
    "Only the keys of the results take longer: their shared beginnings are stored once, which needs a sixth"
    " more time to decode. All files are a twentieth of the uncompressed ones. Plain keys would be necessary."
)
CASES = [
    *(
        Case(
            f"query-{span}",
            f"DuckDB query of a {span} in the lake of a year",
            [
                Contender(OURS, f"{__name__}:prepare_lake"),
                Contender(ONE_FILE, f"{__name__}:prepare_one_file"),
                Contender(PLAIN, f"{__name__}:prepare_plain_files"),
                Contender(MONTHS, f"{__name__}:prepare_month_files"),
            ],
            [
                limit_ratio(ONE_FILE, 1.3).missed_because(_FILES).with_floor(PLAIN, ONE_FILE),
                Target(f"bytes read / size of the {span}", _compute_share_read, 1, reason=_READ),
            ],
            partial(serve, span),
            seconds=7,
        )
        for span in SPANS
    ),
    Case(
        "scan",
        "DuckDB scan of all columns of a year",
        [
            Contender(OURS, f"{__name__}:prepare_scan"),
            Contender(UNCOMPRESSED, f"{__name__}:prepare_uncompressed_scan"),
        ],
        [limit_ratio(UNCOMPRESSED, 1).missed_because(_KEYS)],
        partial(serve, "year"),
        seconds=7,
    ),
]
