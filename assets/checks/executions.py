"""The checks of the executions: saved responses, days, settling, counts, freshness.

All of them warn: what is recorded is right, and everything downstream may use it.
"""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.checks import completeness, context, freshness, run_outcomes
from assets.checks import day_coverage as of_days
from assets.checks.context import CheckContext
from assets.checks.result import Check, CheckOutcome
from assets.executions import archive_index
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    REJECTED_EXECUTIONS,
)

_ASSET = dg.AssetKey(INFERENCE_EXECUTIONS.name)


def build_execution_checks(looks: str) -> list[Check]:
    """Return the checks of `inference_executions`.

    Args:
        looks: says which days are looked at.
    """
    return [
        Check(
            "archive_files_complete",
            "Every saved response is readable to its end and complete.",
            _saved_responses_whole,
        ),
        Check(
            "no_rejected_summaries",
            "No summary had to be put aside in rejected_executions.",
            _summaries_usable,
        ),
        Check("sources_answered", "The last run could ask every scheduler and source.", _sources_answered),
        Check(
            "no_missing_days",
            "No day is missing between the first and the last of the lake.",
            _no_day_missing,
        ),
        Check(
            "no_unrecognized_fields",
            f"Every member that the service tells has a column. {looks}",
            _members_known,
        ),
        Check(
            "days_settled",
            f"Each scheduler is settled on each day that could settle. {looks}",
            _days_settled,
        ),
        Check(
            "no_stuck_executions", f"No execution is IN_PROGRESS on a settled day. {looks}", _executions_ended
        ),
        Check(
            "execution_count_in_range",
            "Each scheduler has about as many executions a day as in the four weeks before, or as its"
            f" frequency makes. {looks}",
            _counts_usual,
        ),
        Check(
            "data_fresh",
            "The newest data are as new as they should be: a backfill of an old day changes nothing,"
            " and an ended service is not late.",
            _data_fresh,
        ),
    ]


def _saved_responses_whole(look: CheckContext) -> CheckOutcome:
    there = {file.uri for source in look.sources if source.files for file in source.files.list_files()}
    known = archive_index.load_records(look.lake.read(ARCHIVE_FILES))
    return completeness.archive_files_complete([file for uri, file in known.items() if uri in there])


def _summaries_usable(look: CheckContext) -> CheckOutcome:
    return completeness.no_rejected_summaries(look.lake.read(REJECTED_EXECUTIONS, columns=["reason"]))


def _sources_answered(look: CheckContext) -> CheckOutcome:
    return run_outcomes.sources_answered(list(run_outcomes.load_recent_runs(look.instance, _ASSET)))


def _no_day_missing(look: CheckContext) -> CheckOutcome:
    return of_days.no_missing_days(look.in_lake(INFERENCE_EXECUTIONS))


def _members_known(look: CheckContext) -> CheckOutcome:
    return completeness.no_unrecognized_fields(look.read(INFERENCE_EXECUTIONS, ["unrecognized"]))


def _days_settled(look: CheckContext) -> CheckOutcome:
    return of_days.days_settled(look.scheduler_statuses, look.execution_days)


def _executions_ended(look: CheckContext) -> CheckOutcome:
    return of_days.no_stuck_executions(look.scheduler_statuses, look.execution_days, _running(look))


def _running(look: CheckContext) -> pa.Table:
    columns = ["scheduler_arn", "scheduler_name", "data_start_time", "status"]
    some = [
        day
        for day in look.execution_days
        if pc.sum(look.lake.read(EXTRACTION_COVERAGE, day, ["in_progress"])["in_progress"]).as_py()
    ]
    found = context.read_days(look.lake, INFERENCE_EXECUTIONS, some, columns)
    return found.filter(pc.equal(found["status"], "IN_PROGRESS"))


def _counts_usual(look: CheckContext) -> CheckOutcome:
    days = look.execution_days
    span = {past for day in days for past in context.list_days_before(day, of_days.WEEKS_BEFORE_DAYS)}
    wanted = sorted({*days, *span} & {*look.in_lake(EXTRACTION_COVERAGE)})
    columns = ["scheduler_arn", "scheduler_name", "executions"]
    coverage = context.read_days(look.lake, EXTRACTION_COVERAGE, wanted, columns)
    grid = {arn: known.executions_a_day for arn, known in look.scheduler_settings.items()}
    return of_days.execution_count_in_range(coverage, days, grid, look.now, look.rules.settle_after)


def _data_fresh(look: CheckContext) -> CheckOutcome:
    days = look.in_lake(EXTRACTION_COVERAGE)[-look.rules.last_days :]
    coverage = context.read_days(look.lake, EXTRACTION_COVERAGE, days, freshness.COVERAGE_COLUMNS)
    rows = context.read_days(look.lake, INFERENCE_EXECUTIONS, days, freshness.EXECUTION_COLUMNS)
    return freshness.data_fresh(
        freshness.find_newest_data(rows, freshness.list_active_schedulers(coverage), look.scheduler_settings),
        pc.max(coverage["complete_through"]).as_py(),
        context.get_service_state(look.sources),
        history_end=look.rules.history.end,
        now=look.now,
        late_after=look.rules.late_after,
    )
