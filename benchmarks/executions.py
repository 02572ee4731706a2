"""Executions of a service to Parquet files by day: a script, dlt, awswrangler, the floor, and ours.

The service is `benchmarks.service`. Its CPU time does not count. Each contender reads the same pages.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import (
    OURS,
    Case,
    Contender,
    Costs,
    Environment,
    Target,
    limit_memory,
    limit_ratio,
    limit_result,
    require_ratio,
)
from benchmarks.measure import start_process
from benchmarks.service import PAGE, REGION, STEP_SECONDS

FIRST = date(2025, 10, 1)
NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
Counts = Mapping[str, Any]
_DAYS, _ENDPOINT, _S3 = "BENCHMARK_DAYS", "AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT", "BENCHMARK_S3"
_START = datetime.combine(FIRST, datetime.min.time(), UTC)
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""The environment of all contenders; no request leaves the machine."""


def _read_pages() -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of all schedulers, as a script reads them with boto3."""
    import boto3

    client = boto3.client("lookoutequipment")
    for scheduler in client.list_inference_schedulers(MaxResults=PAGE)["InferenceSchedulerSummaries"]:
        parameters = {
            "InferenceSchedulerName": scheduler["InferenceSchedulerName"],
            "DataStartTimeAfter": _START - timedelta(seconds=1),
            "MaxResults": PAGE,
        }
        while True:
            response = client.list_inference_executions(**parameters)
            yield response["InferenceExecutionSummaries"]
            if not response.get("NextToken"):
                break
            parameters["NextToken"] = response["NextToken"]


def _build_frame() -> Any:  # noqa: ANN401 (a data frame)
    import pandas as pd

    frame = pd.json_normalize([row for page in _read_pages() for row in page])
    frame["data_date"] = frame["DataStartTime"].dt.strftime("%Y-%m-%d")
    return frame


def prepare_script() -> Callable[[], Counts]:
    """Return the work of a short script with boto3, json_normalize and to_parquet."""
    import boto3  # noqa: F401
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    pd.json_normalize([{"a": {"b": 1}}])

    def work() -> Counts:
        frame = _build_frame()
        with tempfile.TemporaryDirectory() as folder:
            frame.to_parquet(folder, partition_cols=["data_date"], index=False)
            return {"executions": len(frame), **_measure_files(folder)}

    return work


def prepare_awswrangler() -> Callable[[], Counts]:
    """Return the work of the same script with `awswrangler.s3.to_parquet`."""
    import awswrangler as wr
    import boto3

    wr.config.s3_endpoint_url = os.environ[_S3]
    boto3.client("s3", endpoint_url=os.environ[_S3]).create_bucket(
        Bucket=(bucket := f"benchmark-{os.getpid()}"),
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )

    def work() -> Counts:
        frame = _build_frame()
        path = f"s3://{bucket}/executions/"
        wr.s3.to_parquet(frame, path, dataset=True, partition_cols=["data_date"], index=False)
        return {"executions": len(frame)}

    return work


def prepare_dlt() -> Callable[[], Counts]:
    """Return the work of a dlt pipeline with an incremental resource and Parquet files."""
    import boto3  # noqa: F401
    import dlt
    import pyarrow.parquet  # noqa: F401
    import requests  # noqa: F401

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

    def work() -> Counts:
        count = 0

        @dlt.resource(name="executions", write_disposition="append", max_table_nesting=3)
        def executions(
            since: Any = dlt.sources.incremental("DataStartTime", initial_value=_START),  # noqa: ANN401, B008, ARG001
        ) -> Iterator[list[dict[str, Any]]]:
            nonlocal count
            for page in _read_pages():
                count += len(page)
                yield page

        with tempfile.TemporaryDirectory() as folder:
            pipeline = dlt.pipeline(
                "benchmark",
                pipelines_dir=f"{folder}/state",
                destination=dlt.destinations.filesystem(f"file://{folder}/data"),
                dataset_name="lookout",
            )
            pipeline.run(executions(), loader_file_format="parquet")
            return {"executions": count, **_measure_files(f"{folder}/data/lookout/executions")}

    return work


def prepare_floor() -> Callable[[], Counts]:
    """Return the least work for the same files: a raw socket, typed decoding, columns, Parquet."""
    import numpy as np
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)
    import pyarrow as pa

    from assets.tables import INFERENCE_EXECUTIONS
    from benchmarks.floor import build_columns, decode_page, read_raw_pages
    from resources.lake.table_contract import write_rows

    def work() -> Counts:
        bodies = read_raw_pages(os.environ[_ENDPOINT], _START.timestamp())
        rows = pa.concat_tables([build_columns(decode_page(body)) for body in bodies]).unify_dictionaries()
        days = rows["data_start_time"].cast(pa.int64()).to_numpy() // 86_400_000
        order = np.argsort(days, kind="stable")
        rows, borders = rows.take(pa.array(order)), np.flatnonzero(np.diff(days[order], prepend=-1))
        with tempfile.TemporaryDirectory() as folder:
            for start, stop in zip(borders, [*borders[1:], len(days)], strict=True):
                target = Path(folder, f"data_date={days[order[start]]}")
                target.mkdir()
                with (target / "part-0.parquet").open("wb") as sink:
                    write_rows(rows.slice(start, stop - start), INFERENCE_EXECUTIONS, sink)
            return {"executions": rows.num_rows, **_measure_files(folder)}

    return work


def prepare_ours() -> Callable[[], Counts]:
    """Return the work of the asset: fetch, merge, record coverage, write, and compute data versions."""
    from assets.framework.time_windows import Days
    from resources.lake.lake import Lake

    days = [FIRST + timedelta(days=number) for number in range(int(os.environ[_DAYS]))]
    history = Days(FIRST, days[-1] + timedelta(days=1))
    import_extraction()

    def work() -> Counts:
        with tempfile.TemporaryDirectory() as folder:
            executions, calls = extract(Lake(folder), history, days)
            size = _measure_files(f"{folder}/inference_executions")
        rows_per_scheduler = len(days) * 86_400 // STEP_SECONDS
        least_calls = executions // rows_per_scheduler * -(-rows_per_scheduler // PAGE)
        figures = {"_calls_of_minimum": calls / least_calls, "_bytes_of_row": size["_bytes"] / executions}
        return {"executions": executions, **size, **figures, "_days": len(days)}

    return work


def import_extraction() -> None:
    """Import what `extract` needs, because imports are not measured."""
    import boto3  # noqa: F401
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)

    import assets.executions.assets  # noqa: F401


def extract(lake: Any, history: Any, days: Sequence[date]) -> tuple[int, int]:  # noqa: ANN401
    """Extract days as the asset does, but without Dagster; return the numbers of executions and of calls."""
    from assets.executions import assets
    from assets.executions.extraction import Extraction
    from assets.framework.partitioned_run import batches
    from resources.aws.access import AwsAccess
    from resources.sources.api import ApiSource
    from resources.sources.call_budget import CallBudget

    source, calls, executions = ApiSource(AwsAccess(REGION)), CallBudget(None), 0
    source.calls = calls
    for batch in batches(days, assets.compute_days_per_batch(source.listed_schedulers)):
        extraction = Extraction(lake, history, timedelta(hours=3), NOW, lambda _: None)
        for day in extraction.gather([source], batch):
            results = assets._record_day(extraction, calls, day.isoformat())  # noqa: SLF001
            executions += results[0].metadata["dagster/partition_row_count"]
            del results
    return executions, calls.count


def _measure_files(folder: str) -> dict[str, int]:
    files = [*Path(folder).rglob("*.parquet")]
    return {"_files": len(files), "_bytes": sum(file.stat().st_size for file in files)}


@contextmanager
def serve(schedulers: int, days: int, *, with_s3: bool = False) -> Iterator[Environment]:
    """Start the service, and an S3 for awswrangler."""
    environment = {**CREDENTIALS, _DAYS: str(days)}
    with ExitStack() as stack:
        environment[_ENDPOINT] = stack.enter_context(_start_service(schedulers, days))
        if with_s3:
            environment[_S3] = stack.enter_context(
                start_process([sys.executable, "-m", "benchmarks.storage"])
            )
        yield environment


@contextmanager
def serve_fleets(fleets: Mapping[str, tuple[int, int]]) -> Iterator[Environment]:
    """Start a service for each fleet, which is a number of schedulers and of days."""
    with ExitStack() as stack:
        environment = dict(CREDENTIALS)
        for name, fleet in fleets.items():
            environment[f"{_DAYS}_{name}"] = str(fleet[1])
            environment[f"{_ENDPOINT}_{name}"] = stack.enter_context(_start_service(*fleet))
        yield environment


def _start_service(schedulers: int, days: int) -> AbstractContextManager[str]:
    size = [str(schedulers), FIRST.isoformat(), str(days)]
    return start_process([sys.executable, "-m", "benchmarks.service", *size])


def _select_fleet(name: str) -> None:
    for variable in (_DAYS, _ENDPOINT):
        os.environ[variable] = os.environ[f"{variable}_{name}"]


def prepare_fleet(name: str = "A") -> Callable[[], Counts]:
    """Return our work for a fleet of `serve_fleets`."""
    _select_fleet(name)
    return prepare_ours()


def prepare_large_fleet() -> Callable[[], Counts]:
    """Return our work for the large fleet."""
    return hide_results(prepare_fleet("B"))


def prepare_fleet_floor() -> Callable[[], Counts]:
    """Return the floor of the fleet."""
    _select_fleet("A")
    return prepare_floor()


def prepare_fleet_script() -> Callable[[], Counts]:
    """Return the script for the fleet."""
    _select_fleet("A")
    return prepare_script()


def hide_results(work: Callable[[], Counts]) -> Callable[[], Counts]:
    """Return the same work with results that need not be equal."""
    return lambda: {f"_{name.lstrip('_')}": value for name, value in work().items()}


SCRIPT, DLT, WRANGLER, FLOOR = "script", "dlt", "awswrangler", "floor"
_ENVIRONMENTS = {name: name for name in (SCRIPT, DLT, WRANGLER)}


def build_case(
    name: str,
    schedulers: int,
    days: int,
    *others: str,
    targets: Any,  # noqa: ANN401
    seconds: float,
) -> Case:
    """Build a case of a fleet with one execution every five minutes."""
    contenders = [
        Contender(other, f"{__name__}:prepare_{other}", _ENVIRONMENTS.get(other, ""))
        for other in (OURS, *others)
    ]
    title = f"{_count_executions(schedulers, days):,} executions: {schedulers:,} schedulers, {days} days"
    serve_fleet = partial(serve, schedulers, days, with_s3=WRANGLER in others)
    return Case(name, title, contenders, targets, serve_fleet, seconds)


def _count_executions(schedulers: int, days: int) -> int:
    return schedulers * days * 86_400 // STEP_SECONDS


_CALLS = limit_result("_calls_of_minimum", 1.05, "calls / least calls")
_BYTES = limit_result("_bytes_of_row", 7, "bytes of a row")
_ONE_FILE_A_DAY: Target = Target(
    "files / days",
    lambda costs: costs[OURS].result["_files"] / costs[OURS].result["_days"],
    1,
    is_stable=True,
)
_PROFILE = (
    "In a profile, reading takes 62 % of our CPU time with 20 schedulers and 78 % with 100; three fifths of"
    " it is requests with botocore, each in a thread of its own. Recording the days takes 31 % and 15 %:"
    " merge, data version, preview, coverage, and two files with locks and flushes."
)
_TO_FLOOR = (
    f"{_PROFILE} The floor reads over one raw connection, writes one file a day, and does nothing else of"
    " that. A smaller client than botocore and fewer files would be necessary."
)
_PEAK = (
    "A batch has at least one day, and a day of 1,000 schedulers has 288,000 executions. Batches of a part of"
    " a day would be necessary."
)
_REQUESTS = f"{_PROFILE} A smaller client than botocore would be necessary."
_LARGE_FLEET, _LARGE_DAYS = 1_000, 7
_LARGE = f"{_LARGE_FLEET:,} schedulers"


def _compare_peaks(costs: Costs) -> float | None:
    peaks = [costs[name].peak_megabytes for name in (OURS, _LARGE) if name in costs]
    return max(peaks) / min(peaks) if len(peaks) == len(_FLEETS) else None


_FLEETS = {"A": (100, 35), "B": (_LARGE_FLEET, _LARGE_DAYS)}
CASES = [
    build_case(
        "executions",
        20,
        35,
        SCRIPT,
        DLT,
        WRANGLER,
        FLOOR,
        targets=[
            require_ratio(SCRIPT, 10).missed_because(_REQUESTS),
            require_ratio(DLT, 12).missed_because(_REQUESTS),
            require_ratio(WRANGLER, 10).missed_because(_REQUESTS),
            limit_ratio(FLOOR, 2).missed_because(_TO_FLOOR),
            limit_memory(400),
            _BYTES,
        ],
        seconds=100,
    ),
    build_case("executions-year", 15, 365, targets=[limit_memory(400), _CALLS], seconds=25),
    Case(
        "executions-1m",
        f"{_count_executions(100, 35):,} executions: 100 schedulers, 35 days; {_LARGE}, {_LARGE_DAYS} days",
        [
            Contender(OURS, f"{__name__}:prepare_fleet"),
            Contender(FLOOR, f"{__name__}:prepare_fleet_floor"),
            Contender(_LARGE, f"{__name__}:prepare_large_fleet", does_our_work=False),
            Contender(SCRIPT, f"{__name__}:prepare_fleet_script", SCRIPT),
        ],
        [
            require_ratio(SCRIPT, 10).missed_because(_REQUESTS),
            limit_ratio(FLOOR, 2).missed_because(_TO_FLOOR),
            limit_memory(400).missed_because(_PEAK),
            limit_memory(400, _LARGE).missed_because(_PEAK),
            Target("larger / smaller peak memory", _compare_peaks, 1.15, is_stable=True, reason=_PEAK),
        ],
        partial(serve_fleets, _FLEETS),
        seconds=170,
        omits="executions-1m: dlt and awswrangler, because they would take four minutes; see those of 201,600"
        " executions. The large fleet has 7 of 31 days, because the others take two minutes more. Its"
        " batches are single days.",
    ),
]
SMOKE = build_case(
    "executions-smoke", 3, 35, FLOOR, targets=[limit_memory(400), _CALLS, _ONE_FILE_A_DAY], seconds=5
)
