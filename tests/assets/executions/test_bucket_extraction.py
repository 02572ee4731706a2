"""Extraction from output buckets: selection of schedulers, and results that several executions claim."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.executions import extraction
from assets.executions.extraction import Extraction
from assets.executions.selection import ExtractionSelection
from assets.framework.time_windows import Days
from assets.tables import EXECUTION_SOURCES, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS, REJECTED_EXECUTIONS
from resources.config.settings import ArchiveSettings, BucketSettings
from resources.errors import LedgerError
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.base import Source
from resources.sources.factory import open_source

DAY = date(2026, 9, 10)
NOW = datetime(2026, 10, 9, tzinfo=UTC)
SCHEDULER = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A copy with the output prefixes of a pump and of a fan."""
    start = datetime(2026, 9, 10, tzinfo=UTC)
    for prefix in ("plant/pump", "plant/fan"):
        for hour in range(24):
            folder = tmp_path / "copy" / prefix / f"{start + hour * timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
            folder.mkdir(parents=True)
            (folder / "results.jsonl").touch()
    return open_source(BucketSettings(uri=str(tmp_path / "copy"), copy_of="s3://bucket"), DEFAULT_LIMITS)


def extract(lake: Lake, sources: Sequence[Source], *schedulers: str) -> dict[str, LedgerError]:
    run = Extraction(lake, Days(DAY), timedelta(hours=3), NOW, lambda _: None)
    for day in run.gather(sources, [DAY], ExtractionSelection(schedulers)):
        run.record(day)
    return run.failed


def read_names(lake: Lake) -> set[str]:
    return set(lake.read(INFERENCE_EXECUTIONS, DAY)["scheduler_name"].to_pylist())


@pytest.mark.parametrize(
    "pattern", ["plant/pump", "*/pump", "arn:aws:lookoutequipment:::output-prefix/bucket/plant/pump/"]
)
def test_a_selected_scheduler_restricts_the_listing(lake: Lake, source: Source, pattern: str) -> None:
    assert not extract(lake, [source], pattern)
    assert read_names(lake) == {"plant/pump"}
    listed = lake.read(EXECUTION_SOURCES)["scheduler_arn"].to_pylist()
    assert listed == ["arn:aws:lookoutequipment:::output-prefix/bucket/plant/pump/"]


def test_a_prefix_is_selected_by_the_scheduler_that_writes_to_it(lake: Lake, source: Source) -> None:
    arn = f"{SCHEDULER}/pump-7/0f6b"
    row: dict[str, Any] = dict.fromkeys(INFERENCE_SCHEDULERS.schema.names) | {
        "scheduler_arn": arn,
        "scheduler_name": "pump-7",
        "valid_from": NOW,
        "recorded_at": NOW,
        "source": "api",
        "output_s3_bucket": "bucket",
        "output_s3_prefix": "plant/pump/",
    }
    rows = INFERENCE_SCHEDULERS.schema.empty_table().from_pylist([row], schema=INFERENCE_SCHEDULERS.schema)
    lake.update(INFERENCE_SCHEDULERS, None, lambda _: rows)
    assert not extract(lake, [source], "pump-7")
    assert read_names(lake) == {"pump-7"}


def test_a_name_that_no_prefix_has_is_an_error(lake: Lake, source: Source) -> None:
    failed = extract(lake, [source], "plant/pumq")
    assert "plant/pump" in str(failed["plant/pumq"])
    assert not read_names(lake)


def write_dump(file: Path, *names: str) -> Source:
    """Write executions in progress of some schedulers that share an output prefix."""
    output = {"S3OutputConfiguration": {"Bucket": "bucket", "Prefix": "plant/pump/"}}
    summaries = [
        {
            "InferenceSchedulerArn": f"{SCHEDULER}/{name}/1",
            "InferenceSchedulerName": name,
            "DataStartTime": "2026-09-10T05:00:00Z",
            "DataOutputConfiguration": output,
            "Status": "IN_PROGRESS",
        }
        for name in names
    ]
    file.write_text(json.dumps(summaries))
    return open_source(ArchiveSettings(uri=str(file)), DEFAULT_LIMITS)


def test_a_result_that_two_executions_claim_is_marked_in_the_lake(
    lake: Lake, source: Source, tmp_path: Path
) -> None:
    for sources in ([source], [write_dump(tmp_path / "a.json", "a")], [write_dump(tmp_path / "b.json", "b")]):
        assert not extract(lake, sources)
    rows = lake.read(INFERENCE_EXECUTIONS, DAY).to_pylist()
    claimed = [row for row in rows if row["data_start_time"].hour == 5 and "fan" not in row["scheduler_name"]]
    assert [(row["scheduler_name"], row["status"]) for row in claimed] == [
        ("a", "IN_PROGRESS"),
        ("b", "IN_PROGRESS"),
    ]
    (marked,) = lake.read(REJECTED_EXECUTIONS).to_pylist()
    assert marked["source"] == "s3://bucket/plant/pump/2026-09-10T05:00:00Z/results.jsonl"
    assert marked["reason"].startswith("2 executions claim this result, so it finalizes none of them: ")
    assert not extract(lake, [source])
    assert lake.read(REJECTED_EXECUTIONS).num_rows == 1


def test_a_long_listing_reports_its_progress(
    lake: Lake, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "LISTED_PER_REPORT", 20)
    messages: list[str] = []
    run = extraction.Extraction(lake, Days(DAY), timedelta(hours=3), NOW, messages.append)
    run.gather([source], [DAY])
    assert [text.partition(": ")[2] for text in messages] == [
        "48 results listed, 0 requests so far",
        "0 list requests so far",
    ]
