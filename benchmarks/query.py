"""Measures the bytes that a query reads: one day of a year compared with the whole year.

`python -m benchmarks.query [DAYS]` writes a lake of 15 schedulers that run every five minutes, and prints
the bytes of each query. The kernel counts the bytes (`rchar` of the process), including those from the page
cache. Each query runs in a separate process; the preparation of the query is not counted. Linux only.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import lookout_ledger
from assets.framework.row_content import sort_by_key
from assets.tables import INFERENCE_EXECUTIONS
from assets.tables.duckdb_views import render_view
from resources.lake.lake import Lake
from resources.lake.table_contract import parquet_options

FIRST = date(2025, 10, 1)
SCHEDULERS = 15
WINDOWS_A_DAY = 288
DAY = FIRST + timedelta(days=180)

_TABLE = INFERENCE_EXECUTIONS
_COUNT = "SELECT status, count(*) FROM {source} {where} GROUP BY status"


def build_rows(day: date) -> pa.Table:
    """Build one day of the fleet, with text of the same length as in real summaries."""
    number = SCHEDULERS * WINDOWS_A_DAY
    scheduler, window = np.divmod(np.arange(number), WINDOWS_A_DAY)
    midnight = (day - date(1970, 1, 1)).days * 86_400_000
    start = midnight + window * 300_000
    failed = (np.arange(number) + day.toordinal()) % 50 == 0

    def text(build: Callable[[int], str]) -> pa.Array:
        return pa.array([build(number) for number in range(SCHEDULERS)]).take(pa.array(scheduler))

    arn = "arn:aws:lookoutequipment:eu-west-1:123456789012:{}/{}-{}"
    columns = {
        "scheduler_arn": text(lambda number: arn.format("inference-scheduler", "pump", number)),
        "scheduler_name": text(lambda number: f"pump-{number}"),
        "account_id": text(lambda _: "123456789012"),
        "region": text(lambda _: "eu-west-1"),
        "model_arn": text(lambda number: arn.format("model", "pump", number)),
        "model_name": text(lambda number: f"pump-{number}"),
        "model_version": pa.array(np.ones(number, "int64")),
        "scheduled_start_time": pa.array(start + 301_000),
        "data_start_time": pa.array(start),
        "data_end_time": pa.array(start + 300_000),
        "input_s3_bucket": text(lambda _: "plant-a"),
        "input_s3_prefix": text(lambda number: f"inference/input/pump-{number}/"),
        "output_s3_bucket": text(lambda _: "plant-a"),
        "output_s3_prefix": text(lambda number: f"inference/output/pump-{number}/"),
        "result_s3_bucket": text(lambda _: "plant-a"),
        "result_s3_key": pc.binary_join_element_wise(
            text(lambda number: f"inference/output/pump-{number}/{day}T"),
            pc.utf8_lpad(pa.array(window).cast(pa.string()), 5, "0"),
            "/results.jsonl",
            "",
        ),
        "status": pa.array(np.where(failed, "FAILED", "SUCCESS")),
        "failed_reason": pa.array(["No data in the input" if is_failed else None for is_failed in failed]),
        "source": text(lambda _: "api"),
        "outcome_source": text(lambda _: "api"),
        "recorded_at": pa.array(np.full(number, midnight + 86_400_000)),
    }
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(number, field.type)
        for field in _TABLE.schema
    ]
    return sort_by_key(_TABLE, pa.Table.from_arrays(arrays, schema=_TABLE.schema))


def write_lake(folder: Path, days: int) -> Lake:
    """Write the lake, and one day with a file for each scheduler in another folder."""
    lake, split = Lake(str(folder / "lake")), folder / "split" / _TABLE.name
    for number in range(days):
        day = FIRST + timedelta(days=number)
        rows = build_rows(day)
        target = Path(lake.path(_TABLE, day))
        target.parent.mkdir(parents=True)
        pq.write_table(
            rows, target, **parquet_options(_TABLE)
        )  # like the lake, but without a flush for each day
        for scheduler in range(SCHEDULERS if day == DAY else 0):  # a query of that day opens only these files
            target = split / f"data_date={day}" / f"scheduler=pump-{scheduler}"
            target.mkdir(parents=True)
            part = rows.slice(scheduler * WINDOWS_A_DAY, WINDOWS_A_DAY)
            pq.write_table(part, target / "part-0.parquet", **parquet_options(_TABLE))
    return lake


def measure_query(case: str, folder: Path) -> None:
    """Run one query in this process, and print the number of bytes that it read."""
    lake = Lake(str(folder / "lake"))
    is_day = case.endswith("one day")
    where = f"WHERE data_date = DATE '{DAY}'" if is_day else ""
    if case.startswith("lookout_ledger.read"):
        span = (DAY, DAY + timedelta(days=1)) if is_day else ()
        columns = ["status"] if "status" in case else None
        lookout_ledger.read(
            _TABLE.name, FIRST, FIRST, lake=lake.uri, as_="arrow"
        )  # imports everything that the query needs
        before = read_bytes()
        lookout_ledger.read(_TABLE.name, *span, columns=columns, as_="arrow", lake=lake.uri)
    else:
        union = "union_by_name = true, hive_partitioning = true, hive_types = {'data_date': DATE}"
        source = _TABLE.name
        with duckdb.connect() as connection:
            if "union by name" in case:
                source = f"read_parquet('{lake.files(_TABLE)}', {union})"
            elif "a file a scheduler" in case:
                files = folder / "split" / _TABLE.name / "*/*/part-0.parquet"
                source = (
                    f"read_parquet('{files}', hive_partitioning = true, hive_types = {{'data_date': DATE}})"
                )
            else:
                connection.execute(render_view(_TABLE, lake.files(_TABLE)))
            before = read_bytes()
            connection.sql(_COUNT.format(source=source, where=where)).fetchall()
    print(read_bytes() - before)


SPLIT = "DuckDB, a file a scheduler and day"
READERS = (
    "the views of ledger sql",
    "DuckDB with union by name",
    SPLIT,
    "lookout_ledger.read of status",
    "lookout_ledger.read",
)
CASES = [
    f"{reader}, {what}"
    for reader in READERS
    for what in ("one day", "all")
    if (reader, what) != (SPLIT, "all")
]


def measure_cases(folder: Path) -> dict[str, int]:
    """Measure each case in a separate process, and return the bytes read by case."""
    return {
        case: int(
            subprocess.run(  # noqa: S603
                [sys.executable, "-m", "benchmarks.query", "--ask", case, str(folder)],
                cwd=Path(__file__).resolve().parents[1],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for case in CASES
    }


def main(days: int) -> None:
    """Write the lake, measure all cases, and print a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        lake = write_lake(Path(folder), days)
        sizes = [file.stat().st_size for file in lake.root.rglob("part-0.parquet")]
        bytes_by_case = measure_cases(Path(folder))
    print(f"{days} days, {sum(sizes) / 1e6:.1f} MB in {len(sizes)} files, {sizes[0] / 1e3:.0f} kB a day\n")
    print("| query | one day | all | all / one day |\n| --- | ---: | ---: | ---: |")
    for reader in READERS:
        day_bytes, all_bytes = bytes_by_case[f"{reader}, one day"], bytes_by_case.get(f"{reader}, all")
        cells = f"{all_bytes / 1e3:,.0f} kB | {all_bytes / day_bytes:,.0f}" if all_bytes else " | "
        print(f"| {reader} | {day_bytes / 1e3:,.0f} kB | {cells} |")


def read_bytes() -> int:
    """Return the bytes that this process has read so far, also from the page cache; Linux only."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        measure_query(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 365)
