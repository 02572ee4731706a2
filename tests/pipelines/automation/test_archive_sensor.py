"""The sensor of new saved responses: real ticks and runs over real files, in folders and in S3."""

import json
import os
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from botocore.httpsession import URLLib3Session

from assets.executions.file_extraction import read_file
from assets.tables import ARCHIVE_FILES, INFERENCE_EXECUTIONS
from pipelines.automation import archive_sensor
from pipelines.automation.archive_sensor import FILES_TAG, JOB, SENSOR
from pipelines.definitions import build_defs
from resources.config.sections import HistorySettings, LakeSettings
from resources.config.settings import ApiSettings, ArchiveSettings, Settings
from resources.lake.lake import Lake
from tests.support.code_location import RANGE_END, RANGE_START, Location
from tests.support.s3_server import Bucket, Server

NOW = datetime(2026, 10, 9, 12, tzinfo=UTC)
Watch = Callable[..., "WatchedLocation"]
Ranges = list[tuple[str, str]]


class WatchedLocation(Location):
    """A code location whose sensor is evaluated at `now`; its cursor is kept as the daemon keeps it."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.now, self.cursor = NOW, ""
        self.requests: list[dg.RunRequest] = []
        clock = {"clock": lambda: self.now}
        super().__init__(build_defs(clock, settings=settings), instance, Lake(settings.lake.uri))

    def evaluate(self) -> Any:
        """Evaluate the sensor without keeping its cursor, as a daemon that is killed."""
        repository = self.definitions.get_repository_def()
        context = dg.build_sensor_context(
            self.instance,
            cursor=self.cursor,
            repository_def=repository,
            resources=dict(self.definitions.resources or {}),
        )
        return repository.get_sensor_def(SENSOR).evaluate_tick(context)

    def tick(self) -> Ranges:
        """Evaluate the sensor a minute after the last tick, and return the requested ranges."""
        self.now += timedelta(minutes=1)
        tick = self.evaluate()
        self.cursor = tick.cursor or self.cursor
        self.skip_message = tick.skip_message or ""
        self.requests = list(tick.run_requests or [])
        return [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in self.requests]

    def execute(self) -> list[dg.ExecuteInProcessResult]:
        """Execute the requested runs."""
        job = self.without_checks.resolve_job_def(JOB)
        return [
            job.execute_in_process(
                instance=self.instance, run_config=request.run_config, tags=request.tags, raise_on_error=False
            )
            for request in self.requests
        ]

    def tick_and_execute(self) -> Ranges:
        ranges = self.tick()
        assert all(result.success for result in self.execute())
        return ranges

    def list_starts(self) -> set[str]:
        """Return the times of all executions in the lake."""
        return {
            f"{start:%Y-%m-%dT%H:%M:%S}"
            for day in self.lake.days(INFERENCE_EXECUTIONS)
            for start in self.lake.read(INFERENCE_EXECUTIONS, day)["data_start_time"].to_pylist()
        }


@pytest.fixture
def watch(tmp_path: Path, instance: dg.DagsterInstance) -> Watch:
    def make(*sources: Any, **history: Any) -> WatchedLocation:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(**{"start_date": date(2026, 9, 1)} | history),
            sources=sources or (ArchiveSettings(uri=str(tmp_path)),),
        )
        return WatchedLocation(settings, instance)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dumps"
    folder.mkdir()
    return folder


def saved(*starts: str, scheduler: str = "pump-1") -> str:
    """A saved response with one execution per start, a time with or without an offset."""
    arn = f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{scheduler}"
    summaries = [
        {
            "InferenceSchedulerName": scheduler,
            "InferenceSchedulerArn": arn,
            "ModelName": "m",
            "DataStartTime": start,
            "DataEndTime": start,
            "Status": "SUCCESS",
        }
        for start in starts
    ]
    return json.dumps({"InferenceExecutionSummaries": summaries})


def write(path: Path, *starts: str, age_seconds: float = 60) -> Path:
    path.write_text(saved(*starts))
    moment = datetime.now(UTC).timestamp() - age_seconds
    os.utime(path, (moment, moment))
    return path


def test_new_files_are_extracted_for_exactly_their_days(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    assert location.tick() == []

    write(folder / "a.json", "2026-10-01T10:00:00Z", "2026-10-02T10:00:00Z")
    write(folder / "b.json", "2026-10-03T10:00:00Z", "2026-10-06T23:59:59Z")

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-03"), ("2026-10-06", "2026-10-06")]
    assert [request.tags[FILES_TAG] for request in location.requests] == ["2", "1"]
    assert [str(day) for day in location.lake.days(INFERENCE_EXECUTIONS)] == [
        "2026-10-01",
        "2026-10-02",
        "2026-10-03",
        "2026-10-06",
    ]
    assert location.tick() == []
    assert "2 saved responses, no new days" in location.skip_message


def test_changed_file_is_extracted_again_and_an_unchanged_one_is_not_read(
    watch: Watch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", "2026-10-01T10:00:00Z")
    write(folder / "gaps.json", "2026-09-20T10:00:00Z", "2026-09-24T10:00:00Z")
    location.tick_and_execute()
    assert location.tick() == []

    read_uris: list[str] = []

    def count(listing: Any, file: Any, *more: Any) -> Any:
        read_uris.append(file.uri)
        return read_file(listing, file, *more)

    monkeypatch.setattr(archive_sensor, "read_file", count)
    location.now += timedelta(hours=1)
    assert location.tick() == [] and read_uris == []

    changed = write(folder / "a.json", "2026-10-01T10:00:00Z", "2026-10-02T10:00:00Z", age_seconds=30)
    assert location.tick_and_execute() == [("2026-10-01", "2026-10-02")]
    assert read_uris == [str(changed)]
    assert location.tick() == []


@pytest.mark.parametrize(("zone", "day"), [("+09:00", "2026-10-01"), ("-09:00", "2026-10-02")])
def test_days_depend_on_the_time_zone_of_the_source(watch: Watch, folder: Path, zone: str, day: str) -> None:
    write(folder / "a.json", "2026-10-02T05:00:00" if zone[0] == "+" else "2026-10-01T20:00:00")
    location = watch(ArchiveSettings(uri=str(folder), time_zone=zone))

    assert location.tick_and_execute() == [(day, day)]
    assert location.tick() == []


def test_file_that_is_being_written_waits(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "old.json", "2026-10-01T10:00:00Z")
    write(folder / "growing.json", "2026-10-02T10:00:00Z", age_seconds=0)

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-01")]
    write(folder / "growing.json", "2026-10-02T10:00:00Z", "2026-10-04T10:00:00Z", age_seconds=0)
    assert location.tick() == []
    assert "1 just modified" in location.skip_message
    assert location.tick_and_execute() == [("2026-10-02", "2026-10-02"), ("2026-10-04", "2026-10-04")]
    assert location.tick() == []


def test_unreadable_and_empty_files_are_reported_once_and_block_no_other(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "good.json", "2026-10-01T10:00:00Z")
    (folder / "cut.json").write_text('{"InferenceExecutionSummaries": [{"DataSt')
    (folder / "empty.json").write_text('{"InferenceExecutionSummaries": []}')
    for name in ("cut.json", "empty.json"):
        os.utime(folder / name, (1, 1))

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-01")]
    assert location.tick() == []
    assert "cut.json" in location.skip_message and "empty.json" in location.skip_message
    for _ in range(3):
        location.now += timedelta(hours=2)
        assert location.tick() == []
        assert "cut.json" not in location.skip_message


def test_missing_source_blocks_no_other(watch: Watch, folder: Path, tmp_path: Path) -> None:
    location = watch(ArchiveSettings(uri=str(tmp_path / "missing")), ArchiveSettings(uri=str(folder)))
    write(folder / "good.json", "2026-10-01T10:00:00Z")

    assert location.tick() == [("2026-10-01", "2026-10-01")]
    assert [result.success for result in location.execute()] == [False], "the extraction reports the source"
    assert "missing" in location.evaluate().skip_message


def test_days_outside_the_history_are_named_and_not_requested(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)), start_date=date(2026, 10, 2))
    write(folder / "a.json", "2026-10-01T10:00:00Z", "2026-10-02T10:00:00Z")
    write(folder / "b.json", "2026-08-01T10:00:00Z")

    assert location.tick_and_execute() == [("2026-10-02", "2026-10-02")]
    assert location.tick() == []
    assert 'set [history] start_date = "2026-08-01"' in location.skip_message
    assert location.tick() == []
    assert "history" not in location.skip_message, "named once"

    earlier = watch(ArchiveSettings(uri=str(folder)), start_date=date(2026, 7, 1))
    earlier.cursor = location.cursor
    assert earlier.tick_and_execute() == [("2026-08-01", "2026-08-01"), ("2026-10-01", "2026-10-01")]


def test_killed_daemon_requests_the_same_runs_again(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", "2026-10-01T10:00:00Z", "2026-10-04T10:00:00Z")

    killed = [request.run_key for request in location.evaluate().run_requests]
    location.now += timedelta(minutes=3)
    repeated = [request.run_key for request in location.evaluate().run_requests]

    assert killed == repeated, "Dagster starts one run for each key"
    assert len(set(killed)) == 2


def test_lost_cursor_loses_no_file(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", "2026-10-01T10:00:00Z")
    write(folder / "gaps.json", "2026-09-20T10:00:00Z", "2026-09-24T10:00:00Z")
    location.tick_and_execute()

    for cursor in ("", "{", '{"sequence": "x"}'):
        location.cursor = cursor
        assert location.tick() == []


def test_failed_run_is_requested_again_with_backoff(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", "2026-10-01T10:00:00Z")
    days = [("2026-10-01", "2026-10-01")]
    keys = set[str]()
    minutes: list[int] = []
    for minute in range(60):
        if location.tick() == days:
            minutes.append(minute)
            keys.update(str(request.run_key) for request in location.requests)
        else:
            assert "1 with days that runs could not extract" in location.skip_message
    assert minutes == [0, 5, 15, 35]
    assert len(keys) == len(minutes), "a key that is known to Dagster starts no run"

    write(folder / "new.json", "2026-10-03T10:00:00Z")
    assert location.tick_and_execute() == [("2026-10-03", "2026-10-03")], "other files do not wait"
    location.now += timedelta(hours=7)
    assert location.tick_and_execute() == days
    assert location.tick() == []


def test_run_in_progress_is_not_joined_by_another(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", "2026-10-01T10:00:00Z")
    job = location.definitions.resolve_job_def("refresh_unsettled_days")
    run = location.instance.create_run_for_job(job, tags={RANGE_START: "2026-10-08", RANGE_END: "2026-10-08"})

    assert location.tick() == []
    assert run.run_id in location.skip_message
    location.instance.report_run_canceled(run)
    assert location.tick() == [("2026-10-01", "2026-10-01")]


def test_run_that_reads_the_files_for_other_days_leaves_the_rest_to_the_sensor(
    watch: Watch, folder: Path
) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", *(f"2026-10-0{day}T10:00:00Z" for day in (1, 2, 3, 6)))
    assert location.run(date(2026, 10, 2), date(2026, 10, 3)).success

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-01"), ("2026-10-06", "2026-10-06")]
    assert location.tick() == []


def test_ticks_are_bounded_and_continue(watch: Watch, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_sensor, "MAX_RUNS_PER_TICK", 2)
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", *(f"2026-10-0{day}T10:00:00Z" for day in (1, 3, 5, 7)))
    write(folder / "b.json", "2026-10-09T10:00:00Z")

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-01"), ("2026-10-03", "2026-10-03")]
    assert location.tick_and_execute() == [("2026-10-05", "2026-10-05"), ("2026-10-07", "2026-10-07")]
    assert location.tick_and_execute() == [("2026-10-09", "2026-10-09")]
    assert location.tick() == []


@pytest.mark.parametrize("limit", ["MAX_FILES_PER_TICK", "MAX_BYTES_PER_TICK", "MAX_SECONDS_PER_TICK"])
def test_a_tick_reads_a_bounded_number_of_files(
    watch: Watch, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(archive_sensor, limit, 1 if limit == "MAX_FILES_PER_TICK" else 0)
    location = watch(ArchiveSettings(uri=str(folder)))
    for day in (1, 2, 3):
        write(folder / f"{day}.json", f"2026-10-0{day}T10:00:00Z")

    requested = [location.tick_and_execute() for _ in range(4)]

    assert requested[0] == [("2026-10-01", "2026-10-01")]
    assert sorted(day for ranges in requested for first, last in ranges for day in {first, last}) == [
        "2026-10-01",
        "2026-10-02",
        "2026-10-03",
    ]


def test_live_source_is_not_queried(watch: Watch, folder: Path) -> None:
    unreachable = ApiSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:1")
    location = watch(unreachable, ArchiveSettings(uri=str(folder)))
    write(folder / "a.json", "2026-10-01T10:00:00Z")

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-01")]


def test_objects_in_s3_are_extracted_with_one_listing_per_tick(
    watch: Watch,
    s3_lake_uri: str,  # noqa: ARG001 (starts the server)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = boto3.Session().client("s3")
    client.put_object(Bucket="plant", Key="dumps/a.json", Body=saved("2026-10-01T10:00:00Z").encode())
    location = watch(ArchiveSettings(uri="s3://plant/dumps/"))

    assert location.tick_and_execute() == [("2026-10-01", "2026-10-01")]
    assert location.tick() == []
    client.put_object(Bucket="plant", Key="dumps/b.json", Body=saved("2026-10-05T10:00:00Z").encode())
    assert location.tick_and_execute() == [("2026-10-05", "2026-10-05")]

    requests: list[str] = []
    send = URLLib3Session.send

    def record(session: Any, request: Any) -> Any:
        requests.append(f"{request.method} {request.url}")
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", record)
    assert location.tick() == []
    assert len(requests) == 1 and "list-type=2" in requests[0]


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.long)]
)
def test_every_day_of_every_file_reaches_the_lake_and_then_nothing_is_requested(
    watch: Watch, folder: Path, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 (no secret)
    location = watch(ArchiveSettings(uri=str(folder)))
    expected: set[str] = set()
    for step in range(4):
        for number in range(dice.randint(0, 4)):
            days = dice.sample(range(1, 30), dice.randint(1, 6))
            starts = [f"2026-09-{day:02}T{dice.randint(0, 23):02}:00:00" for day in days]
            expected |= set(starts)
            name = f"{dice.randint(0, 5)}-{step}-{number}.json"
            write(folder / name, *(f"{start}Z" for start in starts), age_seconds=dice.choice([0, 60]))
        location.tick()
        if dice.random() < 0.7:  # otherwise the runs fail before they start
            location.execute()
        location.now += timedelta(minutes=dice.choice([0, 30]))
    for _ in range(5):
        location.now += timedelta(hours=7)
        location.tick_and_execute()

    assert location.list_starts() == expected
    assert location.tick() == []


def test_sensor_runs_by_default_if_an_archive_is_a_source(watch: Watch, folder: Path) -> None:
    def status(*sources: Any) -> dg.DefaultSensorStatus:
        location = watch(*sources)
        return location.definitions.get_repository_def().get_sensor_def(SENSOR).default_status

    assert status(ArchiveSettings(uri=str(folder))) is dg.DefaultSensorStatus.RUNNING
    assert status(ApiSettings(region="eu-west-1")) is dg.DefaultSensorStatus.STOPPED


def test_a_lake_that_cannot_be_read_skips_the_tick_with_the_reason(watch: Watch, folder: Path) -> None:
    location = watch(ArchiveSettings(uri=str(folder)))
    write(folder / "good.json", "2026-10-01T10:00:00Z")
    file = Path(location.lake.path(ARCHIVE_FILES))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"damaged")

    assert "Cannot look for new saved responses: Cannot read" in location.evaluate().skip_message


def test_a_source_that_fails_while_it_is_read_blocks_no_other(
    watch: Watch, folder: Path, bucket: Bucket, s3: Server
) -> None:
    bucket.put("dumps/a.json", saved("2026-10-02T10:00:00Z").encode())
    location = watch(ArchiveSettings(uri=f"{bucket.uri}/dumps"), ArchiveSettings(uri=str(folder)))
    write(folder / "good.json", "2026-10-01T10:00:00Z")
    s3.fail_next("GET", "503 SLOW", "SlowDown", times=-1, path_part="a.json")

    assert location.tick() == [("2026-10-01", "2026-10-01")]
