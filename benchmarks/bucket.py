"""The extraction of an output bucket from its keys: list requests, CPU time and peak memory.

`python -m benchmarks.bucket` measures 203,040 objects and a quarter of them, because memory must not grow
with the bucket. The S3 is `benchmarks.bucket_service`; its CPU time does not count. Results are not read.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bucket_service import BUCKET, FIRST_DAY, PER_DAY
from benchmarks.cases import OURS, Case, Contender, Environment, Target, limit_cpu, limit_memory
from benchmarks.executions import CREDENTIALS
from benchmarks.measure import Cost, measure, start_process
from benchmarks.operations import open_instance

SCHEDULERS, DAYS = 15, 47
_PREPARE = "benchmarks.bucket:prepare_extraction"
_DAYS, _FOLDER = "BENCHMARK_DAYS", "BENCHMARK_FOLDER"


def prepare_extraction() -> Callable[[], Mapping[str, Any]]:
    """Return the Dagster run that lists all days of the bucket and records its executions."""
    import dagster as dg

    from assets.framework.event_log import keep_connections_open
    from assets.tables import INFERENCE_EXECUTIONS
    from pipelines.definitions import build_defs
    from pipelines.operations.backfill_plan import list_sources, plan_backfill
    from resources.clock import utc_now
    from resources.config.settings import BucketSettings, HistorySettings, LakeSettings, Settings
    from resources.lake.lake import Lake
    from resources.sources.factory import open_sources

    folder, days = Path(os.environ[_FOLDER]), int(os.environ[_DAYS])
    last = FIRST_DAY + timedelta(days=days - 1)
    settings = Settings(
        lake=LakeSettings(uri=str(folder / f"lake-{days}-{os.getpid()}")),
        history=HistorySettings(start_date=FIRST_DAY, end_date=last + timedelta(days=1)),
        sources=(BucketSettings(uri=f"s3://{BUCKET}/"),),
    )
    lake = Lake(settings.lake.uri)
    all_days = [FIRST_DAY + timedelta(days=number) for number in range(days)]
    listing = list_sources(open_sources(settings), all_days)
    predicted = plan_backfill(lake, listing, all_days, timedelta(hours=3), utc_now()).list_requests
    instance = open_instance(folder)
    job = build_defs(settings=settings).resolve_implicit_global_asset_job_def()
    job = job.get_subset(asset_selection={dg.AssetKey("inference_executions")}, asset_check_selection=set())
    tags = {
        "dagster/asset_partition_range_start": str(FIRST_DAY),
        "dagster/asset_partition_range_end": str(last),
    }

    def work() -> Mapping[str, Any]:
        with keep_connections_open(instance):
            result = job.execute_in_process(instance=instance, tags=tags)
        (output,) = (event for event in result.all_events if event.is_successful_output)
        return {
            "executions": sum(
                footer.rows for day in all_days for footer in lake.footers(INFERENCE_EXECUTIONS, day)
            ),
            "requests": output.step_output_data.metadata["ledger/list_requests"].value,
            "_requests_predicted": predicted,
        }

    return work


@contextmanager
def serve_bucket(schedulers: int, days: int) -> Iterator[Environment]:
    """Serve the results of some schedulers, every five minutes."""
    command = [sys.executable, "-m", "benchmarks.bucket_service", str(schedulers), str(days)]
    with start_process(command) as url, tempfile.TemporaryDirectory() as folder:
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": url, _DAYS: str(days), _FOLDER: folder}


def measure_bucket(schedulers: int = SCHEDULERS, days: int = DAYS) -> dict[str, float]:
    """Measure one bucket; return objects, requests, predicted requests, seconds, CPU seconds and peak MB.

    Raises:
        SystemExit: the extraction failed, or does not have one execution for each object.
    """
    with serve_bucket(schedulers, days) as environment:
        cost = measure(sys.executable, _PREPARE, environment)
    return describe(cost, schedulers * days * PER_DAY)


def describe(cost: Cost, objects: int) -> dict[str, float]:
    """Return the figures of a cost.

    Raises:
        SystemExit: there is not one execution for each object.
    """
    if cost.result["executions"] != objects:
        raise SystemExit(f"{cost.result['executions']} executions of {objects} objects are recorded")
    return {
        "objects": objects,
        "requests": cost.result["requests"],
        "requests_predicted": cost.result["_requests_predicted"],
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_megabytes": cost.peak_megabytes,
    }


CASES = [
    Case(
        "bucket",
        f"a bucket of {SCHEDULERS * DAYS * PER_DAY:,} results, listed and recorded",
        [Contender(OURS, _PREPARE)],
        [
            limit_memory(400),
            limit_cpu("CPU, s per million objects", 150, SCHEDULERS * DAYS * PER_DAY / 1e6),
            Target(
                "requests per 1,000 objects",
                lambda costs: costs[OURS].result["requests"] * 1_000 / costs[OURS].result["executions"],
                1.6,
                is_stable=True,
            ),
        ],
        partial(serve_bucket, SCHEDULERS, DAYS),
        seconds=16,
    ),
]

if __name__ == "__main__":
    print(json.dumps([measure_bucket(days=days) for days in (DAYS // 4, DAYS)], indent=2))
