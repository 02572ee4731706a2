"""Recordings: interrupted at any point, they continue without requesting a stored page again, and an archive
source replays them to the lake that a live extraction writes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.operations import recording
from pipelines.operations import recording_plan as plans
from pipelines.operations.recording import Recorder, RecordingProgress
from pipelines.operations.recording_plan import DayRange, RecordedFile, RecordingContent
from resources.aws.session import AwsAccess
from resources.errors import ConfigurationError
from resources.sources import api
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource
from resources.sources.base import Exchange, ListedScheduler
from resources.sources.call_budget import CallBudget
from resources.sources.warc import read_warc
from resources.storage.recording_store import RecordingStore, open_recording_store
from sandbox.fleet import Fleet
from sandbox.service import Handle, run_sandbox
from tests.support.live_service import NOW, PLACES
from tests.support.replay import DAYS, SETTLE_AFTER, extract, hash_lake
from tests.support.s3_server import Bucket

LIST = "ListInferenceExecutions"
PAGE_SIZE = 200

Place = Callable[[], str]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch, accounts: None) -> None:  # noqa: ARG001
    monkeypatch.setattr(api, "PAGE_SIZE", PAGE_SIZE)


@pytest.fixture
def service(small_fleet: Fleet, accounts: None) -> Iterator[Handle]:  # noqa: ARG001 (its keys open it)
    with run_sandbox(small_fleet, NOW, s3=False) as handle:
        yield handle


def open_source(url: str, place: tuple[str | None, str] = PLACES[0]) -> ApiSource:
    access = AwsAccess(profile=place[0], region=place[1], endpoint_url=url)
    return ApiSource(access, clock=lambda: NOW)


def record(
    service: Handle,
    store: RecordingStore,
    days: Sequence[date] = DAYS,
    patterns: Sequence[str] = (),
    max_calls: int | None = None,
    places: Sequence[tuple[str | None, str]] = PLACES[:1],
) -> RecordingProgress:
    calls = CallBudget(max_calls)
    if isinstance(store, KilledStore):
        store.stop = calls.stop
    sources = [open_source(service.url, place) for place in places]
    for source in sources:
        source.calls = calls
    return Recorder(store, days, patterns, SETTLE_AFTER, lambda: NOW, lambda _: None).record(sources)


def list_recording(store: RecordingStore) -> dict[str, list[tuple[str, bytes, bytes]]]:
    """Return operation, request and response of all exchanges by file; the IDs of requests differ."""
    return {
        name: [
            (exchange.operation, exchange.request, exchange.body)
            for exchange in read_warc(store.read(name) or b"").exchanges
        ]
        for name in store.list_names()
    }


# --- A replay is equal to a live extraction ----------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        (),
        (f"throttle:{LIST}:count=2", f"hangup:{LIST}:after=3:count=2", f"reset:{LIST}:after=5:count=1"),
        (f"shift:{LIST}", f"empty-page:{LIST}:share=0.3", f"shuffle:{LIST}"),
        (f"truncate:{LIST}:share=0.2", f"repeat-token:{LIST}:count=2"),
        (f"expire-token:{LIST}:after=2:count=2",),
    ],
    ids=["no fault", "errors", "shifting pages", "damaged pages", "expired tokens"],
)
def test_a_replay_is_equal_to_a_live_extraction(
    service: Handle, tmp_path: Path, faults: tuple[str, ...]
) -> None:
    places = PLACES[:1] if faults else PLACES[:2]
    direct = extract(tmp_path / "direct", [open_source(service.url, place) for place in places])
    service.inject(*faults)
    progress = record(service, open_recording_store(str(tmp_path / "recording")), places=places)
    assert progress.is_complete, [str(error) for error in progress.failed.values()]
    assert not (tmp_path / "recording" / "_unfinished").exists()
    replayed = extract(tmp_path / "replayed", [ArchiveSource(str(tmp_path / "recording"))])
    assert hash_lake(replayed) == hash_lake(direct)
    assert len(hash_lake(direct)) == 9
    complete = replayed.read(EXTRACTION_COVERAGE, DAYS[0])["complete_through"]
    assert complete.null_count == 0 and len(complete) == len(set(progress_names(progress)))


def progress_names(progress: RecordingProgress) -> list[str]:
    return [name.partition("/")[0] for name in progress.files]


def test_a_replay_from_s3_is_equal_too(service: Handle, tmp_path: Path, bucket: Bucket) -> None:
    uri = f"s3://{bucket.name}/recording"
    place = (None, PLACES[0][1])  # the credentials of S3
    direct = extract(tmp_path / "direct", [open_source(service.url, place)])
    assert record(service, open_recording_store(uri), places=[place]).is_complete
    assert hash_lake(extract(tmp_path / "replayed", [ArchiveSource(uri)])) == hash_lake(direct)
    again = record(service, open_recording_store(uri), DAYS[:3], places=[place])
    assert (again.queries, again.pages, again.is_complete) == (0, 0, True)
    assert not [name for name in open_recording_store(uri).list_names() if name.startswith("_")]


def test_days_that_a_recording_proves_empty_are_extracted_without_its_executions(
    service: Handle, tmp_path: Path
) -> None:
    record(service, open_recording_store(str(tmp_path / "recording")))
    source = ArchiveSource(str(tmp_path / "recording"))
    lake = extract(tmp_path / "lake", [source], DAYS[:1])
    coverage = lake.read(EXTRACTION_COVERAGE, DAYS[0]).to_pylist()
    assert {row["executions"] for row in coverage} == {0}
    assert {row["complete_through"] for row in coverage} == {datetime(2026, 10, 6, 3, tzinfo=UTC)}
    extract(tmp_path / "lake", [source])
    files = lake.read(ARCHIVE_FILES).to_pylist()
    assert all(set(file["merged_dates"]) == set(file["proven_dates"]) == set(DAYS) for file in files)


def test_a_recording_without_its_last_page_proves_nothing_and_keeps_its_executions(
    service: Handle, tmp_path: Path
) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    record(service, store, patterns=["pump-1"], max_calls=2)  # the list and the first of several pages
    (part,) = (name for name in store.list_names() if "schedulers" not in name)
    (tmp_path / "saved.warc.gz").write_bytes(store.read(part) or b"")
    lake = extract(tmp_path / "lake", [ArchiveSource(str(tmp_path / "saved.warc.gz"))])
    assert sum(lake.read(INFERENCE_EXECUTIONS, day).num_rows for day in DAYS) == PAGE_SIZE
    for day in lake.days(EXTRACTION_COVERAGE):
        proven = lake.read(EXTRACTION_COVERAGE, day)["complete_through"]
        assert proven.null_count == len(proven)
    (row,) = lake.read(ARCHIVE_FILES).to_pylist()
    assert (row["complete"], row["proven_dates"]) == (False, None)


# --- Interruptions -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends."""


