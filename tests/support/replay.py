"""Extraction without Dagster, and the content hashes of what it recorded."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from assets.executions.extraction import Extraction
from assets.framework.row_content import compute_content_version
from assets.framework.time_windows import Days
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from resources.lake.lake import Lake
from resources.sources.base import Source
from tests.support.live_service import NOW

DAYS = [date(2026, 10, day) for day in range(5, 9)]
"""Two days of the small fleet, with an empty day before and an unsettled one after them."""

SETTLE_AFTER = timedelta(hours=3)


def extract(folder: Path, sources: Sequence[Source], days: Sequence[date] = DAYS) -> Lake:
    lake = Lake(str(folder))
    extraction = Extraction(lake, Days(DAYS[0]), SETTLE_AFTER, NOW, lambda _: None)
    for day in extraction.gather(sources, days):
        extraction.record(day)
    extraction.save_file_index()
    assert extraction.failed == {}
    return lake


def hash_lake(lake: Lake) -> dict[str, str]:
    """Return the content hash of each day and table, without the index of files."""
    hashes = {
        INFERENCE_SCHEDULERS.name: compute_content_version(
            INFERENCE_SCHEDULERS, lake.read(INFERENCE_SCHEDULERS)
        )
    }
    for table in (INFERENCE_EXECUTIONS, EXTRACTION_COVERAGE):
        for day in lake.days(table):
            hashes[f"{table.name} {day}"] = compute_content_version(table, lake.read(table, day))
    return hashes
