"""A bucket as a source: executions from the keys of result objects, in S3 and in a local copy."""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.config.settings import BucketSettings, ResultSettings, Settings
from resources.errors import ConfigurationError, LedgerError
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.base import DayListing, ListedScheduler
from resources.sources.bucket import BucketSource
from resources.sources.bucket_keys import ACCESS_CHECK_FILE
from resources.sources.bucket_listings import LocalKeys
from resources.sources.factory import open_source, open_sources
from tests.support.s3_server import Bucket, Server

FIRST, DAY, LAST = date(2026, 9, 10), date(2026, 9, 11), date(2026, 9, 12)
NOW = datetime(2026, 10, 9, tzinfo=UTC)


def list_folders(first: date, days: int, minutes: int) -> Iterable[str]:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    for number in range(days * 24 * 60 // minutes):
        yield f"{start + number * timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def fill(bucket: Bucket, prefix: str, days: int = 3, minutes: int = 30, name: str = "results.jsonl") -> None:
    folders = list_folders(FIRST, days, minutes)
    bucket.add(prefix + ACCESS_CHECK_FILE, *(f"{prefix}{folder}/{name}" for folder in folders))


def open_bucket(uri: str, **more: Any) -> DayListing:
    listing = open_source(BucketSettings(uri=uri, **more), DEFAULT_LIMITS).days
    assert listing is not None
    return listing


def read(listing: DayListing, *days: date) -> list[dict[str, Any]]:
    """Return the summaries that start on the days."""
    pages = [json.loads(page.body) for page in listing.read_pages(days, NOW)]
    wanted = {day.isoformat() for day in days}
    return [summary for page in pages for summary in page if summary["DataStartTime"][:10] in wanted]


def test_keys_become_executions_with_the_inferred_end(bucket: Bucket) -> None:
    fill(bucket, "output/")
    summaries = read(open_bucket(f"{bucket.uri}/output/"), DAY)
    assert len(summaries) == 48
    assert summaries[0] == {
        "InferenceSchedulerArn": f"arn:aws:lookoutequipment:::output-prefix/{bucket.name}/output/",
        "InferenceSchedulerName": "output",
        "DataStartTime": "2026-09-11T00:00:00+00:00",
        "DataEndTime": "2026-09-11T00:30:00+00:00",
        "DataOutputConfiguration": {"S3OutputConfiguration": {"Bucket": bucket.name, "Prefix": "output/"}},
        "CustomerResultObject": {"Bucket": bucket.name, "Key": "output/2026-09-11T00:00:00Z/results.jsonl"},
        "Status": "SUCCESS",
    }


def test_settings_name_the_scheduler_and_its_windows(bucket: Bucket) -> None:
    bucket.put("output/2026-09-11T00:00:00Z/results.jsonl")
    arn = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0f6b"
    options = {"scheduler_arn": arn, "frequency": "PT1H", "delay_minutes": 5}
    listing = open_bucket(f"{bucket.uri}/output", **options)
    (summary,) = read(listing, DAY)
    assert listing.find_named_schedulers() == {
        summary["InferenceSchedulerArn"]: ListedScheduler(arn, "pump-1", frequency="PT60M", delay_minutes=5)
    }
    assert summary["DataEndTime"] == "2026-09-11T01:00:00+00:00"
    assert summary["ScheduledStartTime"] == "2026-09-11T01:05:00+00:00"


def test_a_few_results_have_no_end(bucket: Bucket) -> None:
    bucket.put("output/2026-09-11T00:00:00Z/results.jsonl")
    (summary,) = read(open_bucket(f"{bucket.uri}/output/"), DAY)
    assert "DataEndTime" not in summary
    assert "ScheduledStartTime" not in summary


def test_a_day_with_few_results_has_the_frequency_of_its_neighbors(bucket: Bucket) -> None:
    fill(bucket, "output/", days=1)
    for minute in ("00", "30"):
        bucket.put(f"output/2026-09-11T00:{minute}:00Z/results.jsonl")
    assert [row["DataEndTime"][11:16] for row in read(open_bucket(f"{bucket.uri}/output/"), DAY)] == [
        "00:30",
        "01:00",
    ]


def test_a_day_after_a_change_of_frequency_does_not_get_the_old_one(bucket: Bucket) -> None:
    fill(bucket, "output/", days=1)
    for hour in ("04", "05", "06"):
        bucket.put(f"output/2026-09-11T{hour}:00:00Z/results.jsonl")
    assert not any("DataEndTime" in row for row in read(open_bucket(f"{bucket.uri}/output/"), DAY))


def test_one_day_of_a_large_prefix_takes_two_requests_for_each_prefix(bucket: Bucket) -> None:
    """The search of the prefixes takes one request for each folder, and a day takes one or two."""
    fill(bucket, "a/output/", days=12, minutes=5)
    listing = open_bucket(f"{bucket.uri}/a/output/")
    assert len(read(listing, DAY)) == 288
    gets = [request for request in bucket.server.requests if request.method == "GET"]
    assert len(gets) == listing.requests <= 4


def test_each_prefix_of_results_is_a_scheduler(bucket: Bucket) -> None:
    fill(bucket, "plant-a/pump/output/", days=1)
    fill(bucket, "plant-a/fan/", days=1, minutes=60)
    for number in range(3):
        bucket.put(f"plant-a/pump/input/pump_{number}.csv")
    bucket.put("other/2026-09-10T00:00:00Z/results.jsonl")
    listing = open_bucket(f"{bucket.uri}/plant-a/")
    assert [scheduler.name for scheduler in listing.list_schedulers()] == [
        "plant-a/fan",
        "plant-a/pump/output",
    ]
    names = [row["InferenceSchedulerName"] for row in read(listing, FIRST)]
    assert (names.count("plant-a/fan"), names.count("plant-a/pump/output")) == (24, 48)
    assert "\n".join(listing.describe_reading()) == (
        f"{bucket.uri}/plant-a/: {listing.requests} list requests, 2 output prefixes. Schedulers are"
        " distinguished by their prefix: each counts as one scheduler, unless its times, its sensors or"
        " another source contradict it.\n"
        "plant-a/fan/: 23 of 23 steps are 60 minutes, none is shorter\n"
        "plant-a/pump/output/: 47 of 47 steps are 30 minutes, none is shorter"
    )


def test_a_search_of_many_times_takes_few_requests(bucket: Bucket) -> None:
    fill(bucket, "output/", days=8, minutes=5)
    bucket.put("output/nested/2026-09-10T00:00:00Z/results.jsonl")
    bucket.server.requests.clear()
    listing = open_bucket(f"{bucket.uri}/output/")
    assert [scheduler.name for scheduler in listing.list_schedulers()] == ["output", "output/nested"]
    assert listing.requests == 3


def test_two_schedulers_of_one_prefix_are_reported_and_have_no_ends(bucket: Bucket) -> None:
    fill(bucket, "output/", days=1, minutes=60)
    for folder in list_folders(FIRST, 1, 60):
        bucket.put(f"output/{folder[:14]}05:00Z/results.jsonl")
    listing = open_bucket(f"{bucket.uri}/output/")
    assert not any("DataEndTime" in row for row in read(listing, FIRST))
    (notice,) = map(str, listing.problems)
    assert notice.startswith("Several schedulers seem to write to output/: ")


def test_foreign_keys_are_counted(bucket: Bucket) -> None:
    fill(bucket, "output/", days=1)
    bucket.put("output/2026-09-10T00:00:00Z/notes.txt")
    listing = open_bucket(f"{bucket.uri}/output/")
    assert len(read(listing, FIRST)) == 48
    assert listing.describe_reading()[-1] == f"{bucket.uri}/output/: skipped 1 other keys."


def test_the_span_and_the_estimate_of_a_range(bucket: Bucket) -> None:
    fill(bucket, "output/", days=4, minutes=5)
    listing = open_bucket(f"{bucket.uri}/output/")
    assert listing.find_span() == (FIRST, date(2026, 9, 13))
    (prefix,) = listing.list_prefixes()
    assert (prefix.frequency_minutes, prefix.last) == (5, datetime(2026, 9, 13, 23, 55, tzinfo=UTC))
    days = [FIRST + timedelta(days=number) for number in range(4)]
    estimate = open_bucket(f"{bucket.uri}/output/").estimate([days])
    assert estimate.results == 4 * 288
    run = open_bucket(f"{bucket.uri}/output/")
    assert len(read(run, *days)) == estimate.results
    assert run.requests <= estimate.requests <= run.requests + 1


def test_an_estimate_counts_the_first_and_last_days_and_the_shorter_frequency_between(bucket: Bucket) -> None:
    fill(bucket, "output/", days=4, minutes=60)
    later = list_folders(date(2026, 9, 14), 4, 15)
    bucket.add(*(f"output/{folder}/results.jsonl" for folder in later))
    days = [FIRST + timedelta(days=number) for number in range(8)]
    estimate = open_bucket(f"{bucket.uri}/output/").estimate([days])
    assert (estimate.results, estimate.is_bound) == (3 * 24 + 2 * 96 + 3 * 96, False)
    known = open_bucket(f"{bucket.uri}/output/", frequency="PT15M").estimate([days])
    assert (known.results, known.is_bound) == (8 * 96, True)


def test_an_estimate_counts_no_window_before_the_first_or_after_the_last_result(bucket: Bucket) -> None:
    folders = [*list_folders(FIRST, 2, 30)][10:-7]  # 38 and 41 windows
    bucket.add(*(f"output/{folder}/results.jsonl" for folder in folders if folder != folders[3]))
    day = timedelta(days=1)
    days = [FIRST - day, FIRST, FIRST + day, FIRST + 2 * day]
    assert open_bucket(f"{bucket.uri}/output/").estimate([days]).results == 38 + 41 - 1
    known = open_bucket(f"{bucket.uri}/output/", frequency="PT30M").estimate([days])
    assert known.results == 38 + 41, "no result is read"


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv", "results.jsonl.gz"])
def test_a_local_copy_gives_the_executions_of_its_bucket(bucket: Bucket, tmp_path: Path, name: str) -> None:
    fill(bucket, "plant/a/", days=2, name=name)
    for folder in list_folders(FIRST, 2, 30):
        (tmp_path / "a" / folder).mkdir(parents=True)
        (tmp_path / "a" / folder / name).touch()
    (tmp_path / "a" / ACCESS_CHECK_FILE).touch()
    live = open_bucket(f"{bucket.uri}/plant/")
    copy = open_bucket(str(tmp_path), copy_of=f"{bucket.uri}/plant")
    rows = read(live, FIRST, DAY)
    assert len(rows) == 96
    assert read(copy, FIRST, DAY) == rows
    assert copy.requests == 0
    assert copy.find_span() == live.find_span() == (FIRST, DAY)


def test_a_local_folder_that_is_no_known_copy_has_paths_as_keys(tmp_path: Path) -> None:
    folder = tmp_path / "output" / "2026-09-10T00:00:00Z"
    folder.mkdir(parents=True)
    (folder / "results.jsonl").touch()
    (row,) = read(open_bucket(str(tmp_path / "output")), FIRST)
    assert row["InferenceSchedulerName"] == f"{tmp_path.name}/output"
    assert row["CustomerResultObject"] == {"Bucket": "file:", "Key": str(folder / "results.jsonl")}


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder below it is named after a time"):
        read(open_bucket(str(tmp_path)), DAY)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the folder does not exist"):
        read(open_bucket(str(tmp_path / "missing")), DAY)


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_an_error() -> None:
    with pytest.raises(LedgerError, match=r"no bucket|does not exist|NoSuchBucket"):
        read(open_bucket("s3://no-such-bucket-here/output/"), DAY)


def test_one_name_for_several_prefixes_is_an_error(bucket: Bucket) -> None:
    fill(bucket, "a/", days=1)
    fill(bucket, "b/", days=1)
    with pytest.raises(ConfigurationError, match="Cannot name the scheduler of 2 output prefixes: a/, b/"):
        read(open_bucket(bucket.uri, scheduler_name="pump-1"), DAY)


def test_only_the_selected_prefixes_are_listed(bucket: Bucket) -> None:
    fill(bucket, "a/", days=1)
    fill(bucket, "b/", days=1)
    listing = open_bucket(bucket.uri)
    (placeholder, _) = listing.list_by_placeholder()
    bucket.server.requests.clear()
    (page,) = listing.read_pages([FIRST], NOW, {placeholder})
    assert {row["InferenceSchedulerName"] for row in json.loads(page.body)} == {"a"}
    assert len(bucket.server.requests) == 1
    assert listing.estimate([[FIRST]], {placeholder}).results == 48


def test_listings_use_the_credentials_and_the_owner_of_results(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket, "a/", days=1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", s3.url)
    results = ResultSettings(
        role_arn="arn:aws:iam::111122223333:role/results-reader", expected_bucket_owner="123456789012"
    )
    (source,) = open_sources(Settings(sources=(BucketSettings(uri=f"{bucket.uri}/a/"),), results=results))
    assert source.days
    assert len(read(source.days, FIRST)) == 48
    last = s3.requests[-1].headers
    assert "Credential=" in last["authorization"]
    assert "Credential=testing/" not in last["authorization"]
    assert last["x-amz-expected-bucket-owner"] == "123456789012"


@pytest.fixture
def refuse_listing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which a test adds names of folders that cannot be listed."""
    names, scandir = list[str](), os.scandir

    def refuse(folder: Any) -> Any:
        if isinstance(folder, Path) and folder.name in names:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    return names


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, refuse_listing: list[str]) -> None:
    for name in ("a/2026-10-06T12:00:00Z", "b"):
        (tmp_path / name).mkdir(parents=True)
    refuse_listing.append("b")
    listing = LocalKeys(str(tmp_path), "bucket", "")
    search = listing.find_prefixes()
    assert (search.prefixes, search.unsearched) == (["a/"], [str(tmp_path / "b")])


def test_an_unreadable_entry_of_a_copy_stops_no_other_and_is_named(
    tmp_path: Path, refuse_listing: list[str]
) -> None:
    times = [f"2026-10-06T12:{minute:02}:00Z" for minute in range(0, 30, 5)]
    for name in (*(f"a/{time}" for time in times), f"b/{times[0]}"):
        (tmp_path / name).mkdir(parents=True)
    for name in (*(f"a/{time}" for time in times[:2]), f"b/{times[0]}"):
        (tmp_path / name / "results.jsonl").touch()
    refuse_listing.append(times[1])
    (tmp_path / "a" / times[2] / "results.jsonl").mkdir()
    os.mkfifo(tmp_path / "a" / times[3] / "results.jsonl")
    (tmp_path / "a" / times[4] / "results.jsonl").symlink_to("nothing")
    (tmp_path / "a" / "loop").symlink_to("loop")
    (tmp_path / "a" / "2026-10-06T13:00:00Z").symlink_to("nothing")
    os.mkfifo(tmp_path / "a" / "pipe")
    bucket = BucketSource("copy/", LocalKeys(str(tmp_path), "bucket", ""))

    pages = bucket.read_pages([date(2026, 10, 6)], NOW)

    assert [json.loads(next(pages).body)[0]["CustomerResultObject"]["Key"] for _ in "ab"] == [
        f"a/{times[0]}/results.jsonl",
        f"b/{times[0]}/results.jsonl",
    ]
    with pytest.raises(ConfigurationError, match="5 folders or files cannot be read") as caught:
        next(pages)
    assert f"{tmp_path}/a/2026-10-06T13:00:00Z: No such file or directory" in str(caught.value)
    searched, unreadable = map(str, bucket.problems)
    assert f"2 folders were not searched for results, such as {tmp_path}/a/2026-10-06T13:00:00Z" in searched
    assert "5 folders or files cannot be read" in unreadable
    assert list(bucket.read_pages([date(2026, 10, 1)], NOW)) == []  # other days are complete


TIMES = [f"2026-10-06T12:{minute:02}:00Z" for minute in range(0, 20, 5)]
ENTRIES: dict[str, Callable[[Path], object]] = {
    "result": lambda path: (path.mkdir(), (path / "results.jsonl").touch()),
    "loop": lambda path: path.symlink_to(path.name),
    "broken link": lambda path: path.symlink_to("nothing"),
    "pipe": os.mkfifo,
    "file": Path.touch,
    "empty folder": Path.mkdir,
    "folder as a result": lambda path: (path / "results.jsonl").mkdir(parents=True),
    "pipe as a result": lambda path: (path.mkdir(), os.mkfifo(path / "results.jsonl")),
    "loop as a result": lambda path: (path.mkdir(), (path / "results.jsonl").symlink_to("results.jsonl")),
}


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*TIMES, "notes", "p\udcfcmp"])),
        st.sampled_from([*ENTRIES]),
        min_size=1,
    )
)
def test_each_result_of_a_copy_is_read_beside_any_other_entries(kinds: dict[tuple[str, str], str]) -> None:
    keys = []
    with TemporaryDirectory() as folder:
        for (prefix, name), kind in kinds.items():
            Path(folder, prefix).mkdir(exist_ok=True)
            ENTRIES[kind](Path(folder, prefix, name))
        bucket = BucketSource("copy/", LocalKeys(folder, "bucket", ""))
        with suppress(ConfigurationError):
            for page in bucket.read_pages([date(2026, 10, 6)], NOW):
                keys += [row["CustomerResultObject"]["Key"] for row in json.loads(page.body)]
        assert not any("\udcfc" in str(problem) for problem in bucket.problems)
    assert sorted(keys) == sorted(
        f"{prefix}/{name}/results.jsonl"
        for (prefix, name), kind in kinds.items()
        if kind == "result" and name in TIMES
    )


def test_a_link_to_another_folder_of_a_copy_is_not_a_second_scheduler(tmp_path: Path) -> None:
    (tmp_path / "copy" / "a" / "2026-10-06T12:00:00Z").mkdir(parents=True)
    (tmp_path / "elsewhere" / "2026-10-06T12:00:00Z").mkdir(parents=True)
    (tmp_path / "copy" / "alias").symlink_to(tmp_path / "copy" / "a")
    (tmp_path / "copy" / "a" / "cycle").symlink_to(tmp_path / "copy")
    (tmp_path / "copy" / "linked").symlink_to(tmp_path / "elsewhere")
    assert LocalKeys(str(tmp_path / "copy"), "bucket", "").find_prefixes().prefixes == ["a/", "linked/"]


def test_a_folder_whose_name_is_not_utf8_is_named_and_others_are_read(tmp_path: Path) -> None:
    for name in ("a", "p\udcfcmp"):
        (tmp_path / name / "2026-10-06T12:00:00Z").mkdir(parents=True)
    search = LocalKeys(str(tmp_path), "bucket", "").find_prefixes()
    assert (search.prefixes, search.unsearched) == (["a/"], [f"{tmp_path}/p\\xfcmp"])
