"""Days with several files: layout, updates, and changes of their number, locally and in S3."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from assets.framework.row_content import compute_content_version
from assets.tables import TABLES, Table
from resources.errors import RetryLaterError
from resources.lake.day_files import DayFiles
from resources.lake.lake import Lake
from resources.lake.shards import FileLayout, Shard, hash_scheduler
from resources.row_order import sort_rows
from tests.support.killed_writers import Dying, KilledError
from tests.support.readings import READINGS, SAMPLES
from tests.support.state_machines import check_machine

DAY = date(2026, 3, 1)
START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = [f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-{n}" for n in range(12)]
Rows = dict[tuple[str, int], int]


@pytest.fixture(params=["on disk", "in S3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "on disk":
        return str(tmp_path / "lake")
    return f"{request.getfixturevalue('bucket').uri}/lake"


def build(rows: Rows, table: Table = SAMPLES) -> pa.Table:
    values = [
        {"number": number, "scheduler_arn": arn, "data_start_time": START + timedelta(minutes=minute)}
        for (arn, minute), number in rows.items()
    ]
    return sort_rows(pa.Table.from_pylist(values, schema=table.schema), table.key)


def parse(table: pa.Table) -> Rows:
    rows = {
        (row["scheduler_arn"], int((row["data_start_time"] - START).total_seconds() // 60)): row["number"]
        for row in table.to_pylist()
    }
    assert len(rows) == table.num_rows, "a row occurs twice"
    return rows


def merging(change: Rows) -> Callable[[pa.Table], pa.Table]:
    return lambda existing: build(parse(existing) | change)


def all_rows(value: int = 0) -> Rows:
    return {(arn, minute): value for arn in NAMES for minute in (0, 5)}


def read_files(lake: Lake) -> list[pa.Table]:
    """Read each file of the day as other programs do."""
    dataset = lake.dataset(SAMPLES)
    tables = []
    for name in dataset.files:
        with dataset.filesystem.open_input_file(name) as file:
            tables.append(pq.read_table(file))
    return tables


# --- Layout ------------------------------------------------------------------------------------------------


def test_the_shard_of_a_scheduler_never_changes() -> None:
    """Computed apart with `printf %s ARN | sha256sum`: the first 16 hexadecimal digits."""
    assert hash_scheduler(NAMES[0]) == int("5f3c45244bfbf102", 16)
    assert hash_scheduler("pümp") == int("1ef209bec3a47ca1", 16)


def test_tables_with_a_row_per_execution_have_shards() -> None:
    assert [table.name for table in TABLES if table.has_shards] == [
        "inference_executions",
        "result_objects",
        "anomaly_predictions",
        "sensor_contributions",
        "rejected_results",
    ]


def test_a_day_with_one_shard_is_the_file_that_it_was_before(uri: str) -> None:
    lake = Lake(uri)
    lake.update(SAMPLES, DAY, merging(all_rows()))

    (file,) = lake.dataset(SAMPLES).files
    assert file.endswith("samples/data_date=2026-03-01/part-0.parquet")
    with lake.dataset(SAMPLES).filesystem.open_input_file(file) as stored:
        entries = pq.read_metadata(stored).metadata
    assert entries.keys() == {b"lookout_ledger.table", b"lookout_ledger.version", b"ARROW:schema"}


def test_a_new_day_has_the_number_of_shards_of_the_settings(uri: str) -> None:
    lake = Lake(uri, shards=4)
    written = lake.update(SAMPLES, DAY, merging(all_rows()))

    assert str(written.path).endswith("samples/data_date=2026-03-01")
    assert [Path(file).name for file in lake.dataset(SAMPLES).files] == [
        f"part-{number}.parquet" for number in range(4)
    ]
    for number, rows in enumerate(read_files(lake)):
        assert {hash_scheduler(arn) % 4 for arn in rows["scheduler_arn"].to_pylist()} == {number}
        assert lake._open_day(SAMPLES, DAY).read_layout(number) == FileLayout(4)
        assert rows.equals(sort_rows(rows, SAMPLES.key))


def test_rows_are_in_the_order_of_the_key_with_any_number_of_shards(uri: str) -> None:
    lake = Lake(uri, shards=4)
    lake.update(SAMPLES, DAY, merging(all_rows()))
    lake.update(SAMPLES, DAY + timedelta(1), lambda _: SAMPLES.schema.empty_table())

    expected = build(all_rows())
    assert lake.read(SAMPLES, DAY).equals(expected)
    assert lake.read(SAMPLES, DAY, ["number"])["number"].equals(expected["number"])
    assert lake.scan(SAMPLES, columns=["number", "scheduler_arn"]).equals(
        expected.select(["number", "scheduler_arn"]).replace_schema_metadata()
    )
    assert lake.days(SAMPLES) == [DAY, DAY + timedelta(1)]


def test_an_existing_day_keeps_its_number(uri: str) -> None:
    Lake(uri).update(SAMPLES, DAY, merging(all_rows()))
    lake = Lake(uri, shards=4)
    lake.update(SAMPLES, DAY, merging({(NAMES[0], 10): 1}))
    lake.update(SAMPLES, DAY + timedelta(1), merging(all_rows()))

    assert [lake.shards(SAMPLES, day) for day in (DAY, DAY + timedelta(1))] == [1, 4]
    Lake(uri).update(SAMPLES, DAY + timedelta(1), merging({(NAMES[0], 10): 1}))
    assert Lake(uri).shards(SAMPLES, DAY + timedelta(1)) == 4
    assert len(parse(lake.read(SAMPLES, DAY + timedelta(1)))) == len(all_rows()) + 1


def test_only_files_with_changed_rows_are_written(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), shards=4)
    lake.update(SAMPLES, DAY, merging(all_rows()))
    files = sorted(tmp_path.rglob("part-*.parquet"))
    before = [file.stat().st_ino for file in files]

    assert not lake.update(SAMPLES, DAY, merging(all_rows())).changed
    assert lake.update(SAMPLES, DAY, merging({(NAMES[0], 0): 1})).changed

    replaced = [number for number, file in enumerate(files) if file.stat().st_ino != before[number]]
    assert replaced == [hash_scheduler(NAMES[0]) % 4]


def test_the_merge_fails_before_a_new_day_exists(uri: str) -> None:
    lake = Lake(uri, shards=4)
    with pytest.raises(ZeroDivisionError):
        lake.update(SAMPLES, DAY, lambda _: 1 // 0)
    assert not lake.has(SAMPLES, DAY)


@pytest.mark.parametrize("stored", [1, 4, 6])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_an_update_of_a_shard_leaves_the_other_rows(tmp_path: Path, stored: int, count: int) -> None:
    lake = Lake(str(tmp_path), shards=stored)
    lake.update(SAMPLES, DAY, merging(all_rows()))
    for number in range(count):
        shard = Shard(number, count)
        own = {key: 1 for key in all_rows() if hash_scheduler(key[0]) % count == number}
        assert parse(lake.read(SAMPLES, DAY, shard=shard)).keys() == own.keys()
        written = lake.update(SAMPLES, DAY, lambda _, own=own: build(own), shard=shard)
        assert parse(written.rows) == own
    assert lake.read(SAMPLES, DAY).equals(build(all_rows(1)))
    assert lake.shards(SAMPLES, DAY) == stored


# --- A change of the number of shards ----------------------------------------------------------------------

STEPS = [(1, 4), (4, 1), (2, 4), (4, 2), (4, 6), (3, 3)]


@pytest.mark.parametrize(
    ("uri", "before", "after"),
    [("on disk", *step) for step in STEPS] + [("in S3", 1, 4), ("in S3", 4, 1)],
    indirect=["uri"],
)
def test_a_changed_day_has_the_same_rows(uri: str, before: int, after: int) -> None:
    lake = Lake(uri, shards=before)
    lake.update(SAMPLES, DAY, merging(all_rows()))

    assert lake.reshard(SAMPLES, DAY, after) is (before != after)

    assert lake.shards(SAMPLES, DAY) == after
    assert lake.read(SAMPLES, DAY).equals(build(all_rows()))
    assert sum(rows.num_rows for rows in read_files(lake)) == len(all_rows())
    assert not lake.reshard(SAMPLES, DAY, after)
    lake.update(SAMPLES, DAY, merging(all_rows(1)))
    assert lake.read(SAMPLES, DAY).equals(build(all_rows(1)))


def test_one_shard_again_is_the_same_file_again(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    path = Path(lake.update(SAMPLES, DAY, merging(all_rows())).path)
    before = path.read_bytes()

    lake.reshard(SAMPLES, DAY, 4)
    assert path.read_bytes() != before
    lake.reshard(SAMPLES, DAY, 1)

    assert path.read_bytes() == before


def test_a_missing_day_stays_missing(uri: str) -> None:
    assert not Lake(uri).reshard(SAMPLES, DAY, 4)
    assert not Lake(uri).has(SAMPLES, DAY)


@pytest.mark.parametrize(("table", "shards"), [(READINGS, 2), (SAMPLES, 0), (SAMPLES, 1025)])
def test_a_number_or_table_without_shards_is_rejected(tmp_path: Path, table: Table, shards: int) -> None:
    with pytest.raises(ValueError, match="shard"):
        Lake(str(tmp_path)).reshard(table, DAY, shards)


def kill_before_write(lake: Lake, writes: int, shards: int) -> bool:
    """Change the number of shards, killed before a write; return whether it was killed."""
    dying = Lake(lake.uri, lock_timeout_seconds=0)
    dying._storage = Dying(dying._storage, writes)
    try:
        dying.reshard(SAMPLES, DAY, shards)
    except KilledError:
        return True
    return False


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 4), (4, 2), (2, 3)])
def test_a_stop_at_any_point_loses_nothing_and_can_be_continued(
    tmp_path: Path, before: int, after: int
) -> None:
    expected = build(all_rows())
    for writes in range(100):
        lake = Lake(str(tmp_path / str(writes)), shards=before, lock_timeout_seconds=0)
        lake.update(SAMPLES, DAY, lambda _: expected)
        was_killed = kill_before_write(lake, writes, after)

        assert lake.read(SAMPLES, DAY).equals(expected)
        assert parse(pa.concat_tables(lake.read_row_groups(SAMPLES, DAY))) == all_rows()
        assert sum(part.num_rows for part in lake.read_files(SAMPLES, DAY, ["number"])) == len(all_rows())
        seen = [tuple(row.values()) for rows in read_files(lake) for row in rows.to_pylist()]
        assert set(seen) == {tuple(row.values()) for row in expected.to_pylist()}
        changed = all_rows(1)
        lake.update(SAMPLES, DAY, merging(changed))  # it completes the change
        assert not lake._open_day(SAMPLES, DAY).read_layout().is_changing
        for target in (before, after) if writes % 2 else (after, before):
            lake.reshard(SAMPLES, DAY, target)
            assert lake.shards(SAMPLES, DAY) == target
            assert lake.read(SAMPLES, DAY).equals(build(changed))
            assert sum(rows.num_rows for rows in read_files(lake)) == len(changed)
        if not was_killed:
            break
    assert 2 < writes < 99


@pytest.mark.parametrize("number", [1, 3])
def test_an_update_does_not_replace_a_file_of_a_later_change_to_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The day has four shards, then two, and a program that makes four again stops before its commit."""
    lake = Lake(str(tmp_path), shards=4, lock_timeout_seconds=0)
    lake.update(SAMPLES, DAY, merging(all_rows()))
    read_layout = DayFiles.read_layout

    def read_layout_before_the_changes(files: DayFiles, file: int = 0) -> FileLayout | None:
        monkeypatch.setattr(DayFiles, "read_layout", read_layout)
        layout = files.read_layout(file)
        lake.reshard(SAMPLES, DAY, 2)
        assert kill_before_write(lake, 4, 4)  # after two marks and two new files
        return layout

    monkeypatch.setattr(DayFiles, "read_layout", read_layout_before_the_changes)
    own = {key: 1 for key in all_rows() if hash_scheduler(key[0]) % 4 == number}
    lake.update(SAMPLES, DAY, lambda _: build(own), shard=Shard(number, 4))

    lake.reshard(SAMPLES, DAY, 4)  # continues the change, if the update did not
    assert lake.read(SAMPLES, DAY).equals(build(all_rows() | own))


