"""Notifies about anomaly events: a sensor that compares the event table with earlier notifications.

The table `event_notifications` in the lake records each notification after its delivery.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa

from assets.alerts.event_notifications import (
    Event,
    Notification,
    NotificationRecord,
    Thresholds,
    group_notifications,
    plan_notifications,
)
from assets.alerts.messages import (
    MAX_SINGLE_NOTICES,
    EventDetails,
    MessageContext,
    build_event_notice,
    build_summary_notice,
)
from assets.framework.asset_names import AssetNames
from assets.framework.metadata import build_metadata
from assets.framework.row_content import stamp_changes
from assets.report.assets import LATEST
from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS
from pipelines.automation.failure_alerts import TICK_SECONDS, open_notifier
from resources.clock import Clock
from resources.config.equipment import EquipmentRegistry, load_equipment
from resources.config.settings import Settings
from resources.config.silences import Silence, load_silences
from resources.errors import ConfigurationError, LedgerError
from resources.lake.lake import Lake
from resources.notifications.base import Notice
from resources.notifications.notifier import Notifier

_T = TypeVar("_T")

NAME = "notify_anomaly_events"
_COLUMNS = {"start": "start_time", "end": "end_time"}
"""Columns of `event_notifications` whose name differs from the field of `NotificationRecord`."""


def build_event_sensor(settings: Settings, names: AssetNames) -> dg.SensorDefinition:
    """Declare the sensor, on by default; its resources are `lake` and `clock`."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notify once when an anomaly event starts, ends or is changed by late data.",
    )
    def anomaly_events(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.SkipReason | dg.SensorResult:
        notified_errors, pending = _parse_cursor(context.cursor)
        notifier = open_notifier(settings.alerts, context.log.info, pending)
        try:
            count, file_errors = notify_events(lake, settings, notifier, clock())
        except LedgerError as error:  # the lake may be temporarily unavailable; the next tick tries again
            context.update_cursor(_format_cursor(notified_errors, pending))
            return dg.SkipReason(f"Cannot evaluate anomaly events: {error}")
        if file_errors != notified_errors and (
            not file_errors or notifier.send([_build_file_error_notice(file_errors)], clock())
        ):
            notified_errors = file_errors
        context.update_cursor(_format_cursor(notified_errors, pending))
        sent = dg.AssetMaterialization(
            names.build_key(EVENT_NOTIFICATIONS.name), metadata=build_metadata({"notifications": count})
        )
        return dg.SensorResult(
            skip_reason=f"{count} notifications sent.", asset_events=[sent] if count else []
        )

    return anomaly_events


def _parse_cursor(text: str | None) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """Return the notified errors of files, and the notices that some targets lack; invalid text is empty."""
    try:
        value = json.loads(text or "{}")
        return str(value.get("file_errors", "")), dict(value.get("pending", {}))
    except (ValueError, TypeError, AttributeError):
        return "", {}


def _format_cursor(file_errors: str, pending: Mapping[str, Any]) -> str:
    return json.dumps({"file_errors": file_errors, "pending": pending}, default=str)


def notify_events(lake: Lake, settings: Settings, notifier: Notifier, now: datetime) -> tuple[int, str]:
    """Send the due notifications. Return the number delivered, and the errors of the configuration files.

    Events are notified without silences or registry if their file has errors.

    Raises:
        LedgerError: The lake cannot be read or written.
    """
    now = now.replace(microsecond=0)  # the precision of the lake
    file_errors: list[str] = []
    silences: list[Silence] = _load_or_default(
        lambda: load_silences(settings.alerts.silences, settings.alerts.expected_bucket_owner),
        [],
        file_errors,
    )
    registry = _load_or_default(
        lambda: load_equipment(settings.equipment.registry, settings.equipment.expected_bucket_owner),
        EquipmentRegistry(),
        file_errors,
    )
    rows = lake.read(ANOMALY_EVENTS)
    if not lake.has(ANOMALY_EVENTS):  # events were not computed yet, so none has disappeared
        return 0, "\n".join(file_errors)
    event_rows = {row["event_id"]: row for row in rows.to_pylist()}
    events = [_build_event(row, registry, settings, file_errors) for row in event_rows.values()]
    alerts = settings.alerts
    thresholds = Thresholds(
        timedelta(minutes=alerts.min_duration_minutes), timedelta(days=alerts.max_age_days)
    )
    records = _read_records(lake)
    notifications = plan_notifications(records, events, silences, thresholds, now)
    groups = group_notifications(notifications, records, now, max_singles=MAX_SINGLE_NOTICES)
    message_context = MessageContext(
        ZoneInfo(settings.report.time_zone),
        lambda name, equipment: registry.find_sensor(name, equipment).name,
        _get_link(settings),
    )

    def build_notice(group: Sequence[Notification]) -> Notice:
        notices = [
            build_event_notice(item, _get_details(item, event_rows, registry), message_context)
            for item in group
        ]
        return notices[0] if len(notices) == 1 else build_summary_notice(notices, message_context.link)

    delivered = [item for group in groups if notifier.send([build_notice(group)], now) for item in group]
    if delivered:
        updated = [record for notification in delivered for record in notification.records]
        lake.update(EVENT_NOTIFICATIONS, None, lambda existing: upsert_records(existing, updated, now))
    return len(delivered), "\n".join(dict.fromkeys(file_errors))


def _get_link(settings: Settings) -> str | None:
    alerts = settings.alerts
    if alerts.report_url:
        return (
            alerts.report_url
            if alerts.report_url.endswith(".html")
            else f"{alerts.report_url.rstrip('/')}/{LATEST}"
        )
    path = "/".join([*settings.dagster.key_prefix, ANOMALY_EVENTS.name])
    return alerts.dagster_url and f"{alerts.dagster_url.rstrip('/')}/assets/{path}"


def upsert_records(existing: pa.Table, records: Sequence[NotificationRecord], now: datetime) -> pa.Table:
    """Return the rows of `event_notifications` with these records inserted or replaced by ID."""
    rows = {row["event_id"]: row for row in existing.to_pylist()}
    rows |= {record.event_id: _to_row(record) for record in records}
    fields = [EVENT_NOTIFICATIONS.schema.field(name) for name in EVENT_NOTIFICATIONS.content_columns]
    table = pa.Table.from_pylist(
        [{field.name: row[field.name] for field in fields} for row in rows.values()], pa.schema(fields)
    )
    return stamp_changes(EVENT_NOTIFICATIONS, table, existing, now)


def _to_row(record: NotificationRecord) -> dict[str, Any]:
    return {_COLUMNS.get(name, name): value for name, value in vars(record).items()}


def _read_records(lake: Lake) -> list[NotificationRecord]:
    columns = {name: _COLUMNS.get(name, name) for name in NotificationRecord.__dataclass_fields__}
    return [
        NotificationRecord(**{name: row[column] for name, column in columns.items()})
        for row in lake.read(EVENT_NOTIFICATIONS).to_pylist()
    ]


def _build_event(
    row: Mapping[str, Any], registry: EquipmentRegistry, settings: Settings, file_errors: list[str]
) -> Event:
    arn, name = row["scheduler_arn"], row["scheduler_name"] or row["scheduler_arn"]
    unregistered = EquipmentRegistry().find_equipment(arn, name)
    equipment = _load_or_default(lambda: registry.find_equipment(arn, name), unregistered, file_errors)
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


def _get_details(
    notification: Notification, event_rows: Mapping[str, Mapping[str, Any]], registry: EquipmentRegistry
) -> EventDetails:
    record = notification.records[0]
    row = event_rows.get(notification.event.event_id, {}) if notification.event else {}
    equipment = _load_or_default(
        lambda: registry.find_equipment(record.scheduler_arn, record.scheduler_name),
        EquipmentRegistry().find_equipment(record.scheduler_arn, record.scheduler_name),
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


def _load_or_default(load: Callable[[], _T], default: _T, file_errors: list[str]) -> _T:
    try:
        return load()
    except ConfigurationError as error:
        file_errors.append(str(error))
        return default


def _build_file_error_notice(file_errors: str) -> Notice:
    return Notice(
        kind="alert_files_invalid",
        severity="warning",
        title="The silences or the equipment registry have errors",
        text=f"```text\n{file_errors}\n```\n\nUntil you fix them, anomalies are notified without this file.",
        cause="alert_files:invalid",
        facts={"message": file_errors},
    )
