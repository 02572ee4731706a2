"""A model of the lake: any sequence of operations and kills gives the rows of a dictionary.

Operations are updates, also in pieces and next to rivals, removals of rows and days, changes of the shards
and of the version of the table, and reads.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import ClassVar
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from assets.tables import Column, Table
from resources.aws import s3_bucket
from resources.errors import RetryLaterError
from resources.lake.lake import Lake
from resources.lake.shards import hash_scheduler
from resources.row_order import sort_rows
from resources.storage import local
from tests.support.kills import AFTER_S3, BEFORE_S3, DISK, run_killed
from tests.support.readings import SAMPLES
from tests.support.s3_server import Bucket
from tests.support.state_machines import check_machine

FIRST = date(2026, 3, 1)
AT = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_SAMPLES = replace(
    SAMPLES, version=SAMPLES.version + 1, columns=(*SAMPLES.columns, Column("note", pa.string(), "a note"))
)
days = st.integers(0, 2).map(lambda number: FIRST + timedelta(number))
changes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=4)
shards = st.integers(1, 3)
steps = st.integers(0, 12)
Rows = dict[str, int]


def build_table(rows: Rows, table: Table) -> pa.Table:
    values = [
        {"scheduler_arn": name, "number": number, "data_start_time": AT} for name, number in rows.items()
    ]
    return sort_rows(pa.Table.from_pylist(values, schema=table.schema), table.key)


def read_rows(table: pa.Table) -> Rows:
    names = table["scheduler_arn"].to_pylist()
    assert len(names) == len(set(names)), "a row occurs twice"
    return dict(zip(names, table["number"].to_pylist(), strict=True))


def select(rows: Rows, number: int, shards: int) -> Rows:
    return {name: value for name, value in rows.items() if hash_scheduler(name) % shards == number}


@dataclass
class Reader:
    """A reader that has opened the files of a day and not read them yet."""

    files: list[pq.ParquetFile]
    rows: Rows


class LakeModel(RuleBasedStateMachine):
    """The lake next to a dictionary of its rows by day."""

    places: ClassVar[list[str]] = [DISK]

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.table = SAMPLES
        self.model: dict[date, Rows] = {}
        self.readers: list[Reader] = []
        self.lake = self.open_lake()

    def open_lake(self, *, shards: int = 1, timeout: float = 5) -> Lake:
        return Lake(str(self.folder / "lake"), lock_timeout_seconds=timeout, shards=shards)

    def check_orphans(self, day: date) -> None:
        assert not list(Path(self.lake.path(self.table, day)).parent.glob("*.tmp"))

    def remove(self, day: date) -> None:
        rmtree(Path(self.lake.path(SAMPLES, day)).parent, ignore_errors=True)

    def open_files(self, day: date) -> list[pq.ParquetFile]:
        folder = Path(self.lake.path(self.table, day)).parent
        return [pq.ParquetFile(file) for file in sorted(folder.glob("part-*.parquet"))]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for file in (file for reader in self.readers for file in reader.files):
                file.close()
            rmtree(self.folder)

    def merge(self, change: Rows) -> Callable[[pa.Table], pa.Table]:
        return lambda existing: build_table(read_rows(existing) | change, self.table)

    def run_killed(self, place: int, step: int, run: Callable[[], object]) -> bool:
        """Run a writer that is killed at a step; return whether it was. Its other files are in the folder."""
        with patch.object(tempfile, "tempdir", str(self.folder)):
            return run_killed(self.places[place % len(self.places)], step, run)

    @rule(day=days, change=changes, setting=shards)
    def update(self, day: date, change: Rows, setting: int) -> None:
        before = self.model.get(day)
        result = self.open_lake(shards=setting).update(self.table, day, self.merge(change))
        self.model[day] = (before or {}) | change
        assert result.changed is (self.model[day] != before)
        self.check_orphans(day)

    def write_in_pieces(self, day: date, change: Rows) -> None:
        def merge(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
            rows: Rows = {}
            for group in groups:
                rows |= read_rows(group)
            yield build_table(rows | change, self.table)

        self.lake.update_row_groups(self.table, day, merge)

    @rule(day=days, change=changes)
    def update_in_pieces(self, day: date, change: Rows) -> None:
        self.write_in_pieces(day, change)
        self.model[day] = self.model.get(day, {}) | change

    @rule(day=days, change=changes, other=changes)
    def update_while_others_read_and_write(self, day: date, change: Rows, other: Rows) -> None:
        neighbor = day + timedelta(10)

        def merge(existing: pa.Table) -> pa.Table:
            rival = self.open_lake()
            rival.update(self.table, neighbor, self.merge(other))
            assert read_rows(rival.read(self.table, day)) == self.model.get(day, {})
            return self.merge(change)(existing)

        self.lake.update(self.table, day, merge)
        self.model[day] = self.model.get(day, {}) | change
        self.model[neighbor] = self.model.get(neighbor, {}) | other

    @rule(day=days, change=changes, other=changes)
    def update_while_a_rival_updates_the_same_day(self, day: date, change: Rows, other: Rows) -> None:
        before = rows = self.model.get(day, {})
        attempts = count()

        def merge(existing: pa.Table) -> pa.Table:
            nonlocal rows
            if next(attempts) == 0:
                try:
                    self.open_lake(timeout=0).update(self.table, day, self.merge(other))
                    rows = rows | other
                except RetryLaterError:
                    pass  # it waits for the lock
            return self.merge(change)(existing)

        self.lake.update(self.table, day, merge)
        self.model[day] = read_rows(self.lake.read(self.table, day))
        versions = self.split(day, self.model[day], before, before | change, rows, rows | change)
        for stored, read, written, of_rival, last in versions:
            # a file that had the change when it was read is not written, so the rival counts as the later one
            assert stored == last or (stored == of_rival and written == read)

    def split(self, day: date, *versions: Rows) -> Iterator[list[Rows]]:
        """Yield the rows of each version for each file of a day; a file is replaced atomically."""
        files = self.lake.shards(self.table, day)
        for number in range(files):
            yield [select(rows, number, files) for rows in versions]

    @rule(day=days, change=changes, step=steps, place=st.integers(0, 1), in_pieces=st.booleans())
    def kill_a_writer(self, day: date, change: Rows, step: int, place: int, in_pieces: bool) -> None:
        before = self.model.get(day)
        after = (before or {}) | change

        def write() -> None:
            if in_pieces:
                self.write_in_pieces(day, change)
            else:
                self.lake.update(self.table, day, self.merge(change))

        if not self.run_killed(place, step, write):
            self.model[day] = after
        elif self.lake.has(self.table, day):
            self.model[day] = read_rows(self.lake.read(self.table, day))
            for stored, old, new in self.split(day, self.model[day], before or {}, after):
                assert stored in (old, new)
        else:
            assert before is None

    @rule(day=days, change=changes)
    def forget_rows(self, day: date, change: Rows) -> None:
        if day in self.model:
            rows = {name: value for name, value in self.model[day].items() if name not in change}
            self.lake.update(self.table, day, lambda _: build_table(rows, self.table))
            self.model[day] = rows

    @rule(day=days)
    def remove_a_day(self, day: date) -> None:
        self.remove(day)
        self.model.pop(day, None)

    @rule(day=days)
    def open_a_reader(self, day: date) -> None:
        if day in self.model:
            self.readers.append(Reader(self.open_files(day), dict(self.model[day])))

    @rule()
    def finish_a_reader(self) -> None:
        if self.readers:
            reader = self.readers.pop(0)
            names = ["scheduler_arn", "number"]
            assert read_rows(pa.concat_tables(file.read(names) for file in reader.files)) == reader.rows
            for file in reader.files:
                file.close()

    @rule()
    def upgrade_the_table(self) -> None:
        self.table = NEXT_SAMPLES

    @rule(day=days)
    def migrate_a_day(self, day: date) -> None:
        if day in self.model:
            self.lake.rewrite(self.table, day)
            assert self.lake.read_version(self.table, day) == self.table.version

    @rule(day=days, shards=shards, step=st.one_of(st.none(), steps), place=st.integers(0, 1))
    def change_the_shards(self, day: date, shards: int, step: int | None, place: int) -> None:
        if day not in self.model:
            return
        if step is not None:
            self.run_killed(place, step, lambda: self.lake.reshard(self.table, day, shards))
            assert read_rows(self.lake.read(self.table, day)) == self.model[day]
        self.lake.reshard(self.table, day, shards)
        assert self.lake.shards(self.table, day) == shards

    @invariant()
    def has_the_rows_of_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.lake.days(self.table) == sorted(self.model)
        for day, rows in self.model.items():
            assert read_rows(self.lake.read(self.table, day)) == rows
        scanned = self.lake.scan(self.table) if self.model else self.table.schema.empty_table()
        assert scanned.num_rows == sum(map(len, self.model.values()))


class S3LakeModel(LakeModel):
    """The same in S3. A killed writer sends its request or not; a reader gets an object with one request."""

    bucket: ClassVar[Bucket]
    places: ClassVar[list[str]] = [BEFORE_S3, AFTER_S3]

    def open_lake(self, *, shards: int = 1, timeout: float = 60) -> Lake:
        uri = f"{self.bucket.uri}/{self.folder.name}"
        return Lake(uri, lock_timeout_seconds=timeout or 60, shards=shards)  # a busy server can take seconds

    def check_orphans(self, day: date) -> None:
        """S3 has no unfinished objects: each write is one request."""

    def list_keys(self, day: date) -> list[str]:
        path = str(self.lake.path(SAMPLES, day)).removeprefix(f"{self.bucket.uri}/")
        objects = s3_bucket.Bucket(self.bucket.name, "lake.uri").list_objects(path.rpartition("/")[0] + "/")
        return sorted(entry.key for entry in objects)

    def remove(self, day: date) -> None:
        for key in self.list_keys(day):
            self.bucket.client.delete_object(Bucket=self.bucket.name, Key=key)

    def open_files(self, day: date) -> list[pq.ParquetFile]:
        return [pq.ParquetFile(pa.BufferReader(self.bucket.get(key))) for key in self.list_keys(day)]


@pytest.mark.slow
def test_any_sequence_of_operations_in_s3_gives_the_rows_of_the_model(
    rounds: Callable[[int], int], bucket: Bucket
) -> None:
    class Model(S3LakeModel):
        pass

    Model.bucket = bucket
    check_machine(Model, rounds(8), steps=12)


def test_any_sequence_of_operations_gives_the_rows_of_the_model(rounds: Callable[[int], int]) -> None:
    check_machine(LakeModel, rounds(15), steps=12)


lock = local.LocalStorage._lock


@contextmanager
def _release_early(self: local.LocalStorage, path: Path) -> Iterator[None]:
    with lock(self, path):
        pass
    yield


class DeleteThenWrite(LakeModel):
    def merge(self, change: Rows) -> Callable[[pa.Table], pa.Table]:
        def delete_and_merge(existing: pa.Table) -> pa.Table:
            rows = read_rows(existing)
            for path in self.folder.rglob("part-*.parquet"):
                path.unlink()
            return build_table(rows | change, self.table)

        return delete_and_merge


class OtherRowsAreDropped(LakeModel):
    def merge(self, change: Rows) -> Callable[[pa.Table], pa.Table]:
        return lambda _: build_table(change, self.table)


Patch = tuple[object, str, object]
ALWAYS = {"create", "has_the_rows_of_the_model", "teardown"}
MUTANTS: dict[str, tuple[type[LakeModel], Patch | None, int]] = {
    "delete, then write": (DeleteThenWrite, None, 2),
    "other rows are dropped": (OtherRowsAreDropped, None, 2),
    "the lock is released early": (LakeModel, (local.LocalStorage, "_lock", _release_early), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_lake_that_loses_rows_is_found_with_its_shortest_trace(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, change, most_operations = MUTANTS[mutant]
    if change:
        monkeypatch.setattr(*change)
    examples = settings(
        max_examples=100,
        stateful_step_count=6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )
    with pytest.raises((AssertionError, FileNotFoundError)) as caught:
        run_state_machine_as_test(machine, settings=examples)
    lines = [line.removeprefix("state.") for line in caught.value.__notes__ if line.startswith("state.")]
    calls = [line.partition("(")[0] for line in lines]
    operations = [call for call in calls if call not in ALWAYS]
    assert 1 <= len(operations) <= most_operations, operations
