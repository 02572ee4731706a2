"""An extraction reads a source by what it offers, whatever its kind."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from assets.executions.extraction import Extraction
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.config.settings import BucketSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.archive import ArchiveSource
from resources.sources.base import ListedScheduler, SchedulerResponse, Source
from resources.sources.factory import open_source
from resources.sources.saved_file import SavedResponseFile
from resources.storage.base import StoredFile

DAY = date(2026, 2, 3)
NEXT_DAY = date(2026, 2, 4)
NOW = datetime(2026, 2, 10, tzinfo=UTC)
RECORDED_AT = datetime(2026, 2, 6, tzinfo=UTC)
SETTLES_AT = datetime(2026, 2, 4, 3, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump/1"
SUMMARY = {
    "InferenceSchedulerName": "pump",
    "InferenceSchedulerArn": ARN,
    "DataStartTime": "2026-02-03T10:00:00Z",
    "DataEndTime": "2026-02-03T10:05:00Z",
    "Status": "SUCCESS",
}


class Recording(ArchiveSource):
    """Saved responses that recorded which query the service answered, and when."""

    def open(self, file: StoredFile) -> SavedResponseFile:
        saved = super().open(file)
        response = SchedulerResponse(ListedScheduler(ARN, "pump"), frozenset({DAY, NEXT_DAY}), RECORDED_AT)
        saved.responses = (response,)
        return saved


def extract(tmp_path: Path, sources: Sequence[Source]) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    extraction = Extraction(lake, Days(DAY), timedelta(hours=3), NOW, lambda _: None)
    for day in extraction.gather(sources, [DAY, NEXT_DAY]):
        extraction.record(day)
    return lake


def proven(lake: Lake, day: date) -> dict[str, datetime | None]:
    rows = lake.read(EXTRACTION_COVERAGE, day).to_pylist()
    return {row["scheduler_arn"]: row["complete_through"] for row in rows}


def test_a_bucket_adds_executions_and_proves_no_day_complete(tmp_path: Path) -> None:
    result = tmp_path / "output" / "2026-02-03T10:00:00Z" / "results.jsonl"
    result.parent.mkdir(parents=True)
    result.touch()
    settings = BucketSettings(uri=str(tmp_path / "output"), scheduler_arn=ARN, frequency="PT5M")
    lake = extract(tmp_path, [open_source(settings, DEFAULT_LIMITS)])
    (row,) = lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist()
    assert (row["scheduler_arn"], row["scheduler_name"], row["status"]) == (ARN, "pump", "SUCCESS")
    assert row["data_start_time"] == datetime(2026, 2, 3, 10, tzinfo=UTC)
    assert row["data_end_time"] == datetime(2026, 2, 3, 10, 5, tzinfo=UTC)
    assert (row["source"], row["outcome_source"]) == ("bucket", "bucket")
    assert proven(lake, DAY) == {ARN: None}


def test_a_recorded_response_proves_its_days_complete_with_or_without_executions(tmp_path: Path) -> None:
    dump = tmp_path / "recorded.json"
    dump.write_text(json.dumps([SUMMARY]))
    lake = extract(tmp_path, [Recording(str(dump))])
    assert proven(lake, DAY) == {ARN: SETTLES_AT}
    assert proven(lake, NEXT_DAY) == {ARN: SETTLES_AT + timedelta(days=1)}


def test_saved_responses_without_a_record_of_the_query_prove_nothing(tmp_path: Path) -> None:
    dump = tmp_path / "saved.json"
    dump.write_text(json.dumps([SUMMARY]))
    assert proven(extract(tmp_path, [ArchiveSource(str(dump))]), DAY) == {ARN: None}
