"""Queries about executions: slots by reason, freshness, result objects, failures, settings."""

from dataclasses import dataclass
from typing import Any

from assets.health.slots import REASONS
from assets.report.query.result import Count, Day, Figure, Instant, Minutes, Query, Share, Version
from assets.report.query.scope import ReportScope, sql_timestamp

_SUMS = ",\n       ".join(f"sum({name})::BIGINT AS {name}" for name in ("expected", *REASONS))
_DUE = "nullif(sum(expected - not_running - after_service_end), 0)"
_SLOTS = f"""\
{_SUMS},
       sum(succeeded) / {_DUE} AS result_share,
       median(lateness_median_minutes) AS lateness_median_minutes,
       max(lateness_max_minutes) AS lateness_max_minutes"""


@dataclass(frozen=True)
class SlotCounts:
    """Expected executions by reason; `result_share` is the succeeded share of the executions due."""

    expected: Count
    succeeded: Count
    failed_missing_input: Count
    failed_other: Count
    in_progress: Count
    stuck: Count
    missing: Count
    not_running: Count
    not_extracted: Count
    after_service_end: Count
    unknown: Count
    result_share: Share
    lateness_median_minutes: Minutes
    lateness_max_minutes: Minutes

    @property
    def possible_result_share(self) -> float:
        """The share of the executions due with a result if all unknown ones returned a result."""
        due = sum(
            self.get_figure(reason).value or 0
            for reason in REASONS
            if reason not in {"not_running", "after_service_end"}
        )
        return ((self.succeeded.value or 0) + (self.unknown.value or 0)) / due if due else 1.0

    @property
    def has_unknown_outcomes(self) -> bool:
        """Whether the outcome of some executions is not known, so that the share is a lower bound."""
        return bool(self.unknown or self.not_extracted)

    def get_figure(self, column: str) -> Figure[Any]:
        """Return the figure of a column by its name."""
        figure: Figure[Any] = getattr(self, column)
        return figure


@dataclass(frozen=True)
class SlotDay(SlotCounts):
    """The slots of one day."""

    data_date: Day


@dataclass(frozen=True)
class SchedulerSlots(SlotCounts):
    """The slots of one scheduler."""

    scheduler_arn: str
    scheduler_name: str | None
    longest_silence_minutes: Minutes


@dataclass(frozen=True)
class SchedulerRecords:
    """The recorded executions of one scheduler.

    Attributes:
        scheduler_arn: the scheduler.
        scheduler_name: its name.
        executions: their number.
        newest_result: end of the newest window that succeeded.
        minutes_without_result: from there to the end of the newest recorded window.
        sources: kinds of sources, separated by commas.
    """

    scheduler_arn: str
    scheduler_name: str | None
    executions: Count
    newest_result: Instant
    minutes_without_result: Minutes
    sources: str | None


@dataclass(frozen=True)
class FailureCause:
    """A cause of failed executions; `executions_before` is None if the previous days are not computed."""

    cause: str
    scheduler_names: str | None
    executions: Count
    executions_before: Count
    schedulers: Count
    first_day: Day
    last_day: Day


@dataclass(frozen=True)
class RejectedCounts:
    """Rejected result lines of the days; rejected summaries and saved responses of all days.

    `damaged_files` counts the saved responses that a run could not read completely.
    """

    lines: Count
    summaries: Count
    files: Count
    damaged_files: Count


@dataclass(frozen=True)
class SettingChange:
    """Settings of a scheduler from `valid_from` on, and the previous values; the first row has `number` 1."""

    scheduler_arn: str
    scheduler_name: str | None
    number: int
    valid_from: Instant
    model_version: Version
    model_version_before: Version
    data_upload_frequency: str | None
    data_upload_frequency_before: str | None
    data_delay_offset_minutes: int | None
    data_delay_offset_minutes_before: int | None
    status: str | None
    status_before: str | None


def build_slots_query(scope: ReportScope) -> Query[SlotCounts]:
    """Select one row: all expected executions by reason."""
    return Query(
        "slots",
        "Expected executions by reason",
        SlotCounts,
        f"""\
SELECT count(DISTINCT scheduler_arn) AS schedulers,
       {_SLOTS}
FROM execution_health
WHERE {scope.sql_days} AND {scope.sql_schedulers}""",
    )


def build_days_query(scope: ReportScope) -> Query[SlotDay]:
    """Select one row per day, oldest first."""
    return Query(
        "days",
        "Expected executions by reason, by day",
        SlotDay,
        f"""\
SELECT data_date,
       {_SLOTS}
FROM execution_health
WHERE {scope.sql_days} AND {scope.sql_schedulers}
GROUP BY data_date
ORDER BY data_date""",
    )


