"""Query results as text and files: each value under its own header, equal to what DuckDB computes."""

import csv
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pipelines.cli.export import write
from pipelines.cli.query_output import Shape, format_csv, format_json_lines, format_spreadsheet, show

TYPES = duckdb.sql("SELECT * EXCLUDE (medium_enum, large_enum) FROM test_all_types()").columns
HUGE = ("hugeint", "uhugeint")


@cache
def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def to_json(connection: duckdb.DuckDBPyConnection, statement: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in format_json_lines(connection.sql(statement))]


def to_csv(connection: duckdb.DuckDBPyConnection, statement: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(format_csv(connection.sql(statement))), newline="")))


@pytest.mark.parametrize("column", TYPES)
def test_text_outputs_hold_the_values_of_every_type(column: str) -> None:
    source = f'SELECT "{column}" FROM test_all_types()'  # noqa: S608
    expected = connect().sql(f'SELECT CAST("{column}" AS VARCHAR) FROM test_all_types()').fetchall()  # noqa: S608

    shown = to_csv(connect(), source)
    objects = to_json(connect(), source)

    assert shown[0] == [column] and len(shown) == len(objects) + 1 == len(expected) + 1
    for (text,), [cell], row in zip(expected, shown[1:], objects, strict=True):
        assert (cell == "") == (text is None) == (row[column] is None)
        if text is not None and cell[0] not in "{[(" and column not in ("blob", "union"):
            assert cell == text
            value = row[column]
            if isinstance(value, str):
                assert value.replace("T", " ").replace("Z", "+00") == text or value == text
            elif not isinstance(value, float | bool):
                assert str(value) == text or float(text) == value


@pytest.mark.parametrize("column", TYPES)
def test_parquet_holds_the_values_of_every_type_or_names_the_conversion(column: str, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    source = f'SELECT "{column}" FROM test_all_types()'  # noqa: S608
    if column in HUGE:
        with pytest.raises(duckdb.Error, match="DECIMAL"):
            write(connect(), source, file)
        assert not file.exists()
        source = f'SELECT 5::{column} AS "{column}"'

    write(connect(), source, file)

    connection = connect()
    kind = "VARCHAR" if column != "blob" else "BLOB"
    stored = connection.sql(f"SELECT CAST(\"{column}\" AS {kind}) FROM '{file}'").fetchall()  # noqa: S608
    texts = connection.sql(f'SELECT CAST("{column}" AS {kind}) FROM ({source})').fetchall()  # noqa: S608
    as_json = connection.sql(f'SELECT to_json("{column}")::VARCHAR FROM ({source})').fetchall()  # noqa: S608
    assert stored in (texts, as_json) or column == "tuple"


names = st.sampled_from(["a", "A", "b", 'a"b', "a b", "ü", "[a]", ":smile:", "a,b"])
values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8),
    st.integers(-(2**100), 2**100),
    st.none(),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.data())
def test_each_value_is_under_its_own_header(rows: st.DataObject) -> None:
    width = rows.draw(st.integers(1, 5))
    headers = rows.draw(st.lists(names, min_size=width, max_size=width))
    cells = rows.draw(st.lists(values, min_size=width, max_size=width))
    selected = ", ".join(
        f'{render(value)} AS "{name.replace(chr(34), chr(34) * 2)}"'
        for name, value in zip(headers, cells, strict=True)
    )
    connection = connect()

    [row] = to_json(connection, f"SELECT {selected}")
    header, shown = to_csv(connection, f"SELECT {selected}")

    assert list(row.values()) == cells
    assert list(row) == header and len({name.casefold() for name in header}) == width
    assert shown == ["" if value is None else str(value) for value in cells]


def render(value: str | int | None) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else f"{value}::HUGEINT"


def test_a_pipe_gets_unwrapped_lines_with_escaped_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = "chr(27) || '[31m:smile:' AS e, 'a' || chr(10) || 'b' AS n, 1 AS a, 2 AS a"
    show(connect().sql(f"SELECT repeat('x', 300) AS \"[red]\", {texts}"))

    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["[red]", "e", "n", "a", "a"]
    assert line.split() == ["x" * 300, "\\x1b[31m:smile:", "a\\nb", "1", "2"]


@pytest.mark.parametrize("shape", list(Shape))
def test_a_terminal_gets_no_escape_sequence_in_any_format(
    shape: Shape, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    show(connect().sql("SELECT chr(155) || '31m' AS a, chr(8238) || 'b' AS b, chr(27) || 'c' AS c"), shape)

    assert not set("\x9b\x1b\u202e") & set(capsys.readouterr().out)


@pytest.mark.parametrize("width", [40, 80, 132])
def test_a_terminal_gets_a_table_fitted_to_its_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    columns = ", ".join(f"repeat('{letter}', 60) AS {letter}" for letter in "abcdef")

    show(connect().sql(f"SELECT {columns}"))
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) < 12 and max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("shape", "empty"), [(Shape.json, "[]\n"), (Shape.jsonl, ""), (Shape.csv, "a\n")])
def test_a_result_without_rows_is_valid(shape: Shape, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(connect().sql("SELECT 1 AS a WHERE false"), shape)

    assert capsys.readouterr().out == empty


def test_json_is_an_array_and_duplicate_names_are_renamed(capsys: pytest.CaptureFixture[str]) -> None:
    show(connect().sql("SELECT 1 AS a, 'nan'::DOUBLE AS a FROM range(3)"), Shape.json)

    assert json.loads(capsys.readouterr().out) == [{"a": 1, "a_1": "NaN"}] * 3


def test_an_error_after_the_first_rows_is_an_error_of_duckdb(tmp_path: Path) -> None:
    statement = "SELECT CASE range WHEN 150000 THEN CAST('x' AS INT) ELSE 1 END AS i FROM range(300000)"

    with pytest.raises(duckdb.Error, match="Could not convert"):
        write(connect(), statement, tmp_path / "a.csv")

    assert list(tmp_path.iterdir()) == []


def test_a_long_result_is_complete_in_files(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        assert write(connect(), "SELECT range AS i, range AS i FROM range(50000)", tmp_path / name) == 50_000

    assert pq.read_table(tmp_path / "a.parquet").column_names == ["i", "i_1"]
    assert (tmp_path / "a.csv").read_text().splitlines()[-1] == "49999,49999"


FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d")
parts_of_formulas = st.text(st.sampled_from(["x", "1", ",", '"', "'", *FORMULA_STARTS]), max_size=4)


@settings(max_examples=12, deadline=None)
@example(texts=[f"{start}1" for start in FORMULA_STARTS])
@given(texts=st.lists(parts_of_formulas, min_size=1, max_size=5))
def test_a_spreadsheet_has_no_formula_and_no_other_change(texts: list[str]) -> None:
    rows = pa.table({"=text": texts, "number": [-1] * len(texts)})
    connect().register("rows_of_test", rows)
    output = "".join(format_spreadsheet(connect().sql("FROM rows_of_test")))
    header, *lines = csv.reader(io.StringIO(output, newline=""))

    assert header == ["'=text", "number"]
    assert [line[1] for line in lines] == ["-1"] * len(texts)
    assert [line[0] for line in lines] == [
        f"'{text}" if text.startswith(FORMULA_STARTS) else text for text in texts
    ]


def test_a_csv_file_for_a_spreadsheet_has_no_formula(tmp_path: Path) -> None:
    rows = write(connect(), "SELECT '=1+1' AS a", tmp_path / "a.csv", is_spreadsheet=True)
    assert (rows, (tmp_path / "a.csv").read_text()) == (1, "a\n'=1+1\n")
