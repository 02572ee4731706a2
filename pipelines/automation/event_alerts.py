"""Telling of anomaly events: a sensor that looks at the table of events.

What was told stands in the lake, in `event_notifications`, and is written after it got out (ADR 10).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa

from assets.alerts.event_notifications import (
    Event,
    Notification,
    NotificationRecord,
    Thresholds,
    plan_notifications,
)
from assets.alerts.messages import (
    MAX_SINGLE_NOTICES,
    EventDetails,
    MessageContext,
    build_event_notice,
    build_summary_notice,
)
from assets.framework.row_content import stamp_changes
from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS
from pipelines.automation.failure_alerts import TICK_SECONDS, open_notifier
from resources.clock import Clock
from resources.config.equipment import EquipmentRegistry, load_equipment
from resources.config.settings import Settings
from resources.config.silences import Silence, load_silences
from resources.errors import ConfigurationError, LedgerError
from resources.lake.lake import Lake
from resources.notifications import Notice, Notifier

_MEMBERS = {"start": "start_time", "end": "end_time"}


def build_event_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor; it runs where Dagster's daemon does, without being switched on."""

    @dg.sensor(
        name="notify_anomaly_events",
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of new and ended anomaly events, once each; late data are told as changes.",
    )
    def anomaly_events(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.SkipReason:
        sinks = open_notifier(settings.alerts, context.log.info)
        told_mistakes = context.cursor or ""
        try:
            count, mistakes = notify_events(lake, settings, sinks, clock())
        except LedgerError as problem:  # a lake that is away now; the next tick looks again
            return dg.SkipReason(f"nothing could be looked at: {problem}")
        if mistakes != told_mistakes and (not mistakes or sinks.send([_mistaken(mistakes)], clock())):
            context.update_cursor(mistakes)
        return dg.SkipReason(f"{count} told.")

    return anomaly_events


def notify_events(lake: Lake, settings: Settings, sinks: Notifier, now: datetime) -> tuple[int, str]:
    """Tell what is to be told now; return how many tellings got out, and what is wrong with the files.

    A mistake in the file of silences or in the registry silences nobody: events are told without them.

    Raises:
        LedgerError: the lake cannot be read or written.
    """
    now = now.replace(microsecond=0)  # as the lake keeps it
    mistakes: list[str] = []
    silences: list[Silence] = _or_else(lambda: load_silences(settings.alerts.silences), [], mistakes)
    registry = _or_else(lambda: load_equipment(settings.equipment.registry), EquipmentRegistry(), mistakes)
    rows = lake.read(ANOMALY_EVENTS)
    if not lake.has(ANOMALY_EVENTS):  # nobody has looked for events yet: none is gone
        return 0, "\n".join(mistakes)
    known = {row["event_id"]: row for row in rows.to_pylist()}
    events = [_event(row, registry, settings, mistakes) for row in known.values()]
    alerts = settings.alerts
    thresholds = Thresholds(
        timedelta(minutes=alerts.min_duration_minutes), timedelta(days=alerts.max_age_days)
    )
    tellings = plan_notifications(_told(lake), events, silences, thresholds, now)
    words = MessageContext(
        ZoneInfo(settings.report.time_zone),
        lambda name, equipment: registry.find_sensor(name, equipment).name,
        alerts.report_url
        or (alerts.dagster_url and f"{alerts.dagster_url.rstrip('/')}/assets/anomaly_events"),
    )
    written = [
        (telling, build_event_notice(telling, _details(telling, known, registry), words))
        for telling in tellings
    ]
    arrived = _send(written, sinks, now, words.link)
    if arrived:
        fresh = [row for telling in arrived for row in telling.rows]
        lake.update(EVENT_NOTIFICATIONS, None, lambda existing: upsert_records(existing, fresh, now))
    return len(arrived), "\n".join(dict.fromkeys(mistakes))


def _send(
    written: Sequence[tuple[Notification, Notice]], sinks: Notifier, now: datetime, link: str | None
) -> list[Notification]:
    if len(written) > MAX_SINGLE_NOTICES:
        one = build_summary_notice([told for _, told in written], link)
        return [telling for telling, _ in written] if sinks.send([one], now) else []
    return [telling for telling, told in written if sinks.send([told], now)]


def upsert_records(existing: pa.Table, fresh: Sequence[NotificationRecord], now: datetime) -> pa.Table:
    """Return the rows of `event_notifications` after some were told; each replaces the one with its id."""
    rows = {row["event_id"]: row for row in existing.to_pylist()}
    rows |= {one.event_id: _row(one) for one in fresh}
    fields = [EVENT_NOTIFICATIONS.schema.field(name) for name in EVENT_NOTIFICATIONS.content_columns]
    table = pa.Table.from_pylist(
        [{field.name: row[field.name] for field in fields} for row in rows.values()], pa.schema(fields)
    )
    return stamp_changes(EVENT_NOTIFICATIONS, table, existing, now)


def _row(one: NotificationRecord) -> dict[str, Any]:
    return {_MEMBERS.get(name, name): value for name, value in vars(one).items()}


def _told(lake: Lake) -> list[NotificationRecord]:
    columns = {name: _MEMBERS.get(name, name) for name in NotificationRecord.__dataclass_fields__}
    return [
        NotificationRecord(**{name: row[column] for name, column in columns.items()})
        for row in lake.read(EVENT_NOTIFICATIONS).to_pylist()
    ]


def _event(
    row: dict[str, Any], registry: EquipmentRegistry, settings: Settings, mistakes: list[str]
) -> Event:
    arn, name = row["scheduler_arn"], row["scheduler_name"] or row["scheduler_arn"]
    fallback = EquipmentRegistry().find_equipment(arn, name)
    equipment = _or_else(lambda: registry.find_equipment(arn, name), fallback, mistakes)
    return Event(
        row["event_id"],
        arn,
        name,
        row["start_time"],
        row["end_time"],
        row["state"],
        equipment.name,
        equipment.is_at_least(settings.alerts.min_criticality),
    )


def _details(
    telling: Notification, known: dict[str, dict[str, Any]], registry: EquipmentRegistry
) -> EventDetails:
    lead = telling.rows[0]
    row = known.get(telling.event.event_id, {}) if telling.event else {}
    equipment = _or_else(
        lambda: registry.find_equipment(lead.scheduler_arn, lead.scheduler_name),
        EquipmentRegistry().find_equipment(lead.scheduler_arn, lead.scheduler_name),
        [],
    )
    return EventDetails(
        equipment.label,
        equipment.site,
        equipment.criticality,
        row.get("peak_score"),
        row.get("mean_score"),
        row.get("points"),
        row.get("top_sensors"),
    )


def _or_else(read: Callable[[], Any], otherwise: Any, mistakes: list[str]) -> Any:  # noqa: ANN401
    try:
        return read()
    except ConfigurationError as problem:
        mistakes.append(str(problem))
        return otherwise


def _mistaken(mistakes: str) -> Notice:
    return Notice(
        kind="alerts_mistaken",
        severity="warning",
        title="Silences or equipment are not as written: a file has mistakes",
        text=f"```text\n{mistakes}\n```\n\nAnomalies are told without them until they are mended.",
        cause="alerts:mistakes",
        facts={"message": mistakes},
    )
