"""Bucket rows and other rows are one execution if they have one result, in any order of arrival."""

import itertools
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.bucket_identity import (
    KnownScheduler,
    SharedResults,
    find_known_schedulers,
    merge_with_bucket_rows,
)
from assets.executions.flatten import flatten_pages
from assets.tables import INFERENCE_EXECUTIONS
from resources.scheduler_arns import build_placeholder_arn
from resources.sources.base import Page

NOW = datetime(2026, 2, 10, tzinfo=UTC)
START = datetime(2026, 2, 3, 10, tzinfo=UTC)
BUCKET, PREFIX = "plant", "pump/output/"
PLACEHOLDER = build_placeholder_arn(BUCKET, PREFIX)
ARNS = [f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{name}/1" for name in "ab"]
Rows = Sequence[tuple[str, dict[str, Any]]]
"""The kind of source and the summary of each row."""


def build_summary(arn: str, number: int, status: str | None, prefix: str | None = PREFIX) -> dict[str, Any]:
    start = START + number * timedelta(minutes=5)
    summary: dict[str, Any] = {
        "InferenceSchedulerArn": arn,
        "InferenceSchedulerName": arn.split("/")[-2],
        "DataStartTime": start.isoformat(),
        "DataEndTime": (start + timedelta(minutes=5)).isoformat(),
        "ScheduledStartTime": (start + timedelta(minutes=6)).isoformat(),
        "ModelName": "model",
    }
    if prefix is not None:
        summary["DataOutputConfiguration"] = {"S3OutputConfiguration": {"Bucket": BUCKET, "Prefix": prefix}}
    if status:
        summary["Status"] = status
    if status == "SUCCESS":
        summary["CustomerResultObject"] = {
            "Bucket": BUCKET,
            "Key": f"{prefix}{start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl",
        }
    if status == "FAILED":
        summary["FailedReason"] = "no data"
    return summary


def build_bucket_summary(number: int, prefix: str = PREFIX) -> dict[str, Any]:
    start = START + number * timedelta(minutes=5)
    return {
        "InferenceSchedulerArn": build_placeholder_arn(BUCKET, prefix),
        "InferenceSchedulerName": prefix.rstrip("/"),
        "DataStartTime": start.isoformat(),
        "DataOutputConfiguration": {"S3OutputConfiguration": {"Bucket": BUCKET, "Prefix": prefix}},
        "CustomerResultObject": {
            "Bucket": BUCKET,
            "Key": f"{prefix}{start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl",
        },
        "Status": "SUCCESS",
    }


def merge(
    batches: Sequence[Rows],
    known: dict[str, KnownScheduler] | None = None,
    report_shared: Callable[[SharedResults], None] | None = None,
) -> pa.Table:
    """Merge the batches one after the other into an empty day."""
    table = INFERENCE_EXECUTIONS.schema.empty_table()
    for batch in batches:
        pages = (Page(json.dumps([summary]).encode(), kind, "x", NOW) for kind, summary in batch)
        rows = pa.concat_tables([page.rows for page in flatten_pages(pages)])
        table = merge_with_bucket_rows(table, rows, lambda: known or {}, NOW, report_shared)
    return table


def merge_all_orders(rows: Rows, known: dict[str, KnownScheduler] | None = None) -> list[dict[str, Any]]:
    """Merge the rows one by one in all orders; all of them must give the same table, which is returned."""
    tables = [merge([[row] for row in order], known) for order in itertools.permutations(rows)]
    tables.append(merge([rows], known))
    tables.append(merge([rows, rows], known))
    assert all(table.equals(tables[0]) for table in tables)
    return tables[0].to_pylist()


@pytest.mark.parametrize("kind", ["api", "archive"])
def test_a_bucket_row_and_a_row_with_its_result_are_one_execution(kind: str) -> None:
    (row,) = merge_all_orders(
        [("bucket", build_bucket_summary(0)), (kind, build_summary(ARNS[0], 0, "SUCCESS"))]
    )
    assert (row["scheduler_arn"], row["model_name"]) == (ARNS[0], "model")
    assert (row["source"], row["outcome_source"]) == (kind, kind)


def test_a_result_finalizes_an_execution_that_was_in_progress() -> None:
    """A saved response can be older than the result."""
    rows = [("bucket", build_bucket_summary(0)), ("archive", build_summary(ARNS[0], 0, "IN_PROGRESS"))]
    (row,) = merge_all_orders(rows)
    assert (row["scheduler_arn"], row["status"]) == (ARNS[0], "SUCCESS")
    assert (row["source"], row["outcome_source"]) == ("archive", "bucket")
    assert row["result_s3_key"] == "pump/output/2026-02-03T10:00:00Z/results.jsonl"


def test_the_service_says_whether_an_execution_failed() -> None:
    (row,) = merge_all_orders(
        [("bucket", build_bucket_summary(0)), ("api", build_summary(ARNS[0], 0, "FAILED"))]
    )
    assert (row["status"], row["failed_reason"], row["outcome_source"]) == ("FAILED", "no data", "api")


@pytest.mark.parametrize("other", ["IN_PROGRESS", "SUCCESS", "FAILED"])
def test_a_result_that_two_executions_claim_finalizes_neither(other: str) -> None:
    rows = [
        ("bucket", build_bucket_summary(0)),
        ("archive", build_summary(ARNS[0], 0, "IN_PROGRESS")),
        ("archive", build_summary(ARNS[1], 0, other)),
    ]
    first, second = merge_all_orders(rows)
    assert (first["scheduler_arn"], first["status"], first["result_s3_key"]) == (ARNS[0], "IN_PROGRESS", None)
    assert (second["scheduler_arn"], second["status"]) == (ARNS[1], other)
    assert {first["outcome_source"], second["outcome_source"]} == {"archive"}


def test_a_shared_result_is_marked_in_any_order() -> None:
    """The last merge sees the bucket row: it is a candidate, or it is recorded."""
    rows = [
        ("bucket", build_bucket_summary(0)),
        ("archive", build_summary(ARNS[0], 0, "IN_PROGRESS")),
        ("archive", build_summary(ARNS[1], 0, "IN_PROGRESS")),
    ]
    for order in itertools.permutations(rows):
        shared: list[SharedResults] = []
        merge([[row] for row in order], report_shared=shared.append)
        marked = [row for found in shared for row in found.rejected.to_pylist()]
        uri = "s3://plant/pump/output/2026-02-03T10:00:00Z/results.jsonl"
        assert [(row["source"], row["position"]) for row in marked] == [(uri, 0)]
        assert marked[0]["reason"].endswith(f"none of them: {ARNS[0]}, {ARNS[1]}")
        assert shared[-1].examined == {uri}


def test_a_result_of_one_execution_is_not_marked() -> None:
    shared: list[SharedResults] = []
    rows = [("bucket", build_bucket_summary(0)), ("archive", build_summary(ARNS[0], 0, "IN_PROGRESS"))]
    merge([rows], report_shared=shared.append)
    assert not shared[-1].rejected.num_rows


def test_a_row_that_no_other_claims_keeps_its_placeholder() -> None:
    rows = [("bucket", build_bucket_summary(1)), ("api", build_summary(ARNS[0], 0, "SUCCESS"))]
    assert [row["scheduler_arn"] for row in merge_all_orders(rows)] == [PLACEHOLDER, ARNS[0]]


def test_a_row_that_no_other_claims_gets_the_scheduler_of_its_prefix() -> None:
    rows = [("bucket", build_bucket_summary(1)), ("api", build_summary(ARNS[0], 0, "SUCCESS"))]
    known = {PLACEHOLDER: KnownScheduler(ARNS[0], "a")}
    first, second = merge_all_orders(rows, known)
    assert (first["scheduler_arn"], first["source"]) == (ARNS[0], "api")
    assert (second["scheduler_arn"], second["scheduler_name"], second["source"]) == (ARNS[0], "a", "bucket")
    assert (second["account_id"], second["region"]) == ("123456789012", "eu-west-1")


def test_a_failed_execution_without_a_known_folder_is_found_by_its_scheduler() -> None:
    rows = [
        ("bucket", build_bucket_summary(0)),
        ("archive", build_summary(ARNS[0], 0, "IN_PROGRESS", prefix=None)),
    ]
    (row,) = merge_all_orders(rows, {PLACEHOLDER: KnownScheduler(ARNS[0], "a")})
    assert (row["scheduler_arn"], row["status"], row["outcome_source"]) == (ARNS[0], "SUCCESS", "bucket")


def test_a_row_keeps_its_placeholder_if_its_scheduler_has_another_result_at_that_time() -> None:
    rows = [
        ("bucket", build_bucket_summary(0)),
        ("api", build_summary(ARNS[0], 0, "SUCCESS", prefix="b/")),
        ("bucket", build_bucket_summary(0, "b/")),
    ]
    merged = merge_all_orders(rows, {PLACEHOLDER: KnownScheduler(ARNS[0], "a")})
    assert [row["scheduler_arn"] for row in merged] == [PLACEHOLDER, ARNS[0]]


def test_an_assignment_is_undone_when_the_prefix_gets_a_second_scheduler() -> None:
    batch = [("bucket", build_bucket_summary(1))]
    assigned = merge([batch], {PLACEHOLDER: KnownScheduler(ARNS[0], "a")})
    again = merge_with_bucket_rows(assigned, assigned.slice(0, 0), dict, NOW)
    assert assigned["scheduler_arn"].to_pylist() == [ARNS[0]]
    assert again.equals(merge([batch]))


def test_a_scheduler_of_a_prefix_is_known_if_it_is_the_only_one() -> None:
    def describe(arn: str, prefix: str) -> pa.Table:
        columns = {"scheduler_arn": [arn], "scheduler_name": ["x"], "output_s3_bucket": [BUCKET]}
        return pa.table(columns | {"output_s3_prefix": [prefix]})

    tables = [describe(ARNS[0], "one/"), describe(ARNS[0], "both/"), describe(ARNS[1], "both/")]
    assert find_known_schedulers([*tables, describe(PLACEHOLDER, PREFIX)]) == {
        build_placeholder_arn(BUCKET, "one/"): KnownScheduler(ARNS[0], "x")
    }


def test_the_settings_count_before_the_rows() -> None:
    from_settings = {PLACEHOLDER: KnownScheduler(ARNS[1], None)}
    columns = {"scheduler_arn": [ARNS[0]], "scheduler_name": ["x"], "output_s3_bucket": [BUCKET]}
    rows = pa.table(columns | {"output_s3_prefix": [PREFIX]})
    assert find_known_schedulers([rows], from_settings) == from_settings


def build_rows(prefixes: dict[tuple[str, int], str]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """Return rows whose executions have one output prefix each, by ARN and number."""
    executions = st.builds(
        lambda key, status: build_summary(*key, status, prefixes[key]),
        st.sampled_from(sorted(prefixes)),
        st.sampled_from(["IN_PROGRESS", "SUCCESS", "FAILED"]),
    )
    results = st.builds(build_bucket_summary, st.integers(0, 1), st.sampled_from([PREFIX, "b/"]))
    return st.one_of(
        st.tuples(st.just("bucket"), results), st.tuples(st.sampled_from(["api", "archive"]), executions)
    )


PREFIXES = st.fixed_dictionaries(
    {(arn, number): st.sampled_from([PREFIX, "b/"]) for arn in ARNS for number in range(2)}
)


@settings(deadline=None, max_examples=15)
@given(
    PREFIXES.flatmap(lambda prefixes: st.lists(build_rows(prefixes), min_size=1, max_size=6)),
    st.booleans(),
    st.data(),
)
def test_no_order_of_arrival_changes_the_table(rows: Rows, is_known: bool, data: st.DataObject) -> None:
    known = {PLACEHOLDER: KnownScheduler(ARNS[0], "a")} if is_known else {}
    merged = merge([rows], known)
    order = data.draw(st.permutations(rows))
    split = data.draw(st.integers(0, len(rows)))
    batches = [order[:split], *([row] for row in order[split:]), rows[:1]]
    assert merge([batch for batch in batches if batch], known).equals(merged)
    results = [_get_result(row) for row in merged.to_pylist() if row["source"] == "bucket"]
    others = {_get_result(row) for row in merged.to_pylist() if row["source"] != "bucket"}
    assert len(results) == len({*results}), "a result belongs to one bucket row"
    assert not others & {*results}, "a result that another row has is no execution of its own"


def _get_result(row: dict[str, Any]) -> tuple[str, str]:
    return row["result_s3_bucket"], row["result_s3_key"]
