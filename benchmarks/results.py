"""Result objects to tables: a script by hand, boto3 in threads with our parser, and ours.

`python -m benchmarks.results` compares them; `--objects N --rounds N` say how many, `--latency-ms N` how long
the S3 lets each answer wait: none is what work costs, and some twenty are what a caller sees. Nothing is
written: each contender ends with two tables in memory, the lines and the contributions.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.measure import alone, compared, started, table
from benchmarks.stub import BODIES, body

BUCKET = "results"
THREADS = 16
LOAD = 1_600
"""Objects of ours that are parsed together, as many as a load of sixteen megabytes has."""

_OBJECTS = "BENCHMARK_OBJECTS"
Counted = Mapping[str, Any]


def keys() -> list[str]:
    """Name the objects, as a scheduler would."""
    return [f"out/{number}/results.jsonl" for number in range(int(os.environ[_OBJECTS]))]


def by_hand() -> Callable[[], Counted]:
    """boto3, json and rows of dicts, one object after the other: the quicker of the ways to write it down.

    `pandas.json_normalize` an object takes twice as long.
    """
    import boto3
    import pandas as pd

    def work() -> Counted:
        client = boto3.client("s3")
        lines, contributions = [], []
        for key in keys():
            text = client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
            for record in map(json.loads, text.splitlines()):
                for each in record.pop("diagnostics", ()):
                    component, _, sensor = each["name"].partition("\\")
                    contributions.append(
                        {
                            "key": key,
                            "timestamp": record["timestamp"],
                            "component": component,
                            "sensor": sensor,
                            "contribution": each["value"],
                        }
                    )
                lines.append({"key": key, **record})
        found = pd.DataFrame(lines), pd.DataFrame(contributions)
        for frame in found:
            frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
        return {"lines": len(found[0]), "contributions": len(found[1])}

    return work


def boto3_in_threads() -> Callable[[], Counted]:
    """boto3 in threads, and our parser."""
    import boto3
    from botocore.config import Config

    from assets.anomalies.parse import parse_objects

    def work() -> Counted:
        client = boto3.client("s3", config=Config(max_pool_connections=THREADS))
        tables = []
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(keys()), LOAD):
                some = keys()[start : start + LOAD]
                bodies = pool.map(lambda key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read(), some)
                tables.append(
                    parse_objects(
                        (number, key, data)
                        for number, (key, data) in enumerate(zip(some, bodies, strict=True))
                    )
                )
        return _counted(tables)

    return work


def ours() -> Callable[[], Counted]:
    """Obstore in threads, and our parser, as the asset has it."""
    from assets.anomalies.parse import parse_objects
    from resources.aws.session import AwsAccess
    from resources.results.fetcher import ResultFetcher, ResultRequest

    def work() -> Counted:
        loads = ResultFetcher(AwsAccess()).fetch([ResultRequest(BUCKET, key) for key in keys()])
        return _counted(
            [
                parse_objects((number, one.request.key, one.data or b"") for number, one in enumerate(load))
                for load in loads
            ]
        )

    return work


def _counted(tables: Any) -> Counted:  # noqa: ANN401
    return {
        "lines": sum(one.lines.num_rows for one in tables),
        "contributions": sum(one.contributions.num_rows for one in tables),
    }


CONTENDERS = {
    "boto3 + json + rows of dicts": by_hand,
    "boto3 in threads + ours": boto3_in_threads,
    "ours": ours,
}


def main() -> None:
    """Compare, and print a table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--objects", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--latency-ms", type=int, default=0)
    options.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.alone:
        alone(CONTENDERS[chosen.alone]())
        return
    with started([sys.executable, "-m", "benchmarks.stub", str(chosen.latency_ms)]) as stub:
        environment = {
            _OBJECTS: str(chosen.objects),
            "AWS_ENDPOINT_URL_S3": stub.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        rounds = compared("benchmarks.results", list(CONTENDERS), environment, chosen.rounds)
    megabytes = chosen.objects * sum(len(body(number)) for number in range(BODIES)) / BODIES / 1e6
    print(f"{chosen.objects:,} objects, {megabytes:.0f} MB, {chosen.latency_ms} ms to each answer\n")
    columns = {
        "CPU, ms an object": lambda one: one.cpu_seconds * 1000 / chosen.objects,
        "objects a second": lambda one: chosen.objects / one.seconds,
        "MB a second": lambda one: megabytes / one.seconds,
    }
    print(table(rounds, "ours", columns))


if __name__ == "__main__":
    main()
