"""Three years of monthly runs, with two changes of a table on the way: no row is lost, sizes are bounded."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from assets.tables import INFERENCE_EXECUTIONS, Table
from pipelines.definitions import build_defs
from pipelines.runs import instance as home
from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from tests.support.code_location import Location

FIRST = date(2024, 1, 1)
STEP = timedelta(hours=6)
NAMES = ("pump-1", "fan-2")
ADDED_LATER = ("unrecognized", "failed_reason")
"""Columns without required values: the first year has neither, the second one has not the first of them."""


def build_older_table(*missing: str) -> Table:
    columns = tuple(column for column in INFERENCE_EXECUTIONS.columns if column.name not in missing)
    return replace(INFERENCE_EXECUTIONS, version=INFERENCE_EXECUTIONS.version - len(missing), columns=columns)


def describe(name: str, start: datetime) -> dict[str, object]:
    arn = f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/{name}/0"
    return {
        "InferenceSchedulerArn": arn,
        "InferenceSchedulerName": name,
        "DataStartTime": start.isoformat(),
        "DataEndTime": (start + STEP).isoformat(),
        "Status": "SUCCESS",
    }


def list_starts(first: date, last: date) -> Iterator[datetime]:
    start = datetime.combine(first, datetime.min.time(), UTC)
    while start.date() <= last:
        yield start
        start += STEP


def measure(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.long
@pytest.mark.parametrize("months", [36])
def test_three_years_lose_no_row_through_two_table_versions(
    tmp_path: Path, months: int, record_property: Callable[[str, object], None]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(home.INSTANCE)
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    bounds = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(months + 1)]
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=FIRST, end_date=bounds[-1]),
        sources=(ArchiveSettings(uri=str(dumps)),),
    )
    lake = Lake(settings.lake.uri)
    expected: set[tuple[str, datetime]] = set()
    event_bytes: list[int] = []
    year_begin = 0
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        location = Location(build_defs(settings=settings), instance, lake)
        for number, (first, stop) in enumerate(pairwise(bounds), 1):
            last = stop - timedelta(days=1)
            pairs = [(name, start) for start in list_starts(first, last) for name in NAMES]
            expected |= set(pairs)
            (dumps / f"{first}.json").write_text(json.dumps([describe(*pair) for pair in pairs]))
            assert location.run(first, last).success
            event_bytes.append(measure(tmp_path / "home"))
            if number * 3 % months == 0 and number < months:  # the table gets a column after each third
                older = build_older_table(*(ADDED_LATER if number * 3 == months else ADDED_LATER[:1]))
                for day in lake.days(INFERENCE_EXECUTIONS)[year_begin:]:
                    rows = lake.read(INFERENCE_EXECUTIONS, day).select(older.schema.names)
                    Path(lake.path(INFERENCE_EXECUTIONS, day)).unlink()  # else a newer version is refused
                    lake.update(older, day, lambda _, rows=rows: rows)
                year_begin = len(lake.days(INFERENCE_EXECUTIONS))
        size = measure(tmp_path / "lake")
        late = [("press-3", start) for start in list_starts(FIRST, bounds[-1]) if start.day == 1]
        late = [pair for pair in late if pair[1].date() < bounds[-1]]
        (dumps / "late.json").write_text(json.dumps([describe(*pair) for pair in late]))
        assert location.run(FIRST, bounds[-1] - timedelta(days=1)).success
    rows = [
        row
        for day in lake.days(INFERENCE_EXECUTIONS)
        for row in lake.read(INFERENCE_EXECUTIONS, day, ["scheduler_name", "data_start_time"]).to_pylist()
    ]
    found = [(row["scheduler_name"], row["data_start_time"]) for row in rows]
    assert len(found) == len(set(found))
    assert set(found) == expected | set(late)
    days = (bounds[-1] - FIRST).days
    per_day = (event_bytes[-1] - event_bytes[0]) / (days - 31)
    record_property("event log, kB per day", per_day / 1000)
    record_property("lake, kB per day", size / days / 1000)
    print(f"{days} days: event log {event_bytes[-1] / 1e6:.1f} MB, lake {size / 1e6:.1f} MB")  # noqa: T201
    assert per_day < 60_000, "the event log grows by each materialization only"
