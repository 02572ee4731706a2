"""Large days of results, from objects to the four tables of a lake: CPU, memory and size.

`python -m benchmarks.day` records days of five schedulers with 300 sensors each and one line per minute:
2.2 million contributions per day. Then it records the last day again, first unchanged, then with one
changed object. Options: `--schedulers N --sensors N --days N --shards N`.
"""

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.anomalies.reading import record_shards
from assets.framework.row_content import conform
from assets.tables import INFERENCE_EXECUTIONS, SENSOR_CONTRIBUTIONS
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.results.base import FetchedResult, ObjectState, ResultRequest

LAST = date(2026, 10, 7)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler"
NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
MINUTES = 5
LOAD_BYTES = 16_000_000


def build_executions(schedulers: int, day: date) -> pa.Table:
    """Build a day of successful executions."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        {
            "scheduler_arn": f"{ARN}/pump-{number}/{number:032x}",
            "scheduler_name": f"pump-{number}",
            "account_id": "111122223333",
            "region": "eu-west-1",
            "data_start_time": at,
            "status": "SUCCESS",
            "result_s3_bucket": "results",
            "result_s3_key": f"pump-{number}/{at:%Y-%m-%dT%H:%M:%SZ}/results.jsonl",
            "source": "api",
            "outcome_source": "api",
            "recorded_at": NOW,
        }
        for number in range(schedulers)
        for at in (start + timedelta(minutes=MINUTES * slot) for slot in range(1440 // MINUTES))
    ]
    nullable = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    return conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(rows, schema=nullable))


class FakeResults:
    """A result fetcher that generates objects on request."""

    read_limits = DEFAULT_LIMITS

    def __init__(self, sensors: int) -> None:
        self._sensors = sensors
        self.changed: set[str] = set()

    def fetch(self, requests: Sequence[ResultRequest]) -> Iterator[list[FetchedResult]]:
        """Generate new and changed objects, in loads of the size of the real fetcher."""
        load: list[FetchedResult] = []
        size = 0
        for request in requests:
            tag = f"{request.key in self.changed}"
            if request.etag == tag:
                load.append(FetchedResult(request, ObjectState.UNCHANGED))
            else:
                load.append(FetchedResult(request, ObjectState.READ, self._body(request.key), tag))
            size += load[-1].size_in_memory
            if size > LOAD_BYTES:
                yield load
                load, size = [], 0
        yield load

    def _body(self, key: str) -> bytes:
        name, start, _ = key.split("/")
        at = datetime.strptime(start, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        noise = hashlib.shake_128(f"{key} {key in self.changed}".encode()).digest(self._sensors * MINUTES * 2)
        values = memoryview(noise).cast("H").tolist()
        return b"".join(
            json.dumps(
                {
                    "timestamp": f"{at + timedelta(minutes=1 + line):%Y-%m-%dT%H:%M:%S}.000000",
                    "prediction": 0,
                    "anomaly_score": 0.1,
                    "diagnostics": [
                        {
                            "name": f"{name}\\Sensor{sensor}",
                            "value": values[line * self._sensors + sensor] / 1e5,
                        }
                        for sensor in range(self._sensors)
                    ],
                }
            ).encode()
            + b"\n"
            for line in range(MINUTES)
        )


def main() -> None:
    """Record the days, the last day three times, and print the cost of each run."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--schedulers", type=int, default=5)
    options.add_argument("--sensors", type=int, default=300)
    options.add_argument("--days", type=int, default=3)
    options.add_argument("--shards", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake, results = Lake(folder, shards=chosen.shards), FakeResults(chosen.sensors)
        days = [LAST - timedelta(days=number) for number in range(chosen.days)][::-1]
        print(f"before: peak RSS {_peak_megabytes():.0f} MB\n")
        print("| what | contributions | CPU, s | peak RSS, MB |\n| --- | ---: | ---: | ---: |")
        for day in days:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # whose memory does not count
                pool.submit(_write_executions, folder, chosen.shards, chosen.schedulers, day).result()
            _record(f"{day}", lake, results, day)
        _record("again, unchanged", lake, results, LAST)
        results.changed = {f"pump-0/{LAST}T12:00:00Z/results.jsonl"}
        _record("again, one changed object", lake, results, LAST)
        files = Path(lake.path(SENSOR_CONTRIBUTIONS, LAST)).parent.glob("part-*.parquet")
        size = sum(file.stat().st_size for file in files)
        print(f"\nsensor_contributions: {size / 1e6:.1f} MB a day")


def _write_executions(folder: str, shards: int, schedulers: int, day: date) -> None:
    rows = build_executions(schedulers, day)
    Lake(folder, shards=shards).update(INFERENCE_EXECUTIONS, day, lambda _: rows)


def _record(what: str, lake: Lake, results: Any, day: date) -> None:  # noqa: ANN401 (it has the methods of ResultFetcher)
    started = time.process_time()
    contributions = sum(recorded.contributions for recorded in record_shards(lake, results, day, NOW))
    seconds = time.process_time() - started
    print(f"| {what} | {contributions:,} | {seconds:.1f} | {_peak_megabytes():.0f} |", flush=True)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
