"""Lakes from the bucket, from saved responses and from any mix of both contain each execution once."""

import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets.executions.extraction import Extraction
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.config.settings import ArchiveSettings, BucketSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.scheduler_arns import PLACEHOLDER
from resources.sources.base import Source
from resources.sources.factory import open_source
from sandbox.fleet import Fleet, History
from tests.support.fleets import build_sparse_fleet

FIRST, END = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC)
DAYS = [date(2026, 10, 5), date(2026, 10, 6), date(2026, 10, 7)]
NOW = datetime(2026, 10, 9, tzinfo=UTC)
BUCKETS = ("leeds-plant-inference", "seoul-plant-inference")
Summary = dict[str, Any]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return build_sparse_fleet(seed=7, history=History(FIRST, END))


@pytest.fixture(scope="module")
def truth(fleet: Fleet) -> list[Summary]:
    """All executions of two buckets."""
    return [
        summary
        for summary in fleet.executions(NOW)
        if summary["DataOutputConfiguration"]["S3OutputConfiguration"]["Bucket"] in BUCKETS
        and summary["DataStartTime"] < END
    ]


@pytest.fixture(scope="module")
def copies(truth: list[Summary], tmp_path_factory: pytest.TempPathFactory) -> list[BucketSettings]:
    """A copy of each bucket, with empty results: only the keys matter here."""
    folder = tmp_path_factory.mktemp("copies")
    for summary in truth:
        if result := summary.get("CustomerResultObject"):
            file = folder / result["Bucket"] / result["Key"]
            file.parent.mkdir(parents=True)
            file.touch()
    return [BucketSettings(uri=str(folder / name), copy_of=f"s3://{name}") for name in BUCKETS]


def write_dump(file: Path, summaries: Iterable[Summary]) -> Source:
    file.write_text(json.dumps([*summaries], default=datetime.isoformat))
    return open_source(ArchiveSettings(uri=str(file)), DEFAULT_LIMITS)


def extract(lake: Lake, sources: Sequence[Source], days: Sequence[date] = DAYS) -> None:
    extraction = Extraction(lake, Days(DAYS[0]), timedelta(hours=3), NOW, lambda _: None)
    for day in extraction.gather(sources, days):
        extraction.record(day)
    assert not extraction.failed


def open_copies(copies: Sequence[BucketSettings]) -> list[Source]:
    return [open_source(copy, DEFAULT_LIMITS) for copy in copies]


def read_lake(lake: Lake) -> dict[tuple[str, datetime], dict[str, Any]]:
    rows = [row for day in DAYS for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist()]
    keyed = {(row["scheduler_arn"], row["data_start_time"]): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def test_a_bucket_alone_shows_each_execution_with_a_result_once(
    truth: list[Summary], copies: list[BucketSettings], tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    extract(lake, open_copies(copies))
    rows = read_lake(lake).values()
    expected = {
        summary["CustomerResultObject"]["Key"]: summary
        for summary in truth
        if "CustomerResultObject" in summary
    }
    assert {row["result_s3_key"] for row in rows} == {*expected}
    for row in rows:
        summary = expected[row["result_s3_key"]]
        assert row["data_start_time"] == summary["DataStartTime"]
        assert row["data_end_time"] in {summary["DataEndTime"], None}
    known = sum(row["data_end_time"] is not None for row in rows)
    assert known > 0.8 * len(rows), (
        "an end is unknown on the days of a change of frequency, and on sparse days"
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_patchwork_in_any_order_equals_one_run_over_all(
    truth: list[Summary], copies: list[BucketSettings], tmp_path: Path, seed: int
) -> None:
    """Saved responses cover random parts; some are old, from when executions were IN_PROGRESS.

    The days that are extracted in pieces have one, two or three shards.
    """
    shards = 1 + (seed + 1) % 3
    chance = random.Random(seed)  # noqa: S311 (no secret)
    saved = [summary for summary in truth if chance.random() < 0.6]
    old = [
        {key: value for key, value in summary.items() if key not in {"CustomerResultObject", "FailedReason"}}
        | {"Status": "IN_PROGRESS"}
        for summary in truth
        if chance.random() < 0.2
    ]
    sources = [
        write_dump(tmp_path / "saved.json", saved),
        write_dump(tmp_path / "old.json", old),
        *open_copies(copies),
    ]
    at_once = Lake(str(tmp_path / "at once"))
    for _ in range(2):  # the second run knows the schedulers of the prefixes on all days
        extract(at_once, sources)
    pieces = Lake(str(tmp_path / "pieces"), shards=shards)
    steps = [(source, day) for source in sources for day in DAYS]
    chance.shuffle(steps)
    for source, day in steps:
        extract(pieces, [source], [day])
    extract(pieces, sources)
    rows = read_lake(at_once)
    assert read_lake(pieces) == rows
    assert [pieces.shards(INFERENCE_EXECUTIONS, day) for day in DAYS] == [shards] * len(DAYS)
    for day in DAYS:
        coverages = (lake.read(EXTRACTION_COVERAGE, day) for lake in (pieces, at_once))
        assert next(coverages).equals(next(coverages))
    unnamed = [row for (arn, _), row in rows.items() if arn.startswith(PLACEHOLDER)]
    assert {row["output_s3_prefix"] for row in unnamed} <= find_shared_prefixes(truth)
    saved_keys = {_get_key(summary) for summary in [*saved, *old]}
    assert (
        saved_keys
        <= {*rows}
        <= saved_keys | {_get_key(row) for row in truth} | {_get_row_key(row) for row in unnamed}
    )
    results = [row["result_s3_key"] for row in rows.values() if row["status"] == "SUCCESS"]
    assert sorted(results) == sorted(
        row["CustomerResultObject"]["Key"] for row in truth if "CustomerResultObject" in row
    )


def find_shared_prefixes(truth: list[Summary]) -> set[str]:
    """Return the output prefixes of schedulers that were created again under their name."""
    schedulers: dict[str, set[str]] = {}
    for summary in truth:
        prefix = summary["DataOutputConfiguration"]["S3OutputConfiguration"]["Prefix"]
        schedulers.setdefault(prefix, set()).add(summary["InferenceSchedulerArn"])
    return {prefix for prefix, arns in schedulers.items() if len(arns) > 1}


def _get_row_key(row: dict[str, Any]) -> tuple[str, datetime]:
    return row["scheduler_arn"], row["data_start_time"]


def _get_key(summary: Summary) -> tuple[str, datetime]:
    return summary["InferenceSchedulerArn"], summary["DataStartTime"]
