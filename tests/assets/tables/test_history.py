"""What a declaration may become: a table grows by nullable columns in a new version, and in no other way."""

from dataclasses import replace

import pyarrow as pa
import pytest

from assets.tables import EXTRACTION_COVERAGE, TABLES, Column, Table
from assets.tables.history import (
    extend_promises,
    find_broken_promises,
    find_unrecorded_changes,
    load_promises,
)

OLD = EXTRACTION_COVERAGE
NOTE = Column("note", pa.string(), "since version 2")
GROWN = replace(OLD, version=2, columns=(*OLD.columns, NOTE))
PROMISES = extend_promises({}, [OLD])


def test_the_declarations_keep_what_was_promised() -> None:
    assert find_broken_promises(load_promises(), TABLES) == [], "see docs/how-to/upgrade.md"


def test_what_was_added_is_written_down() -> None:
    assert find_unrecorded_changes(load_promises(), TABLES) == [], (
        "write it down with: python -m assets.tables.history"
    )


def test_a_nullable_column_in_a_new_version_keeps_the_promise_and_is_written_down_with_it() -> None:
    assert find_broken_promises(PROMISES, [GROWN]) == []
    assert find_unrecorded_changes(PROMISES, [GROWN]) == [
        "extraction_coverage.note",
        "extraction_coverage version 2",
    ]

    grown = extend_promises(PROMISES, [GROWN])

    assert find_unrecorded_changes(grown, [GROWN]) == []
    columns = grown["extraction_coverage"]["columns"]
    assert columns["note"] == {"type": "string", "required": False, "since": 2}
    assert columns["executions"]["since"] == 1


def test_a_new_table_breaks_nothing() -> None:
    assert find_broken_promises(PROMISES, [OLD, replace(OLD, name="another")]) == []
    assert find_unrecorded_changes(PROMISES, [OLD, replace(OLD, name="another")]) == ["another"]


def test_comments_and_encodings_are_no_promise() -> None:
    reworded = tuple(replace(column, meaning="else", encoding="plain") for column in OLD.columns)

    assert find_broken_promises(PROMISES, [replace(OLD, columns=reworded, meaning="else")]) == []


def changed(which: str, /, **more: object) -> Table:
    columns = tuple(replace(one, **more) if one.name == which else one for one in OLD.columns)  # type: ignore[arg-type]
    return replace(OLD, version=2, columns=columns)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            replace(OLD, version=2, columns=OLD.columns[:-1]),
            "recorded_at is gone or renamed: files hold it and queries name it",
        ),
        (changed("executions", name="runs"), "executions is gone or renamed"),
        (changed("executions", type=pa.float64()), "executions is double and was int64"),
        (changed("sources", required=True), "sources is required and was not"),
        (replace(GROWN, version=1), "note is new in version 1, which stands already"),
        (
            replace(OLD, version=2, columns=(*OLD.columns, replace(NOTE, required=True))),
            "note is new and required",
        ),
        (replace(OLD, version=0), "is version 0 and was 1"),
        (replace(OLD, key=("sources",)), "has the key sources and had scheduler_arn"),
        (replace(OLD, partitioned=False), "would lie elsewhere"),
        (replace(OLD, name="coverage"), "extraction_coverage is declared no more"),
    ],
    ids=[
        "a column is gone",
        "a column is renamed",
        "a column is retyped",
        "a column becomes required",
        "a column without a new version",
        "a new column that is required",
        "a version that falls",
        "another key",
        "another place",
        "a table is renamed",
    ],
)
def test_what_breaks_older_files_or_queries_is_refused_with_the_reason(table: Table, told: str) -> None:
    assert any(told in problem for problem in find_broken_promises(PROMISES, [table]))
    with pytest.raises(ValueError, match=told):
        extend_promises(PROMISES, [table])