@pytest.mark.parametrize(
    ("owners", "needed"), [((1, 0), 4), ((1, 1), 2), ((0, 0), 2)], ids=["swap", "first", "second"]
)
def test_a_stop_loses_no_row_that_moves_to_another_file(
    tmp_path: Path, owners: Sequence[int], needed: int
) -> None:
    names = [
        NAMES[0],
        next(name for name in NAMES if hash_scheduler(name) % 2 != hash_scheduler(NAMES[0]) % 2),
    ]
    after = build({(names[owner], 5 * (owner != number)): number for number, owner in enumerate(owners)})
    for writes in range(needed + 1):
        lake = Lake(str(tmp_path / str(writes)), shards=2)
        lake.update(SAMPLES, DAY, lambda _: build({(name, 0): number for number, name in enumerate(names)}))
        dying = Lake(lake.uri)
        dying._storage = Dying(dying._storage, writes)

        with pytest.raises(KilledError) if writes < needed else nullcontext():
            dying.update(SAMPLES, DAY, lambda _: after)

        assert set(parse(lake.read(SAMPLES, DAY)).values()) == {0, 1}
        lake.update(SAMPLES, DAY, lambda _: after)
        assert lake.read(SAMPLES, DAY).equals(after)


@pytest.mark.parametrize(
    ("uri", "migrations"),
    [("on disk", [4]), ("on disk", [1, 8]), ("on disk", [2, 3, 1]), ("in S3", [1, 4])],
    ids=str,
    indirect=["uri"],
)
def test_concurrent_writers_and_readers_lose_and_repeat_no_row(uri: str, migrations: list[int]) -> None:
    """Three writers, a reader, and programs that change the number of shards, to the same or other ones."""
    updates = 4 if uri.startswith("s3://") else 8
    Lake(uri, shards=2).update(SAMPLES, DAY, merging(all_rows()))
    written, is_over = dict(all_rows()), threading.Event()

    def write(writer: int) -> None:
        lake, chance = Lake(uri, lock_timeout_seconds=120), random.Random(writer)  # noqa: S311
        for minute in range(100 * (writer + 1), 100 * (writer + 1) + updates):
            change = {(chance.choice(NAMES), minute): writer}
            if chance.random() < 0.5:
                lake.update(SAMPLES, DAY, merging(change))
            else:
                ((arn, _),) = change
                shard = Shard(hash_scheduler(arn) % 4, 4)
                lake.update(SAMPLES, DAY, merging(change), shard=shard)
            written.update(change)

    def read() -> int:
        lake, count = Lake(uri, lock_timeout_seconds=120), 0
        while not is_over.is_set():
            acknowledged = set(written)
            assert acknowledged <= parse(lake.read(SAMPLES, DAY)).keys()
            count += 1
        return count

    def migrate(numbers: list[int]) -> None:
        lake = Lake(uri, lock_timeout_seconds=120)
        for number in numbers:
            lake.reshard(SAMPLES, DAY, number)

    with ThreadPoolExecutor(6) as pool:
        reader = pool.submit(read)
        work = [pool.submit(write, writer) for writer in range(3)]
        work += [pool.submit(migrate, migrations), pool.submit(migrate, list(reversed(migrations)))]
        for future in work:
            future.result()
        is_over.set()
        assert reader.result() > 0
    lake = Lake(uri)
    assert parse(lake.read(SAMPLES, DAY)) == written
    lake.reshard(SAMPLES, DAY, 4)
    assert sum(rows.num_rows for rows in read_files(lake)) == len(written)


