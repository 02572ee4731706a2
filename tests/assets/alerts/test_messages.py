"""Notices about anomaly events claim only what was read."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import pytest

from assets.alerts.event_notifications import Notification, NotificationRecord
from assets.alerts.messages import EventDetails, MessageContext, build_event_notice

START = datetime(2026, 10, 6, 3, tzinfo=UTC)
END = START + timedelta(hours=2)


@pytest.mark.parametrize(
    ("change", "state", "title", "text"),
    [
        ("over", "closed", "anomaly over after 2 h", "The anomaly is over."),
        (
            "over",
            "cut",
            "no result read after 2 h of an anomaly; its end is not known",
            "No result was read for the time after it.",
        ),
        ("new", "closed", "anomaly of 2 h, over since 2026-10-06 05:00 UTC", "The anomaly is over."),
        (
            "new",
            "cut",
            "anomaly since 2026-10-06 03:00 UTC, no result read after 2 h; its end is not known",
            "No result was read for the time after it.",
        ),
    ],
)
def test_an_anomaly_is_over_only_if_later_results_were_read(
    change: Literal["new", "over"], state: str, title: str, text: str
) -> None:
    record = NotificationRecord("e1", "e1", "arn", "pump-1", START, END, state, START, END, None, END)
    kind: Literal["event_new", "event_over"] = "event_new" if change == "new" else "event_over"
    notification = Notification(kind, change, None, (record,))

    notice = build_event_notice(
        notification, EventDetails("pump-1"), MessageContext(ZoneInfo("UTC"), lambda name, _: name)
    )

    assert notice.title == f"pump-1: {title}"
    assert text in notice.text
