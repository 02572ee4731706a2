"""Telling of failures: sensors that look at runs and at checks.

What was told stands in the sensor's cursor: which failures are open is a fact about this Dagster instance, as
its runs are. A notice is noted as told after it got out, so a crash in between tells it twice and never not
at all; `cause` is the same both times.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from assets.alerts.deduplication import OpenIncident, find_notification_reason, mark_notified
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
from resources.notifications import Notice, Notifier, Severity, Webhook, escape_markdown

RUNS_A_TICK = 25
SEEN_RUNS = 500
TICK_SECONDS = 60
_AGAIN = {"new": "", "more": " (more of it)", "again": " (still)"}


@dataclass
class SensorCursor:
    """What a sensor remembers: matters by their cause, with what is needed to see that one is over."""

    matters: dict[str, OpenIncident]
    more: dict[str, dict[str, Any]]
    seen: list[str]

    @classmethod
    def of(cls, text: str | None) -> "SensorCursor":
        """Read it; one that cannot be read counts as none: telling twice is better than not at all."""
        try:
            kept = json.loads(text or "{}")
            matters = {cause: OpenIncident.of_json(one) for cause, one in kept.get("matters", {}).items()}
            return cls(matters, kept.get("more", {}), kept.get("seen", []))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls({}, {}, [])

    def text(self) -> str:
        """Write it."""
        matters = {cause: one.as_json() for cause, one in self.matters.items()}
        return json.dumps({"matters": matters, "more": self.more, "seen": self.seen[-SEEN_RUNS:]})

    def forget(self, cause: str) -> None:
        """Drop what is over."""
        self.matters.pop(cause, None)
        self.more.pop(cause, None)


def open_notifier(alerts: AlertSettings, log: Callable[[str], None]) -> Notifier:
    """Open the sinks that the settings name."""
    return Notifier(log, Webhook(alerts.webhook_url) if alerts.webhook_url else None)


def build_failure_sensors(alerts: AlertSettings) -> list[dg.SensorDefinition]:
    """Return the sensors; they run where Dagster's daemon does, without being switched on."""

    @dg.sensor(
        name="notify_failed_runs",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of failed runs, each cause once, and of its recovery.",
    )
    def failed_runs(context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock]) -> dg.SkipReason:
        return _notify_runs(context, alerts, clock())

    @dg.sensor(
        name="notify_failing_checks",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of checks that fail, each matter once, and of their recovery.",
    )
    def failing_checks(context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock]) -> dg.SkipReason:
        return _notify_checks(context, alerts, clock())

    return [failed_runs, failing_checks]


def _notify_runs(context: dg.SensorEvaluationContext, alerts: AlertSettings, now: datetime) -> dg.SkipReason:
    cursor = SensorCursor.of(context.cursor)
    sinks = open_notifier(alerts, context.log.info)
    repeat_after = timedelta(hours=alerts.repeat_after_hours)
    count = 0
    records = context.instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=RUNS_A_TICK
    )
    for run in (record.dagster_run for record in reversed(records)):
        if run.run_id in cursor.seen or not belongs_to_location(context, run):
            continue
        arrived = True
        for failure in list_failures(context.instance, run):
            known = cursor.matters.get(failure.cause)
            why = find_notification_reason(known, [], now, repeat_after)
            notice = _run_notice(failure, why or "again", alerts, known)
            if why and not sinks.send([notice], now):
                arrived = False
                continue
            count += why is not None
            moment = now if why or known is None else known.first_notified_at
            cursor.matters[failure.cause] = mark_notified(known, notice.title, [], moment)
            cursor.more[failure.cause] = _to_recover(cursor.more.get(failure.cause), failure)
        if arrived:  # else the whole run is looked at again: what got out of it is known by its cause
            cursor.seen.append(run.run_id)
    count += _recovered_runs(context, cursor, sinks, now, alerts)
    context.update_cursor(cursor.text())
    return dg.SkipReason(f"{count} told; {len(cursor.matters)} causes of failed runs are open.")


def _to_recover(before: Mapping[str, Any] | None, failure: Failure) -> dict[str, Any]:
    days = sorted({*(before or {}).get("partitions", []), *failure.partitions})
    return {"step": failure.step, "job": failure.job, "run": failure.run_id, "partitions": days}


