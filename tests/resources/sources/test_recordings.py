"""Recorded queries: a day is proven only if every page of its query is recorded, up to the last one."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from resources.sources.base import Exchange, ListedScheduler, SchedulerResponse
from resources.sources.recordings import read_recording, select_proven_days

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 3)
ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump/1"
PUMP = ListedScheduler(ARN, "pump", status="RUNNING", frequency="PT5M")
DAYS = frozenset(FIRST + timedelta(days=number) for number in range(3))
WINDOW = {
    "DataStartTimeAfter": datetime(2026, 9, 30, 22, tzinfo=UTC).timestamp(),
    "DataEndTimeBefore": datetime(2026, 10, 4, 2, tzinfo=UTC).timestamp(),
}


def build_exchange(
    operation: str, request: dict[str, Any], body: dict[str, Any], minute: int = 0
) -> Exchange:
    sent_at = NOW + timedelta(minutes=minute)
    return Exchange(
        "http://host/", operation, json.dumps(request).encode(), sent_at, json.dumps(body).encode()
    )


def build_listing(arn: str = ARN) -> Exchange:
    summary = {"InferenceSchedulerArn": arn, "InferenceSchedulerName": "pump", "Status": "RUNNING"}
    return build_exchange(
        "ListInferenceSchedulers",
        {},
        {"InferenceSchedulerSummaries": [summary | {"DataUploadFrequency": "PT5M"}]},
    )


def build_description(arn: str = ARN) -> Exchange:
    return build_exchange(
        "DescribeInferenceScheduler", {"InferenceSchedulerName": "pump"}, {"InferenceSchedulerArn": arn}
    )


def build_pages(counts: list[int], **more: Any) -> list[Exchange]:
    """Return the pages of one query, with so many executions each."""
    pages = []
    for number, count in enumerate(counts):
        request = {"InferenceSchedulerName": "pump", **WINDOW, "MaxResults": 500, **more}
        request |= {"NextToken": f"token-{number}"} if number else {}
        body: dict[str, Any] = {
            "InferenceExecutionSummaries": [{"n": [number, item]} for item in range(count)]
        }
        body |= {"NextToken": f"token-{number + 1}"} if number + 1 < len(counts) else {}
        pages.append(build_exchange("ListInferenceExecutions", request, body, number))
    return pages


def test_all_pages_prove_the_days_at_the_time_of_the_first_request() -> None:
    recording = read_recording([build_listing(), *build_pages([2, 2, 1])])
    assert recording.responses == (SchedulerResponse(PUMP, DAYS, NOW),)
    assert recording.days == DAYS
    assert len(recording.summaries) == 5


@how(deadline=None)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=5), st.data())
def test_only_the_complete_sequence_of_pages_is_a_proof(counts: list[int], data: st.DataObject) -> None:
    pages = build_pages(counts)
    numbers = data.draw(st.lists(st.integers(0, len(pages) - 1), max_size=6))
    recording = read_recording([build_listing(), *(pages[number] for number in numbers)])
    following = 0  # the law: the pages after the last first page follow each other to the end
    complete = False
    for number in numbers:
        following = 1 if number == 0 else following + 1 if number == following and following else following
        complete |= following == len(pages)
    assert bool(recording.responses) is complete
    assert len(recording.summaries) == sum(counts[number] for number in numbers)
    if not complete:
        assert recording.days is None or not numbers


@pytest.mark.parametrize(
    ("exchanges", "is_proven"),
    [
        ([build_listing(), *build_pages([0])], False),
        ([build_listing(), *build_pages([0]), build_description()], True),
        ([build_listing(), build_description(), *build_pages([0])], False),
        ([build_listing(), *build_pages([0]), build_description(f"{ARN}-of-another")], False),
        ([build_listing(), *build_pages([0, 0, 1])], True),
        (build_pages([1]), False),
        ([*build_pages([1]), build_listing()], False),
        ([build_listing(), *build_pages([1], Status="SUCCESS")], False),
        ([build_listing(), *build_pages([1], Another=1)], False),
    ],
    ids=[
        "empty",
        "empty and described after it",
        "empty and described before it",
        "empty and replaced by another scheduler",
        "empty pages before executions",
        "no list of schedulers",
        "list only after the query",
        "only some statuses",
        "an unknown filter",
    ],
)
def test_the_rules_of_live_queries_hold(exchanges: list[Exchange], is_proven: bool) -> None:
    assert bool(read_recording(exchanges).responses) is is_proven


def test_pages_of_two_queries_may_alternate() -> None:
    left, right = build_pages([1, 1]), build_pages([1, 1], MaxResults=100)
    recording = read_recording([build_listing(), left[0], right[0], right[1], left[1]])
    assert len(recording.responses) == 2
    assert recording.problems == []


def test_a_page_without_its_predecessor_is_named_and_its_executions_are_kept() -> None:
    recording = read_recording([build_listing(), build_pages([1, 1])[1]])
    assert recording.problems == ["page 2 does not follow a page of its query"]
    assert len(recording.summaries) == 1


def test_invalid_pages_are_named() -> None:
    damaged = replace(build_pages([1])[0], body=b'{"InferenceExecutionSummaries": ')
    assert "page 2 is not a response" in read_recording([build_listing(), damaged]).problems[0]


@how(deadline=None)
@given(st.integers(-3_000, 3_000), st.integers(-3_000, 3_000))
def test_a_query_proves_the_days_that_it_covers_with_its_padding(before: int, after: int) -> None:
    midnight = datetime(2026, 10, 4, tzinfo=UTC)
    start, end = midnight + timedelta(minutes=before), midnight + timedelta(minutes=after)
    days = select_proven_days(start.timestamp(), end.timestamp())
    for number in range(-4, 5):
        day = midnight + timedelta(days=number)
        is_covered = start <= day - timedelta(hours=2) and day + timedelta(hours=26) <= end
        assert (day.date() in days) is is_covered


@pytest.mark.parametrize("value", [None, "2026", float("nan"), 1e300, -1e300, 253402300799, True, [1]])
def test_an_invalid_time_proves_nothing(value: object) -> None:
    assert select_proven_days(value, value) == frozenset()
    assert len(select_proven_days(0, value)) <= 366 * 20


def test_an_invalid_entry_of_a_recorded_list_affects_no_other() -> None:
    listing = json.loads(build_listing().body)
    listing["InferenceSchedulerSummaries"].insert(0, {"InferenceSchedulerName": 3})
    recorded = build_exchange("ListInferenceSchedulers", {}, listing)
    assert read_recording([recorded, *build_pages([1])]).responses == (SchedulerResponse(PUMP, DAYS, NOW),)
