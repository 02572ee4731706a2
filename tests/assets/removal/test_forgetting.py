"""Forgetting a source equals never having read it; lifting it and reading it again undoes that."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from assets.executions.archive_index import lift_files
from assets.executions.extraction import Extraction
from assets.executions.tombstones import NO_TOMBSTONES, ForgetOperation, save_operation
from assets.framework.time_windows import Days
from assets.removal.rereading import Rereading, SourceReader
from assets.tables import ARCHIVE_FILES, EXECUTION_SOURCES, FORGET_OPERATIONS, INFERENCE_EXECUTIONS
from resources.config.settings import ArchiveSettings, BucketSettings
from resources.errors import RetryLaterError
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.base import Source
from resources.sources.factory import open_source
from tests.support.forgetting import (
    DAYS,
    NOW,
    SETTLE_AFTER,
    Execution,
    World,
    build_operation,
    find_differences,
    read_bytes,
    write_copy,
    write_file,
)
from tests.support.s3_server import Bucket

LATER = NOW + timedelta(days=1)
HOURS = (1, 2, 20, 30, 31)
"""Hours of both days; with so few, sources overlap often."""

executions = st.builds(Execution, st.sampled_from("abc"), st.sampled_from(HOURS))
files = st.dictionaries(
    executions, st.sampled_from(["IN_PROGRESS", "SUCCESS", "FAILED"]), min_size=1, max_size=8
)
copies = st.sets(executions, min_size=1, max_size=6)
worlds = st.tuples(st.lists(files, min_size=1, max_size=2), st.lists(copies, max_size=1)).filter(
    lambda parts: len(parts[0]) + len(parts[1]) > 1
)
World_ = tuple[list[dict[Execution, str]], list[set[Execution]]]


@contextmanager
def open_world(world: World_) -> Iterator[tuple[Callable[[str], World], list[Source]]]:
    """Write the sources, and yield a constructor of lakes and the sources."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_copy(folder / "results", (Execution(each, hour) for each in "ab" for hour in HOURS))
        saved = [write_file(folder / f"{number}.json", file) for number, file in enumerate(world[0])]
        buckets = [write_copy(folder / f"copy{number}", copy) for number, copy in enumerate(world[1])]
        yield lambda lake: World(Lake(str(folder / lake)), folder / "results"), [*saved, *buckets]


@how(deadline=None, max_examples=4)
@given(worlds, st.data())
def test_forgetting_a_source_equals_a_lake_from_the_others(world: World_, data: st.DataObject) -> None:
    with open_world(world) as (open_lake, sources):
        forgotten = data.draw(st.sampled_from(sources))
        lake = open_lake("all")
        lake.extract(sources)
        lake.compute()
        report = lake.forget(build_operation(lake.lake, forgotten), sources)
        assert report.operation.completed_at
        assert not report.operation.executions_kept
        lake.compute()  # an execution can have another result now
        others = open_lake("others")
        others.extract([source for source in sources if source is not forgotten])
        others.compute()
        uris = [forgotten.uri]
        assert not find_differences(lake.read(without=uris), others.read(without=uris))


@how(deadline=None, max_examples=2)
@given(worlds, st.data())
def test_a_lifted_source_that_is_read_again_leaves_the_lake_as_before(
    world: World_, data: st.DataObject
) -> None:
    with open_world(world) as (open_lake, sources):
        forgotten = data.draw(st.sampled_from(sources))
        lake = open_lake("all")
        lake.extract(sources)
        lake.compute()
        before = lake.read()
        operation = lake.forget(build_operation(lake.lake, forgotten), sources).operation
        lake.extract(sources)
        lake.compute()
        assert not lift(lake.lake, operation).is_active
        lake.extract(sources)
        lake.compute()
        assert not find_differences(lake.read(), before)


def lift(lake: Lake, operation: ForgetOperation) -> ForgetOperation:
    lifted = replace(operation, lifted_at=LATER)
    lake.update(FORGET_OPERATIONS, None, lambda existing: save_operation(existing, lifted, LATER))
    lake.update(ARCHIVE_FILES, None, lambda existing: lift_files(existing, lifted))
    return lifted


ALL = [Execution(each, hour) for each in "ab" for hour in HOURS]


@pytest.fixture
def world(tmp_path: Path) -> World:
    write_copy(tmp_path / "results", ALL)
    return World(Lake(str(tmp_path / "lake")), tmp_path / "results")


def list_keys(lake: Lake) -> set[tuple[str, datetime]]:
    rows = (row for day in DAYS for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist())
    return {(row["scheduler_arn"], row["data_start_time"]) for row in rows}


