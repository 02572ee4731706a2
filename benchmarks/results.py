"""Result objects to tables in memory, and to a lake.

The S3 is `benchmarks.stub`, and `benchmarks.service` lists executions for the SDK. Their CPU time does not
count. The first case writes nothing: each contender ends with two tables, the lines and the contributions.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from benchmarks import stub
from benchmarks.cases import (
    OURS,
    Case,
    Contender,
    Environment,
    limit_memory,
    limit_ratio,
    limit_result,
    require_ratio,
)
from benchmarks.executions import CREDENTIALS
from benchmarks.measure import start_process

BUCKET = "results"
THREADS = 16
LOAD = 1_600
"""The number of objects that are parsed together, as in a load of 16 MB."""

NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
_SCHEDULERS, _FOLDER, _S3 = "BENCHMARK_SCHEDULERS", "BENCHMARK_FOLDER", "AWS_ENDPOINT_URL_S3"
_SERVICE = "AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT"
Counts = Mapping[str, Any]


def list_keys() -> list[str]:
    """Return the keys of the objects: a day of all schedulers."""
    return stub.list_keys(int(os.environ[_SCHEDULERS]))


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
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)
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
    """Return the work of the asset: obstore in threads with our parser, with the scheduling of runs."""
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)

    import resources.results.bucket  # noqa: F401 (imports are not measured)
    from assets.anomalies.parse import parse_objects
    from resources.aws.access import AwsAccess
    from resources.results.base import ResultRequest
    from resources.results.fetcher import ResultFetcher
    from resources.scheduling import batch_scheduling

    def work() -> Counts:
        with batch_scheduling():
            loads = ResultFetcher(AwsAccess()).fetch([ResultRequest(BUCKET, key) for key in list_keys()])
            return _count(
                [
                    parse_objects(
                        (number, fetched.request.key, fetched.data or b"")
                        for number, fetched in enumerate(load)
                    )
                    for load in loads
                ]
            )

    return work


def prepare_sdk() -> Callable[[], Counts]:
    """Return the work of AWS's SDK: `get_predictions` of each scheduler; its columns are contributions."""
    from lookoutequipment.scheduler import LookoutEquipmentScheduler

    def work() -> Counts:
        frames = [
            LookoutEquipmentScheduler(f"pump-{number:04d}-scheduler", "model").get_predictions()
            for number in range(int(os.environ[_SCHEDULERS]))
        ]
        return {"lines": sum(map(len, frames))}

    return work


def prepare_floor() -> Callable[[], Counts]:
    """Return the least work for the same tables: one raw connection, typed decoding, columns."""
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)

    from benchmarks.floor import build_result_columns, read_raw_objects

    def work() -> Counts:
        keys, lines, contributions = list_keys(), 0, 0
        for start in range(0, len(keys), LOAD):
            tables = build_result_columns(
                read_raw_objects(os.environ[_S3], BUCKET, keys[start : start + LOAD])
            )
            lines += tables[0].num_rows
            contributions += tables[1].num_rows
        return {"lines": lines, "contributions": contributions}

    return work


def _record_day() -> Callable[[], Counts]:
    """Return an update of a lake with the results of a day."""
    from assets.anomalies.reading import record_results
    from benchmarks import lakes
    from resources.aws.access import AwsAccess
    from resources.lake.lake import Lake
    from resources.results.base import ResultRequest
    from resources.results.fetcher import ResultFetcher

    lake, fetcher = Lake(tempfile.mkdtemp(dir=os.environ[_FOLDER])), ResultFetcher(AwsAccess())
    lakes.write_executions(lake, int(os.environ[_SCHEDULERS]), [stub.DAY])
    *_, _ = fetcher.fetch([ResultRequest(lakes.BUCKET, list_keys()[0])])  # a run opens the session once

    def work() -> Counts:
        recorded = record_results(lake, fetcher, stub.DAY, NOW)
        return {
            "lines": recorded.predictions.rows.num_rows,
            "contributions": recorded.contributions,
            "_read": recorded.states["read"],
        }

    return work


def prepare_first_read() -> Callable[[], Counts]:
    """Return the first read of a day into a lake."""
    return _record_day()


def prepare_unchanged_read() -> Callable[[], Counts]:
    """Return a read of a day that the lake has: the service lists its objects, and none has changed."""
    work = _record_day()
    work()
    return work


