"""The rules on unrecognized, rejected and unreadable data."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from assets.checks import completeness
from tests.support.check_days import DAY


def test_unrecognized_fields_are_named_and_counted() -> None:
    rows = pa.table({"unrecognized": pa.array(['{"New": 1}', None, '{"New": 1}', '{"Other": 2}'])})

    outcome = completeness.evaluate_no_unrecognized_fields([rows.slice(0, 2), rows.slice(2)])

    assert not outcome.passed
    assert outcome.examples == [{"field": "New", "rows": 2}, {"field": "Other", "rows": 1}]
    assert completeness.evaluate_no_unrecognized_fields([rows.slice(1, 1)]).passed


def test_unreadable_result_objects_are_counted_by_state() -> None:
    objects = pa.table(
        {
            "scheduler_name": ["a", "a", "b"],
            "state": ["read", "missing", "forbidden"],
            "error": [None, "NoSuchKey", "AccessDenied"],
        }
    )

    outcome = completeness.evaluate_result_objects_read(
        [(DAY, objects.slice(0, 2), 0), (DAY, objects.slice(2), 0)]
    )

    assert not outcome.passed
    states = (
        "key_missing",
        "wrong_owner",
        "not_allowed",
        "archived",
        "unreachable",
        "no_credentials",
        "not_read",
    )
    others = dict.fromkeys(states, 0)
    assert outcome.metadata == {"objects": 3, "missing": 1, "forbidden": 1} | others
    assert completeness.evaluate_result_objects_read([(DAY, objects.slice(0, 1), 0)]).passed


def test_result_objects_without_a_record_are_not_read() -> None:
    start = datetime(2026, 10, 1, tzinfo=UTC)
    starts = [start, start + timedelta(hours=1), start + timedelta(hours=2), start + timedelta(hours=30)]
    executions = pa.table(
        {
            "scheduler_arn": ["a"] * 4,
            "data_start_time": starts,
            "data_end_time": [at + timedelta(hours=1) for at in starts],
            "status": ["SUCCESS", "SUCCESS", "FAILED", "SUCCESS"],
            "result_s3_bucket": ["plant"] * 4,
            "result_s3_key": ["key"] * 4,
        }
    )
    objects = executions.slice(0, 1).append_column("state", pa.array(["read"]))
    objects = objects.append_column("scheduler_name", pa.array(["a"]))

    unread = completeness.count_unread_results(executions, objects, start + timedelta(hours=24))
    outcome = completeness.evaluate_result_objects_read([(DAY, objects, unread)])

    assert unread == 1
    assert not outcome.passed
    assert outcome.message == f"1 of 2 result objects are not read: 1 not read yet, from {DAY} to {DAY}."
    assert completeness.evaluate_result_objects_read([]).message == (
        "No execution of these days names a result object."
    )


def test_messages_do_not_claim_what_was_not_read() -> None:
    lines = pa.table({"reason": pa.array([], pa.string())})
    nothing = pa.table({"unrecognized": pa.array([], pa.string())})

    assert "no line was examined" in completeness.evaluate_no_rejected_result_lines([lines], 0).message
    assert "3 result objects were read" in completeness.evaluate_no_rejected_result_lines([lines], 3).message
    assert "no field was examined" in completeness.evaluate_no_unrecognized_fields([nothing]).message
    assert completeness.evaluate_archive_files_complete([]).message == "No saved response was read."
    assert "that were read" in completeness.evaluate_no_rejected_summaries(lines).message


def test_unrecognized_fields_that_are_not_json_are_counted_too() -> None:
    assert completeness._list_fields("{") == completeness._list_fields("3") == completeness._UNREADABLE_JSON
