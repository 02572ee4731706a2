"""Which source returned which executions: a union of keys in a small, canonical form."""

from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from assets.executions.extraction import Extraction
from assets.executions.provenance import (
    ReturnedKeys,
    ReturnedKeysBuffer,
    expand_run,
    merge_returned_keys,
)
from assets.framework.time_windows import Days
from assets.tables import EXECUTION_SOURCES, INFERENCE_EXECUTIONS, INSTANT
from resources.lake.lake import Lake
from resources.sources.archive import ArchiveSource
from sandbox.dumps import Manifest

DAY = date(2026, 10, 6)
MIDNIGHT = datetime(2026, 10, 6, tzinfo=UTC)
MONTH = datetime(2026, 9, 30, 23, 30, tzinfo=UTC)
"""Minutes after it are in two months."""

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
NOTHING = EXECUTION_SOURCES.schema.empty_table()

minutes = st.sets(st.one_of(st.integers(0, 20), st.integers(0, 287).map(lambda n: 5 * n)), min_size=1)
returned_keys = st.dictionaries(
    st.tuples(st.sampled_from(["a.json", "b.json"]), st.sampled_from(["arn:1", "arn:2"])),
    minutes.map(
        lambda numbers: np.array(
            sorted((MONTH + timedelta(minutes=n)).timestamp() * 1000 for n in numbers), np.int64
        )
    ),
)


def expand(rows: pa.Table) -> set[tuple[str, str, int]]:
    return {
        (row["source"], row["scheduler_arn"], int(start))
        for row in rows.to_pylist()
        for start in expand_run(row)
    }


def flatten(*returned: ReturnedKeys) -> set[tuple[str, str, int]]:
    return {(*key, int(start)) for keys in returned for key, starts in keys.items() for start in starts}


@how(deadline=None)
@given(st.lists(returned_keys, min_size=1, max_size=3))
def test_the_table_is_the_union_of_what_sources_returned_in_any_order(returned: list[ReturnedKeys]) -> None:
    tables = []
    for order in permutations(returned):
        rows = NOTHING
        for keys in order:
            rows = merge_returned_keys(rows, keys, NOW)
        assert expand(rows) == flatten(*returned)
        assert sum(rows["executions"].to_pylist()) == len(flatten(*returned))
        tables.append(rows)
    assert all(table.equals(tables[0]) for table in tables)


@how(deadline=None)
@given(st.lists(returned_keys, min_size=1, max_size=3))
def test_a_repetition_changes_nothing(returned: list[ReturnedKeys]) -> None:
    rows = NOTHING
    for keys in returned:
        rows = merge_returned_keys(rows, keys, NOW)
    later = NOW + timedelta(days=1)
    for keys in returned:
        assert merge_returned_keys(rows, keys, later).equals(rows)


def test_a_whole_day_of_a_scheduler_is_one_row() -> None:
    starts = np.arange(288, dtype=np.int64) * 300_000 + int(MIDNIGHT.timestamp() * 1000)
    (row,) = merge_returned_keys(NOTHING, {("a.json", "arn:1"): starts}, NOW).to_pylist()
    assert (row["first_data_start_time"], row["executions"]) == (MIDNIGHT, 288)
    assert row["last_data_start_time"] == MIDNIGHT + timedelta(hours=23, minutes=55)


@how(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("12"), st.integers(-5, 30)), max_size=12))
def test_the_buffer_keeps_the_distinct_keys_of_its_days(pages: list[tuple[str, str, int]]) -> None:
    buffer = ReturnedKeysBuffer([DAY])
    for first in range(0, len(pages), 2):
        part = pages[first : first + 2]
        times = pa.array([MIDNIGHT + timedelta(hours=hour) for _, _, hour in part], INSTANT)
        arns = pa.array([arn for _, arn, _ in part]).dictionary_encode()
        rows = pa.table({"scheduler_arn": arns, "data_start_time": times})
        buffer.add([(source, 1) for source, _, _ in part], rows)
        if first % 4 == 2:
            buffer.compact()
    assert flatten(buffer.get_keys()) == {
        (source, arn, int((MIDNIGHT + timedelta(hours=hour)).timestamp() * 1000))
        for source, arn, hour in pages
        if 0 <= hour < 24
    }


def extract(lake: Lake, folder: Path, now: datetime = NOW) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    extraction = Extraction(lake, Days(DAY), timedelta(hours=3), now, lambda _: None)
    for day in extraction.gather([ArchiveSource(str(folder))], days):
        extraction.record(day)
    extraction.save_file_index()


@pytest.fixture(scope="module")
def recorded(dumps: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of all saved responses of the small fleet."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    extract(lake, dumps[0])
    return lake


def test_every_execution_has_a_file_that_returned_it(recorded: Lake) -> None:
    keys = set()
    for day in recorded.days(INFERENCE_EXECUTIONS):
        for row in recorded.read(INFERENCE_EXECUTIONS, day).to_pylist():
            keys.add((row["scheduler_arn"], int(row["data_start_time"].timestamp() * 1000)))
    returned = recorded.read(EXECUTION_SOURCES)
    assert {(arn, start) for _, arn, start in expand(returned)} == keys
    assert all(Path(source).is_file() for source in returned["source"].to_pylist())


def test_the_sources_take_at_most_a_tenth_of_the_lake(recorded: Lake) -> None:
    def measure(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.parquet"))

    assert measure(recorded.root / EXECUTION_SOURCES.name) <= measure(recorded.root) / 10


def read_bytes(lake: Lake) -> dict[Path, bytes]:
    return {path.relative_to(lake.root): path.read_bytes() for path in lake.root.rglob("*.parquet")}


def test_equal_and_repeated_runs_leave_the_same_bytes(
    recorded: Lake, dumps: tuple[Path, Manifest], tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    extract(lake, dumps[0])
    before = read_bytes(lake)
    assert before == read_bytes(recorded)
    index = Path("archive_files/part-0.parquet")
    (lake.root / index).unlink()  # all files are read again
    extract(lake, dumps[0], NOW + timedelta(days=1))
    assert {**read_bytes(lake), index: b""} == {**before, index: b""}
