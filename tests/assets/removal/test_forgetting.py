"""Forgetting a source equals never having read it; lifting it and reading it again undoes that."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from assets.executions.archive_index import lift_files
from assets.executions.tombstones import ForgetOperation, save_operation
from assets.tables import ARCHIVE_FILES, FORGET_OPERATIONS
from resources.lake.lake import Lake
from resources.sources.base import Source
from tests.support.forgetting import (
    NOW,
    Execution,
    World,
    build_operation,
    find_differences,
    write_copy,
    write_file,
)

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


@how(deadline=None, max_examples=12)
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


@how(deadline=None, max_examples=5)
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
