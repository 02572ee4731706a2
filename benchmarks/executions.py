"""Compares a short script with our extraction: executions to Parquet files by day.

`python -m benchmarks.executions` runs both on the fleet of the sandbox. Options: `--days N --rounds N`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import build_table, compare, run_alone, start_process

LAST = date(2026, 10, 7)
PLACES = (
    ("111122223333", "us-east-1"),
    ("111122223333", "eu-west-1"),
    ("123456789012", "eu-west-1"),
    ("123456789012", "ap-northeast-2"),
)
"""Accounts and regions of the sandbox. The access key of an account is its number."""

_DAYS = "BENCHMARK_DAYS"
Counts = Mapping[str, Any]


def get_first_day() -> date:
    """Return the first day of the history."""
    return LAST - timedelta(days=int(os.environ[_DAYS]) - 1)


def prepare_by_hand() -> Callable[[], Counts]:
    """Return the work of a short script with boto3, json_normalize and to_parquet."""
    import boto3
    import pandas as pd

    def work() -> Counts:
        start = datetime.combine(get_first_day(), datetime.min.time(), UTC)
        rows: list[dict[str, Any]] = []
        for account, region in PLACES:
            session = boto3.Session(profile_name=account, region_name=region)
            client = session.client("lookoutequipment")
            listed = client.list_inference_schedulers(MaxResults=100)["InferenceSchedulerSummaries"]
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
        frame = frame[frame["DataStartTime"] < start + timedelta(days=int(os.environ[_DAYS]))]
        frame["data_date"] = frame["DataStartTime"].dt.strftime("%Y-%m-%d")
        with tempfile.TemporaryDirectory() as folder:
            frame.to_parquet(folder, partition_cols=["data_date"], index=False)
        return {"executions": len(frame)}

    return work


def prepare_ours() -> Callable[[], Counts]:
    """Return the work of the asset: fetch, merge with the lake, record coverage and write atomically."""
    from assets.executions.extraction import Extraction
    from assets.framework.time_windows import Days
    from resources.aws.session import AwsAccess
    from resources.lake.lake import Lake
    from resources.sources.api import ApiSource

    def work() -> Counts:
        now = datetime.combine(LAST + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=6)
        days = [get_first_day() + timedelta(days=number) for number in range(int(os.environ[_DAYS]))]
        with tempfile.TemporaryDirectory() as folder:
            settle_after = timedelta(hours=3)
            extraction = Extraction(
                Lake(folder),
                Days(get_first_day(), LAST + timedelta(days=1)),
                settle_after,
                now,
                lambda _: None,
            )
            sources = [ApiSource(AwsAccess(region, profile=account)) for account, region in PLACES]
            recorded = [extraction.record(day) for day in extraction.gather(sources, days)]
        return {"executions": sum(day.executions.rows.num_rows for day in recorded)}

    return work


CONTENDERS = {"boto3 + json_normalize + to_parquet": prepare_by_hand, "ours": prepare_ours}


def main() -> None:
    """Compare the contenders and print a table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--days", type=int, default=28)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.alone:
        run_alone(CONTENDERS[chosen.alone]())
        return
    until = LAST + timedelta(days=1)
    command = [sys.executable, "-m", "sandbox", "serve", "--no-s3", "--days", str(chosen.days)]
    arguments = ["--until", f"{until}T00:00:00Z", "--clock", f"{until}T06:00:00Z", "--stop-with-stdin"]
    with tempfile.TemporaryDirectory() as folder, start_process([*command, *arguments]) as service:
        credentials = Path(folder, "credentials")
        credentials.write_text(
            "".join(
                f"[{account}]\naws_access_key_id={account}\naws_secret_access_key=x\n"
                for account in {account for account, _ in PLACES}
            )
        )
        url = next(line for line in service.stdout if "ENDPOINT_URL_LOOKOUTEQUIPMENT" in line)
        environment = {
            _DAYS: str(chosen.days),
            "AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT": url.partition("=")[2].strip(),
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        rounds = compare("benchmarks.executions", list(CONTENDERS), environment, chosen.rounds)
    executions = rounds[0]["ours"].result["executions"]
    print(f"{executions:,} executions of {chosen.days} days\n")
    columns = {
        "CPU, s a million rows": lambda cost: cost.cpu_seconds * 1e6 / executions,
        "rows a second": lambda cost: executions / cost.seconds,
    }
    print(build_table(rounds, "ours", columns))


if __name__ == "__main__":
    main()
