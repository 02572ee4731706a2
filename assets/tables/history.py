"""Compatibility of the declarations with released schemas, which are recorded in `history.json`.

The only permitted change of a table is a new version with additional nullable columns.
`python -m assets.tables.history` records additions. It rejects incompatible changes;
`docs/how-to/upgrade.md` has the alternatives. With `--check` it only reports.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.tables import TABLES, Table

FILE = Path(__file__).with_name("history.json")

Promises = Mapping[str, Mapping[str, Any]]
"""By table name: version, key, partitioned, and columns (type, required, and the version that added them)."""


def load_promises() -> Promises:
    """Return the content of `history.json`; empty if there is no file."""
    promises: Promises = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return promises


def find_broken_promises(promises: Promises, tables: Sequence[Table]) -> list[str]:
    """Return a message for each incompatible change, with the reason and the alternative."""
    declared = {table.name: table for table in tables}
    problems = [
        f"{name} is not declared any more, but files of it exist: keep the declaration, filled or not"
        for name in promises
        if name not in declared
    ]
    for name, table in declared.items():
        if name in promises:
            problems += _check_table(table, promises[name])
            problems += _check_columns(table, promises[name])
    return problems


def find_unrecorded_changes(promises: Promises, tables: Sequence[Table]) -> list[str]:
    """Return the names of the tables, columns and versions that are not recorded yet."""
    unrecorded = []
    for table in tables:
        promise = promises.get(table.name)
        if promise is None:
            unrecorded.append(table.name)
            continue
        unrecorded += [
            f"{table.name}.{name}" for name in table.schema.names if name not in promise["columns"]
        ]
        unrecorded += [f"{table.name} version {table.version}"] if table.version != promise["version"] else []
    return unrecorded


def extend_promises(promises: Promises, tables: Sequence[Table]) -> Promises:
    """Return the promises with all additions of the declarations.

    Raises:
        ValueError: a change is incompatible; the message has all of them.
    """
    if problems := find_broken_promises(promises, tables):
        raise ValueError("\n".join(problems))
    return {table.name: _build_promise(table, promises.get(table.name, {})) for table in tables}


def _check_table(table: Table, promise: Mapping[str, Any]) -> Iterator[str]:
    name = table.name
    if table.version < promise["version"]:
        yield (
            f"{name} is version {table.version} and was {promise['version']}: files of that version would be"
            " unreadable; only increase versions"
        )
    if list(table.key) != promise["key"]:
        yield (
            f"{name} has the key {', '.join(table.key)} and had {', '.join(promise['key'])}: rows of older"
            " files would merge differently; declare another table"
        )
    if table.partitioned is not promise["partitioned"]:
        yield f"{name} would have other paths (partitioned: {table.partitioned}); declare another table"


def _check_columns(table: Table, promise: Mapping[str, Any]) -> Iterator[str]:
    columns = {column.name: column for column in table.columns}
    for name, promised in promise["columns"].items():
        column, title = columns.get(name), f"{table.name}.{name}"
        if column is None:
            yield (
                f"{title} is removed or renamed, but files and queries use it: keep it, nullable, and add the"
                " new column"
            )
            continue
        if str(column.type) != promised["type"]:
            yield (
                f"{title} is {column.type} and was {promised['type']}: engines would reject or misread"
                " older files; keep it and add a column with the new type"
            )
        if column.required and not promised["required"]:
            yield f"{title} is required and was not: older files have rows without it; keep it nullable"
    for name in [name for name in columns if name not in promise["columns"]]:
        if table.version <= promise["version"]:
            yield (
                f"{table.name}.{name} is new, but version {table.version} is recorded without it: files of"
                f" that version would differ; set version={promise['version'] + 1}"
            )
        if columns[name].required:
            yield f"{table.name}.{name} is new and required: older files have no value; make it nullable"


def _build_promise(table: Table, previous: Mapping[str, Any]) -> dict[str, Any]:
    since = {name: promised["since"] for name, promised in previous.get("columns", {}).items()}
    return {
        "version": table.version,
        "key": list(table.key),
        "partitioned": table.partitioned,
        "columns": {
            column.name: {
                "type": str(column.type),
                "required": column.required,
                "since": since.get(column.name, table.version),
            }
            for column in table.columns
        },
    }


def _main() -> None:
    promises = load_promises()
    if problems := find_broken_promises(promises, TABLES):
        sys.exit("\n".join([*problems, "See docs/how-to/upgrade.md."]))
    if "--check" not in sys.argv:
        text = json.dumps(extend_promises(promises, TABLES), indent=1)
        FILE.write_text(text + "\n", encoding="utf-8")
    elif unrecorded := find_unrecorded_changes(promises, TABLES):
        sys.exit(f"Not recorded yet: {', '.join(unrecorded)}. Run: python -m assets.tables.history")


if __name__ == "__main__":
    _main()
