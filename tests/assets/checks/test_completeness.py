"""The rules on unrecognized, rejected and unreadable data."""

import pyarrow as pa

from assets.checks import completeness
from assets.tables import (
    PARTITION,
)
from tests.support.check_days import DAY


def test_unrecognized_fields_are_named_and_counted() -> None:
    rows = pa.table({"unrecognized": pa.array(['{"New": 1}', None, '{"New": 1}', '{"Other": 2}'])})

    outcome = completeness.evaluate_no_unrecognized_fields(rows)

    assert not outcome.passed
    assert outcome.examples == [{"field": "New", "rows": 2}, {"field": "Other", "rows": 1}]
    assert completeness.evaluate_no_unrecognized_fields(rows.slice(1, 1)).passed


def test_unreadable_result_objects_are_counted_by_state() -> None:
    objects = pa.table(
        {
            "scheduler_name": ["a", "a", "b"],
            "state": ["read", "missing", "forbidden"],
            "error": [None, "NoSuchKey", "AccessDenied"],
            PARTITION: pa.array([DAY] * 3, pa.date32()),
        }
    )

    outcome = completeness.evaluate_result_objects_read(objects)

    assert not outcome.passed
    others = dict.fromkeys(("key_missing", "wrong_owner", "archived", "unreachable"), 0)
    assert outcome.metadata == {"objects": 3, "missing": 1, "forbidden": 1} | others
    assert completeness.evaluate_result_objects_read(objects.slice(0, 1)).passed
