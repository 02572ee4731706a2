"""Statements end at semicolons outside of quotes and comments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cli.sql_splitter import is_blank, split

HARMLESS = st.sampled_from(
    [
        "SELECT 1",
        "'a;b'",
        '"a;b"',
        "'it''s;'",
        "-- c;\n",
        "/* ; */",
        "$$ ; $$",
        "$t$ ;$$ $t$",
        " ",
        "\n",
        "e'\\';'",
        "x",
    ]
)


def split_texts(text: str) -> list[str]:
    return [statement.text for statement in split(text)[0]]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT\n2;", ["SELECT 1", "SELECT\n2"]),
        ("SELECT 1", []),
        ("SELECT ';';", ["SELECT ';'"]),
        ("SELECT 'it''s;';", ["SELECT 'it''s;'"]),
        ('SELECT 1 AS "a;b";', ['SELECT 1 AS "a;b"']),
        ("SELECT 1 -- no; end\n;", ["SELECT 1 -- no; end"]),
        ("SELECT /* ; */ 1;", ["SELECT /* ; */ 1"]),
        ("SELECT $$ ; $$;", ["SELECT $$ ; $$"]),
        ("SELECT e'\\';';", ["SELECT e'\\';'"]),
        ("SELECT name'x';", ["SELECT name'x'"]),
        (";;\n;", []),
        ("-- first\nSELECT 1;", ["SELECT 1"]),
        ("SELECT 'open;", []),
        ("SELECT /* open;", []),
    ],
)
def test_a_semicolon_ends_a_statement(text: str, statements: list[str]) -> None:
    assert split_texts(text) == statements


def test_an_incomplete_statement_is_returned_as_the_rest() -> None:
    assert split("SELECT 1; SELECT 'a\n;")[1] == " SELECT 'a\n;"


def test_a_statement_has_its_first_line_number() -> None:
    assert [statement.line for statement in split("\n-- one;\nSELECT 1;\n\nSELECT\n2; SELECT 3;")[0]] == [
        3,
        5,
        6,
    ]


@pytest.mark.parametrize(
    ("text", "blank"), [("", True), (" \n-- a;\n/* b */", True), ("x", False), ("'", False)]
)
def test_whitespace_and_comments_are_blank(text: str, blank: bool) -> None:
    assert is_blank(text) is blank


@given(st.lists(st.lists(HARMLESS, min_size=1).map(" ".join), max_size=5))
def test_joined_statements_are_split_again(parts: list[str]) -> None:
    statements, rest = split("".join(f"{part};" for part in parts))

    assert len(statements) == sum(not is_blank(part) for part in parts)
    assert rest == ""
    assert all(
        statement.text in part
        for statement, part in zip(statements, [p for p in parts if not is_blank(p)], strict=True)
    )
