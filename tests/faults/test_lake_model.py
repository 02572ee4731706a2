"""A model of the lake: any sequence of updates, kills, removals and reads gives the rows of a dictionary."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from assets.tables import Column, Table
from resources.aws import s3_bucket
from resources.lake.lake import Lake
from resources.storage import local
from tests.support.readings import READINGS
from tests.support.s3_server import Bucket

FIRST = date(2026, 3, 1)
AT = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_READINGS = replace(
    READINGS, version=READINGS.version + 1, columns=(*READINGS.columns, Column("note", pa.string(), "a note"))
)
days = st.integers(0, 2).map(lambda number: FIRST + timedelta(number))
changes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=4)
Rows = dict[str, int]


class KilledError(BaseException):
    """The process ends at once; nothing after it is executed."""


def build_table(rows: Rows, table: Table) -> pa.Table:
    values = [{"name": name, "number": number, "at": AT} for name, number in sorted(rows.items())]
    return pa.Table.from_pylist(values, schema=table.schema)


def read_rows(table: pa.Table) -> Rows:
    return dict(zip(table["name"].to_pylist(), table["number"].to_pylist(), strict=True))


@dataclass
class Reader:
    """A reader that has opened a file and not read it yet."""

    file: pq.ParquetFile
    rows: Rows


@contextmanager
def killed(step: str) -> Iterator[None]:
    """Kill the writer at a step; afterwards it cleans up nothing."""
    replace_file: Callable[..., Any] = Path.replace
    unlink: Callable[..., Any] = Path.unlink
    dead: list[str] = []

    def kill(*_: object) -> None:
        dead.append(step)
        raise KilledError

    def replace_and_kill(path: Path, target: Path) -> None:
        replace_file(path, target)
        kill()

    def unlink_unless_dead(path: Path, **options: bool) -> None:
        if dead:
            raise KilledError
        unlink(path, **options)

    patches = {
        "while it writes": patch.object(pq.ParquetWriter, "write_table", kill),
        "before the flush": patch.object(local, "_flush", kill),
        "before the rename": patch.object(Path, "replace", kill),
        "after the rename": patch.object(Path, "replace", replace_and_kill),
    }
    with patches[step], patch.object(Path, "unlink", unlink_unless_dead):
        yield


class LakeModel(RuleBasedStateMachine):
    """The lake next to a dictionary of its rows by day."""

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.lake = self.open_lake()
        self.table = READINGS
        self.model: dict[date, Rows] = {}
        self.readers: list[Reader] = []

    def open_lake(self) -> Lake:
        return Lake(str(self.folder / "lake"), lock_timeout_seconds=5)

    def check_orphans(self, day: date) -> None:
        assert not list(Path(self.lake.path(self.table, day)).parent.glob("*.tmp"))

    def kill(self, step: str) -> AbstractContextManager[None]:
        return killed(step)

    def remove(self, day: date) -> None:
        shutil.rmtree(Path(self.lake.path(READINGS, day)).parent, ignore_errors=True)

    def open_file(self, day: date) -> pq.ParquetFile:
        return pq.ParquetFile(self.lake.path(self.table, day))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for reader in self.readers:
                reader.file.close()
            shutil.rmtree(self.folder)

    def merge(self, change: Rows) -> Callable[[pa.Table], pa.Table]:
        return lambda existing: build_table(read_rows(existing) | change, self.table)

    @rule(day=days, change=changes)
    def update(self, day: date, change: Rows) -> None:
        before = self.model.get(day)
        result = self.lake.update(self.table, day, self.merge(change))
        self.model[day] = (before or {}) | change
        assert result.changed or self.model[day] == before
        self.check_orphans(day)

    @rule(day=days, change=changes)
    def update_in_pieces(self, day: date, change: Rows) -> None:
        def merge(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
            for rows in groups:
                is_replaced = pc.is_in(rows["name"], pa.array(list(change), pa.string()))
                yield rows.filter(pc.invert(is_replaced)).cast(self.table.schema)
            yield build_table(change, self.table)

        self.lake.update_row_groups(self.table, day, merge)
        self.model[day] = self.model.get(day, {}) | change

    @rule(day=days, change=changes, other=changes)
    def update_while_others_read_and_write(self, day: date, change: Rows, other: Rows) -> None:
        neighbor = day + timedelta(10)
        rival = Lake(self.lake.uri, lock_timeout_seconds=5)

        def merge(existing: pa.Table) -> pa.Table:
            rival.update(self.table, neighbor, self.merge(other))
            assert read_rows(rival.read(self.table, day)) == self.model.get(day, {})
            return self.merge(change)(existing)

        self.lake.update(self.table, day, merge)
        self.model[day] = self.model.get(day, {}) | change
        self.model[neighbor] = self.model.get(neighbor, {}) | other

    @rule(
        day=days,
        change=changes,
        step=st.sampled_from(
            ["while it writes", "before the flush", "before the rename", "after the rename"]
        ),
    )
    def kill_a_writer(self, day: date, change: Rows, step: str) -> None:
        before = self.model.get(day)
        after = (before or {}) | change
        try:
            with self.kill(step):
                self.lake.update(self.table, day, self.merge(change))
        except KilledError:
            if step == "after the rename":
                self.model[day] = after
        else:
            self.model[day] = after  # equal rows are not written, and a file without rows has no row group

    @rule(day=days)
    def remove_a_day(self, day: date) -> None:
        self.remove(day)
        self.model.pop(day, None)

    @rule(day=days)
    def open_a_reader(self, day: date) -> None:
        if day in self.model:
            self.readers.append(Reader(self.open_file(day), dict(self.model[day])))

    @rule()
    def finish_a_reader(self) -> None:
        if self.readers:
            reader = self.readers.pop(0)
            assert read_rows(reader.file.read()) == reader.rows
            reader.file.close()

    @rule()
    def upgrade_the_table(self) -> None:
        self.table = NEXT_READINGS

    @rule(day=days)
    def migrate_a_day(self, day: date) -> None:
        if day in self.model:
            self.lake.rewrite(self.table, day)
            assert self.lake.read_version(self.table, day) == self.table.version

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

    def open_lake(self) -> Lake:
        return Lake(f"{self.bucket.uri}/{self.folder.name}", lock_timeout_seconds=5)

    def check_orphans(self, day: date) -> None:
        """S3 has no unfinished objects: each write is one request."""

    @contextmanager
    def kill(self, step: str) -> Iterator[None]:
        put = s3_bucket.Bucket.put

        def put_and_kill(*args: Any, **options: Any) -> bool:
            if step == "after the rename":
                put(*args, **options)
            raise KilledError

        with patch.object(s3_bucket.Bucket, "put", put_and_kill):
            yield

    def remove(self, day: date) -> None:
        key = str(self.lake.path(READINGS, day)).removeprefix(f"{self.bucket.uri}/")
        self.bucket.client.delete_object(Bucket=self.bucket.name, Key=key)

    def open_file(self, day: date) -> pq.ParquetFile:
        key = str(self.lake.path(READINGS, day)).removeprefix(f"{self.bucket.uri}/")
        content = s3_bucket.Bucket(self.bucket.name, "lake.uri").get(key)
        assert content
        return pq.ParquetFile(pa.BufferReader(content.data))


@pytest.mark.slow
def test_any_sequence_of_operations_in_s3_gives_the_rows_of_the_model(
    rounds: Callable[[int], int], bucket: Bucket
) -> None:
    class Model(S3LakeModel):
        pass

    Model.bucket = bucket
    examples = settings(
        max_examples=rounds(8),
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    run_state_machine_as_test(Model, settings=examples)


def test_any_sequence_of_operations_gives_the_rows_of_the_model(rounds: Callable[[int], int]) -> None:
    examples = settings(
        max_examples=rounds(15),
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(LakeModel, settings=examples)


@pytest.mark.parametrize("mutant", ["delete, then write", "forget other rows"])
def test_the_model_finds_a_lake_that_loses_rows(mutant: str) -> None:
    class Mutant(LakeModel):
        if mutant == "delete, then write":

            def merge(self, change: Rows) -> Callable[[pa.Table], pa.Table]:
                def delete_and_merge(existing: pa.Table) -> pa.Table:
                    rows = read_rows(existing)
                    for path in self.folder.rglob("part-0.parquet"):
                        path.unlink()
                    return build_table(rows | change, self.table)

                return delete_and_merge
        else:

            def merge(self, change: Rows) -> Callable[[pa.Table], pa.Table]:
                return lambda _: build_table(change, self.table)

    examples = settings(
        max_examples=50,
        stateful_step_count=6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
    )
    with pytest.raises((AssertionError, FileNotFoundError)):
        run_state_machine_as_test(Mutant, settings=examples)
