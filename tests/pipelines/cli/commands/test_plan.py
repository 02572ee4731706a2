"""`ledger plan`: its counts match the calls of the run."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.operations.backfill_plan import SourceListing, _estimate_buckets
from resources.config.settings import BucketSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.factory import open_source
from sandbox.fleet import Fleet, History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.command_line import NOW, RunLedger, build_api_toml
from tests.support.s3_server import Bucket, Server

RANGE = ("--from", "2026-10-05", "--to", "2026-10-08")
VIRGINIA = {"account": "111122223333", "region": "us-east-1"}


def run(first: str, last: str, **config: Any) -> None:
    """Extract a range in a Dagster run."""
    job = build_defs({"clock": lambda: NOW}).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(
            instance=instance,
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            run_config={"ops": {"inference_executions": {"config": config}}},
            asset_selection=[dg.AssetKey("inference_executions")],
        )
    assert done.success


def count_calls(handle: Handle, **of: str) -> int:
    return handle.count(operation="ListInferenceExecutions", **of) + handle.count(
        operation="DescribeInferenceScheduler", **of
    )


@pytest.fixture
def month(accounts: None) -> Any:  # noqa: ARG001 (its keys open it)
    """Serve forty days of the fleet: two batches and many pages."""
    history = History(datetime(2026, 8, 29, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC))
    with run_sandbox(build_fleet(seed=4, history=history), NOW, s3=False) as handle:
        yield handle


def test_a_plan_only_makes_listing_calls(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url))

    done = ledger("plan", *RANGE, "--json")

    assert done.code == 0, done.err
    assert service.count() == service.count(operation="ListInferenceSchedulers") == 1
    assert done.json["calls_made"] == 1
    assert done.json["command"] == "ledger backfill --from 2026-10-05 --to 2026-10-08"


def test_the_needs_are_those_of_the_executions_that_the_service_lists(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url))

    plan = ledger("plan", *RANGE, "--sensors", "300", "--json").json

    needs, rows = plan["capacity"], plan["schedulers"]
    assert needs["result_objects"] == sum(row["executions"]["expected"] for row in rows) > 0
    assert needs["contributions"] == sum(row["days"] for row in rows) * 1440 * 300
    assert needs["lake_requests"] == 0, "the lake is local"
    assert needs["accounts"] == 1
    assert needs["calls_of_busiest_account"] == sum(row["calls"]["expected"] for row in rows)
    assert needs["cpu_seconds"] > needs["result_objects"] * 380e-6


@pytest.mark.slow
def test_estimates_are_exact_for_steady_schedulers_and_settled_days(
    ledger: RunLedger, settings: Callable[..., Path], month: Handle
) -> None:
    settings(build_api_toml(month.url), start="2026-08-29", end="2026-10-08")
    words = ("plan", "--from", "2026-08-29", "--to", "2026-10-07", "--json")

    before = ledger(*words).json
    month.reset()
    run("2026-08-29", "2026-10-07")
    counted = month.count()
    steady = {row["scheduler_name"]: row["calls"]["expected"] for row in before["schedulers"]}
    assert before["batches"] == 2
    assert before["listing_calls"] == month.count(operation="ListInferenceSchedulers") == 1
    for name in ("pump-1", "pump-2"):
        assert steady[name] == count_calls(month, scheduler=name) > 20
    assert before["calls"]["min"] <= counted <= before["calls"]["max"]

    after = ledger(*words).json
    month.reset()
    run("2026-08-29", "2026-10-07")
    assert after["settled_days"] == 40
    for row in after["schedulers"]:
        assert row["calls"]["min"] <= count_calls(month, scheduler=row["scheduler_name"])
        assert row["calls"]["max"] >= count_calls(month, scheduler=row["scheduler_name"])
    assert after["calls"]["expected"] == month.count()

    inside = ledger("plan", "--from", "2026-09-03", "--to", "2026-10-05", "--json").json
    month.reset()
    run("2026-09-03", "2026-10-05")
    assert inside["calls"]["expected"] == month.count()
    assert inside["calls"]["max"] - inside["calls"]["min"] <= len(inside["schedulers"]), (
        "only windows exactly on a bound are uncertain"
    )


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("bounds", ["strict", "inclusive"])
def test_calls_are_within_the_bounds_for_any_fleet(
    ledger: RunLedger,
    settings: Callable[..., Path],
    small_fleet: Fleet,
    bounds: Any,
) -> None:
    places = [
        ("111122223333", "us-east-1"),
        ("111122223333", "eu-west-1"),
        ("123456789012", "ap-northeast-2"),
    ]
    with run_sandbox(small_fleet, NOW, s3=False, bounds=bounds) as handle:
        settings(*(build_api_toml(handle.url, *place) for place in places))
        plan = ledger("plan", *RANGE, "--json").json
        handle.reset()
        run("2026-10-05", "2026-10-08")

        assert plan["calls"]["min"] <= handle.count() <= plan["calls"]["max"]
        for row in plan["schedulers"]:
            account, region = row["scheduler_arn"].split(":")[4], row["scheduler_arn"].split(":")[3]
            counted = count_calls(handle, scheduler=row["scheduler_name"], account=account, region=region)
            assert row["calls"]["min"] <= counted <= row["calls"]["max"]


def test_skipped_settled_days_cost_no_calls(
    ledger: RunLedger, settings: Callable[..., Path], month: Handle
) -> None:
    settings(build_api_toml(month.url), start="2026-08-29", end="2026-10-08")
    run("2026-09-10", "2026-09-13")
    run("2026-09-16", "2026-09-16", schedulers=["pump-1"])
    words = ("--from", "2026-09-08", "--to", "2026-09-18", "--skip-settled")

    plan = ledger("plan", *words, "--json").json
    month.reset()
    run("2026-09-08", "2026-09-18", skip_settled=True)

    questions = {row["scheduler_name"]: row["queries"] for row in plan["schedulers"]}
    assert questions["pump-1"] == 3
    assert questions["pump-2"] == 2
    pump = next(row for row in plan["schedulers"] if row["scheduler_name"] == "pump-1")
    assert pump["calls"]["expected"] == count_calls(month, scheduler="pump-1")
    assert plan["calls"]["min"] <= month.count() <= plan["calls"]["max"]
    assert plan["command"].endswith("--skip-settled")


def test_a_plan_for_one_scheduler_warns_about_a_too_small_call_limit(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url), more="[limits]\nmax_calls_per_run = 1\n")

    done = ledger("plan", *RANGE, "--scheduler", "pump-2")

    assert done.code == 0, done.err
    assert "limits.max_calls_per_run = 1 may stop this run" in done.out
    assert "pump-2" in done.out and "pump-1" not in done.out
    assert "ledger backfill --from 2026-10-05 --to 2026-10-08 --scheduler pump-2" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_each_read_of_a_saved_response_is_counted(
    ledger: RunLedger, settings: Callable[..., Path], dumps: Any
) -> None:
    settings(f'kind = "archive"\nuri = "{dumps[0]}"')

    first = ledger("plan", *RANGE, "--json").json["files_to_read"]
    run("2026-10-05", "2026-10-08")
    again = ledger("plan", *RANGE, "--json").json["files_to_read"]

    assert first["min"] == first["max"] > 10
    assert again["max"] < 3, "only unreadable files are read again"


def test_a_failing_source_is_reported_and_the_others_are_planned(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url), build_api_toml(service.url, "123456789012", "eu-west-1"))
    service.inject("deny:region=eu-west-1")

    done = ledger("plan", *RANGE)

    assert done.code == 1
    assert "pump-2" in done.out
    assert "lookoutequipment:ListInferenceSchedulers" in done.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--from", "2026-10-07", "--to", "2026-10-05"],
            ["is later than", "--from 2026-10-05 --to 2026-10-07"],
        ),
        (["--from", "2026-13-01", "--to", "2026-10-05"], ["--from", "as a day", "YYYY-MM-DD"]),
        (["--from", "07.10.2026", "--to", "2026-10-05"], ["as a day", "YYYY-MM-DD"]),
        (["--from", "2026-02-30", "--to", "2026-10-05"], ["as a day: day"]),
        (
            ["--from", "2024-01-01", "--to", "2026-10-05"],
            ["before the first day of the history", 'start_date = "2024-01-01"'],
        ),
        (
            ["--from", "2026-10-05", "--to", "2026-10-20"],
            ["the last day of the history", 'end_date = "2026-10-21"'],
        ),
        ([*RANGE, "--scheduler", "pmup-1"], ['did you mean "pump-1"', "pump-2"]),
    ],
    ids=["turned round", "no month", "another form", "no day", "too early", "too late", "a slip"],
)
def test_an_error_names_its_cause_and_fix(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, words: list[str], expected: list[str]
) -> None:
    settings(build_api_toml(service.url))

    done = ledger("plan", *words)

    assert done.code == 2
    assert done.out == ""
    for part in expected:
        assert part in done.err


@pytest.mark.parametrize("lacking", ["settings", "sources"])
def test_without_settings_or_sources_the_error_says_what_to_write(
    ledger: RunLedger, settings: Callable[..., Path], lacking: str
) -> None:
    if lacking == "sources":
        settings()

    done = ledger("plan", *RANGE)

    assert done.code == 2
    assert "ledger.toml" in done.err
    assert "Traceback" not in done.err


def test_days_can_be_today_or_yesterday(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url), start="2026-10-05", end=None)

    answer = ledger("plan", "--from", "yesterday", "--to", "today", "--json").json

    assert answer["days"] == 2
    assert date.fromisoformat(answer["to"]) == datetime.now(UTC).date()


def test_a_plan_predicts_the_list_requests_of_a_bucket(
    ledger: RunLedger, settings: Callable[..., Path], bucket: Bucket
) -> None:
    start = datetime(2026, 10, 5, tzinfo=UTC)
    for prefix in ("pump/output/", "fan/output/"):
        starts = (start + number * timedelta(hours=1) for number in range(4 * 24))
        bucket.add(*(f"{prefix}{at:%Y-%m-%dT%H:%M:%SZ}/results.jsonl" for at in starts))
    settings(f'kind = "bucket"\nuri = "{bucket.uri}"')
    done = ledger("plan", *RANGE, "--json")
    assert done.code == 0, done.err
    text = ledger("plan", *RANGE).text
    limit = done.json["list_requests"]
    assert f"about {limit} list requests and 192 results of 2 output prefixes" in text
    bucket.server.requests.clear()
    run("2026-10-05", "2026-10-08")
    requests = bucket.server.count("GET")
    assert limit - 2 <= requests <= limit


def test_a_bucket_without_results_fails_the_plan(
    ledger: RunLedger, settings: Callable[..., Path], bucket: Bucket
) -> None:
    settings(f'kind = "bucket"\nuri = "{bucket.uri}"')
    done = ledger("plan", *RANGE, "--json")
    assert done.code == 1
    assert "no folder below it is named after a time" in done.json["failed_sources"][0]["reason"]


def test_a_bucket_that_cannot_be_listed_leaves_the_other_estimates(
    bucket: Bucket, s3: Server, tmp_path: Path
) -> None:
    bucket.put("in/2026-10-06T12:00:00Z/results.jsonl")
    source = open_source(BucketSettings(uri=f"{bucket.uri}/in"), DEFAULT_LIMITS)
    assert source.days
    listing = SourceListing(buckets=[source.days])
    s3.fail_next("GET", "403 FORBIDDEN", "AccessDenied", times=-1)
    days = [[date(2026, 10, 6)]]

    assert _estimate_buckets(Lake(str(tmp_path)), listing, days, None) == {}
    assert "AccessDenied" in str(listing.failed[source.uri])