def test_executions_stay_while_another_source_cannot_be_read(world: World, tmp_path: Path) -> None:
    forgotten = write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS"))
    other = write_file(tmp_path / "b.json", dict.fromkeys(ALL[:3], "IN_PROGRESS"))
    world.extract([forgotten, other])
    content = (tmp_path / "b.json").read_bytes()
    (tmp_path / "b.json").unlink()
    folder = open_source(ArchiveSettings(uri=str(tmp_path)), DEFAULT_LIMITS)
    report = world.forget(build_operation(world.lake, forgotten), [folder])
    counts = report.operation.executions_removed, report.operation.executions_kept
    assert counts == (len(ALL) - 3, 3)
    assert report.unreadable == {other.uri: "it is in no configured source"}
    statuses = (world.lake.read(INFERENCE_EXECUTIONS, day)["status"].to_pylist() for day in DAYS)
    assert {status for of_day in statuses for status in of_day} == {"SUCCESS"}
    (tmp_path / "b.json").write_bytes(content)
    report = world.forget(build_operation(world.lake, forgotten), [folder])
    assert (report.operation.executions_kept, report.operation.completed_at) == (0, NOW)
    others = World(Lake(str(tmp_path / "others")), tmp_path / "results")
    others.extract([other])
    without = [forgotten.uri, other.uri]  # the size of b.json is the same, but its time is not
    assert not find_differences(world.read(without=without), others.read(without=without))


def test_each_source_that_cannot_be_read_again_is_named(tmp_path: Path, bucket: Bucket) -> None:
    executions = dict.fromkeys(ALL, "SUCCESS")
    deleted = write_file(tmp_path / "a.json", executions)
    copy = write_copy(tmp_path / "copy", ALL)
    listed = write_file(tmp_path / "folder" / "b.json", executions)
    folder = open_source(ArchiveSettings(uri=str(tmp_path / "folder")), DEFAULT_LIMITS)
    missing = open_source(ArchiveSettings(uri=str(tmp_path / "missing")), DEFAULT_LIMITS)
    bucket.put("dumps/c.json", (tmp_path / "a.json").read_bytes())
    in_s3 = open_source(ArchiveSettings(uri=f"{bucket.uri}/dumps"), DEFAULT_LIMITS)
    uri = f"{bucket.uri}/dumps/c.json"
    sources = [missing, deleted, copy, folder, in_s3]
    reader = SourceReader(sources, NO_TOMBSTONES, NOW, lambda _: None)
    assert len(reader._files) == 3  # they are listed before the files are deleted
    bucket.server.fail_next("GET", "503 SLOW DOWN", "SlowDown", times=2)
    (tmp_path / "a.json").unlink()
    shutil.rmtree(tmp_path / "copy")

    rereading = reader.read(
        {each: [] for each in [missing.uri, deleted.uri, copy.uri, listed.uri, uri]}, DAYS
    )

    assert set(rereading.unreadable) == {missing.uri, deleted.uri, copy.uri, uri}
    assert rereading.unreadable[missing.uri] == "Cannot read a source: No such file or directory"
    assert "SlowDown" in rereading.unreadable[uri]
    assert reader.read_keys([uri], DAYS)[1] == {uri}


def test_forgetting_needs_no_bucket_that_cannot_be_listed(world: World, tmp_path: Path) -> None:
    forgotten = write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS"))
    settings = BucketSettings(uri=str(tmp_path / "copy"), copy_of="s3://plant", scheduler_name="pump-9")
    write_copy(tmp_path / "copy", ALL[:2])
    copy = open_source(settings, DEFAULT_LIMITS)
    world.extract([forgotten, copy])
    shutil.rmtree(tmp_path / "copy")

    report = world.forget(
        build_operation(world.lake, forgotten), [forgotten, open_source(settings, DEFAULT_LIMITS)]
    )

    assert copy.uri in report.unreadable
    assert report.operation.executions_kept == 2


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_file_without_claims_is_read_first_or_its_executions_stay(
    world: World, tmp_path: Path, is_readable: bool
) -> None:
    """An early version recorded no claims."""
    forgotten = write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS"))
    other = write_file(tmp_path / "b.json", dict.fromkeys(ALL[:3], "SUCCESS"))
    world.extract([forgotten, other])
    world.lake.update(
        EXECUTION_SOURCES,
        None,
        lambda existing: existing.filter(pc.equal(existing["source"], forgotten.uri)),
    )
    report = world.forget(build_operation(world.lake, forgotten), [other] if is_readable else [])
    of_first_day = [each for each in ALL if each.start.date() == DAYS[0]]  # the day of the other file
    assert report.operation.executions_kept == (0 if is_readable else len(of_first_day))
    kept = ALL[:3] if is_readable else of_first_day
    assert list_keys(world.lake) == {(each.arn, each.start) for each in kept}


