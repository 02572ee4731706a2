"""The checks of the executions, declared: saved responses, days, settling, counts, freshness.

Belongs here: declarations, and reading what the rules judge.
Does not belong here: the rules (see the modules beside this one).

All of them warn: what is recorded is right, and everything downstream may use it.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.batched import told_to_people
from assets.checks import days as of_days
from assets.checks import freshness, looked_at, members, rhythm, runs
from assets.checks.looked_at import Rules
from assets.checks.verdict import Verdict, as_result
from assets.executions import archives, standing
from assets.tables import (
    ARCHIVE_FILES,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    REJECTED_EXECUTIONS,
)
from resources.lake import Lake
from resources.sources.api import Api
from resources.sources.archive import Archive

ASSET = INFERENCE_EXECUTIONS.name
Clock = Callable[[], datetime]
Sources = Callable[[], Sequence[Archive | Api]]


def build(rules: Rules) -> list[dg.AssetChecksDefinition]:
    """Declare the checks of `inference_executions`; their resources are `lake`, `sources` and `clock`."""
    return [*_of_sources(), *_of_days(rules), _data_fresh(rules)]


def _of_sources() -> list[dg.AssetChecksDefinition]:
    @dg.asset_check(asset=ASSET, description="Every saved response is readable to its end and complete.")
    def saved_responses_whole(
        lake: dg.ResourceParam[Lake], sources: dg.ResourceParam[Sources]
    ) -> dg.AssetCheckResult:
        with told_to_people():
            there = {
                file.uri for source in sources() if isinstance(source, Archive) for file in source.files()
            }
            files = [file for uri, file in archives.known(lake.read(ARCHIVE_FILES)).items() if uri in there]
        return _warning(members.saved_responses_whole(files))

    @dg.asset_check(asset=ASSET, description="No summary had to be put aside in rejected_executions.")
    def summaries_usable(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        with told_to_people():
            rejected = lake.read(REJECTED_EXECUTIONS, columns=["reason"])
        return _warning(members.summaries_usable(rejected))

    @dg.asset_check(asset=ASSET, description="The last run could ask every scheduler and source.")
    def sources_answered(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return _warning(runs.sources_answered(runs.what_failed_lately(context.instance, dg.AssetKey(ASSET))))

    return [saved_responses_whole, summaries_usable, sources_answered]


def _of_days(rules: Rules) -> list[dg.AssetChecksDefinition]:
    looks = f"Looks at the last {rules.last_days} days of the lake and at those of its run."

    @dg.asset_check(asset=ASSET, description="No day is missing between the first and the last of the lake.")
    def no_day_missing(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        with told_to_people():
            return _warning(of_days.no_day_missing(lake.days(INFERENCE_EXECUTIONS)))

    @dg.asset_check(asset=ASSET, description=f"Every member that the service tells has a column. {looks}")
    def members_known(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        with told_to_people():
            days = _chosen(lake, rules, context)
            found = looked_at.read_days(lake, INFERENCE_EXECUTIONS, days, ["unrecognized"])
            return _warning(members.members_known(found))

    @dg.asset_check(
        asset=ASSET, description=f"Each scheduler is settled on each day that could settle. {looks}"
    )
    def days_settled(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[Sources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.AssetCheckResult:
        with told_to_people():
            days = _chosen(lake, rules, context)
            return _warning(of_days.days_settled(_standings(lake, rules, days, sources(), clock()), days))

    @dg.asset_check(asset=ASSET, description=f"No execution is IN_PROGRESS on a settled day. {looks}")
    def executions_ended(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[Sources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.AssetCheckResult:
        with told_to_people():
            days = _chosen(lake, rules, context)
            standings = _standings(lake, rules, days, sources(), clock())
            return _warning(of_days.executions_ended(standings, days, _running(lake, days)))

    @dg.asset_check(
        asset=ASSET,
        description="Each scheduler has about as many executions a day as in the four weeks before, or as its"
        f" frequency makes. {looks}",
    )
    def counts_usual(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        clock: dg.ResourceParam[Clock],
    ) -> dg.AssetCheckResult:
        with told_to_people():
            days = _chosen(lake, rules, context)
            span = {past for day in days for past in looked_at.before(day, of_days.WEEKS_BEFORE_DAYS)}
            wanted = sorted({*days, *span} & {*lake.days(EXTRACTION_COVERAGE)})
            columns = ["scheduler_arn", "scheduler_name", "executions"]
            coverage = looked_at.read_days(lake, EXTRACTION_COVERAGE, wanted, columns)
            grid = {arn: known.executions_a_day for arn, known in _rhythms(lake).items()}
            return _warning(of_days.counts_usual(coverage, days, grid, clock(), rules.settle_after))

    return [no_day_missing, members_known, days_settled, executions_ended, counts_usual]


def _data_fresh(rules: Rules) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=ASSET,
        description="The newest data are as new as they should be: a backfill of an old day changes nothing,"
        " and an ended service is not late.",
    )
    def data_fresh(
        lake: dg.ResourceParam[Lake],
        sources: dg.ResourceParam[Sources],
        clock: dg.ResourceParam[Clock],
    ) -> dg.AssetCheckResult:
        with told_to_people():
            days = lake.days(EXTRACTION_COVERAGE)[-rules.last_days :]
            coverage = looked_at.read_days(lake, EXTRACTION_COVERAGE, days, freshness.COVERAGE_COLUMNS)
            rows = looked_at.read_days(lake, INFERENCE_EXECUTIONS, days, freshness.EXECUTION_COLUMNS)
            verdict = freshness.data_fresh(
                freshness.newest(rows, freshness.listed(coverage), _rhythms(lake)),
                pc.max(coverage["complete_through"]).as_py(),
                looked_at.service_of(sources()),
                history_end=rules.history.end,
                now=clock(),
                late_after=rules.late_after,
            )
            return _warning(verdict)

    return data_fresh


def _warning(verdict: Verdict) -> dg.AssetCheckResult:
    return as_result(verdict, dg.AssetCheckSeverity.WARN)


def _chosen(lake: Lake, rules: Rules, context: dg.AssetCheckExecutionContext) -> list[date]:
    of_run = looked_at.days_of_run(context.run.tags)
    return looked_at.chosen(lake.days(INFERENCE_EXECUTIONS), rules.last_days, of_run)


def _standings(
    lake: Lake, rules: Rules, days: Sequence[date], sources: Sequence[Archive | Api], now: datetime
) -> list[standing.Standing]:
    there = lake.days(EXTRACTION_COVERAGE)
    coverage = looked_at.read_days(
        lake, EXTRACTION_COVERAGE, sorted({*days, *there[-rules.last_days :]} & {*there}), standing.COLUMNS
    )
    last_expected = looked_at.service_of(sources).last_expected(rules.history.end)
    terms = standing.Terms(rules.settle_after, rules.lookback_days, now, last_expected)
    return standing.standing(coverage, days, there, (), terms)


def _rhythms(lake: Lake) -> dict[str, rhythm.Rhythm]:
    return rhythm.rhythms(lake.read(INFERENCE_SCHEDULERS, columns=rhythm.COLUMNS))


def _running(lake: Lake, days: Sequence[date]) -> pa.Table:
    columns = ["scheduler_arn", "scheduler_name", "data_start_time", "status"]
    some = [
        day
        for day in days
        if pc.sum(lake.read(EXTRACTION_COVERAGE, day, ["in_progress"])["in_progress"]).as_py()
    ]
    found = looked_at.read_days(lake, INFERENCE_EXECUTIONS, some, columns)
    return found.filter(pc.equal(found["status"], "IN_PROGRESS"))