class KilledStore:
    """A store whose process is killed before or after one of its changes."""

    def __init__(self, store: RecordingStore, operation: int, *, is_after: bool) -> None:
        self._store, self._remaining, self._is_after = store, operation, is_after
        self.uri = store.uri
        self.stop: Callable[[], None] = lambda: None
        self.list_names, self.read = store.list_names, store.read

    def create(self, name: str, data: bytes) -> None:
        self._change(lambda: self._store.create(name, data))

    def delete(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._change(lambda name=name: self._store.delete([name]))

    def _change(self, apply: Callable[[], None]) -> None:
        self._remaining -= 1
        if self._remaining < 0:
            self.stop()  # a process that is killed requests nothing any more
            if self._remaining == -1 and self._is_after:
                apply()
            raise Killed
        apply()


def count_pages(service: Handle) -> int:
    return service.count(operation=LIST, outcome="ok")


def test_a_kill_at_any_point_loses_no_page_and_requests_none_twice(service: Handle, tmp_path: Path) -> None:
    days, patterns = DAYS[:3], ["pump-1"]
    whole = open_recording_store(str(tmp_path / "whole"))
    record(service, whole, days, patterns, max_calls=10_000)
    expected, pages = list_recording(whole), count_pages(service)
    operation, is_killed = 0, True
    while is_killed:
        is_killed = False
        for is_after in (False, True):
            store = open_recording_store(str(tmp_path / f"{operation} {is_after}"))
            service.reset()
            try:
                record(service, KilledStore(store, operation, is_after=is_after), days, patterns, 10_000)
            except Killed:
                is_killed = True
            assert record(service, store, days, patterns, max_calls=10_000).is_complete
            assert list_recording(store) == expected
            # a page that was received but not stored before the kill is the only one to request again
            assert count_pages(service) <= pages + 1
            assert not is_after or count_pages(service) == pages, operation
        operation += 1
    assert operation > 2 * pages


def test_the_budget_ends_a_recording_and_the_next_command_continues(service: Handle, tmp_path: Path) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    days = DAYS[:3]
    commands = 0
    while not (progress := record(service, store, days, max_calls=4)).is_complete:
        assert progress.budget_error is not None
        commands += 1
        assert commands < 50
    interrupted = count_pages(service)
    service.reset()
    assert record(service, open_recording_store(str(tmp_path / "whole")), days, max_calls=10_000).is_complete
    assert interrupted == count_pages(service)
    assert list_recording(store) == list_recording(open_recording_store(str(tmp_path / "whole")))


def test_a_damaged_page_in_the_store_starts_its_query_again(service: Handle, tmp_path: Path) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    record(service, store, patterns=["pump-1"], max_calls=3)
    (part, *_) = (tmp_path / "recording").rglob("*pump*/*/00000.warc.gz")
    part.write_bytes(part.read_bytes()[:-20])
    progress = record(service, store, patterns=["pump-1"])
    assert progress.is_complete
    assert any("damaged" in notice for notice in progress.notices)
    lake = extract(tmp_path / "lake", [ArchiveSource(str(tmp_path / "recording"))])
    assert lake.read(ARCHIVE_FILES)["error"].null_count == 1


def test_one_scheduler_that_fails_does_not_stop_the_others(service: Handle, tmp_path: Path) -> None:
    service.inject("deny:scheduler=pump-1")
    store = open_recording_store(str(tmp_path / "recording"))
    progress = record(service, store)
    assert list(progress.failed) == ["pump-1"]
    assert progress.completed == progress.queries - 1
    service.clear_faults()
    again = record(service, store, DAYS[:3])
    assert (again.queries, again.is_complete) == (1, True)


def test_another_process_cannot_overwrite_a_recording(tmp_path: Path) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    store.create("a/b.warc.gz", b"1")
    with pytest.raises(ConfigurationError, match="another process"):
        store.create("a/b.warc.gz", b"2")
    assert store.read("a/b.warc.gz") == b"1"


def test_no_credentials_are_recorded(service: Handle, tmp_path: Path) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    record(service, store, patterns=["pump-1"])
    (name,) = store.list_names()
    exchanges = read_warc(store.read(name) or b"").exchanges
    assert exchanges
    for exchange in exchanges:
        names = {header.lower() for header, _ in (*exchange.request_headers, *exchange.response_headers)}
        assert {"x-amz-target", "x-amzn-requestid", "date"} <= names
        assert not names & {"authorization", "x-amz-security-token", "set-cookie"}


# --- The plan ----------------------------------------------------------------------------------------------

START = date(2026, 1, 20)
arns = st.sampled_from([f"arn:aws:lookoutequipment:eu-west-1:1:inference-scheduler/{n}/1" for n in "ab"])
ranges = st.tuples(st.integers(0, 50), st.integers(0, 20)).map(
    lambda pair: DayRange(START + timedelta(pair[0]), START + timedelta(pair[0] + pair[1]))
)
recorded = st.builds(
    RecordedFile,
    ranges,
    st.integers(0, 90).map(lambda day: datetime(2026, 1, 20, 12, tzinfo=UTC) + timedelta(day)),
)


@how(deadline=None)
@given(
    st.dictionaries(arns.map(plans.name_folder), st.lists(recorded, max_size=4)),
    st.dictionaries(st.tuples(arns.map(plans.name_folder), ranges), st.just(["part"]), max_size=3),
    st.sets(st.integers(0, 70).map(lambda number: START + timedelta(number)), min_size=1),
    st.sets(arns, min_size=1),
)
def test_the_plan_has_each_day_that_is_not_settled_exactly_once(
    files: dict[str, list[RecordedFile]],
    parts: dict[tuple[str, DayRange], list[str]],
    days: set[date],
    names: set[str],
) -> None:
    schedulers = [ListedScheduler(arn, arn) for arn in sorted(names)]
    planned = plans.plan_queries(schedulers, days, RecordingContent(files, parts), SETTLE_AFTER)
    for scheduler in schedulers:
        folder = plans.name_folder(scheduler.arn)
        queries = [query.range for query in planned if query.scheduler == scheduler]
        settled = plans.select_settled_days(files.get(folder, ()), SETTLE_AFTER)
        covered = [day for query in queries for day in query.days]
        assert sorted(covered) == sorted(days - settled)
        for query in queries:
            is_month = (query.first.year, query.first.month) == (query.last.year, query.last.month)
            assert is_month or (folder, query) in parts


@how(deadline=None)
@given(st.lists(st.tuples(arns, ranges), max_size=5), st.integers(0, 10**9))
def test_the_names_of_files_say_what_they_hold(queries: list[tuple[str, DayRange]], seconds: int) -> None:
    at = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    planned = [
        plans.QueryPlan(ListedScheduler(arn, "x"), plans.name_folder(arn), days) for arn, days in queries
    ]
    names = {plan.get_file_name(at) for plan in planned} | {
        f"{plan.part_folder}/00000.warc.gz" for plan in planned
    }
    content = plans.parse_names([*names, "another.txt", "a/b/c.warc.gz"])
    assert {(folder, file.range) for folder, files in content.files.items() for file in files} == {
        (plan.folder, plan.range) for plan in planned
    }
    assert {file.queried_at for files in content.files.values() for file in files} <= {at}
    assert set(content.parts) == {(plan.folder, plan.range) for plan in planned}


def test_folders_are_readable_and_differ_for_each_scheduler() -> None:
    arn = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/_pump 1/"
    first, second = plans.name_folder(arn + "aaa"), plans.name_folder(arn + "bbb")
    assert first.startswith("eu-west-1.111122223333.") and "pump.1" in first
    assert first != second
    assert not plans.name_folder("weird:/..").startswith((".", "_"))


# --- A service that fails ---------------------------------------------------------------------------------


def test_pages_that_repeat_are_requested_again_and_prove_nothing(service: Handle, tmp_path: Path) -> None:
    service.inject(f"repeat-token:{LIST}")
    store = open_recording_store(str(tmp_path / "recording"))
    progress = record(service, store)
    assert progress.failed and not progress.is_complete
    assert any("starts again with its first page" in notice for notice in progress.notices)


def test_a_service_that_cannot_be_listed_does_not_stop_the_others(service: Handle, tmp_path: Path) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    source, unreachable = open_source(service.url), open_source("http://127.0.0.1:9")
    progress = Recorder(store, DAYS, (), SETTLE_AFTER, lambda: NOW, lambda _: None).record(
        [unreachable, source]
    )
    assert list(progress.failed) == [unreachable.uri] and progress.completed


def test_names_and_pages_that_cannot_be_read_are_left_out() -> None:
    names = ["pump/2026-13-01_2026-13-02_20261008T120000Z.warc.gz"]
    assert plans.parse_names(names) == RecordingContent({}, {})
    assert recording._get_next_token(Exchange("http://host/", LIST, b"{}", NOW, b"{")) is None


def test_unfinished_writes_of_a_killed_process_are_removed_with_their_page(tmp_path: Path) -> None:
    store = open_recording_store(str(tmp_path / "recording"))
    store.create("_unfinished/pump/00000.warc.gz", b"page")
    (tmp_path / "recording/_unfinished/pump/.00000.warc.gz.1f.tmp").write_bytes(b"pa")

    store.delete(store.list_names())

    assert list((tmp_path / "recording").iterdir()) == []