def test_a_run_that_read_a_source_before_it_was_forgotten_records_nothing(
    world: World, tmp_path: Path
) -> None:
    forgotten = write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS"))
    world.extract([forgotten])
    running = Extraction(world.lake, Days(DAYS[0]), SETTLE_AFTER, NOW, lambda _: None)
    (tmp_path / "lake" / "archive_files" / "part-0.parquet").unlink()  # it reads the file again
    running.gather([forgotten], DAYS)
    world.forget(replace(build_operation(world.lake, forgotten), content_hashes=None), [forgotten])
    for day in DAYS:
        with pytest.raises(RetryLaterError, match="ledger forget"):
            running.record(day)
    assert not list_keys(world.lake)


def test_rows_that_another_run_adds_meanwhile_are_not_lost(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run records the same executions from a new file, after the plan and before the first day."""
    forgotten = write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS"))
    world.extract([forgotten])
    operation = build_operation(world.lake, forgotten)
    other = write_file(tmp_path / "b.json", dict.fromkeys(ALL[:3], "SUCCESS"))
    read = SourceReader.read

    def read_while_another_run_records(self: SourceReader, *arguments: Any) -> Rereading:
        rereading = read(self, *arguments)
        world.extract([other])
        return rereading

    with monkeypatch.context() as patch:
        patch.setattr(SourceReader, "read", read_while_another_run_records)
        report = world.forget(operation, [forgotten, other])
    expected = {(execution.arn, execution.start) for execution in ALL[:3]}
    assert list_keys(world.lake) == expected
    assert report.operation.executions_kept == 3
    report = world.forget(operation, [forgotten, other])
    assert list_keys(world.lake) == expected
    assert report.operation.executions_kept == 0


def test_a_repetition_leaves_equal_bytes(world: World, tmp_path: Path) -> None:
    forgotten = write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS"))
    sources = [forgotten, write_file(tmp_path / "b.json", dict.fromkeys(ALL[:3], "FAILED"))]
    world.extract(sources)
    world.compute()
    operation = build_operation(world.lake, forgotten)
    world.forget(operation, sources)
    before = read_bytes(world.lake)
    world.now = LATER
    world.extract(sources)
    world.forget(operation, sources)
    after = read_bytes(world.lake)
    changed = {Path(name).parent.name for name in after if after[name] != before.get(name)}
    assert changed <= {FORGET_OPERATIONS.name}


@pytest.mark.parametrize(
    ("selection", "keeps"),
    [
        ({"scheduler_arns": frozenset([ALL[0].arn])}, lambda each: each.scheduler != "a"),
        ({"first_date": DAYS[1]}, lambda each: each.start.date() < DAYS[1]),
        (
            {"last_date": DAYS[0], "scheduler_arns": frozenset([ALL[0].arn])},
            lambda each: each.scheduler != "a" or each.start.date() > DAYS[0],
        ),
    ],
    ids=["scheduler", "days", "both"],
)
def test_forgetting_schedulers_or_days_equals_files_without_them(
    world: World,
    tmp_path: Path,
    selection: dict[str, Any],
    keeps: Callable[[Execution], bool],
) -> None:
    sources = [
        write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS")),
        write_file(tmp_path / "b.json", dict.fromkeys(ALL[2:7], "FAILED")),
    ]
    world.extract(sources)
    world.compute()
    uris = [source.uri for source in sources]
    operation = replace(
        build_operation(world.lake, sources[0]), source=None, sources=None, content_hashes=None
    )
    world.forget(replace(operation, **selection), sources)
    world.extract(sources)  # the files are read again, and what was forgotten is skipped
    world.compute()
    write_file(tmp_path / "a.json", {each: "SUCCESS" for each in ALL if keeps(each)})
    write_file(tmp_path / "b.json", {each: "FAILED" for each in ALL[2:7] if keeps(each)})
    others = World(Lake(str(tmp_path / "others")), tmp_path / "results")
    others.extract(sources)
    others.compute()
    assert not find_differences(world.read(without=uris), others.read(without=uris))


def test_forgotten_days_stay_empty_although_a_bucket_has_their_results(world: World, tmp_path: Path) -> None:
    sources = [
        write_file(tmp_path / "a.json", dict.fromkeys(ALL, "SUCCESS")),
        write_copy(tmp_path / "copy", ALL),
    ]
    world.extract(sources)
    operation = replace(
        build_operation(world.lake, sources[0]),
        source=None,
        sources=None,
        content_hashes=None,
        first_date=DAYS[1],
    )
    world.forget(operation, sources)
    world.extract(sources)
    assert {start.date() for _, start in list_keys(world.lake)} == {DAYS[0]}
