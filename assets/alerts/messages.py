"""The words of a notice about an anomaly event: what one wants to read at three in the morning."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from assets.alerts.event_notifications import Notification, NotificationRecord
from resources.notifications import Notice, Severity, escape_markdown

MAX_TOP_SENSORS = 3
MAX_SINGLE_NOTICES = 5
"""More tellings of one tick than this are told in one notice."""

_IS_NOW = {"open": "It goes on.", "closed": "It is over.", "cut": "Data are missing after it."}
_WHAT = {
    "moved": "its start is another one now",
    "joined": "late data joined it with another one",
    "split": "late data split it off from one that was told",
    "goes on": "it goes on after all",
    "ended anew": "its end is another one now",
    "back": "it is there again",
    "gone": "late data took it back: there is no anomaly",
}


@dataclass(frozen=True)
class MessageContext:
    """How times, sensors and links are written.

    `sensor` gives the readable name of a sensor of a machine; `link` leads to where more is seen.
    """

    zone: ZoneInfo
    sensor: Callable[[str, str], str]
    link: str | None = None


@dataclass(frozen=True)
class EventDetails:
    """What is known of an event beside its times; a score is None where the format had none."""

    equipment: str
    site: str | None = None
    criticality: str | None = None
    peak_score: float | None = None
    mean_score: float | None = None
    points: int | None = None
    top_sensors: str | None = None


def build_event_notice(telling: Notification, details: EventDetails, words: MessageContext) -> Notice:
    """Write one telling."""
    row = telling.rows[0]
    name = details.equipment
    return Notice(
        kind=telling.kind,
        severity=_severity(telling, details),
        title=_title(telling, row, name, words),
        text="\n".join(_lines(telling, row, details, words)),
        cause=f"event:{row.event_id}",
        facts=_facts(telling, row, details),
        link=words.link,
    )


def build_summary_notice(notices: Sequence[Notice], link: str | None) -> Notice:
    """Write many tellings as one notice, the most severe first."""
    order: dict[str, int] = {"critical": 0, "warning": 1, "info": 2}
    ordered = sorted(notices, key=lambda one: order[one.severity])
    return Notice(
        kind="events",
        severity=ordered[0].severity,
        title=f"{len(ordered)} anomaly events: {ordered[0].title}, and more",
        text="\n".join(f"- {escape_markdown(one.title)}" for one in ordered),
        cause="events:" + ",".join(sorted(one.cause.removeprefix("event:") for one in ordered)),
        facts={"events": [{"kind": one.kind, **one.facts} for one in ordered]},
        link=link,
    )


def format_duration(span: timedelta) -> str:
    """Write a duration as people say it: 45 min, 2 h 05 min, 3 d 4 h."""
    minutes = round(span.total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:  # noqa: PLR2004 (two days)
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _severity(telling: Notification, details: EventDetails) -> Severity:
    if telling.kind == "event_over" or telling.what in ("gone", "ended anew"):
        return "info"
    return "critical" if details.criticality == "high" and telling.kind == "event_new" else "warning"


def _title(telling: Notification, row: NotificationRecord, name: str, words: MessageContext) -> str:
    if telling.kind == "event_changed":
        return f"{name}: anomaly of {_time(row.start, words)}: {_WHAT[telling.what]}"
    length = format_duration(row.end - row.start)
    if telling.kind == "event_over":
        how = "over" if row.state == "closed" else "no more data"
        return f"{name}: anomaly {how} after {length}"
    if row.end_notified_at is not None:
        return f"{name}: anomaly of {length}, over since {_time(row.end, words)}"
    return f"{name}: anomaly since {_time(row.start, words)} ({length} so far)"


def _lines(
    telling: Notification, row: NotificationRecord, details: EventDetails, words: MessageContext
) -> list[str]:
    where = f" at {escape_markdown(details.site)}" if details.site else ""
    rank = f", criticality {details.criticality}" if details.criticality else ""
    span = f"{_time(row.start, words)} to {_time(row.end, words)}, {format_duration(row.end - row.start)}"
    scheduler = escape_markdown(row.scheduler_name)
    lines = [
        f"- Machine: {escape_markdown(details.equipment)}{where}{rank} (scheduler {scheduler})",
        f"- From {span}. {_IS_NOW.get(row.state, '')}".rstrip(),
    ]
    before = telling.before
    if before and (before.start, before.end) != (row.start, row.end):
        lines.append(f"- Told before: {_time(before.start, words)} to {_time(before.end, words)}")
    if details.peak_score is not None:
        lines.append(f"- Peak score {details.peak_score:.2f} of 1")
    tops = [
        f"{escape_markdown(words.sensor(name, details.equipment))} {share:.0%}"
        for name, share in _top(details)
    ]
    if tops:
        lines.append(f"- Top sensors: {', '.join(tops)}")
    if telling.what != "gone":
        lines.append(f'- Acknowledge: `event = "{row.event_id}"` in the file of silences')
    return lines


def _facts(telling: Notification, row: NotificationRecord, details: EventDetails) -> dict[str, Any]:
    return {
        "what": telling.what,
        "event_id": row.event_id,
        "current_event_id": row.current_event_id,
        "scheduler_arn": row.scheduler_arn,
        "scheduler_name": row.scheduler_name,
        "equipment": details.equipment,
        "site": details.site,
        "criticality": details.criticality,
        "start": row.start.isoformat(),
        "end": row.end.isoformat(),
        "duration_seconds": (row.end - row.start).total_seconds(),
        "state": row.state,
        "peak_score": details.peak_score,
        "mean_score": details.mean_score,
        "points": details.points,
        "top_sensors": [{"name": name, "contribution": share} for name, share in _top(details)],
        "joined_event_ids": [other.event_id for other in telling.rows[1:]],
    }


def _top(details: EventDetails) -> list[tuple[str, float]]:
    """Return the sensors that contributed most, as the service names them, with their shares."""
    entries: Sequence[Mapping[str, Any]] = json.loads(details.top_sensors or "[]")
    named = [
        ("\\".join(filter(None, (entry.get("component"), entry["sensor"]))), float(entry["contribution"]))
        for entry in entries
    ]
    return named[:MAX_TOP_SENSORS]


def _time(moment: datetime, words: MessageContext) -> str:
    return f"{moment.astimezone(words.zone):%Y-%m-%d %H:%M %Z}"
