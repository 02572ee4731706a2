"""Which failures have the same cause, and when they are notified again."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from assets.alerts.deduplication import (
    OpenIncident,
    find_notification_reason,
    mark_notified,
    normalize_message,
)

NOW = datetime(2026, 10, 6, 3, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("no answer after 31 s", "no answer after 7.5 s"),
        ("day 2026-10-06 is broken", "day 2026-10-07 is broken"),
        ("at 2026-10-06T03:00:00Z", "at 2026-10-06 04:00:00.123+00:00"),
        ("run 6f1c2f0e-3a8f-4c1d-9d52-a3f60a5b8f11", "run 0a1b2c3d-3a8f-4c1d-9d52-a3f60a5b8f11"),
        ("refused (Request ID: ABC123)", "refused (Request ID: XYZ789)"),
        ("GET https://a.example.com/1?x=2 failed", "GET https://a.example.com/7 failed"),
        ("object at 0x7f0336190790", "object at 0x7f0336190abc"),
        ("two\n  lines", "two lines"),
    ],
)
def test_messages_that_differ_in_times_ids_and_numbers_are_equal(first: str, second: str) -> None:
    assert normalize_message(first) == normalize_message(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("pump-1 is denied", "pump-2 is denied"),
        ("access denied", "no such file"),
        ("arn:aws:x:eu-west-1:a/pump-1", "arn:aws:x:us-east-1:a/pump-1"),
    ],
)
def test_messages_that_differ_in_names_and_words_are_not_equal(first: str, second: str) -> None:
    assert normalize_message(first) != normalize_message(second)


def test_incident_is_notified_when_new_when_it_has_new_problems_and_after_repeat_after() -> None:
    first = mark_notified(None, "t", ["a"], NOW)

    assert find_notification_reason(None, ["a"], NOW, DAY) == "new"
    assert find_notification_reason(first, ["a"], NOW + DAY / 2, DAY) is None
    assert find_notification_reason(first, [], NOW + DAY / 2, DAY) is None
    assert find_notification_reason(first, ["a", "b"], NOW + DAY / 2, DAY) == "more"
    assert find_notification_reason(first, ["a"], NOW + DAY, DAY) == "again"


def test_incident_survives_a_round_trip_through_json() -> None:
    first = mark_notified(mark_notified(None, "t", ["b", "a"], NOW), "t", ["a"], NOW + DAY)

    assert OpenIncident.from_json(json.loads(json.dumps(first.to_json()))) == first
    assert (first.since, first.last_notified_at, first.times) == (NOW, NOW + DAY, 2)
