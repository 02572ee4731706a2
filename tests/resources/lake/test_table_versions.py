"""Files of older table versions: surveyed by their footers and rewritten, locally and in S3."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.tables import Column, Table
from resources.errors import LakeContractError
from resources.lake.lake import Lake
from resources.lake.table_versions import survey_versions
from tests.support.readings import READINGS, SETTINGS

CHECKOUT = Path(__file__).resolve().parents[3]
DAY = date(2026, 3, 1)
NOTE = Column("note", pa.string(), "since version 2")
LATER = replace(READINGS, version=2, columns=(READINGS.columns[0], NOTE, *READINGS.columns[1:]))
LATER_SETTINGS = replace(SETTINGS, version=2, columns=(*SETTINGS.columns, NOTE))


@pytest.fixture(params=["on disk", "in S3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "on disk":
        return Lake(str(tmp_path / "lake"))
    return Lake(f"{request.getfixturevalue('bucket').uri}/lake")


def rows(*names: str, table: Table = READINGS) -> pa.Table:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return pa.Table.from_pylist([{"name": name, "number": 1, "at": at} for name in names], table.schema)


def put(lake: Lake, day: date | None, table: Table = READINGS) -> None:
    lake.update(table, day, lambda _: rows("a", "b", table=table))


# --- The version of one file -------------------------------------------------------------------------------


def test_a_day_that_was_never_written_has_no_version(lake: Lake) -> None:
    assert lake.read_version(READINGS, DAY) is None
    assert lake.read_version(SETTINGS, None) is None


@pytest.mark.parametrize("table", [READINGS, replace(READINGS, version=7)], ids=["1", "7"])
def test_a_file_has_the_version_that_wrote_it(lake: Lake, table: Table) -> None:
    put(lake, DAY, table)

    assert lake.read_version(READINGS, DAY) == table.version  # also if it is newer than this software


def test_only_the_end_of_an_object_is_read(bucket: Any) -> None:
    lake = Lake(f"{bucket.uri}/lake")
    names = [f"{number:040x}" for number in range(20_000)]
    lake.update(READINGS, DAY, lambda _: rows(*names))
    bucket.server.requests.clear()

    assert lake.read_version(READINGS, DAY) == 1

    (request,) = bucket.server.requests
    assert request.headers["range"] == "bytes=-65536"


def test_a_long_footer_is_read_completely(lake: Lake, monkeypatch: Any) -> None:
    monkeypatch.setattr("resources.lake.table_contract.FOOTER_BYTES", 100)
    put(lake, DAY)

    assert lake.read_version(READINGS, DAY) == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no Parquet at all" * 10], ids=["empty", "cut", "other"])
def test_a_file_that_is_not_parquet_is_an_error(lake: Lake, data: bytes, bucket: Any) -> None:
    put(lake, DAY)
    if lake.is_local:
        lake.root.joinpath("readings", "data_date=2026-03-01", "part-0.parquet").write_bytes(data)
    else:
        bucket_name = str(lake.path(READINGS, DAY)).split("/")[2]
        bucket.client.put_object(
            Bucket=bucket_name, Key="lake/readings/data_date=2026-03-01/part-0.parquet", Body=data
        )

    with pytest.raises(LakeContractError, match="Cannot read a file of the lake"):
        lake.read_version(READINGS, DAY)


# --- Rewriting a file --------------------------------------------------------------------------------------


def test_an_older_day_is_rewritten_with_the_same_rows(lake: Lake) -> None:
    put(lake, DAY)
    before = lake.read(LATER, DAY)

    assert lake.rewrite(LATER, DAY)

    assert lake.read_version(LATER, DAY) == 2
    assert lake.read(LATER, DAY).equals(before)
    assert lake.read(LATER, DAY)["note"].null_count == 2
    stored = lake.dataset(LATER).files
    filesystem = lake.dataset(LATER).filesystem
    with filesystem.open_input_file(stored[0]) as file:
        assert pq.read_schema(file).equals(LATER.schema, check_metadata=True)


def test_a_current_day_is_not_rewritten(lake: Lake) -> None:
    put(lake, DAY, LATER)

    assert not lake.rewrite(LATER, DAY)


def test_a_missing_day_is_not_created(lake: Lake) -> None:
    assert not lake.rewrite(LATER, DAY)
    assert not lake.has(LATER, DAY)


def test_a_day_of_a_newer_version_is_not_rewritten(lake: Lake) -> None:
    put(lake, DAY, replace(READINGS, version=3))

    assert not lake.rewrite(LATER, DAY)
    assert lake.read_version(LATER, DAY) == 3


def test_concurrent_rewrites_and_updates_lose_no_rows(lake: Lake) -> None:
    put(lake, DAY)

    def append(name: str) -> None:
        more = pa.table(
            [
                rows(name)[field.name] if field.name != "note" else pa.nulls(1, pa.string())
                for field in LATER.schema
            ],
            schema=LATER.schema,
        )
        lake.update(LATER, DAY, lambda stored: pa.concat_tables([stored, more]))

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(append, f"more {number}") for number in range(6)]
        futures += [pool.submit(lake.rewrite, LATER, DAY) for _ in range(6)]
    assert [future.exception() for future in futures] == [None] * 12

    assert set(lake.read(LATER, DAY)["name"].to_pylist()) == {"a", "b", *(f"more {n}" for n in range(6))}
    assert lake.read_version(LATER, DAY) == 2


# --- Surveys -----------------------------------------------------------------------------------------------


def test_a_survey_lists_the_version_of_every_file(lake: Lake) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    for number, day in enumerate(days):
        put(lake, day, LATER if number % 2 else READINGS)
    put(lake, None, SETTINGS)

    survey = survey_versions(lake, [LATER, LATER_SETTINGS])

    assert [(file.table.name, file.day, file.version) for file in survey.files] == [
        *[("readings", day, 1 + number % 2) for number, day in enumerate(days)],
        ("settings", None, 1),
    ]
    assert [str(file) for file in survey.old] == [
        "readings 2026-03-01",
        "readings 2026-03-03",
        "readings 2026-03-05",
        "settings",
    ]
    assert survey.unreadable == []


def test_a_survey_can_be_limited_to_days(lake: Lake) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    for day in days:
        put(lake, day)

    survey = survey_versions(lake, [LATER], days[1], days[3])

    assert [file.day for file in survey.old] == days[1:4]


def test_an_unreadable_file_does_not_hide_the_others(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for number in range(3):
        put(lake, DAY + timedelta(days=number))
    Path(lake.path(READINGS, DAY + timedelta(days=1))).write_bytes(b"torn")

    survey = survey_versions(lake, [LATER])

    assert [file.day for file in survey.old] == [DAY, DAY + timedelta(days=2)]
    (problem,) = survey.unreadable
    assert "data_date=2026-03-02" in problem.where


def test_a_survey_of_tables_without_files_is_empty(lake: Lake) -> None:
    survey = survey_versions(lake, [LATER, LATER_SETTINGS])

    assert (survey.files, survey.unreadable) == ([], [])


# --- Killed rewrites ---------------------------------------------------------------------------------------

_REWRITE_ALL = """\
import sys
from resources.lake.lake import Lake
from resources.lake.table_versions import survey_versions
from tests.resources.lake.test_table_versions import LATER

