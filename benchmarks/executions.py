"""Compares a short script with our extraction: executions to Parquet files by day.

`python -m benchmarks.executions` runs both against `benchmarks.service`. Options: `--schedulers N --days N
--rounds N`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks.measure import build_table, compare, run_alone, start_process
from benchmarks.service import REGION

FIRST = date(2026, 1, 1)
NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
_DAYS = "BENCHMARK_DAYS"
Counts = Mapping[str, Any]


def prepare_by_hand() -> Callable[[], Counts]:
    """Return the work of a short script with boto3, json_normalize and to_parquet."""
    import boto3
    import pandas as pd

    client = boto3.client("lookoutequipment")

    def work() -> Counts:
        start = datetime.combine(FIRST, datetime.min.time(), UTC)
        rows: list[dict[str, Any]] = []
        listed = client.list_inference_schedulers(MaxResults=500)["InferenceSchedulerSummaries"]
        for scheduler in listed:
            parameters = {
                "InferenceSchedulerName": scheduler["InferenceSchedulerName"],
                "DataStartTimeAfter": start - timedelta(seconds=1),
                "MaxResults": 500,
            }
            while True:
                response = client.list_inference_executions(**parameters)
                rows += response["InferenceExecutionSummaries"]
                if not response.get("NextToken"):
                    break
                parameters["NextToken"] = response["NextToken"]
        frame = pd.json_normalize(rows)
        frame["data_date"] = frame["DataStartTime"].dt.strftime("%Y-%m-%d")
        with tempfile.TemporaryDirectory() as folder:
            frame.to_parquet(folder, partition_cols=["data_date"], index=False)
        return {"executions": len(frame)}

    return work


def prepare_ours() -> Callable[[], Counts]:
    """Return the work of the asset: fetch, merge, record coverage, write, and compute data versions."""
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array; imports are not measured)

    from assets.executions.extraction import Extraction
    from assets.framework.row_content import compute_content_version
    from assets.framework.time_windows import Days
    from assets.tables import INFERENCE_EXECUTIONS
    from resources.aws.access import AwsAccess
    from resources.lake.lake import Lake
    from resources.sources.api import ApiSource

    days = [FIRST + timedelta(days=number) for number in range(int(os.environ[_DAYS]))]
    history = Days(FIRST, days[-1] + timedelta(days=1))
    sources = [ApiSource(AwsAccess(REGION))]

    def work() -> Counts:
        executions = 0
        with tempfile.TemporaryDirectory() as folder:
            extraction = Extraction(Lake(folder), history, timedelta(hours=3), NOW, lambda _: None)
            for day in extraction.gather(sources, days):
                rows = extraction.record(day).executions.rows
                compute_content_version(INFERENCE_EXECUTIONS, rows)
                executions += rows.num_rows
        return {"executions": executions}

    return work


CONTENDERS = {"boto3 + json_normalize + to_parquet": prepare_by_hand, "ours": prepare_ours}


def main() -> None:
    """Compare the contenders and print a table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--schedulers", type=int, default=20)
    options.add_argument("--days", type=int, default=35)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.alone:
        run_alone(CONTENDERS[chosen.alone]())
        return
    size = [str(chosen.schedulers), FIRST.isoformat(), str(chosen.days)]
    with start_process([sys.executable, "-m", "benchmarks.service", *size]) as service:
        endpoint = service.stdout.readline().strip()
        if not endpoint:
            raise SystemExit("the service did not start")
        environment = {
            _DAYS: str(chosen.days),
            "AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT": endpoint,
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "TZ": "UTC",
        }
        rounds = compare("benchmarks.executions", list(CONTENDERS), environment, chosen.rounds)
    executions = rounds[0]["ours"].result["executions"]
    print(f"{executions:,} executions of {chosen.schedulers} schedulers in {chosen.days} days\n")
    columns = {
        "CPU, s a million rows": lambda cost: cost.cpu_seconds * 1e6 / executions,
        "rows a second": lambda cost: executions / cost.seconds,
    }
    print(build_table(rounds, "ours", columns))


if __name__ == "__main__":
    main()
