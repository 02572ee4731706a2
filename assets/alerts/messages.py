"""Builds the notices about anomaly events, short enough for the screen of a phone."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from assets.alerts.event_notifications import Notification, NotificationRecord
from assets.framework.durations import format_duration
from resources.markdown import escape_markdown
from resources.notifications.base import Notice, Severity

MAX_TOP_SENSORS = 3
MAX_SINGLE_NOTICES = 5
"""If one tick has more notifications, a single summary notice replaces them."""

MAX_SUMMARY_LINES = 20

_STATES = {
    "open": "The anomaly continues.",
    "closed": "The anomaly is over.",
    "cut": "No result was read for the time after it.",
}
_CHANGES = {
    "start_moved": "late data changed the start of an anomaly to {start}",
    "end_moved": "late data changed the end of the anomaly of {start}",
    "joined": "late data merged the anomaly of {start} with another one",
    "split": "late data split an anomaly, one part starts at {start}",
    "reopened": "the anomaly of {start} continues after all",
    "disappeared": "late data withdrew the anomaly of {start}",
    "reappeared": "the withdrawn anomaly of {start} is back",
}


@dataclass(frozen=True)
class MessageContext:
    """How to format notices.

    Attributes:
        time_zone: The zone of all times.
        get_sensor_name: Returns the readable name of a sensor, given its name and the equipment.
        link: Where to see more.
    """

    time_zone: ZoneInfo
    get_sensor_name: Callable[[str, str], str]
    link: str | None = None


@dataclass(frozen=True)
class EventDetails:
    """The equipment and the scores of an event; a score is None if the result format had none."""

    equipment: str
    site: str | None = None
    criticality: str | None = None
    peak_score: float | None = None
    mean_score: float | None = None
    points: int | None = None
    top_sensors: str | None = None


def build_event_notice(notification: Notification, details: EventDetails, context: MessageContext) -> Notice:
    """Build the notice of one notification."""
    record = notification.records[0]
    return Notice(
        kind=notification.kind,
        severity=_get_severity(notification, details),
        title=_format_title(notification, record, details.equipment, context),
        text="\n".join(_format_lines(notification, record, details, context)),
        cause=f"event:{record.event_id}",
        facts=_build_facts(notification, record, details),
        link=context.link,
    )


def build_summary_notice(notices: Sequence[Notice], link: str | None) -> Notice:
    """Combine many notices into one, the most severe first."""
    order: dict[str, int] = {"critical": 0, "warning": 1, "info": 2}
    ordered = sorted(notices, key=lambda notice: order[notice.severity])
    lines = [f"- {escape_markdown(notice.title)}" for notice in ordered[:MAX_SUMMARY_LINES]]
    if len(ordered) > MAX_SUMMARY_LINES:
        lines.append(f"- and {len(ordered) - MAX_SUMMARY_LINES} more")
    return Notice(
        kind="events",
        severity=ordered[0].severity,
        title=f"{len(ordered)} anomaly notifications: {ordered[0].title}, and more",
        text="\n".join(lines),
        cause="events:" + ",".join(sorted(notice.cause.removeprefix("event:") for notice in ordered)),
        facts={"events": [{"kind": notice.kind, **notice.facts} for notice in ordered]},
        link=link,
    )


def _get_severity(notification: Notification, details: EventDetails) -> Severity:
    if notification.kind == "event_over" or notification.change in ("disappeared", "end_moved"):
        return "info"
    return "critical" if details.criticality == "high" and notification.kind == "event_new" else "warning"


def _format_title(
    notification: Notification, record: NotificationRecord, equipment: str, context: MessageContext
) -> str:
    start, duration = _format_time(record.start, context), _format_duration(record)
    if notification.kind == "event_changed":
        return f"{equipment}: {_CHANGES[notification.change].format(start=start)}"
    if notification.kind == "event_over":
        if record.state == "closed":
            return f"{equipment}: anomaly over after {duration}"
        return f"{equipment}: no result read after {duration} of an anomaly; its end is not known"
    if record.state == "cut":
        return f"{equipment}: anomaly since {start}, no result read after {duration}; its end is not known"
    if record.end_notified_at is not None:
        return f"{equipment}: anomaly of {duration}, over since {_format_time(record.end, context)}"
    return f"{equipment}: anomaly since {start} ({duration} so far)"


def _format_lines(
    notification: Notification, record: NotificationRecord, details: EventDetails, context: MessageContext
) -> list[str]:
    site = f" at {escape_markdown(details.site)}" if details.site else ""
    criticality = f", criticality {details.criticality}" if details.criticality else ""
    scheduler = escape_markdown(record.scheduler_name)
    duration = _format_duration(record)
    lines = [
        f"- Equipment: {escape_markdown(details.equipment)}{site}{criticality} (scheduler {scheduler})",
        f"- Time: {_format_range(record, context)}, {duration}. {_STATES.get(record.state, '')}".rstrip(),
    ]
    previous = notification.previous
    if previous and (previous.start, previous.end) != (record.start, record.end):
        lines.append(f"- Previously notified: {_format_range(previous, context)}")
    if details.peak_score is not None:
        lines.append(f"- Peak score: {details.peak_score:.2f} of 1")
    sensors = [
        f"{escape_markdown(context.get_sensor_name(name, details.equipment))} {share:.0%}"
        for name, share in _parse_top_sensors(details)
    ]
    if sensors:
        lines.append(f"- Top sensors: {', '.join(sensors)}")
    if notification.change != "disappeared":
        lines.append(f'- To acknowledge, add `event = "{record.event_id}"` to the silences file.')
    return lines


def _build_facts(
    notification: Notification, record: NotificationRecord, details: EventDetails
) -> dict[str, Any]:
    return {
        "what": notification.change,
        "event_id": record.event_id,
        "current_event_id": record.current_event_id,
        "scheduler_arn": record.scheduler_arn,
        "scheduler_name": record.scheduler_name,
        "equipment": details.equipment,
        "site": details.site,
        "criticality": details.criticality,
        "start": record.start.isoformat(),
        "end": record.end.isoformat(),
        "duration_seconds": (record.end - record.start).total_seconds(),
        "state": record.state,
        "peak_score": details.peak_score,
        "mean_score": details.mean_score,
        "points": details.points,
        "top_sensors": [{"name": name, "contribution": share} for name, share in _parse_top_sensors(details)],
        "joined_event_ids": [joined.event_id for joined in notification.records[1:]],
    }


def _parse_top_sensors(details: EventDetails) -> list[tuple[str, float]]:
    """Return the sensors with the largest contributions, by the names that the service uses."""
    entries: Sequence[Mapping[str, Any]] = json.loads(details.top_sensors or "[]")
    sensors = [
        ("\\".join(filter(None, (entry.get("component"), entry["sensor"]))), float(entry["contribution"]))
        for entry in entries
    ]
    return sensors[:MAX_TOP_SENSORS]


def _format_duration(record: NotificationRecord) -> str:
    return format_duration((record.end - record.start) / timedelta(minutes=1))


def _format_range(record: NotificationRecord, context: MessageContext) -> str:
    return f"{_format_time(record.start, context)} to {_format_time(record.end, context)}"


def _format_time(moment: datetime, context: MessageContext) -> str:
    return f"{moment.astimezone(context.time_zone):%Y-%m-%d %H:%M %Z}"