def _count(tables: Any) -> Counts:  # noqa: ANN401
    return {
        "lines": sum(parsed.lines.num_rows for parsed in tables),
        "contributions": sum(parsed.contributions.num_rows for parsed in tables),
    }


@contextmanager
def serve(
    schedulers: int = stub.SCHEDULERS, lines: int = stub.LINES, sensors: int = stub.SENSORS
) -> Iterator[Environment]:
    """Start the S3, and the service with the executions of a day; lakes are written to a temporary folder."""
    size = ["--schedulers", schedulers, "--lines", lines, "--sensors", sensors]
    fleet = [schedulers, stub.DAY, 1]
    with (
        tempfile.TemporaryDirectory() as folder,
        start_process([sys.executable, "-m", "benchmarks.stub", *map(str, size)]) as s3,
        start_process([sys.executable, "-m", "benchmarks.service", *map(str, fleet)]) as service,
    ):
        yield {**CREDENTIALS, _S3: s3, _SERVICE: service, **describe_lake(schedulers, folder)}


def describe_lake(schedulers: int, folder: str) -> Environment:
    """Return the variables of the work that updates a lake: the number of schedulers and its folder."""
    return {_SCHEDULERS: str(schedulers), _FOLDER: folder}


SDK, SCRIPT, PANDAS, THREADED = "get_predictions", "script", "pandas line by line", "boto3 in threads"
FLOOR, FIRST_READ = "floor", "first read"
_FETCH = (
    "Requests with obstore take most of our CPU time. Fewer are impossible, because S3 returns one object per"
    " request."
)
_DAY = f"a day of {stub.SCHEDULERS} schedulers"
CASES = [
    Case(
        "results",
        f"{_DAY}: {stub.SCHEDULERS * stub.WINDOWS:,} result objects, 5 lines of 30 sensors",
        [
            Contender(OURS, f"{__name__}:prepare_ours"),
            Contender(SDK, f"{__name__}:prepare_sdk", "sdk"),
            Contender(PANDAS, f"{__name__}:prepare_line_by_line", "script"),
            Contender(SCRIPT, f"{__name__}:prepare_by_hand", "script"),
            Contender(THREADED, f"{__name__}:prepare_boto3_in_threads"),
            Contender(FLOOR, f"{__name__}:prepare_floor"),
        ],
        [
            require_ratio(SDK, 20).missed_because(
                "The SDK ignores the contributions of lines without anomaly, nine of ten. Ours keeps all."
            ),
            require_ratio(PANDAS, 10),
            require_ratio(SCRIPT, 5).missed_because(_FETCH),
            require_ratio(THREADED, 5).missed_because(_FETCH),
            limit_ratio(FLOOR, 1.5).missed_because(
                "In a profile of 30 November 2026, requests with obstore in threads take two thirds of our"
                " CPU time, the parser a quarter, and the client of S3 a tenth. A third of the requests is"
                " the kernel, which switches threads two or three times for each object. The floor requests"
                " one object after the other over one raw connection, for a third of the time of our"
                " requests. A smaller client than obstore would be necessary."
            ),
        ],
        serve,
        seconds=60,
    ),
    Case(
        "results-unchanged",
        f"{_DAY}, unchanged, with the listing",
        [
            Contender(OURS, f"{__name__}:prepare_unchanged_read"),
            Contender(FIRST_READ, f"{__name__}:prepare_first_read", does_our_work=False),
        ],
        [
            limit_ratio(FIRST_READ, 0.2).missed_because(
                "In a profile, the listing and its comparison take 44 % of our CPU time, and building the"
                " requests 36 %: a Python object for each of 4,320. Columns of requests would be necessary."
            ),
            limit_result("_read", 0, "objects read"),
        ],
        serve,
        seconds=8,
    ),
    Case(
        "results-1hz",
        f"{_DAY} at 1 Hz with 100 sensors",
        [Contender(OURS, f"{__name__}:prepare_first_read")],
        [
            limit_memory(1_000).missed_because(
                "Contributions are moved to temporary files, but the 1.3 million lines of the day are merged"
                " together. Merging them by scheduler would be necessary."
            )
        ],
        partial(serve, lines=stub.WINDOW_SECONDS, sensors=100),
        seconds=80,
    ),
]
