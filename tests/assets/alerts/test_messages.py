"""Notices about anomaly events claim only what was read."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from assets.alerts.event_notifications import Notification, NotificationRecord
from assets.alerts.messages import EventDetails, MessageContext, build_event_notice

START = datetime(2026, 10, 6, 3, tzinfo=UTC)
END = START + timedelta(hours=2)


@pytest.mark.parametrize(
    ("state", "title", "text"),
    [
        ("closed", "pump-1: anomaly over after 2 h 00 min", "The anomaly is over."),
        (
            "cut",
            "pump-1: no result read after 2 h 00 min of an anomaly; its end is not known",
            "No result was read for the time after it.",
        ),
    ],
)
def test_an_anomaly_is_over_only_if_later_results_were_read(state: str, title: str, text: str) -> None:
    record = NotificationRecord("e1", "e1", "arn", "pump-1", START, END, state, START, END, None, END)
    notification = Notification("event_over", "over", None, (record,))

    notice = build_event_notice(
        notification, EventDetails("pump-1"), MessageContext(ZoneInfo("UTC"), lambda name, _: name)
    )

    assert notice.title == title
    assert text in notice.text
