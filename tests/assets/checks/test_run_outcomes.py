"""The rules on failed partitions and unanswered sources."""

from datetime import UTC, datetime, timedelta

from assets.checks import run_outcomes


def test_unanswered_schedulers_are_named_with_their_runs_in_a_row() -> None:
    ends = [datetime(2026, 3, 10, 12, 5, tzinfo=UTC) - timedelta(hours=n) for n in range(4)]
    failed_sources = [{"pump-1": "denied"}, {"pump-1": "throttled"}, {}, {"pump-1": "denied"}]
    runs = [run_outcomes.FinishedRun(*run) for run in zip(ends, failed_sources, strict=True)]

    outcome = run_outcomes.evaluate_sources_answered(runs)

    assert not outcome.passed
    assert outcome.examples == [
        {"failed": "pump-1", "runs_in_a_row": 2, "since": "2026-03-10 11:05 UTC", "reason": "denied"}
    ]
    assert run_outcomes.evaluate_sources_answered(runs[2:]).passed
    assert run_outcomes.evaluate_sources_answered([]).passed


def test_failed_partitions_are_reported_with_their_backfill_command() -> None:
    outcome = run_outcomes.evaluate_partitions_succeeded(
        "inference_executions", ["2026-03-08", "2026-03-09"], 30
    )

    assert not outcome.passed
    assert outcome.commands == ["ledger backfill --from 2026-03-08 --to 2026-03-09"]
    assert run_outcomes.evaluate_partitions_succeeded("inference_executions", [], 30).passed
