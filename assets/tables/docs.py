"""`docs/tables.md`, written from the declarations.

`python -m assets.tables.docs` writes the page; with `--check` it only tells whether the page is stale.
"""

import sys
from pathlib import Path

from assets.tables import PARTITION, TABLES, Column, Table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"

_HEAD = """\
# The tables

<!-- Written by `make docs` from assets/tables; edit that file. -->

Every table of the lake with its columns. Timestamps are instants in UTC, stored in milliseconds. A
partitioned table has one file a day, `<lake>/<table>/data_date=YYYY-MM-DD/part-0.parquet`, with rows sorted
by the key; the others have one file, `<lake>/<table>/part-0.parquet`. `data_date` is the UTC date of the
execution's DataStartTime and stands in the path alone: read it as a date, and filter on it.

*Source* is what a column holds as it was found: a member of the service's InferenceExecutionSummary (of
`inference_schedulers`, of a listed scheduler too), a member of a line of a result object, what S3 says of an
object, a word of `equipment.toml`, or a column of another table. *made here*: this software makes it, from
what its meaning says.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *map(_entry, TABLES), "", *map(_section, TABLES)])


def _entry(table: Table) -> str:
    return f"- [{table.name}](#{table.name}): {table.meaning}"


def _section(table: Table) -> str:
    where = f"Partitioned by `{PARTITION}`." if table.partitioned else "Not partitioned."
    key = ", ".join(f"`{name}`" for name in table.key)
    head = "| column | type | unit | meaning | source |\n| --- | --- | --- | --- | --- |"
    intro = f"{table.meaning} One row: {table.grain}. Key: {key}. {where} Version {table.version}."
    return "\n".join([f"## {table.name}", "", intro, "", head, *map(_row, table.columns), ""])


def _row(column: Column) -> str:
    name = f"`{column.name}`" + ("" if column.required else " (nullable)")
    source = f"`{column.source}`" if column.source else "*made here*"
    return f"| {name} | {column.type} | {column.unit or ''} | {column.meaning} | {source} |"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/tables.md is stale; write it again with: make docs")
