"""`ledger backfill`: Dagster runs that are followed, stopped and resumed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from resources.lake.lake import Lake
from sandbox.fleet import History, build_fleet
from sandbox.service import Handle, run_sandbox
from tests.support.command_line import NOW, RunLedger, build_api_toml

END = datetime(2026, 10, 8, tzinfo=UTC)
RANGE = ("--from", "2026-10-05", "--to", "2026-10-08")
EXTRACTION = (*RANGE, "--only", "executions")
LEDGER = str(Path(sys.executable).with_name("ledger"))


def count_rows(lake: Lake) -> int:
    return sum(lake.read(INFERENCE_EXECUTIONS, day).num_rows for day in lake.days(INFERENCE_EXECUTIONS))


STAGES = ["executions", "results", "anomalies", "health", "report"]


def test_one_command_builds_everything_and_each_stage_is_a_dagster_run(
    ledger: RunLedger,
    settings: Callable[..., Path],
    service: Handle,
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings(build_api_toml(service.url), more='[report]\nfolder = "pages"')
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    days = ["2026-10-06", "2026-10-07"]
    done = ledger("backfill", "--from", days[0], "--to", days[1], "--yes", "--json")

    assert done.code == 0, done.err
    answer = done.json
    assert answer["outcome"] == "succeeded"
    assert list(answer["days"]) == days
    assert sum(day["executions"] for day in answer["days"].values()) == count_rows(lake) > 500
    assert answer["metrics"]["calls"] == service.count()
    assert answer["resume_command"] is None
    assert [stage["name"] for stage in answer["stages"]] == STAGES
    assert all(stage["recorded_days"] == days for stage in answer["stages"])
    results = answer["stages"][1]
    assert results["metrics"]["objects_read"] == 0
    (warning,) = results["warnings"]
    assert "on 2 days" in warning and "usable AWS credentials" in warning, "one cause is reported once"
    assert len(list((tmp_path / "pages").glob("*2026-10-0*.html"))) == 2
    with dg.DagsterInstance.get() as instance:
        for stage in answer["stages"]:
            run = instance.get_run_by_id(stage["run_id"])
            assert run is not None
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert run.tags["dagster/asset_partition_range_start"] == days[0]
            assert run.tags["ledger/backfill"] == answer["backfill_id"]


@pytest.mark.slow
def test_a_rerun_is_idempotent_and_costs_what_its_plan_says(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(build_api_toml(service.url))
    assert ledger("backfill", *EXTRACTION, "--yes").code == 0
    before = count_rows(lake)

    planned = ledger("plan", *RANGE, "--json").json
    service.reset()
    again = ledger("backfill", *EXTRACTION, "--yes")
    assert again.code == 0
    assert "4 days recorded, 0 rows new or changed" in again.out
    assert planned["calls"]["min"] <= service.count() <= planned["calls"]["max"]

    assert ledger("backfill", *EXTRACTION, "--yes", "--scheduler", "pump-1").code == 0
    assert count_rows(lake) == before, "one scheduler was extracted, and the others stay"


@pytest.mark.slow
def test_failures_are_named_and_resuming_extracts_only_them(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(build_api_toml(service.url))
    service.inject("deny:ListInferenceExecutions:scheduler=pump-2")

    first = ledger("backfill", *EXTRACTION, "--yes")
    assert first.code == 1
    assert "pump-2" in first.out
    before = count_rows(lake)
    command = next(line for line in first.out.splitlines() if line.startswith("  ledger backfill")).split()

    service.clear_faults()
    service.reset()
    second = ledger(*command[1:], "--json")

    assert second.code == 0, second.err
    assert count_rows(lake) > before
    requests = service.requests(operation="ListInferenceExecutions")
    assert {kind.scheduler for kind in requests} == {"pump-2"}
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(second.json["run_id"])
        assert run is not None
        parent = instance.get_run_by_id(run.tags["dagster/parent_run_id"])
        assert parent is not None
        assert parent.tags["ledger/backfill"] == second.json["backfill_id"] == command[-1]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", pytest.param("http://no-such-host.invalid", marks=pytest.mark.slow)]
)
def test_an_unreachable_endpoint_fails_within_seconds_and_the_output_says_how_to_retry(
    ledger: RunLedger,
    settings: Callable[..., Path],
    accounts: None,  # noqa: ARG001 (its keys open it)
    url: str,
) -> None:
    settings(build_api_toml(url))
    started = time.monotonic()

    done = ledger("backfill", *RANGE, "--yes", "--scheduler", "pump-*", "--json")

    assert time.monotonic() - started < 40, "botocore alone retries for longer, the step for minutes"
    assert done.code == 1
    answer = done.json
    assert answer["metrics"]["calls"] == 1, "no call is repeated"
    (failure,) = answer["failed_sources"]
    assert "the endpoint cannot be reached" in failure["reason"]
    assert answer["warnings"] == [], "the failure is listed once"
    assert answer["resume_command"] is None, "nothing is recorded"
    assert [stage["outcome"] for stage in answer["stages"]] == ["failed", *["not started"] * 4]


@pytest.mark.slow
def test_the_retry_of_an_empty_backfill_is_its_own_command(
    ledger: RunLedger,
    settings: Callable[..., Path],
    accounts: None,  # noqa: ARG001 (its keys open it)
) -> None:
    settings(build_api_toml("http://127.0.0.1:9"))

    done = ledger("backfill", *EXTRACTION, "--yes", "--skip-settled")

    assert done.code == 1
    assert done.text.count("the endpoint cannot be reached") == 1
    command = "ledger backfill --from 2026-10-05 --to 2026-10-08 --skip-settled --only executions"
    assert f"Run it again: {command}" in done.text


@pytest.mark.parametrize(
    "words",
    [("plan", *RANGE), pytest.param(("backfill", *EXTRACTION, "--yes"), marks=pytest.mark.slow)],
    ids=["plan", "backfill"],
)
def test_a_scheduler_that_only_the_lake_knows_is_accepted(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, lake: Lake, words: tuple[str, ...]
) -> None:
    settings(build_api_toml(service.url))
    row = dict.fromkeys(INFERENCE_SCHEDULERS.schema.names) | {
        "scheduler_arn": "arn:aws:lookoutequipment:us-east-1:111122223333:inference-scheduler/old-1/1",
        "scheduler_name": "old-1",
        "source": "archive",
        "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
        "recorded_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    rows = pa.Table.from_pylist([row], schema=INFERENCE_SCHEDULERS.schema)
    lake.update(INFERENCE_SCHEDULERS, None, lambda _: rows)

    unknown = ledger(*words, "--scheduler", "olt-1")
    assert unknown.code == 2 and 'did you mean "old-1"' in unknown.err
    done = ledger(*words, "--scheduler", "old-1")
    assert done.code == 0, done.out


@pytest.mark.slow
def test_a_call_limit_stops_the_run_and_resuming_continues(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(build_api_toml(service.url))

    first = ledger("backfill", *EXTRACTION, "--yes", "--max-calls", "3")
    assert first.code == 1
    assert "budget of 3 calls" in first.text
    assert service.count() == 3
    run_id = next(line for line in first.out.splitlines() if "--resume" in line).split()[-1]

    second = ledger("backfill", "--resume", run_id, "--max-calls", "1000")

    assert second.code == 0, second.out
    assert count_rows(lake) > 500


def _accept_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # background processes ignore it


@pytest.mark.slow
def test_ctrl_c_stops_the_run_and_prints_the_resume_command(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(build_api_toml(service.url))
    # the signal must arrive before the second page of pump-1
    service.inject("slow:ListInferenceExecutions:seconds=10")
    process = subprocess.Popen(
        [LEDGER, "backfill", *EXTRACTION, "--yes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_accept_ctrl_c,  # noqa: PLW1509 (nothing here holds a lock)
    )
    deadline = time.monotonic() + 400
    while not service.count(operation="ListInferenceExecutions") and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=400)

    assert process.returncode == 130, out + err
    assert "stopped; nothing new is recorded" in out
    assert "Traceback" not in out + err
    backfill_id = next(line for line in out.splitlines() if "--resume" in line).split()[-1]
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(tags={"ledger/backfill": backfill_id}))
        assert run.status is dg.DagsterRunStatus.CANCELED

    service.clear_faults()
    second = ledger("backfill", "--resume", backfill_id)
    assert second.code == 0, second.out
    assert count_rows(lake) > 500
    assert len(lake.days(EXTRACTION_COVERAGE)) == 4


@pytest.mark.slow
def test_a_killed_run_is_marked_failed_and_can_be_resumed(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(build_api_toml(service.url))
    service.inject("slow:ListInferenceExecutions:seconds=2")
    process = subprocess.Popen(
        [LEDGER, "backfill", *EXTRACTION, "--yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not service.count(operation="ListInferenceExecutions") and time.monotonic() < deadline:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    out, _ = process.communicate(timeout=120)

    assert process.returncode == 1
    run_id = next(line for line in out.splitlines() if "--resume" in line).split()[-1]
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(tags={"ledger/backfill": run_id}))
        assert run.status is dg.DagsterRunStatus.FAILURE
    service.clear_faults()
    assert ledger("backfill", "--resume", run_id).code == 0
    assert count_rows(lake) > 500


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--yes", "ledger plan --from 2026-10-05 --to 2026-10-08"]),
        ([*RANGE], ["--yes", "ledger plan --from 2026-10-05"]),
        (["--from", "2026-10-07", "--to", "2026-10-05", "--yes"], ["is later than"]),
        ([*RANGE, "--yes", "--scheduler", "pupm-1"], ['did you mean "pump-1"']),
        (["--resume", "nonsense"], ["the run does not exist"]),
        ([*RANGE, "--only", "anomalys"], ['did you mean "anomalies"', "executions, results"]),
        ([*RANGE, "--runs-per-day", "2"], ["Cannot use --runs-per-day without --workers", "add --workers N"]),
        (["--resume", "x", "--workers", "2", "--days-per-run", "1"], ["Cannot split a resumed backfill"]),
    ],
    ids=[
        "the whole history, no terminal",
        "no terminal",
        "wrong order",
        "misspelled name",
        "unknown run",
        "unknown stage",
        "runs without workers",
        "split of a resumed backfill",
    ],
)
def test_an_invalid_request_fails_before_any_call(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, words: list[str], expected: list[Any]
) -> None:
    settings(build_api_toml(service.url))

    done = ledger("backfill", *words)

    assert done.code == 2
    for part in expected:
        assert part in done.err
    assert service.count(operation="ListInferenceExecutions") == 0


@pytest.mark.long
def test_a_year_of_the_whole_fleet_matches_its_plan_and_the_service(
    ledger: RunLedger,
    settings: Callable[..., Path],
    lake: Lake,
    accounts: None,  # noqa: ARG001 (its keys open it)
) -> None:
    days = 365
    history = History(END - timedelta(days=days), END)
    plants = build_fleet(seed=3, history=history)
    places = sorted({(scheduler.account, scheduler.region) for scheduler in plants.schedulers})
    first, last = history.start.date(), (END - timedelta(days=1)).date()
    span = ("--from", str(first), "--to", str(last))
    with run_sandbox(plants, NOW, s3=False) as handle:
        settings(
            *(build_api_toml(handle.url, *place) for place in places), start=str(first), end=str(END.date())
        )
        plan = ledger("plan", *span, "--json").json
        handle.reset()
        handle.inject("throttle:ListInferenceExecutions:share=0.02")

        done = ledger("backfill", *span, "--only", "executions", "--yes")

        assert done.code == 0, done.out
        assert f"{days} days recorded" in done.out
        months = {(first + timedelta(days=n)).strftime("%Y-%m") for n in range(days)}
        assert {line.split()[0] for line in done.out.splitlines() if line[:4].isdigit()} == months
        expected = {
            (summary["InferenceSchedulerArn"], summary["DataStartTime"])
            for scheduler in plants.list_schedulers(NOW)
            for summary in scheduler.executions(NOW)
            if summary["DataStartTime"] < END
        }
        assert count_rows(lake) == len(expected)
        answered = handle.count(outcome="ok")
        assert plan["calls"]["min"] <= answered <= plan["calls"]["max"]

        exact = ledger("plan", *span, "--json").json
        assert exact["settled_days"] == days
        assert exact["calls"]["min"] <= answered <= exact["calls"]["max"]
    status = ledger("status", "--json").json
    assert set(status["state_counts"]) <= {"settled", "stuck", "unseen"}