lake = Lake(sys.argv[1])
print("go", flush=True)
for file in survey_versions(lake, [LATER]).old:
    lake.rewrite(file.table, file.day)
"""


def test_a_killed_rewrite_leaves_each_day_old_or_new_and_can_be_repeated(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    days = [DAY + timedelta(days=number) for number in range(60)]
    for day in days:
        put(lake, day)

    def process() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _REWRITE_ALL, str(lake.root)]
        return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)

    def new_days() -> int:
        return sum(not file.is_old for file in survey_versions(lake, [LATER]).files)

    with process() as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "go\n"
        deadline = time.monotonic() + 60
        while new_days() == 0 and time.monotonic() < deadline:
            pass
        killed.kill()
    reached = new_days()
    assert 0 < reached <= len(days)
    for day in days:
        assert lake.read(LATER, day)["name"].to_pylist() == ["a", "b"]

    with process() as again:
        assert again.wait(120) == 0
    assert new_days() == len(days)
    for day in days:
        assert lake.read(LATER, day)["name"].to_pylist() == ["a", "b"]
    assert list(lake.root.rglob("*.tmp")) == []


def test_a_file_without_an_added_text_column_is_merged_with_dictionaries(tmp_path: Path) -> None:
    lake, day = Lake(str(tmp_path)), date(2026, 3, 1)
    grown = replace(
        READINGS,
        version=READINGS.version + 1,
        columns=(*READINGS.columns, Column("note", pa.string(), "a note")),
    )
    first = pa.Table.from_pylist([{"name": "a"}], schema=READINGS.schema)
    lake.update(READINGS, day, lambda _: first)
    second = pa.Table.from_pylist([{"name": "b", "note": "x"}], schema=grown.encoded_schema)
    lake.update(grown, day, lambda rows: pa.concat_tables([rows, second]), encoded=True)
    assert lake.read(grown, day)["note"].to_pylist() == [None, "x"]
