"""A query of one day reads the bytes of that day, though a year lies beside it: counted by the kernel."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.tables import INFERENCE_EXECUTIONS
from benchmarks.query import DAY, FIRST, rows_of
from resources.lake.lake import Lake
from resources.lake.table_contract import parquet_options

ROOT = Path(__file__).resolve().parents[2]
A_YEAR = 365
HOWS = ("the views of ledger sql", "lookout_ledger.read of status", "lookout_ledger.read")
A_YEAR_OF_IT = f"{HOWS[0]}, all"
CASES = [*(f"{how}, one day" for how in HOWS), A_YEAR_OF_IT]

PROGRAM = """\
import sys
from pathlib import Path
from benchmarks.query import ask
for case in sys.argv[2:]:
    ask(case, Path(sys.argv[1]))
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="no kernel that counts what a process reads"
)


@pytest.fixture(scope="module")
def a_day_bytes(year: Path) -> int:
    return Path(Lake(str(year / "lake")).path(INFERENCE_EXECUTIONS, DAY)).stat().st_size


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a year, each day with the same rows: it is bytes that are counted."""
    folder = tmp_path_factory.mktemp("year")
    lake = Lake(str(folder / "lake"))
    written = folder / "day.parquet"
    pq.write_table(rows_of(DAY), written, **parquet_options(INFERENCE_EXECUTIONS))
    for number in range(A_YEAR):
        place = Path(lake.path(INFERENCE_EXECUTIONS, FIRST + timedelta(days=number)))
        place.parent.mkdir(parents=True)
        shutil.copyfile(written, place)
    return folder


@pytest.fixture(scope="module")
def read_bytes(year: Path) -> dict[str, int]:
    """What each question reads, asked in a process that does nothing else."""
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(year), *CASES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(zip(CASES, map(int, told.splitlines()), strict=True))


@pytest.mark.parametrize("how", HOWS)
def test_a_question_about_one_day_reads_the_bytes_of_that_day(
    read_bytes: dict[str, int], a_day_bytes: int, how: str
) -> None:
    assert a_day_bytes / 4 < read_bytes[f"{how}, one day"] < 2 * a_day_bytes


def test_the_count_sees_it_when_every_day_is_read(read_bytes: dict[str, int], a_day_bytes: int) -> None:
    assert read_bytes[A_YEAR_OF_IT] > A_YEAR * a_day_bytes / 2