def build_schedulers_query(scope: ReportScope) -> Query[SchedulerSlots]:
    """Select one row per scheduler."""
    return Query(
        "schedulers",
        "Expected executions by reason, by scheduler",
        SchedulerSlots,
        f"""\
SELECT scheduler_arn, any_value(scheduler_name) AS scheduler_name,
       max(longest_silence_minutes) AS longest_silence_minutes,
       {_SLOTS}
FROM execution_health
WHERE {scope.sql_days} AND {scope.sql_schedulers}
GROUP BY scheduler_arn
ORDER BY scheduler_arn""",
    )


def build_recorded_query(scope: ReportScope) -> Query[SchedulerRecords]:
    """Select one row per scheduler: its recorded executions and the age of its newest result."""
    return Query(
        "recorded",
        "Recorded executions, newest result and sources, by scheduler",
        SchedulerRecords,
        f"""\
SELECT scheduler_arn, any_value(scheduler_name) AS scheduler_name,
       any_value(account_id) AS account_id, any_value(region) AS region,
       count(*) AS executions,
       max(data_end_time) FILTER (status = 'SUCCESS') AS newest_result,
       max(data_end_time) AS newest_window,
       date_diff('minute', max(data_end_time) FILTER (status = 'SUCCESS'), max(data_end_time))
         AS minutes_without_result,
       max(recorded_at) AS recorded_at,
       string_agg(DISTINCT outcome_source, ', ' ORDER BY outcome_source) AS sources
FROM inference_executions
WHERE {scope.sql_days} AND {scope.sql_schedulers}
GROUP BY scheduler_arn
ORDER BY scheduler_arn""",
    )


def build_causes_query(scope: ReportScope) -> Query[FailureCause]:
    """Select one row per cause, the most frequent first, with its count in the previous days."""
    shape = '[{"cause": "VARCHAR", "count": "BIGINT"}]'
    in_range = f"data_date >= DATE '{scope.first}'"
    return Query(
        "causes",
        "Failed executions by cause, with the previous days",
        FailureCause,
        f"""\
SELECT failure.cause AS cause,
       coalesce(sum(failure.count) FILTER ({in_range}), 0)::BIGINT AS executions,
       CASE WHEN (SELECT count(*) FROM execution_health
                  WHERE {scope.sql_days_and_previous} AND NOT {in_range} AND {scope.sql_schedulers}) > 0
            THEN coalesce(sum(failure.count) FILTER (NOT {in_range}), 0)::BIGINT END AS executions_before,
       count(DISTINCT scheduler_arn) FILTER ({in_range}) AS schedulers,
       string_agg(DISTINCT scheduler_name, ', ' ORDER BY scheduler_name)
         FILTER ({in_range}) AS scheduler_names,
       min(data_date) FILTER ({in_range}) AS first_day, max(data_date) FILTER ({in_range}) AS last_day
FROM (
  SELECT scheduler_arn, scheduler_name, data_date, unnest(from_json(failures_by_cause, '{shape}')) AS failure
  FROM execution_health
  WHERE {scope.sql_days_and_previous} AND {scope.sql_schedulers}
)
GROUP BY failure.cause
ORDER BY executions DESC, executions_before DESC, cause""",
    )


def build_rejected_query(scope: ReportScope) -> Query[RejectedCounts]:
    """Select one row: what was rejected."""
    return Query(
        "rejected",
        "Rejected result lines, execution summaries and saved responses",
        RejectedCounts,
        f"""\
SELECT (SELECT count(*) FROM rejected_results WHERE {scope.sql_days} AND {scope.sql_schedulers}) AS lines,
       (SELECT count(*) FROM rejected_executions) AS summaries,
       (SELECT count(*) FROM archive_files) AS files,
       (SELECT count(*) FROM archive_files WHERE error IS NOT NULL) AS damaged_files""",
    )


def build_settings_query(scope: ReportScope) -> Query[SettingChange]:
    """Select one row per change of settings, oldest first."""
    changed = f"valid_from >= {sql_timestamp(scope.start)} AND valid_from < {sql_timestamp(scope.end)}"
    return Query(
        "settings",
        "Changes of scheduler settings",
        SettingChange,
        f"""\
SELECT *
FROM (
  SELECT scheduler_arn, scheduler_name, valid_from,
         model_version, lag(model_version) OVER history AS model_version_before,
         data_upload_frequency, lag(data_upload_frequency) OVER history AS data_upload_frequency_before,
         data_delay_offset_minutes,
         lag(data_delay_offset_minutes) OVER history AS data_delay_offset_minutes_before,
         status, lag(status) OVER history AS status_before,
         row_number() OVER history AS number
  FROM inference_schedulers
  WHERE {scope.sql_schedulers}
  WINDOW history AS (PARTITION BY scheduler_arn ORDER BY valid_from)
)
WHERE {changed}
ORDER BY valid_from, scheduler_arn""",
    )
