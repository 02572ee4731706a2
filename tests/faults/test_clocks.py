"""Clocks that jump, and special days of the calendar: each execution is recorded once, on its UTC day."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assets.executions.extraction import Extraction
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.config.settings import ArchiveSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.base import Source
from resources.sources.factory import open_source

ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0"
SETTLE_AFTER = timedelta(hours=3)
SPECIAL_DAYS = {
    "leap day": date(2028, 2, 29),
    "last day of a leap year": date(2028, 12, 31),
    "first day of a year": date(2027, 1, 1),
    "summer time begins": date(2026, 3, 29),
    "summer time ends": date(2026, 10, 25),
}


def write_file(file: Path, starts: Sequence[datetime]) -> Source:
    """Write a saved response with an execution for each start, in the offset that the start has."""
    summaries = [
        {
            "InferenceSchedulerArn": ARN,
            "InferenceSchedulerName": "pump-1",
            "DataStartTime": start.isoformat(),
            "DataEndTime": (start.astimezone(UTC) + timedelta(minutes=30)).isoformat(),
            "Status": "SUCCESS",
        }
        for start in starts
    ]
    file.write_text(json.dumps(summaries))
    return open_source(ArchiveSettings(uri=str(file)), DEFAULT_LIMITS)


def extract(lake: Lake, source: Source, days: Sequence[date], now: datetime) -> None:
    extraction = Extraction(lake, Days(date(2026, 1, 1)), SETTLE_AFTER, now, lambda _: None)
    for day in extraction.gather([source], days):
        extraction.record(day)
    extraction.save_file_index()
    assert not extraction.failed


def read_starts(lake: Lake) -> list[datetime]:
    days = lake.days(INFERENCE_EXECUTIONS)
    stored = [(day, lake.read(INFERENCE_EXECUTIONS, day)["data_start_time"].to_pylist()) for day in days]
    assert all(start.astimezone(UTC).date() == day for day, starts in stored for start in starts)
    return [start for _, starts in stored for start in starts]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Auckland"])
@pytest.mark.parametrize("special", SPECIAL_DAYS)
def test_each_execution_around_a_special_day_is_recorded_once(
    tmp_path: Path, special: str, zone: str
) -> None:
    middle = datetime.combine(SPECIAL_DAYS[special], datetime.min.time(), UTC)
    starts = [middle + timedelta(minutes=30 * number) for number in range(-48, 96)]
    source = write_file(tmp_path / "a.json", [start.astimezone(ZoneInfo(zone)) for start in starts])
    days = [middle.date() + timedelta(days=number) for number in (-1, 0, 1)]
    lake = Lake(str(tmp_path / "lake"))

    for batch in (days[:1], days[1:], days):  # in parts, and again as a whole
        extract(lake, source, batch, middle + timedelta(days=9))

    assert read_starts(lake) == starts


def test_a_clock_that_jumps_changes_no_recorded_row(tmp_path: Path) -> None:
    day = date(2026, 10, 6)
    start = datetime(2026, 10, 6, tzinfo=UTC)
    starts = [start + timedelta(hours=number) for number in range(24)]
    source = write_file(tmp_path / "a.json", starts)
    lake = Lake(str(tmp_path / "lake"))
    now = datetime(2026, 10, 9, tzinfo=UTC)
    extract(lake, source, [day], now)
    before = lake.read(INFERENCE_EXECUTIONS, day), lake.read(EXTRACTION_COVERAGE, day)

    for jump in (timedelta(hours=-2), timedelta(days=-400), timedelta(days=10_000), timedelta()):
        extract(lake, source, [day], now + jump)
        assert (lake.read(INFERENCE_EXECUTIONS, day), lake.read(EXTRACTION_COVERAGE, day)) == before


def test_a_row_that_arrives_after_the_clock_went_back_is_kept(tmp_path: Path) -> None:
    day = date(2026, 10, 6)
    start = datetime(2026, 10, 6, tzinfo=UTC)
    lake = Lake(str(tmp_path / "lake"))
    now = datetime(2026, 10, 9, tzinfo=UTC)
    extract(lake, write_file(tmp_path / "a.json", [start]), [day], now)
    late = write_file(tmp_path / "b.json", [start + timedelta(hours=1)])
    extract(lake, late, [day], now - timedelta(days=2))
    assert read_starts(lake) == [start, start + timedelta(hours=1)]
