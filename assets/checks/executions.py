"""The checks of `inference_executions`: saved responses, days, settlement, counts and freshness.

All of them warn, so downstream assets use the data that is recorded.
"""

import pyarrow as pa
import pyarrow.compute as pc

from assets.checks import completeness, day_coverage, freshness, run_outcomes
from assets.checks.context import (
    CheckContext,
    list_days_before,
    read_days,
    read_files,
)
from assets.checks.result import Check, CheckOutcome
from assets.checks.scheduler_settings import compute_daily_grid
from assets.executions import archive_index
from assets.executions.service_state import get_service_state
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    REJECTED_EXECUTIONS,
)


def build_execution_checks(scope: str) -> list[Check]:
    """Declare the checks; `scope` is a sentence that says which days they examine."""
    return [
        Check(
            "archive_files_complete",
            "Each saved response is readable and has all its pages.",
            _check_archive_files,
        ),
        Check(
            "no_rejected_summaries",
            "No execution summary was rejected: rejected_executions is empty.",
            _check_rejected_summaries,
        ),
        Check(
            "sources_answered",
            "Every scheduler and source answered the last extraction run.",
            _check_sources,
        ),
        Check(
            "no_missing_days",
            "Each day between the first and the last day of the lake was extracted.",
            _check_missing_days,
        ),
        Check(
            "no_unrecognized_fields",
            f"Each field in the responses of the service has a column. {scope}",
            _check_unrecognized_fields,
        ),
        Check(
            "days_settled",
            f"Each scheduler is settled on each day that should be settled. {scope}",
            _check_settled_days,
        ),
        Check("no_stuck_executions", f"No execution is IN_PROGRESS on a settled day. {scope}", _check_stuck),
        Check(
            "execution_count_in_range",
            "The daily executions of each scheduler are close to the median of the four weeks before, or to"
            f" the number that its frequency gives. {scope}",
            _check_counts,
        ),
        Check(
            "data_fresh",
            "The newest data is not late. This check judges the time of the data; the freshness policy of the"
            " asset judges the time of the latest run. Backfills of old days do not affect this check, and an"
            " ended service is not late.",
            _check_freshness,
        ),
    ]


def _check_archive_files(context: CheckContext) -> CheckOutcome:
    existing = {file.uri for source in context.sources if source.files for file in source.files.list_files()}
    records = archive_index.load_records(context.lake.read(ARCHIVE_FILES))
    return completeness.evaluate_archive_files_complete(
        [file for uri, file in records.items() if uri in existing]
    )


def _check_rejected_summaries(context: CheckContext) -> CheckOutcome:
    return completeness.evaluate_no_rejected_summaries(
        context.lake.read(REJECTED_EXECUTIONS, columns=["reason"])
    )


def _check_sources(context: CheckContext) -> CheckOutcome:
    return run_outcomes.evaluate_sources_answered(
        list(run_outcomes.load_recent_runs(context.instance, context.asset))
    )


def _check_missing_days(context: CheckContext) -> CheckOutcome:
    return day_coverage.evaluate_no_missing_days(context.list_lake_days(INFERENCE_EXECUTIONS))


def _check_unrecognized_fields(context: CheckContext) -> CheckOutcome:
    files = context.read_checked_files(INFERENCE_EXECUTIONS, ["unrecognized"])
    return completeness.evaluate_no_unrecognized_fields(files)


def _check_settled_days(context: CheckContext) -> CheckOutcome:
    return day_coverage.evaluate_days_settled(context.scheduler_statuses, context.execution_days)


def _check_stuck(context: CheckContext) -> CheckOutcome:
    in_progress = _read_in_progress(context)
    return day_coverage.evaluate_no_stuck_executions(
        context.scheduler_statuses, context.execution_days, in_progress
    )


def _read_in_progress(context: CheckContext) -> pa.Table:
    columns = ["scheduler_arn", "scheduler_name", "data_start_time", "status"]
    lake = context.lake
    days = [
        day
        for day in context.execution_days
        if pc.sum(lake.read(EXTRACTION_COVERAGE, day, ["in_progress"])["in_progress"]).as_py()
    ]
    files = read_files(lake, INFERENCE_EXECUTIONS, days, columns)
    in_progress = [rows.filter(pc.equal(rows["status"], "IN_PROGRESS")) for rows in files]
    return pa.concat_tables([read_days(lake, INFERENCE_EXECUTIONS, [], columns), *in_progress])


def _check_counts(context: CheckContext) -> CheckOutcome:
    days = context.execution_days
    days_before = {past for day in days for past in list_days_before(day, day_coverage.BASELINE_DAYS)}
    days_to_read = sorted({*days, *days_before} & {*context.list_lake_days(EXTRACTION_COVERAGE)})
    columns = ["scheduler_arn", "scheduler_name", "executions"]
    coverage = read_days(context.lake, EXTRACTION_COVERAGE, days_to_read, columns)
    grid = compute_daily_grid(context.schedulers, days)
    return day_coverage.evaluate_execution_count_in_range(
        coverage, days, grid, context.now, context.settings.settle_after
    )


def _check_freshness(context: CheckContext) -> CheckOutcome:
    lake, settings = context.lake, context.settings
    days = context.list_lake_days(EXTRACTION_COVERAGE)[-settings.last_days :]
    coverage = read_days(lake, EXTRACTION_COVERAGE, days, freshness.COVERAGE_COLUMNS)
    executions = read_files(lake, INFERENCE_EXECUTIONS, days, freshness.EXECUTION_COLUMNS)
    active = freshness.list_active_schedulers(coverage)
    return freshness.evaluate_data_fresh(
        freshness.find_newest_data(executions, active, context.scheduler_settings),
        pc.max(coverage["complete_through"]).as_py(),
        get_service_state(context.sources),
        history_end=settings.history.end,
        now=context.now,
        late_after=settings.late_after,
    )