# --- Any sequence ------------------------------------------------------------------------------------------

counts = st.sampled_from([1, 2, 3, 4, 7])
changes = st.dictionaries(st.tuples(st.sampled_from(NAMES), st.integers(0, 3)), st.integers(0, 3), max_size=6)


class ShardedLake(RuleBasedStateMachine):
    """A lake with any numbers of shards next to one with a single shard."""

    @initialize(directory=st.just(None))
    def create(self, directory: None) -> None:
        del directory
        self.folder = next(FOLDERS)
        self.plain = Lake(str(self.folder / "plain"))
        self.lake = Lake(str(self.folder / "shards"), shards=3, lock_timeout_seconds=5)

    @rule(change=changes, setting=counts)
    def update(self, change: Rows, setting: int) -> None:
        lake = Lake(self.lake.uri, shards=setting, lock_timeout_seconds=5)
        one, several = (each.update(SAMPLES, DAY, merging(change)) for each in (self.plain, lake))
        assert several.rows.equals(one.rows)
        assert several.before.equals(one.before)
        assert several.changed is one.changed

    @rule(change=changes, count=counts)
    def update_shard_by_shard(self, change: Rows, count: int) -> None:
        self.plain.update(SAMPLES, DAY, merging(change))
        for number in range(count):
            own = {key: value for key, value in change.items() if hash_scheduler(key[0]) % count == number}
            self.lake.update(SAMPLES, DAY, merging(own), shard=Shard(number, count))

    @rule(change=changes, count=counts)
    def update_in_row_groups(self, change: Rows, count: int) -> None:
        def merge(groups: Iterator[pa.Table], own: Rows) -> Iterator[pa.Table]:
            stored = [parse(rows) for rows in groups]
            merged: Rows = {}
            for rows in [*stored, own]:
                merged |= rows
            yield build(merged)

        self.plain.update(SAMPLES, DAY, merging(change))
        for number in range(count):
            own = {key: value for key, value in change.items() if hash_scheduler(key[0]) % count == number}
            self.lake.update_row_groups(
                SAMPLES, DAY, lambda groups, own=own: merge(groups, own), Shard(number, count)
            )

    @rule(count=counts)
    def change_the_number(self, count: int) -> None:
        self.lake.reshard(SAMPLES, DAY, count)
        assert not self.lake.has(SAMPLES, DAY) or self.lake.shards(SAMPLES, DAY) == count

    @rule(count=counts, writes=st.integers(0, 8), then=counts)
    def stop_a_change_and_continue(self, count: int, writes: int, then: int) -> None:
        kill_before_write(self.lake, writes, count)
        self.has_the_rows_of_one_shard()
        self.lake.reshard(SAMPLES, DAY, then)

    @invariant()
    def has_the_rows_of_one_shard(self) -> None:
        if not hasattr(self, "lake"):
            return
        assert self.lake.has(SAMPLES, DAY) is self.plain.has(SAMPLES, DAY)
        one, several = (lake.read(SAMPLES, DAY) for lake in (self.plain, self.lake))
        assert several.equals(one)
        assert compute_content_version(SAMPLES, several) == compute_content_version(SAMPLES, one)

    @invariant()
    def has_each_row_in_one_file(self) -> None:
        if hasattr(self, "lake") and self.lake.has(SAMPLES, DAY):
            assert self.lake.scan(SAMPLES).num_rows == self.plain.scan(SAMPLES).num_rows


FOLDERS: Iterator[Path] = iter(())


def test_any_sequence_over_any_numbers_gives_the_rows_of_one_shard(
    rounds: Callable[[int], int], tmp_path: Path
) -> None:
    global FOLDERS  # noqa: PLW0603 (hypothesis creates the machines)
    FOLDERS = (tmp_path / str(number) for number in range(1_000_000))
    check_machine(ShardedLake, rounds(12), steps=10)


def test_a_change_between_the_row_groups_of_a_reader_is_an_error(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), shards=2)
    lake.update(SAMPLES, DAY, merging(all_rows()))
    readers = [lake.read_row_groups(SAMPLES, DAY), lake._open_day(SAMPLES, DAY).read_files(SAMPLES.schema)]
    for reader in readers:
        next(reader)
    lake.reshard(SAMPLES, DAY, 4)
    for reader in readers:
        with pytest.raises(RetryLaterError, match="Cannot u"):
            list(reader)


def test_a_reader_without_the_key_gets_each_row_once(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path), shards=2)
    lake.update(SAMPLES, DAY, merging(all_rows()))
    assert kill_before_write(lake, 5, 4)
    assert lake.read(SAMPLES, DAY, ["number"]).num_rows == len(all_rows())
