"""Result objects to tables in memory: short scripts, boto3 in threads with our parser, and our fetcher.

The S3 is `benchmarks.stub`. Its CPU time does not count. Nothing is written: each contender ends
with two tables, the lines and the contributions.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.cases import OURS, Case, Contender, Environment, require_ratio
from benchmarks.executions import CREDENTIALS
from benchmarks.measure import start_process

BUCKET = "results"
THREADS = 16
LOAD = 1_600
"""The number of objects that are parsed together, as in a load of 16 MB."""

OBJECTS = 4_320
"""A day of fifteen schedulers."""

_OBJECTS = "BENCHMARK_OBJECTS"
Counts = Mapping[str, Any]


def list_keys() -> list[str]:
    """Return the keys of the objects."""
    return [f"out/{number}/results.jsonl" for number in range(int(os.environ[_OBJECTS]))]


def prepare_by_hand() -> Callable[[], Counts]:
    """Return the work of a short script with boto3, json and rows of dicts, without threads.

    One call of `pandas.json_normalize` per object takes twice as long.
    """
    import boto3
    import pandas as pd

    def work() -> Counts:
        client = boto3.client("s3")
        lines, contributions = [], []
        for key in list_keys():
            text = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
            for record in map(json.loads, text.splitlines()):
                for diagnostic in record.pop("diagnostics", ()):
                    component, _, sensor = diagnostic["name"].partition("\\")
                    contributions.append(
                        {
                            "key": key,
                            "timestamp": record["timestamp"],
                            "component": component,
                            "sensor": sensor,
                            "contribution": diagnostic["value"],
                        }
                    )
                lines.append({"key": key, **record})
        frames = pd.DataFrame(lines), pd.DataFrame(contributions)
        for frame in frames:
            frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
        return {"lines": len(frames[0]), "contributions": len(frames[1])}

    return work


def prepare_line_by_line() -> Callable[[], Counts]:
    """Return the work of a script that calls `json_normalize` for each line."""
    import boto3
    import pandas as pd

    pd.json_normalize([{"a": {"b": 1}}])

    def work() -> Counts:
        client = boto3.client("s3")
        lines, contributions = [], []
        for key in list_keys():
            text = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
            for record in map(json.loads, text.splitlines()):
                contributions.append(pd.json_normalize(record, "diagnostics", ["timestamp"]))
                lines.append(pd.json_normalize({**record, "diagnostics": None}))
        frames = pd.concat(lines), pd.concat(contributions)
        return {"lines": len(frames[0]), "contributions": len(frames[1])}

    return work


def prepare_boto3_in_threads() -> Callable[[], Counts]:
    """Return the work of boto3 in threads with our parser."""
    import boto3
    from botocore.config import Config

    from assets.anomalies.parse import parse_objects

    def work() -> Counts:
        client = boto3.client("s3", config=Config(max_pool_connections=THREADS))
        tables = []
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(list_keys()), LOAD):
                batch = list_keys()[start : start + LOAD]
                bodies = pool.map(lambda key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read(), batch)
                tables.append(
                    parse_objects(
                        (number, key, data)
                        for number, (key, data) in enumerate(zip(batch, bodies, strict=True))
                    )
                )
        return _count(tables)

    return work


def prepare_ours() -> Callable[[], Counts]:
    """Return the work of the asset: obstore in threads with our parser."""
    from assets.anomalies.parse import parse_objects
    from resources.aws.access import AwsAccess
    from resources.results.base import ResultRequest
    from resources.results.fetcher import ResultFetcher

    def work() -> Counts:
        loads = ResultFetcher(AwsAccess()).fetch([ResultRequest(BUCKET, key) for key in list_keys()])
        return _count(
            [
                parse_objects(
                    (number, fetched.request.key, fetched.data or b"") for number, fetched in enumerate(load)
                )
                for load in loads
            ]
        )

    return work


def _count(tables: Any) -> Counts:  # noqa: ANN401
    return {
        "lines": sum(parsed.lines.num_rows for parsed in tables),
        "contributions": sum(parsed.contributions.num_rows for parsed in tables),
    }


@contextmanager
def serve() -> Iterator[Environment]:
    """Start the S3."""
    with start_process([sys.executable, "-m", "benchmarks.stub"]) as address:
        yield {**CREDENTIALS, _OBJECTS: str(OBJECTS), "AWS_ENDPOINT_URL_S3": address}


SCRIPT, PANDAS, THREADED = "script", "pandas line by line", "boto3 in threads"
CASES = [
    Case(
        "results",
        f"{OBJECTS:,} result objects, 5 lines of 30 sensors",
        [
            Contender(OURS, f"{__name__}:prepare_ours"),
            Contender(SCRIPT, f"{__name__}:prepare_by_hand", "script"),
            Contender(PANDAS, f"{__name__}:prepare_line_by_line", "script"),
            Contender(THREADED, f"{__name__}:prepare_boto3_in_threads"),
        ],
        [require_ratio(PANDAS, 10), require_ratio(SCRIPT, 5), require_ratio(THREADED, 5)],
        serve,
    )
]
