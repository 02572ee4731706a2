"""Compatible changes of tables: only a new version with additional nullable columns."""

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


def test_declarations_are_compatible_with_the_recorded_history() -> None:
    assert find_broken_promises(load_promises(), TABLES) == [], "see docs/how-to/upgrade.md"


def test_all_additions_are_recorded() -> None:
    assert find_unrecorded_changes(load_promises(), TABLES) == [], "run: python -m assets.tables.history"


def test_nullable_column_in_a_new_version_is_compatible_and_recorded_with_its_version() -> None:
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


def test_new_table_is_compatible() -> None:
    assert find_broken_promises(PROMISES, [OLD, replace(OLD, name="another")]) == []
    assert find_unrecorded_changes(PROMISES, [OLD, replace(OLD, name="another")]) == ["another"]


def test_meanings_and_encodings_may_change() -> None:
    reworded = tuple(replace(column, meaning="else", encoding="plain") for column in OLD.columns)

    assert find_broken_promises(PROMISES, [replace(OLD, columns=reworded, meaning="else")]) == []


def change_column(name: str, /, **changes: object) -> Table:
    columns = tuple(replace(column, **changes) if column.name == name else column for column in OLD.columns)  # type: ignore[arg-type]
    return replace(OLD, version=2, columns=columns)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            replace(OLD, version=2, columns=OLD.columns[:-1]),
            "recorded_at is removed or renamed, but files and queries use it",
        ),
        (change_column("executions", name="runs"), "executions is removed or renamed"),
        (change_column("executions", type=pa.float64()), "executions is double and was int64"),
        (change_column("sources", required=True), "sources is required and was not"),
        (replace(GROWN, version=1), "note is new, but version 1 is recorded without it"),
        (
            replace(OLD, version=2, columns=(*OLD.columns, replace(NOTE, required=True))),
            "note is new and required",
        ),
        (replace(OLD, version=0), "is version 0 and was 1"),
        (replace(OLD, key=("sources",)), "has the key sources and had scheduler_arn"),
        (replace(OLD, partitioned=False), "would have other paths"),
        (replace(OLD, name="coverage"), "extraction_coverage is not declared any more"),
    ],
    ids=[
        "removed column",
        "renamed column",
        "other type",
        "newly required column",
        "new column without new version",
        "new required column",
        "lower version",
        "other key",
        "other partitioning",
        "renamed table",
    ],
)
def test_incompatible_change_is_rejected_with_the_reason(table: Table, message: str) -> None:
    assert any(message in problem for problem in find_broken_promises(PROMISES, [table]))
    with pytest.raises(ValueError, match=message):
        extend_promises(PROMISES, [table])
