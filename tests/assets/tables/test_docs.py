"""`docs/reference/tables.md` matches the declarations."""

import pytest

from assets.tables import TABLES, Table
from assets.tables.docs import PAGE, render_page


def test_page_in_the_repository_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), "write it again with: make docs"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_has_a_section_with_every_column(table: Table) -> None:
    (section,) = (part for part in render_page().split("\n## ")[1:] if part.startswith(f"{table.name}\n"))
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == table.schema.names
    for line, column in zip(lines, table.columns, strict=True):
        assert column.meaning in line
        assert ("(nullable)" in line) is not column.required
        assert line.count("|") == 6
    assert table.meaning in section
    assert ("Partitioned by `data_date`" in section) is table.partitioned
