"""Comparing rows with templates gives the rows that decoding each of them gives."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions import flatten
from assets.executions.flatten import decode_files, decode_summaries, flatten_pages
from resources.encoded_texts import decode_texts
from resources.errors import DataError
from resources.sources.base import Page
from sandbox.forms import format_wire
from tests.support.mutations import damaged

START = datetime(2026, 3, 1, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump/0a1b"


@contextmanager
def templates_from(size_bytes: float) -> Iterator[None]:
    before = flatten._TEMPLATE_BYTES
    flatten._TEMPLATE_BYTES = size_bytes  # type: ignore[assignment]
    try:
        yield
    finally:
        flatten._TEMPLATE_BYTES = before


def summary(number: int, **members: Any) -> dict[str, Any]:
    start = START + timedelta(minutes=5 * number)
    return {
        "InferenceSchedulerName": "pump",
        "InferenceSchedulerArn": ARN,
        "ScheduledStartTime": start + timedelta(minutes=5, milliseconds=number % 3),
        "DataStartTime": start,
        "DataEndTime": start + timedelta(minutes=5),
        "DataInputConfiguration": {"S3InputConfiguration": {"Bucket": "b", "Prefix": "in/"}},
        "CustomerResultObject": {"Bucket": "b", "Key": f"out/{start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"},
        "Status": "SUCCESS",
        **members,
    }


VARIANTS: list[dict[str, Any]] = [
    {},
    {},
    {"Status": "FAILED", "FailedReason": "no data in the input folder", "CustomerResultObject": {}},
    {"Status": "FAILED", "FailedReason": 'a "quoted" \\ reason, ü'},
    {"Status": "IN_PROGRESS"},
    {"InferenceSchedulerArn": ARN + "2", "InferenceSchedulerName": "ü"},
    {"ModelVersion": 7},
    {"FailedReason": None},
    {"DataEndTime": "2026-03-01 00:00:00"},
    {"DataStartTime": None},
    {"DataStartTime": 1772323200.5},
    {"Key": "x"},
    {"FailedReason": ["DataStartTime", '"DataStartTime": "2026-01-01T00:00:00Z"']},
]

FORMS: dict[str, Callable[[Any], str]] = {
    "compact": lambda value: json.dumps(value, default=datetime.isoformat, separators=(",", ":")),
    "spaced": lambda value: json.dumps(value, default=datetime.isoformat),
    "indented": lambda value: json.dumps(value, default=datetime.isoformat, indent=4),
    "seconds": lambda value: json.dumps(value, default=datetime.timestamp),
    "of the service": format_wire,
}


def build_page(rows: list[dict[str, Any]], form: str, container: str) -> Page:
    write = FORMS[form]
    if container == "lines":
        return Page("".join(f"{write(row)}\n" for row in rows).encode(), "archive", "x", START, is_lines=True)
    value = {
        "list": rows,
        "response": {"InferenceExecutionSummaries": rows},
        "token first": {"NextToken": "[]", "InferenceExecutionSummaries": rows},
        "token last": {"InferenceExecutionSummaries": rows, "NextToken": "]}{"},
    }[container]
    return Page(write(value).encode(), "api", "x", START)


def flatten_one(page: Page) -> tuple[list[Any], list[Any]] | str:
    try:
        parts = [*flatten_pages([page])]
    except DataError as error:
        return str(error)
    rows = decode_texts(pa.concat_tables(part.rows for part in parts)).to_pylist()
    return rows, [row for part in parts for row in part.rejected.to_pylist()]


def list_rows(pages: list[Page]) -> list[Any]:
    return decode_texts(pa.concat_tables(part.rows for part in flatten_pages(pages))).to_pylist()


def flatten_both_ways(page: Page) -> tuple[object, object]:
    """Return the rows and whether the page can be decoded as a whole, with and without templates."""

    def flatten_page() -> object:
        return flatten_one(page), decode_summaries(page.body, is_lines=page.is_lines) is None

    with templates_from(0):
        compared = flatten_page()
    with templates_from(float("inf")):
        return compared, flatten_page()


@pytest.mark.parametrize(
    ("form", "container"),
    [
        (form, container)
        for form in FORMS
        for container in ("lines", "list", "response", "token first", "token last")
        if (form, container) != ("indented", "lines")
    ],
)
def test_regular_rows_are_compared_and_not_decoded(form: str, container: str) -> None:
    page = build_page([summary(number) for number in range(200)], form, container)
    with templates_from(0):
        decoded = decode_summaries(page.body, is_lines=page.is_lines)
    assert decoded is not None
    assert decoded.rows is not None
    assert len(decoded) == 200
    assert len(decoded.rows.summaries) == 1
    assert decoded.next_token == {"token first": "[]", "token last": "]}{"}.get(container)
    compared, expected = flatten_both_ways(page)
    assert compared == expected


@settings(deadline=None, max_examples=60)
@given(
    variants=st.lists(
        st.tuples(st.sampled_from(VARIANTS), st.sampled_from([1, 1, 2, 20, 60])), min_size=1, max_size=5
    ),
    form=st.sampled_from(list(FORMS)),
    container=st.sampled_from(["lines", "list", "response", "token first", "token last"]),
)
def test_rows_of_any_kind_are_equal_to_decoded_rows(
    variants: list[tuple[dict[str, Any], int]], form: str, container: str
) -> None:
    members = [members for members, count in variants for _ in range(count)]
    rows = [summary(number, **changed) for number, changed in enumerate(members)]
    compared, expected = flatten_both_ways(build_page(rows, form, container))
    assert compared == expected


PAGES = [
    build_page([summary(number) for number in range(40)], form, container).body
    for form in ("compact", "indented", "of the service")
    for container in ("list", "token last")
]
LINES = build_page([summary(number, **VARIANTS[number % 3]) for number in range(40)], "spaced", "lines").body


@settings(deadline=None, max_examples=80)
@given(damaged(st.sampled_from([*PAGES, LINES])), st.booleans())
def test_damaged_pages_give_what_decoding_gives(body: bytes, is_lines: bool) -> None:
    compared, expected = flatten_both_ways(Page(body, "api", "x", START, is_lines=is_lines))
    assert compared == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'T00:50:00+00:00"', b'T00:50:00+00:00","Status":"A"', id="a quote ends the value"),
        pytest.param(b"T00:50:00", b"T00:50\\u003a00", id="escape"),
        pytest.param(b"T00:50:00", b"T00:5\n:00", id="control character"),
        pytest.param(b"T00:50:00", b"T00:5\xff:00", id="not UTF-8"),
        pytest.param(b"out/2026-03-01T00:50", b"out/2026-03\xc3\xbc1T00:50", id="not ASCII"),
        pytest.param(b"1772326200.0", b"1772326,00.0", id="comma in a number"),
        pytest.param(b"1772326200.0", b"0772326200.0", id="zero before a number"),
        pytest.param(b"1772326200.0", b"1772326200..", id="no number"),
        pytest.param(b"1772326200.0", b"177232620e99", id="number out of range"),
    ],
)
@pytest.mark.parametrize("form", ["compact", "seconds"])
def test_values_that_are_no_plain_text_or_number_are_decoded(old: bytes, new: bytes, form: str) -> None:
    page = build_page([summary(number) for number in range(100)], form, "list")
    changed = Page(page.body.replace(old, new), "api", "x", START)
    compared, expected = flatten_both_ways(changed)
    assert compared == expected


def test_many_kinds_of_rows_are_decoded() -> None:
    page = build_page([summary(number, ModelVersion=number) for number in range(100)], "compact", "list")
    with templates_from(0):
        decoded = decode_summaries(page.body)
    assert decoded is not None
    assert decoded.rows is None
    assert len(decoded) == 100


def test_regular_small_files_are_compared_with_each_other() -> None:
    pages = [
        build_page([summary(12 * hour + number) for number in range(12)], "compact", "response")
        for hour in range(24)
    ]
    pages[5] = build_page([summary(60), summary(61, Unknown=1)], "compact", "response")
    decoded = decode_files([page.body for page in pages])

    shared = {id(found.rows) for found in decoded if found}
    assert [position for position, found in enumerate(decoded) if found is None] == [5]
    assert [len(found) for found in decoded if found] == [12] * 23
    assert len(shared) == 2, "the files before and after the other one"
    used = [replace(page, decoded=found) for page, found in zip(pages, decoded, strict=True)]
    groups = [*flatten_pages(used)]
    assert [group.rows.num_rows for group in groups] == [60, 2, 216]
    assert decode_texts(pa.concat_tables(group.rows for group in groups)).to_pylist() == list_rows(pages)


@settings(deadline=None, max_examples=30)
@given(
    files=st.lists(
        st.tuples(
            st.lists(st.sampled_from(VARIANTS), min_size=1, max_size=7),
            st.sampled_from(["compact", "compact", "compact", "indented", "of the service", "seconds"]),
            st.sampled_from(["response", "response", "list", "token first", "token last"]),
            st.none() | st.integers(0, 2**32 - 1),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_small_files_of_any_kind_give_what_decoding_each_of_them_gives(
    files: list[tuple[list[dict[str, Any]], str, str, int | None]],
) -> None:
    pages = []
    for members, form, container, damage in files:
        rows = [summary(number, **changed) for number, changed in enumerate(members)]
        page = build_page(rows, form, container)
        if damage is not None:  # one byte is another one
            body = bytearray(page.body)
            body[damage % len(body)] = damage >> 24
            page = replace(page, body=bytes(body))
        pages.append(page)
    with templates_from(float("inf")):
        expected = [flatten_one(page) for page in pages]
        alone = [decode_summaries(page.body) for page in pages]
        decoded = decode_files([page.body for page in pages])
        pages = [replace(page, decoded=found) for page, found in zip(pages, decoded, strict=True)]

        assert [flatten_one(page) for page in pages] == expected
        assert all(found for page, found in zip(pages, alone, strict=True) if page.decoded)
        valid = [page for page, rows in zip(pages, expected, strict=True) if not isinstance(rows, str)]
        together = list_rows(valid) if valid else []
    assert together == [row for rows in expected if not isinstance(rows, str) for row in rows[0]]
