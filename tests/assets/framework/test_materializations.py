"""The preview of rows that each materialization shows."""

import pyarrow as pa
import pytest

from assets.framework.materializations import (
    PREVIEW_CHARACTERS,
    PREVIEW_COLUMNS,
    PREVIEW_ROWS,
    format_preview,
)
from assets.tables import INFERENCE_EXECUTIONS, Column, Table

WIDE = Table(
    name="wide",
    meaning="A table with many columns.",
    grain="row",
    key=("last",),
    columns=(
        *(Column(f"c{number}", pa.string(), "a value") for number in range(20)),
        Column("last", pa.int64(), "the key"),
    ),
)


def parse(markdown: str) -> list[list[str]]:
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in markdown.splitlines()]


def build_rows(values: dict[str, list[object]], count: int) -> pa.Table:
    empty = {column.name: [None] * count for column in WIDE.columns}
    return pa.Table.from_pydict(empty | {"last": list(range(count))} | values, WIDE.schema)


def test_preview_shows_ten_rows_spread_over_the_table_in_declared_column_order() -> None:
    rows = build_rows({"c3": [f"row {number}" for number in range(30)]}, 30)

    header, _, *body = parse(format_preview(WIDE, rows))

    assert header == ["c3", "last"]
    assert len(body) == PREVIEW_ROWS
    assert body == [[f"row {number}", str(number)] for number in range(0, 30, 3)]


def test_preview_prefers_the_key_and_columns_with_short_values() -> None:
    long_values = {f"c{number}": ["x" * 40] * 2 for number in range(19)}
    rows = build_rows(long_values | {"c19": ["this", "that"]}, 2)

    header, *_ = parse(format_preview(WIDE, rows))

    assert len(header) == PREVIEW_COLUMNS
    assert header[-2:] == ["c19", "last"]


@pytest.mark.parametrize("value", ["a|b", "<script>alert(1)</script>", "[x](javascript:y)", "a\n\nb", "`*_"])
def test_preview_escapes_markdown_and_html(value: str) -> None:
    markdown = format_preview(WIDE, build_rows({"c0": [value]}, 1))

    assert len(markdown.splitlines()) == 3
    (cell,) = [row[0] for row in parse(markdown)[2:]]
    assert all(cell[at - 1] == "\\" for at, character in enumerate(cell) if character in "|<>[]`*_")


def test_preview_shortens_long_values_in_the_middle() -> None:
    arn = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-2/0123456789"

    (cell,) = [row[0] for row in parse(format_preview(WIDE, build_rows({"c0": [arn]}, 1)))[2:]]

    assert len(cell) == PREVIEW_CHARACTERS
    assert cell.startswith("arn:aws") and cell.endswith("0123456789")


def test_preview_of_an_empty_partition_says_so() -> None:
    assert format_preview(INFERENCE_EXECUTIONS, INFERENCE_EXECUTIONS.schema.empty_table()) == "No rows."
