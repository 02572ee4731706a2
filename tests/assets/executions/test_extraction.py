"""Extraction of saved responses into a lake: repeated runs lose nothing and repeat nothing."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pytest

from assets.executions import candidates, execution_writer, merge
from assets.executions.archive_index import ArchiveRecord, load_records
from assets.executions.extraction import Extraction, RecordedDay
from assets.framework.time_windows import Days
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    REJECTED_EXECUTIONS,
    TABLES,
)
from resources.errors import ConfigurationError, UnreadableArchiveError
from resources.lake.lake import Lake
from resources.sources import saved_file
from resources.sources.archive import ArchiveSource
from resources.storage.base import StoredFile
from resources.storage.local_files import LocalFiles
from sandbox.dumps import Manifest, split_into_pages, write_dump, write_history
from sandbox.fleet import History, build_fleet
from sandbox.forms import Form
from sandbox.schedulers import Scheduler, Summary, sort_newest_first
from tests.support.fleets import build_sparse_fleet

Row = dict[str, Any]

END = datetime(2026, 10, 8, tzinfo=UTC)
START = END - timedelta(days=3)
DAYS = [START.date() + timedelta(days=number) for number in range(3)]
NOW = datetime(2026, 10, 9, 12, tzinfo=UTC)
LATER = END + timedelta(hours=2)  # all executions have ended, except the stuck one
FLEET = build_sparse_fleet(2, History(START, END))
COMPRESSOR, BLOWER = (  # every 10 minutes, and every 15
    next(execution for execution in build_fleet(2, FLEET.history).schedulers if execution.name == name)
    for name in ("compressor-1", "blower-1")
)
A_DAY = 144
EARLY = START + timedelta(hours=12, minutes=5, seconds=30)  # one execution is running at this time


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "dumps"
    place.mkdir()
    return place


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """All saved responses of a fleet, including invalid ones. Do not modify them."""
    place = tmp_path_factory.mktemp("history")
    return place, write_history(FLEET, place, LATER)


class Filled(NamedTuple):
    """The lake after one run over the history. Do not modify it."""

    lake: Lake
    manifest: Manifest
    notices: list[str]


@pytest.fixture(scope="module")
def filled(history: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Filled:
    place, manifest = history
    lake = Lake(str(tmp_path_factory.mktemp("filled")))
    return Filled(lake, manifest, run(lake, place).notices)


def executed(
    scheduler: Scheduler = COMPRESSOR,
    clock: datetime = LATER,
    start: datetime = START,
    end: datetime = END,
) -> list[Summary]:
    return sort_newest_first(scheduler.executions(clock, start, end))


def save(path: Path, summaries: Sequence[Summary], form: Form = Form.BOTO3_JSON) -> Path:
    (written,) = write_dump(path, form, split_into_pages(summaries, len(summaries) or 1))
    return written


def begin(
    lake: Lake,
    *sources: ArchiveSource | Path,
    days: Iterable[date] = DAYS,
    now: datetime = NOW,
    history: Days = Days(DAYS[0]),  # noqa: B008
    progress: Callable[[str], None] = lambda _: None,
) -> Extraction:
    extraction = Extraction(lake, history, timedelta(hours=3), now, progress)
    opened = [
        source if isinstance(source, ArchiveSource) else ArchiveSource(str(source)) for source in sources
    ]
    extraction.gather(opened, [*days])
    return extraction


def run(
    lake: Lake, *sources: ArchiveSource | Path, days: Sequence[date] = DAYS, **options: Any
) -> Extraction:
    """Run a complete extraction, in the same steps as the asset."""
    extraction = begin(lake, *sources, days=days, **options)
    for day in days:
        extraction.record(day)
    extraction.save_file_index()
    return extraction


def read(extraction: Extraction) -> list[str]:
    return sorted(Path(file.uri).name for file in extraction.files_read)


def executions(lake: Lake, days: Iterable[date] = DAYS) -> dict[tuple[str, datetime], Row]:
    return {
        (row["scheduler_arn"], row["data_start_time"]): row
        for day in days
        for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist()
    }


def contents(lake: Lake) -> dict[str, list[Row]]:
    """Return the rows of executions, coverage and rejects without `recorded_at`."""
    return {
        f"{table.name} {day}": lake.read(table, day).drop_columns("recorded_at").to_pylist()
        for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE)
        for day in lake.days(table)
    } | {"rejected": lake.read(REJECTED_EXECUTIONS).drop_columns("recorded_at").to_pylist()}


def stored(lake: Lake, days: Iterable[date] | None = None) -> dict[Path, tuple[int, bytes]]:
    """Return modification time and content of the data files."""
    wanted = None if days is None else {f"data_date={day}" for day in days}
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in lake.root.rglob("part-0.parquet")
        if wanted is None or path.parent.name in wanted
    }


def files(lake: Lake) -> dict[str, ArchiveRecord]:
    return {Path(uri).name: file for uri, file in load_records(lake.read(ARCHIVE_FILES)).items()}


class TestHistoryOfAFleet:
    def test_every_saved_execution_is_in_the_lake_once_on_its_day(self, filled: Filled) -> None:
        lake, manifest, _ = filled
        assert executions(lake).keys() == manifest.executions
        for day in DAYS:
            assert all(start.date() == day for _, start in executions(lake, [day]))

    def test_final_status_wins_over_earlier_dumps(self, filled: Filled) -> None:
        lake = filled.lake
        truth = {
            (execution["InferenceSchedulerArn"], execution["DataStartTime"]): execution["Status"]
            for scheduler in FLEET.schedulers
            for execution in scheduler.executions(LATER, end=END)
        }
        actual = {key: row["status"] for key, row in executions(lake).items()}
        assert actual == truth
        assert list(actual.values()).count("IN_PROGRESS") == 1  # the one that is stuck

    def test_coverage_counts_executions_and_proves_nothing(self, filled: Filled) -> None:
        lake = filled.lake
        for day in DAYS:
            rows = executions(lake, [day]).values()
            covered = lake.read(EXTRACTION_COVERAGE, day).to_pylist()
            assert {row["scheduler_arn"] for row in covered} == {row["scheduler_arn"] for row in rows}
            for row in covered:
                own = [
                    execution["status"]
                    for execution in rows
                    if execution["scheduler_arn"] == row["scheduler_arn"]
                ]
                assert row["complete_through"] is None
                assert row["sources"] == "archive"
                assert (row["executions"], row["in_progress"], row["failed"]) == (
                    len(own),
                    own.count("IN_PROGRESS"),
                    own.count("FAILED"),
                )

    def test_notices_name_the_files_with_problems(self, filled: Filled) -> None:
        _, manifest, notices = filled
        messages = "\n".join(notices)
        for path in (*manifest.unreadable, *manifest.incomplete, *manifest.unusable):
            assert str(path) in messages
        assert sum(str(file.path) in messages for file in manifest.files) == 3

    def test_index_has_the_content_of_each_file(self, filled: Filled) -> None:
        lake, manifest, _ = filled
        actual = load_records(lake.read(ARCHIVE_FILES))
        assert actual.keys() == {str(file.path) for file in manifest.files}
        for file in manifest.files:
            row = actual[str(file.path)]
            assert (row.executions, row.rejected) == (len(file.executions), file.unusable)
            assert (row.error is not None) is file.is_unreadable
            if not file.is_unreadable and file.form not in (Form.JSON_LINES, Form.BARE_LIST):
                assert row.complete is not file.ends_with_token

    def test_rejected_summary_is_stored_with_its_file_and_position(self, filled: Filled) -> None:
        lake, manifest, _ = filled
        (row,) = lake.read(REJECTED_EXECUTIONS).to_pylist()
        assert row["source"] == str(manifest.unusable[0])
        assert (row["position"], row["reason"]) == (2, "no DataStartTime")
        assert row["recorded_at"] == NOW

    def test_second_run_reads_and_changes_nothing(self, lake: Lake, history: tuple[Path, Manifest]) -> None:
        run(lake, history[0])
        before = stored(lake)
        again = run(lake, history[0], now=NOW + timedelta(days=1))
        assert read(again) == []
        assert stored(lake) == before
        assert again.count_results() == {
            "files_read": 0,
            "schedulers_answered": 0,
            "days_recorded": 3,
            "days_changed": 0,
            "rows_changed": 0,
        }

    def test_any_order_of_days_and_runs_gives_the_same_lake(
        self, filled: Filled, history: tuple[Path, Manifest], tmp_path: Path
    ) -> None:
        place, _ = history
        by_days = Lake(str(tmp_path / "by-days"))
        for day in (DAYS[1], DAYS[2], DAYS[0]):
            run(by_days, place, days=[day])
        by_folders = Lake(str(tmp_path / "by-folders"))
        for part in sorted(place.iterdir(), reverse=True):
            run(by_folders, part)
        assert contents(by_days) == contents(by_folders) == contents(filled.lake)

    def test_buffer_size_does_not_affect_the_lake(
        self, filled: Filled, history: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(candidates, "PENDING_ROWS", 10)
        monkeypatch.setattr(candidates, "PENDING_ROWS_OF_DAY", 1)
        for module in (execution_writer, merge):
            monkeypatch.setattr(module, "MOST_ROWS_AT_ONCE", 7)
        monkeypatch.setattr(merge, "ROWS_OF_PIECE", 7)
        frugal = Lake(str(tmp_path / "frugal"))
        run(frugal, history[0])
        assert contents(frugal) == contents(filled.lake)


class TestNewDumps:
    def test_change_only_the_days_that_they_cover(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder)
        others = stored(lake, [DAYS[0], DAYS[2]])
        midday = START + timedelta(days=1, hours=12)
        added = executed(BLOWER, start=midday, end=midday + timedelta(hours=1))
        save(folder / "two.json", added)
        again = run(lake, folder, now=NOW + timedelta(days=1))
        assert read(again) == ["two.json"]
        assert stored(lake, [DAYS[0], DAYS[2]]) == others
        assert again.count_results() == {
            "files_read": 1,
            "schedulers_answered": 0,
            "days_recorded": 3,
            "days_changed": 1,
            "rows_changed": 4,
        }

    def test_without_new_content_change_only_the_index(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder)
        before = stored(lake, DAYS)
        save(folder / "copy.json", executed(), Form.WIRE)
        again = run(lake, folder, now=NOW + timedelta(days=1))
        assert read(again) == ["copy.json"]
        assert stored(lake, DAYS) == before

    def test_finalize_executions_in_any_order(self, lake: Lake, folder: Path, tmp_path: Path) -> None:
        early = save(folder / "early.json", executed(clock=EARLY))
        late = save(folder / "late.json", executed())
        run(lake, early)
        running = [row for row in executions(lake).values() if row["status"] == "IN_PROGRESS"]
        assert running
        run(lake, late)
        backwards = Lake(str(tmp_path / "backwards"))
        run(backwards, late)
        run(backwards, early)
        assert contents(lake) == contents(backwards)
        assert all(row["status"] in ("SUCCESS", "FAILED") for row in executions(lake).values())

    def test_change_only_the_rows_that_differ(self, lake: Lake, folder: Path) -> None:
        save(folder / "early.json", executed(clock=EARLY))
        run(lake, folder)
        before = executions(lake)
        save(folder / "late.json", executed())
        later = NOW + timedelta(days=1)
        recorded = run(lake, folder, now=later)
        after = executions(lake)
        differ = {
            key
            for key, row in after.items()
            if before.get(key, {}) | {"recorded_at": None} != row | {"recorded_at": None}
        }
        assert {key for key, row in after.items() if row["recorded_at"] == later} == differ
        assert recorded.count_results()["rows_changed"] == len(differ) < len(after)


class TestNothingIsLost:
    def test_if_the_folder_is_emptied(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder)
        before = stored(lake)
        (folder / "one.json").unlink()
        again = run(lake, folder, now=NOW + timedelta(days=1))
        assert stored(lake) == before
        assert any("has no saved responses" in notice for notice in again.notices)

    def test_if_the_folder_is_deleted(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder)
        before = stored(lake)
        shutil.rmtree(folder)
        with pytest.raises(ConfigurationError, match="dumps"):
            run(lake, folder)
        assert stored(lake) == before

    def test_if_a_file_is_replaced_by_a_smaller_one(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder)
        before = contents(lake)
        save(folder / "one.json", executed()[:1])
        again = run(lake, folder)
        assert read(again) == ["one.json"]
        assert contents(lake) == before

    def test_if_an_older_dump_is_added_last(self, lake: Lake, folder: Path) -> None:
        save(folder / "late.json", executed())
        run(lake, folder)
        before = stored(lake, DAYS)
        save(folder / "early.json", executed(clock=EARLY))
        run(lake, folder, now=NOW + timedelta(days=1))
        assert stored(lake, DAYS) == before


class TestDays:
    def test_not_requested_are_not_written(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder, days=[DAYS[0], DAYS[2]])
        assert lake.days(INFERENCE_EXECUTIONS) == [DAYS[0], DAYS[2]]
        assert len(executions(lake)) == 2 * A_DAY

    def test_requested_later_are_filled_from_the_same_files(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder, days=[DAYS[0]])
        assert read(run(lake, folder, days=[DAYS[1]])) == ["one.json"]
        assert read(run(lake, folder, days=DAYS[:2])) == []
        assert len(executions(lake)) == 2 * A_DAY
        assert files(lake)["one.json"].merged_dates == {*DAYS[:2]}

    def test_read_only_the_files_that_cover_them(self, lake: Lake, folder: Path) -> None:
        for number in range(3):
            start = START + timedelta(days=number)
            save(folder / f"{number}.json", executed(start=start, end=start + timedelta(days=1)))
        run(lake, folder, days=DAYS[:1])
        assert read(run(lake, folder, days=DAYS[1:2])) == ["1.json"]

    def test_without_executions_are_files_without_rows(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed(end=START + timedelta(days=1)))
        run(lake, folder)
        for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
            assert lake.days(table) == DAYS
            assert [lake.read(table, day).num_rows for day in DAYS[1:]] == [0, 0]

    def test_removed_from_the_lake_are_filled_again(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder)
        before = contents(lake)
        for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
            shutil.rmtree(lake.path(table, DAYS[1]).parent)
        assert read(run(lake, folder, days=DAYS[:1])) == []
        assert read(run(lake, folder)) == ["one.json"]
        assert contents(lake) == before

    def test_outside_the_history_are_reported_with_the_dates_to_set(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        short = run(lake, folder, days=DAYS[1:2], history=Days(DAYS[1], DAYS[2]))
        messages = "\n".join(short.notices)
        assert f'start_date = "{DAYS[0]}"' in messages
        assert f'end_date = "{END.date()}"' in messages
        again = run(lake, folder, days=DAYS[1:2], history=Days(DAYS[1], DAYS[2]))
        assert (read(again), again.notices) == ([], short.notices)  # as long as it is so

    def test_none_requested_writes_no_day(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder, days=[])
        assert lake.days(INFERENCE_EXECUTIONS) == []
        assert read(run(lake, folder)) == ["one.json"]
        assert len(executions(lake)) == 3 * A_DAY

    def test_report_their_changes(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        extraction = begin(lake, folder)
        first = extraction.record(DAYS[0])
        assert isinstance(first, RecordedDay)
        changed = [part.result.metadata["changed"] for part in first.shards]
        assert (first.changed_rows, changed, first.coverage.changed) == (A_DAY, [True], True)
        second = extraction.record(DAYS[0])
        changed = [part.result.metadata["changed"] for part in second.shards]
        assert (second.changed_rows, changed, second.coverage.changed) == (0, [False], False)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda whole: whole[: len(whole) // 2],
    "empty": lambda _: b"",
    "a web page": lambda _: b"<html><body>Access denied</body></html>",
    "binary": lambda _: bytes(range(256)),
    "damaged gzip": lambda _: b"\x1f\x8b\x08\x00 and no more",
    "some other response": lambda _: b'{"InferenceSchedulerSummaries": []}',
}


class TestUnreadableFiles:
    @pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
    def test_are_reported_and_the_others_are_read(
        self, spoil: Callable[[bytes], bytes], lake: Lake, folder: Path
    ) -> None:
        whole = save(folder / "whole.json", executed()).read_bytes()
        (folder / "broken.json").write_bytes(spoil(whole))
        extraction = run(lake, folder)
        (notice,) = extraction.notices
        assert "broken.json: " in notice
        assert files(lake)["broken.json"].error
        assert len(executions(lake)) == 3 * A_DAY

    def test_are_not_read_again_until_they_change_but_always_reported(self, lake: Lake, folder: Path) -> None:
        whole = save(folder / "one.json", executed()).read_bytes()
        (folder / "one.json").write_bytes(whole[:-100])
        first = run(lake, folder)
        again = run(lake, folder)
        assert (read(again), again.notices) == ([], first.notices)
        (folder / "one.json").write_bytes(whole)
        fixed = run(lake, folder)
        assert (read(fixed), fixed.notices) == (["one.json"], [])
        assert files(lake)["one.json"].error is None
        assert len(executions(lake)) == 3 * A_DAY

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user"
    )
    def test_without_permission_are_read_once_permitted(self, lake: Lake, folder: Path) -> None:
        path = save(folder / "one.json", executed())
        path.chmod(0)
        assert any("one.json" in notice for notice in run(lake, folder).notices)
        path.chmod(0o600)  # which changes neither size nor time
        assert read(run(lake, folder)) == ["one.json"]
        assert len(executions(lake)) == 3 * A_DAY

    def test_that_cannot_be_opened_are_retried_by_every_run(self, lake: Lake, folder: Path) -> None:
        class Closed(LocalFiles):
            def open(self, file: StoredFile) -> BinaryIO:
                raise UnreadableArchiveError("a file cannot be opened", where=file.uri, next_step="open it")

        save(folder / "one.json", executed())
        closed = ArchiveSource(str(folder), store=Closed())
        for _ in range(2):
            extraction = run(lake, closed)
            assert read(extraction) == ["one.json"]
            assert any("one.json: a file cannot be opened." in notice for notice in extraction.notices)
        assert executions(lake) == {}
        opened = run(lake, folder)
        assert (read(opened), opened.notices) == (["one.json"], [])
        assert len(executions(lake)) == 3 * A_DAY

    def test_that_become_unreadable_remove_nothing(self, lake: Lake, folder: Path) -> None:
        path = save(folder / "one.json", executed())
        run(lake, folder)
        before = contents(lake)
        path.write_bytes(b"oops")
        run(lake, folder)
        assert contents(lake) == before


class TestUnusualInput:
    def test_is_reported_by_name_and_the_others_are_read(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        (folder / "P\udcfcmpe.json").write_bytes(b"{}")
        (folder / "self").symlink_to("self")
        (folder / "gone").symlink_to("nowhere")
        (folder / "folder.json").mkdir()
        os.mkfifo(folder / "pipe.json")
        (folder / "P\udcfcmpe.pdf").write_bytes(b"not a saved response")
        unusual = {r"P\xfcmpe.json", "self", "gone", "folder.json", "pipe.json"}
        for _ in range(2):
            extraction = run(lake, folder)
            problems = {name: row.error for name, row in files(lake).items() if row.error}
            assert problems.keys() == unusual
            assert len(extraction.notices) == len(unusual)
            assert all(any(name in notice for notice in extraction.notices) for name in unusual)
        assert len(executions(lake)) == 3 * A_DAY

    @pytest.mark.parametrize("history", [Days(DAYS[0]), Days(DAYS[0], DAYS[-1])], ids=["open", "ended"])
    @pytest.mark.parametrize("year", [1000, 9999])
    def test_of_any_year_is_accepted(self, year: int, history: Days, lake: Lake, folder: Path) -> None:
        *others, last = executed()
        time = datetime(year, 12, 31, 23, 59, 59, 999000, tzinfo=UTC).isoformat()
        save(folder / "one.json", [*others, last | {"DataStartTime": time, "DataEndTime": time}])
        extraction = run(lake, folder, history=history)
        assert len(executions(lake)) == 3 * A_DAY - 1
        assert any(str(year) in notice for notice in extraction.notices)

    def test_of_a_source_that_does_not_exist_stops_no_other_source(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed()[A_DAY:])  # nothing on the last day
        missing = folder / "missing"
        extraction = Extraction(lake, Days(DAYS[0]), timedelta(hours=3), NOW, lambda _: None)
        sources = [ArchiveSource(str(missing)), ArchiveSource(str(folder))]
        days = extraction.gather(sources, DAYS)
        assert days == DAYS[:2]  # whether the last day has executions is not known
        assert list(extraction.failed) == [str(missing)]
        with pytest.raises(ConfigurationError, match="No such file"):
            begin(lake, missing)


class TestRejectedSummaries:
    @staticmethod
    def spoilt() -> list[Summary]:
        return [
            execution | {"DataStartTime": None} if number % 100 == 0 else execution
            for number, execution in enumerate(executed())
        ]

    def positions(self, lake: Lake) -> list[tuple[str, int]]:
        return [
            (Path(row["source"]).name, row["position"]) for row in lake.read(REJECTED_EXECUTIONS).to_pylist()
        ]

    def test_are_removed_if_their_file_is_fixed(self, lake: Lake, folder: Path) -> None:
        save(folder / "a.json", self.spoilt()[:300])
        save(folder / "b.json", self.spoilt()[300:])
        run(lake, folder)
        rejected = [("a.json", 0), ("a.json", 100), ("a.json", 200), ("b.json", 0), ("b.json", 100)]
        assert self.positions(lake) == rejected
        save(folder / "a.json", executed()[:300])
        fixed = run(lake, folder)
        assert read(fixed) == ["a.json"]
        assert self.positions(lake) == [("b.json", 0), ("b.json", 100)]
        save(folder / "b.json", executed()[300:])
        run(lake, folder)
        assert self.positions(lake) == []

    def test_stay_if_their_file_is_deleted_or_not_read(self, lake: Lake, folder: Path) -> None:
        save(folder / "a.json", self.spoilt())
        run(lake, folder)
        before = stored(lake)
        run(lake, folder, now=NOW + timedelta(days=1))
        (folder / "a.json").unlink()
        run(lake, folder, now=NOW + timedelta(days=2))
        assert stored(lake) == before

    def test_keep_recorded_at_if_their_file_is_read_again(self, lake: Lake, folder: Path) -> None:
        path = save(folder / "a.json", self.spoilt())
        run(lake, folder)
        os.utime(path, ns=(1, 1))
        again = run(lake, folder, now=NOW + timedelta(days=1))
        assert read(again) == ["a.json"]
        assert set(lake.read(REJECTED_EXECUTIONS)["recorded_at"].to_pylist()) == {NOW}

    def test_are_counted_in_the_index(self, lake: Lake, folder: Path) -> None:
        save(folder / "a.json", self.spoilt())
        run(lake, folder)
        assert (files(lake)["a.json"].executions, files(lake)["a.json"].rejected) == (3 * A_DAY - 5, 5)

    def test_occur_once_if_two_sources_have_the_same_file(self, lake: Lake, folder: Path) -> None:
        path = save(folder / "a.json", self.spoilt()[:300])
        run(lake, folder, path)
        assert len(self.positions(lake)) == 3
        assert len(executions(lake)) == 297

    def test_create_no_table_if_there_are_none(self, lake: Lake, folder: Path) -> None:
        save(folder / "a.json", executed())
        run(lake, folder)
        assert not lake.has(REJECTED_EXECUTIONS)


class TestKilledRun:
    @pytest.mark.parametrize("recorded", range(4), ids="after {} days".format)
    def test_next_run_gives_the_same_lake(
        self, recorded: int, lake: Lake, folder: Path, tmp_path: Path
    ) -> None:
        save(folder / "early.json", executed(clock=EARLY + timedelta(days=1)))
        save(folder / "late.json", executed(BLOWER))
        undisturbed = Lake(str(tmp_path / "undisturbed"))
        run(undisturbed, folder)
        killed = begin(lake, folder)
        for day in DAYS[:recorded]:
            killed.record(day)
        next_run = run(lake, folder, now=NOW + timedelta(hours=1))
        assert read(next_run) == ["early.json", "late.json"]
        assert next_run.count_results()["days_changed"] == 3 - recorded
        assert contents(lake) == contents(undisturbed)
        assert {name: file.merged_dates for name, file in files(lake).items()} == {
            name: file.merged_dates for name, file in files(undisturbed).items()
        }

    def test_index_has_only_the_recorded_days(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        extraction = begin(lake, folder)
        extraction.record(DAYS[1])
        extraction.save_file_index()
        assert files(lake)["one.json"].merged_dates == {DAYS[1]}
        assert read(run(lake, folder)) == ["one.json"]


class TestFileIndex:
    def test_record_has_the_content_of_the_file(self, lake: Lake, folder: Path) -> None:
        path = save(folder / "one.json", executed())
        run(lake, folder)
        file = files(lake)["one.json"]
        assert (file.uri, file.size_bytes) == (str(path), path.stat().st_size)
        assert (file.executions, file.rejected, file.complete, file.error) == (3 * A_DAY, 0, True, None)
        assert file.first_data_start_time == START
        assert file.last_data_start_time == END - timedelta(minutes=10)
        assert file.merged_dates == {*DAYS}
        assert file.recorded_at == NOW

    def test_record_does_not_depend_on_the_page_size(
        self, lake: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(saved_file, "SUMMARIES_A_PAGE", 100)
        self.test_record_has_the_content_of_the_file(lake, folder)

    def test_record_includes_days_that_are_not_requested(self, lake: Lake, folder: Path) -> None:
        save(folder / "one.json", executed())
        run(lake, folder, days=DAYS[1:2])
        assert files(lake)["one.json"].executions == 3 * A_DAY

    def test_missing_pages_are_recorded_and_reported(self, lake: Lake, folder: Path) -> None:
        write_dump(folder / "one.json", Form.CLI_V2, [executed()[:10]], leave_token=True)
        extraction = run(lake, folder)
        assert files(lake)["one.json"].complete is False
        assert any("NextToken" in notice for notice in extraction.notices)

    def test_complete_set_of_pages_gives_no_notice(self, lake: Lake, folder: Path) -> None:
        write_dump(
            folder / "one.json", Form.CLI_V2, split_into_pages(executed(), 300), one_file_per_page=True
        )
        extraction = run(lake, folder)
        assert len(read(extraction)) == 2
        assert extraction.notices == []

    def test_touched_file_is_read_again_and_changes_no_day(self, lake: Lake, folder: Path) -> None:
        path = save(folder / "one.json", executed())
        run(lake, folder)
        before = stored(lake, DAYS)
        os.utime(path, ns=(1, 1))
        assert read(run(lake, folder, days=DAYS[:1])) == ["one.json"]
        assert stored(lake, DAYS) == before
        assert read(run(lake, folder)) == []  # the same bytes are still merged into the other days


def test_several_sources_are_merged(lake: Lake, tmp_path: Path) -> None:
    save(tmp_path / "a" / "one.json", executed())
    save(tmp_path / "b" / "two.json", executed(BLOWER))
    assert read(run(lake, tmp_path / "a", tmp_path / "b")) == ["one.json", "two.json"]
    assert {arn for arn, _ in executions(lake)} == {COMPRESSOR.arn, BLOWER.arn}


def test_progress_is_reported(lake: Lake, folder: Path) -> None:
    save(folder / "one.json", executed()[:1])
    messages: list[str] = []
    run(lake, folder, progress=messages.append)
    assert messages == [f"{folder}: 1 saved responses, 1 of them to read"]


def test_lake_has_only_data_and_hidden_files(lake: Lake, folder: Path) -> None:
    save(folder / "one.json", executed())
    run(lake, folder)
    visible = {path.name for path in lake.root.rglob("*") if path.is_file() and path.name[0] not in "._"}
    assert visible == {"part-0.parquet"}
    assert {path.name for path in lake.root.iterdir()} <= {table.name for table in TABLES}
