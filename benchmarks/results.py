"""Compares three ways to read result objects into tables: a short script, boto3 in threads, and our fetcher.

`python -m benchmarks.results` runs them. Options: `--objects N --rounds N`, and `--latency-ms N` for the
delay of each S3 response. Without a delay, the table shows the cost of the work. A delay of 20 ms is close
to a real S3. Nothing is written: each contender ends with two tables in memory, the lines and the
contributions.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.measure import build_table, compare, run_alone, start_process
from benchmarks.stub import BODIES, build_body

BUCKET = "results"
THREADS = 16
LOAD = 1_600
"""The number of objects that are parsed together, as in a load of 16 MB."""

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


CONTENDERS = {
    "boto3 + json + rows of dicts": prepare_by_hand,
    "boto3 in threads + ours": prepare_boto3_in_threads,
    "ours": prepare_ours,
}


def main() -> None:
    """Compare the contenders and print a table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--objects", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--latency-ms", type=int, default=0)
    options.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.alone:
        run_alone(CONTENDERS[chosen.alone]())
        return
    with start_process([sys.executable, "-m", "benchmarks.stub", str(chosen.latency_ms)]) as stub:
        environment = {
            _OBJECTS: str(chosen.objects),
            "AWS_ENDPOINT_URL_S3": stub.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        rounds = compare("benchmarks.results", list(CONTENDERS), environment, chosen.rounds)
    megabytes = chosen.objects * sum(len(build_body(number)) for number in range(BODIES)) / BODIES / 1e6
    print(f"{chosen.objects:,} objects, {megabytes:.0f} MB, {chosen.latency_ms} ms to each answer\n")
    columns = {
        "CPU, ms an object": lambda cost: cost.cpu_seconds * 1000 / chosen.objects,
        "objects a second": lambda cost: chosen.objects / cost.seconds,
        "MB a second": lambda cost: megabytes / cost.seconds,
    }
    print(build_table(rounds, "ours", columns))


if __name__ == "__main__":
    main()
