"""`ledger backfill`: a run of Dagster's, watched, stopped and resumed from the command line."""

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
import pytest

from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from resources.lake.lake import Lake
from sandbox.fleet import History, fleet
from sandbox.service import Handle, serving
from tests.pipelines.cli.commands.conftest import NOW, Ledger, api

END = datetime(2026, 10, 8, tzinfo=UTC)
RANGE = ("--from", "2026-10-05", "--to", "2026-10-08")
LEDGER = str(Path(sys.executable).with_name("ledger"))


def rows(lake: Lake) -> int:
    return sum(lake.read(INFERENCE_EXECUTIONS, day).num_rows for day in lake.days(INFERENCE_EXECUTIONS))


def test_a_range_is_recorded_by_a_run_that_dagster_shows(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(api(service.url))

    done = ledger("backfill", *RANGE, "--yes", "--json")

    assert done.code == 0, done.err
    answer = done.answer
    assert answer["outcome"] == "succeeded"
    assert list(answer["days"]) == ["2026-10-05", "2026-10-06", "2026-10-07", "2026-10-08"]
    assert sum(day["executions"] for day in answer["days"].values()) == rows(lake) > 1000
    assert answer["metrics"]["calls"] == service.count()
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(answer["run_id"])
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags["dagster/asset_partition_range_start"] == "2026-10-05"
    assert ledger("status").code in (0, 1)


@pytest.mark.slow
def test_the_same_again_costs_what_its_plan_says_and_changes_nothing(
    ledger: Ledger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(api(service.url))
    assert ledger("backfill", *RANGE, "--yes").code == 0

    planned = ledger("plan", *RANGE, "--json").answer
    service.reset()
    again = ledger("backfill", *RANGE, "--yes")
    assert again.code == 0
    assert "4 days recorded, 0 rows new or changed" in again.out
    assert planned["calls"]["min"] <= service.count() <= planned["calls"]["max"]


@pytest.mark.slow
def test_what_failed_is_named_and_resuming_does_that_alone(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(api(service.url))
    service.inject("deny:ListInferenceExecutions:scheduler=pump-2")

    first = ledger("backfill", *RANGE, "--yes")
    assert first.code == 1
    assert "pump-2" in first.out
    before = rows(lake)
    command = next(line for line in first.out.splitlines() if line.startswith("  ledger backfill")).split()

    service.heal()
    service.reset()
    second = ledger(*command[1:], "--json")

    assert second.code == 0, second.err
    assert rows(lake) > before
    asked = service.requests(operation="ListInferenceExecutions")
    assert {kind.scheduler for kind in asked} == {"pump-2"}
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(second.answer["run_id"])
        assert run is not None
        assert run.tags["dagster/parent_run_id"] == command[-1]


@pytest.mark.slow
def test_a_subset_merges_and_keeps_the_others(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(api(service.url))
    assert ledger("backfill", *RANGE, "--yes").code == 0
    before = rows(lake)

    done = ledger("backfill", *RANGE, "--yes", "--scheduler", "pump-1", "--json")

    assert done.code == 0, done.err
    assert rows(lake) == before


@pytest.mark.slow
def test_a_budget_stops_it_and_resuming_goes_on(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(api(service.url))

    first = ledger("backfill", *RANGE, "--yes", "--max-calls", "3")
    assert first.code == 1
    assert "budget of 3 calls" in first.said
    assert service.count() == 3
    run_id = next(line for line in first.out.splitlines() if "--resume" in line).split()[-1]

    second = ledger("backfill", "--resume", run_id, "--max-calls", "1000")

    assert second.code == 0, second.out
    assert rows(lake) > 1000


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which tests that run in the background would ignore


@pytest.mark.slow
def test_ctrl_c_stops_it_cleanly_and_says_how_to_go_on(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(api(service.url))
    # pump-1 has a second page, and the signal has to come before that is there
    service.inject("slow:ListInferenceExecutions:seconds=10")
    process = subprocess.Popen(
        [LEDGER, "backfill", *RANGE, "--yes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 (nothing here holds a lock)
    )
    deadline = time.monotonic() + 400
    while not service.count(operation="ListInferenceExecutions") and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=400)

    assert process.returncode == 130, out + err
    assert "stopped; the days above are recorded" in out
    assert "Traceback" not in out + err
    run_id = next(line for line in out.splitlines() if "--resume" in line).split()[-1]
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.is_finished

    service.heal()
    second = ledger("backfill", "--resume", run_id)
    assert second.code == 0, second.out
    assert rows(lake) > 1000
    assert len(lake.days(EXTRACTION_COVERAGE)) == 4


@pytest.mark.slow
def test_a_run_that_was_killed_is_no_eternal_run_and_can_be_resumed(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, lake: Lake
) -> None:
    settings(api(service.url))
    service.inject("slow:ListInferenceExecutions:seconds=2")
    process = subprocess.Popen(
        [LEDGER, "backfill", *RANGE, "--yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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
        run = instance.get_run_by_id(run_id)
        assert run is not None and run.status is dg.DagsterRunStatus.FAILURE
    service.heal()
    assert ledger("backfill", "--resume", run_id).code == 0
    assert rows(lake) > 1000


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["without a range of days", "--resume"]),
        ([*RANGE], ["--yes", "ledger plan --from 2026-10-05"]),
        (["--from", "2026-10-07", "--to", "2026-10-05", "--yes"], ["is later than"]),
        ([*RANGE, "--yes", "--scheduler", "pupm-1"], ['did you mean "pump-1"']),
        (["--resume", "nonsense"], ["the run does not exist"]),
    ],
    ids=["no days", "nobody to ask", "turned round", "a slip", "no such run"],
)
def test_a_mistake_is_told_before_anything_runs(
    ledger: Ledger, settings: Callable[..., Path], service: Handle, words: list[str], told: list[Any]
) -> None:
    settings(api(service.url))

    done = ledger("backfill", *words)

    assert done.code == 2
    for part in told:
        assert part in done.err
    assert service.count(operation="ListInferenceExecutions") == 0


@pytest.mark.long
def test_a_year_of_the_whole_fleet_in_one_go_is_what_was_planned_and_what_there_is(
    ledger: Ledger,
    settings: Callable[..., Path],
    lake: Lake,
    accounts: None,  # noqa: ARG001 (its keys open it)
) -> None:
    days = 365
    history = History(END - timedelta(days=days), END)
    plants = fleet(seed=3, history=history)
    places = sorted({(one.account, one.region) for one in plants.schedulers})
    first, last = history.start.date(), (END - timedelta(days=1)).date()
    span = ("--from", str(first), "--to", str(last))
    with serving(plants, NOW, s3=False) as handle:
        settings(*(api(handle.url, *place) for place in places), start=str(first), end=str(END.date()))
        plan = ledger("plan", *span, "--json").answer
        handle.reset()
        handle.inject("throttle:ListInferenceExecutions:share=0.02")

        done = ledger("backfill", *span, "--yes")

        assert done.code == 0, done.out
        assert f"{days} days recorded" in done.out
        months = {(first + timedelta(days=n)).strftime("%Y-%m") for n in range(days)}
        assert {line.split()[0] for line in done.out.splitlines() if line[:4].isdigit()} == months
        there = {
            (summary["InferenceSchedulerArn"], summary["DataStartTime"])
            for scheduler in plants.listed(NOW)
            for summary in scheduler.executions(NOW)
            if summary["DataStartTime"] < END
        }
        assert rows(lake) == len(there)
        answered = handle.count(outcome="ok")
        assert plan["calls"]["min"] <= answered <= plan["calls"]["max"]

        exact = ledger("plan", *span, "--json").answer
        assert exact["settled_days"] == days
        assert exact["calls"]["min"] <= answered <= exact["calls"]["max"]
    status = ledger("status", "--json").answer
    assert set(status["state_counts"]) <= {"settled", "stuck", "unseen"}