def _run_notice(failure: Failure, why: str, alerts: AlertSettings, known: OpenIncident | None) -> Notice:
    what = failure.step or failure.job
    lines = ["```text", failure.message.strip().replace("```", "'''"), "```"]
    if failure.partitions:
        lines.append(f"- {len(failure.partitions)} days failed: {', '.join(failure.partitions[:10])}")
    if failure.sources:
        lines.append(f"- Could not be asked: {', '.join(map(escape_markdown, failure.sources))}")
    if known:
        lines.append(f"- Since {known.since:%Y-%m-%d %H:%M} UTC, {known.times + 1} times")
    return Notice(
        kind="run_failed",
        severity="critical",
        title=f"{what} failed{_AGAIN[why]}: {failure.first_line}",
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


def _recovered_runs(
    context: dg.SensorEvaluationContext,
    cursor: SensorCursor,
    sinks: Notifier,
    now: datetime,
    alerts: AlertSettings,
) -> int:
    count = 0
    for cause, matter in list(cursor.matters.items()):
        if not _is_over(context, cursor.more[cause]):
            continue
        step = cursor.more[cause]["step"] or cursor.more[cause]["job"]
        notice = Notice(
            kind="run_recovered",
            severity="info",
            title=f"{step} works again",
            text=f"What is over: {escape_markdown(matter.title)}\n\nIt failed {matter.times} times since"
            f" {matter.since:%Y-%m-%d %H:%M} UTC.",
            cause=cause,
            facts={"since": matter.since.isoformat(), "times": matter.times},
            link=alerts.dagster_url,
        )
        if sinks.send([notice], now):
            cursor.forget(cause)
            count += 1
    return count


def _is_over(context: dg.SensorEvaluationContext, more: Mapping[str, Any]) -> bool:
    """Tell whether a later run did this step, and all days that failed for this cause are recorded."""
    instance = context.instance
    record = instance.get_run_record_by_id(more["run"])
    if record is None:
        return True  # its run was deleted, and nothing can tell any more
    later = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=record.update_timestamp), limit=50
    )
    step = more["step"]
    did = any(
        step in list_planned_steps(instance, one.dagster_run)
        if step
        else one.dagster_run.job_name == more["job"]
        for one in later
    )
    if not did or not more["partitions"]:
        return did
    assert context.repository_def is not None  # noqa: S101 (a sensor of a location has one)
    return not list_still_failed(instance, context.repository_def, step, more["partitions"])


def _notify_checks(
    context: dg.SensorEvaluationContext, alerts: AlertSettings, now: datetime
) -> dg.SkipReason:
    cursor = SensorCursor.of(context.cursor)
    sinks = open_notifier(alerts, context.log.info)
    assert context.repository_def is not None  # noqa: S101 (a sensor of a location has one)
    keys = list(context.repository_def.asset_graph.asset_check_keys)
    latest = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    count = 0
    for key in sorted(latest, key=str):
        evaluation = latest[key].evaluation
        if not isinstance(evaluation, dg.AssetCheckEvaluation):  # it is about to run, or its run failed
            continue
        cause = f"check:{key.asset_key.to_user_string()}:{key.name}"
        known = cursor.matters.get(cause)
        details = _details(evaluation)
        if evaluation.passed:
            if known and sinks.send([_check_notice(evaluation, "recovered", cause, alerts, known)], now):
                cursor.forget(cause)
                count += 1
            continue
        why = find_notification_reason(known, details, now, timedelta(hours=alerts.repeat_after_hours))
        if why is None:
            continue
        notice = _check_notice(evaluation, why, cause, alerts, known)
        if sinks.send([notice], now):
            cursor.matters[cause] = mark_notified(known, notice.title, details, now)
            count += 1
    context.update_cursor(cursor.text())
    return dg.SkipReason(f"{count} told; {len(cursor.matters)} checks are failing.")


def _check_notice(
    evaluation: dg.AssetCheckEvaluation,
    why: str,
    cause: str,
    alerts: AlertSettings,
    known: OpenIncident | None,
) -> Notice:
    asset, name = evaluation.asset_key.to_user_string(), evaluation.check_name
    is_over = why == "recovered"
    lines = [escape_markdown(evaluation.description or "")]
    values = read_metadata(evaluation.metadata)
    if not is_over and NEXT_COMMANDS in values:
        lines.append(str(values[NEXT_COMMANDS]))
    if known:
        lines.append(f"- Since {known.since:%Y-%m-%d %H:%M} UTC")
    failing: Severity = "critical" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning"
    return Notice(
        kind="check_recovered" if is_over else "check_failed",
        severity="info" if is_over else failing,
        title=f"{asset}: {name} holds again" if is_over else f"{asset}: {name} fails{_AGAIN[why]}",
        text="\n\n".join(lines),
        cause=cause,
        facts={
            "asset": asset,
            "check": name,
            "blocking": evaluation.blocking,
            "description": evaluation.description,
            "numbers": {
                name: value for name, value in values.items() if isinstance(value, int | float | str)
            },
        },
        link=f"{alerts.dagster_url.rstrip('/')}/assets/{asset}?view=checks" if alerts.dagster_url else None,
    )


def _details(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    return [str(cause) for cause in read_metadata(evaluation.metadata).get(PROBLEM_IDS) or []]
