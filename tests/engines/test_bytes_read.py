"""A query of one day reads only the bytes of that day from a lake of a year, as counted by the kernel."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.tables import INFERENCE_EXECUTIONS
from benchmarks.query import DAY, FIRST, build_rows
from resources.lake.lake import Lake
from resources.lake.table_contract import parquet_options

ROOT = Path(__file__).resolve().parents[2]
DAYS_OF_YEAR = 365
READERS = ("the views of ledger sql", "lookout_ledger.read of status", "lookout_ledger.read")
ALL_DAYS = f"{READERS[0]}, all"
CASES = [*(f"{reader}, one day" for reader in READERS), ALL_DAYS]

PROGRAM = """\
import sys
from pathlib import Path
from benchmarks.query import measure_query
for case in sys.argv[2:]:
    measure_query(case, Path(sys.argv[1]))
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/io").exists(),
    reason="/proc/self/io is missing: the kernel does not count the bytes that a process reads",
)


@pytest.fixture(scope="module")
def a_day_bytes(year_folder: Path) -> int:
    return Path(Lake(str(year_folder / "lake")).path(INFERENCE_EXECUTIONS, DAY)).stat().st_size


@pytest.fixture(scope="module")
def year_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a year. All days have the same rows, because only bytes are counted."""
    folder = tmp_path_factory.mktemp("year")
    lake = Lake(str(folder / "lake"))
    day_file = folder / "day.parquet"
    pq.write_table(build_rows(DAY), day_file, **parquet_options(INFERENCE_EXECUTIONS))
    for number in range(DAYS_OF_YEAR):
        target = Path(lake.path(INFERENCE_EXECUTIONS, FIRST + timedelta(days=number)))
        target.parent.mkdir(parents=True)
        shutil.copyfile(day_file, target)
    return folder


@pytest.fixture(scope="module")
def read_bytes(year_folder: Path) -> dict[str, int]:
    """The bytes that each query reads in a separate process."""
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(year_folder), *CASES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(zip(CASES, map(int, output.splitlines()), strict=True))


@pytest.mark.parametrize("reader", READERS)
def test_a_query_of_one_day_reads_the_bytes_of_that_day(
    read_bytes: dict[str, int], a_day_bytes: int, reader: str
) -> None:
    assert a_day_bytes / 4 < read_bytes[f"{reader}, one day"] < 2 * a_day_bytes


def test_a_query_of_all_days_reads_the_bytes_of_all_days(
    read_bytes: dict[str, int], a_day_bytes: int
) -> None:
    assert read_bytes[ALL_DAYS] > DAYS_OF_YEAR * a_day_bytes / 2
