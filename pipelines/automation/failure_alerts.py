"""Notifies about failed runs and failing checks: two sensors that deduplicate failures.

The cursor of each sensor stores the open incidents, because they belong to this Dagster instance like its
runs. A cursor is updated after delivery, so a crash can repeat a notice but cannot lose one. The `cause` of
a repeated notice is the same.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import dagster as dg

from assets.alerts.deduplication import OpenIncident, find_notification_reason, mark_notified
from assets.alerts.silences import is_check_silenced, is_run_silenced
from assets.checks.result import NEXT_COMMANDS, PROBLEM_IDS
from assets.framework.metadata import read_metadata
from pipelines.automation.run_failures import (
    Failure,
    belongs_to_location,
    list_failures,
    list_planned_steps,
    list_still_failed,
)
from resources.clock import Clock
from resources.config.sections import AlertSettings
from resources.config.silences import Silence, load_silences
from resources.errors import LedgerError
from resources.markdown import escape_markdown
from resources.notifications.base import Notice, Severity
from resources.notifications.notifier import Notifier
from resources.notifications.open import open_targets

RUNS_A_TICK = 25
SEEN_RUNS = 500
TICK_SECONDS = 60
MAX_LISTED_DAYS = 10
MAX_LATER_RUNS = 50
_TITLE_SUFFIXES = {"new": "", "more": " (new problems)", "again": " (still failing)"}


@dataclass
class SensorCursor:
    """The state of a failure sensor.

    Attributes:
        incidents: The open incidents by their cause.
        failures: What each open incident of runs needs to recover, by its cause.
        seen_runs: The IDs of the failed runs whose notices were all delivered.
        pending: The notices that some targets lack, as `Notifier` keeps them.
    """

    incidents: dict[str, OpenIncident]
    failures: dict[str, dict[str, Any]]
    seen_runs: list[str]
    pending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | None) -> "SensorCursor":
        """Parse a cursor. An invalid one counts as empty: repeated notices are better than lost ones."""
        try:
            value = json.loads(text or "{}")
            incidents = {
                cause: OpenIncident.from_json(incident)
                for cause, incident in value.get("incidents", {}).items()
            }
            return cls(
                incidents, value.get("failures", {}), value.get("seen_runs", []), value.get("pending", {})
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls({}, {}, [])

    def to_json(self) -> str:
        """Return the text that Dagster stores."""
        incidents = {cause: incident.to_json() for cause, incident in self.incidents.items()}
        return json.dumps(
            {
                "incidents": incidents,
                "failures": self.failures,
                "seen_runs": self.seen_runs[-SEEN_RUNS:],
                "pending": self.pending,
            },
            default=str,
        )

    def close(self, cause: str) -> None:
        """Remove a recovered incident."""
        self.incidents.pop(cause, None)
        self.failures.pop(cause, None)


def open_notifier(
    alerts: AlertSettings, log: Callable[[str], None], pending: dict[str, list[dict[str, Any]]]
) -> Notifier:
    """Return a notifier for the log and the targets in the settings, after it sent the pending notices."""
    notifier = Notifier(log, open_targets(alerts), pending)
    notifier.send_pending()
    return notifier


def _load_silences(alerts: AlertSettings, context: dg.SensorEvaluationContext) -> list[Silence]:
    """Load the silences; an invalid file silences nothing, and the event sensor notifies its errors."""
    try:
        return load_silences(alerts.silences, alerts.expected_bucket_owner)
    except LedgerError as error:
        context.log.warning(str(error))
        return []


def build_failure_sensors(alerts: AlertSettings) -> list[dg.SensorDefinition]:
    """Declare the sensors, on by default; their resource is `clock`."""

    @dg.sensor(
        name="notify_failed_runs",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notify when runs fail, once for each cause, and when they succeed again.",
    )
    def failed_runs(context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock]) -> dg.SkipReason:
        return _notify_runs(context, alerts, clock())

    @dg.sensor(
        name="notify_failing_checks",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notify when asset checks fail, once for each problem, and when they pass again.",
    )
    def failing_checks(context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock]) -> dg.SkipReason:
        return _notify_checks(context, alerts, clock())

    return [failed_runs, failing_checks]


def _notify_runs(context: dg.SensorEvaluationContext, alerts: AlertSettings, now: datetime) -> dg.SkipReason:
    cursor = SensorCursor.from_json(context.cursor)
    notifier = open_notifier(alerts, context.log.info, cursor.pending)
    repeat_after = timedelta(hours=alerts.repeat_after_hours)
    silences = _load_silences(alerts, context)
    count = 0
    records = context.instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]),
        limit=RUNS_A_TICK,
        order_by="update_timestamp",  # a long run fails after runs that were created later
    )
    for run in (record.dagster_run for record in reversed(records)):
        if run.run_id in cursor.seen_runs or not belongs_to_location(context, run):
            continue
        all_delivered = True
        for failure in list_failures(context.instance, run):
            if is_run_silenced(silences, filter(None, (failure.job, failure.step)), now):
                continue
            incident = cursor.incidents.get(failure.cause)
            reason = find_notification_reason(incident, [], now, repeat_after)
            notice = _build_run_notice(failure, reason or "again", alerts, incident)
            if reason and not notifier.send([notice], now):
                all_delivered = False
                continue
            count += reason is not None
            notified_at = now if reason or incident is None else incident.last_notified_at
            cursor.incidents[failure.cause] = mark_notified(incident, notice.title, [], notified_at)
            cursor.failures[failure.cause] = _merge_failure(cursor.failures.get(failure.cause), failure)
        if all_delivered:  # otherwise the next tick reads this run again; delivered causes are deduplicated
            cursor.seen_runs.append(run.run_id)
    count += _notify_recovered_runs(context, cursor, notifier, now, alerts)
    context.update_cursor(cursor.to_json())
    return dg.SkipReason(
        f"{count} notifications sent; {len(cursor.incidents)} incidents of failed runs are open."
    )


def _merge_failure(earlier: Mapping[str, Any] | None, failure: Failure) -> dict[str, Any]:
    days = sorted({*(earlier or {}).get("partitions", []), *failure.partitions})
    return {"step": failure.step, "job": failure.job, "run": failure.run_id, "partitions": days}


def _build_run_notice(
    failure: Failure, reason: str, alerts: AlertSettings, incident: OpenIncident | None
) -> Notice:
    lines = ["```text", failure.message.strip().replace("```", "'''"), "```"]
    if failure.partitions:
        days = failure.partitions[:MAX_LISTED_DAYS]
        rest = len(failure.partitions) - len(days)
        more = f" and {rest} more" if rest else ""
        lines.append(f"- Failed days: {len(failure.partitions)} ({', '.join(days)}{more})")
    if failure.sources:
        lines.append(f"- Did not answer: {', '.join(map(escape_markdown, failure.sources))}")
    if incident:
        lines.append(
            f"- Failing since {incident.since:%Y-%m-%d %H:%M} UTC; {incident.times + 1} failures so far"
        )
    return Notice(
        kind="run_failed",
        severity="critical",
        title=f"{failure.step or failure.job} failed{_TITLE_SUFFIXES[reason]}: {failure.first_line}",
        text="\n".join(lines),
        cause=failure.cause,
        facts={
            "run_id": failure.run_id,
            "job": failure.job,
            "step": failure.step,
            "partitions": list(failure.partitions),
            "sources": list(failure.sources),
            "message": failure.message,
        },
        link=f"{alerts.dagster_url.rstrip('/')}/runs/{failure.run_id}" if alerts.dagster_url else None,
    )


def _notify_recovered_runs(
    context: dg.SensorEvaluationContext,
    cursor: SensorCursor,
    notifier: Notifier,
    now: datetime,
    alerts: AlertSettings,
) -> int:
    count = 0
    for cause, incident in list(cursor.incidents.items()):
        failure = cursor.failures[cause]
        is_deleted = context.instance.get_run_record_by_id(failure["run"]) is None
        if not is_deleted and not _has_recovered(context, failure):
            continue
        name, title = failure["step"] or failure["job"], escape_markdown(incident.title)
        times = f"It failed {incident.times} times since {incident.since:%Y-%m-%d %H:%M} UTC."
        notice = Notice(
            kind="run_recovered",
            severity="info",
            title=f"{name}: it is not known whether it succeeds again"
            if is_deleted
            else f"{name} succeeds again",
            text=f"No longer watched, because its failed run was deleted: {title}\n\n{times}"
            if is_deleted
            else f"Resolved: {title}\n\n{times}",
            cause=cause,
            facts={"since": incident.since.isoformat(), "times": incident.times},
            link=alerts.dagster_url,
        )
        if notifier.send([notice], now):
            cursor.close(cause)
            count += 1
    return count


def _has_recovered(context: dg.SensorEvaluationContext, failure: Mapping[str, Any]) -> bool:
    """Return whether a later run included the failed step and no day of this cause is failed any more."""
    instance = context.instance
    record = instance.get_run_record_by_id(failure["run"])
    if record is None:
        return False
    later = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=record.update_timestamp),
        limit=MAX_LATER_RUNS,
        order_by="update_timestamp",
    )
    step = failure["step"]
    has_succeeded = any(
        step in list_planned_steps(instance, run.dagster_run)
        if step
        else run.dagster_run.job_name == failure["job"]
        for run in later
    )
    if not has_succeeded or not failure["partitions"]:
        return has_succeeded
    assert context.repository_def is not None  # noqa: S101 (always set for a sensor of a code location)
    return not list_still_failed(instance, context.repository_def, step, failure["partitions"])


def _notify_checks(
    context: dg.SensorEvaluationContext, alerts: AlertSettings, now: datetime
) -> dg.SkipReason:
    cursor = SensorCursor.from_json(context.cursor)
    notifier = open_notifier(alerts, context.log.info, cursor.pending)
    assert context.repository_def is not None  # noqa: S101 (always set for a sensor of a code location)
    silences = _load_silences(alerts, context)
    keys = list(context.repository_def.asset_graph.asset_check_keys)
    latest = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    count = 0
    for key in sorted(latest, key=str):
        evaluation = latest[key].evaluation
        if not isinstance(evaluation, dg.AssetCheckEvaluation):  # planned, or its run failed
            continue
        cause = f"check:{key.asset_key.to_user_string()}:{key.name}"
        incident = cursor.incidents.get(cause)
        problem_ids = _get_problem_ids(evaluation)
        if evaluation.passed:
            notice = _build_check_notice(evaluation, "recovered", cause, alerts, incident)
            if incident and notifier.send([notice], now):
                cursor.close(cause)
                count += 1
            continue
        reason = find_notification_reason(
            incident, problem_ids, now, timedelta(hours=alerts.repeat_after_hours)
        )
        if reason is None or is_check_silenced(silences, key.name, now):
            continue
        notice = _build_check_notice(evaluation, reason, cause, alerts, incident)
        if notifier.send([notice], now):
            cursor.incidents[cause] = mark_notified(incident, notice.title, problem_ids, now)
            count += 1
    context.update_cursor(cursor.to_json())
    return dg.SkipReason(f"{count} notifications sent; {len(cursor.incidents)} checks are failing.")


def _build_check_notice(
    evaluation: dg.AssetCheckEvaluation,
    reason: str,
    cause: str,
    alerts: AlertSettings,
    incident: OpenIncident | None,
) -> Notice:
    asset, name = evaluation.asset_key.to_user_string(), evaluation.check_name
    is_recovered = reason == "recovered"
    description = unescape(evaluation.description or "")
    lines = [escape_markdown(description)]
    values = read_metadata(evaluation.metadata)
    if not is_recovered and NEXT_COMMANDS in values:
        lines.append(str(values[NEXT_COMMANDS]))
    if incident:
        lines.append(f"- Failing since {incident.since:%Y-%m-%d %H:%M} UTC")
    failing: Severity = "critical" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning"
    title = f"{asset}: {name} passes again"
    if not is_recovered:
        title = f"{asset}: {name} failed{_TITLE_SUFFIXES[reason]}"
    return Notice(
        kind="check_recovered" if is_recovered else "check_failed",
        severity="info" if is_recovered else failing,
        title=title,
        text="\n\n".join(lines),
        cause=cause,
        facts={
            "asset": asset,
            "check": name,
            "blocking": evaluation.blocking,
            "description": description,
            "numbers": {key: value for key, value in values.items() if isinstance(value, int | float | str)},
        },
        link=f"{alerts.dagster_url.rstrip('/')}/assets/{asset}?view=checks" if alerts.dagster_url else None,
    )


def _get_problem_ids(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    return [str(problem) for problem in read_metadata(evaluation.metadata).get(PROBLEM_IDS) or []]
