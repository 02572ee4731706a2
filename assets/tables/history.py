"""What the tables promise to everyone who wrote queries or holds older files: `history.json`.

A table grows by nullable columns, in a new version, and in no other way. `python -m assets.tables.history`
writes down what was added; it refuses what would break a promise, and `docs/how-to/upgrade.md` says what
to do instead. With `--check` it only looks.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.tables import TABLES, Table

FILE = Path(__file__).with_name("history.json")

Promises = Mapping[str, Mapping[str, Any]]
"""By table: version, key, partitioned, and by column: type, required, and the version that it came with."""


def load_promises() -> Promises:
    """Return what is written down."""
    found: Promises = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return found


def find_broken_promises(promises: Promises, tables: Sequence[Table]) -> list[str]:
    """Say of each promise that the declarations break what it is, why it matters, and what to do instead."""
    declared = {table.name: table for table in tables}
    problems = [
        f"{name} is declared no more, and its files would be read by nobody: keep it, filled or not"
        for name in promises
        if name not in declared
    ]
    for name, table in declared.items():
        if name in promises:
            problems += _of_table(table, promises[name])
            problems += _of_columns(table, promises[name])
    return problems


def find_unrecorded_changes(promises: Promises, tables: Sequence[Table]) -> list[str]:
    """Name the tables, columns and versions that are not written down yet."""
    missing = []
    for table in tables:
        known = promises.get(table.name)
        if known is None:
            missing.append(table.name)
            continue
        missing += [f"{table.name}.{name}" for name in table.schema.names if name not in known["columns"]]
        missing += [f"{table.name} version {table.version}"] if table.version != known["version"] else []
    return missing


def extend_promises(promises: Promises, tables: Sequence[Table]) -> Promises:
    """Return the promises with everything that was added.

    Raises:
        ValueError: one would be broken; the message has them all.
    """
    if problems := find_broken_promises(promises, tables):
        raise ValueError("\n".join(problems))
    return {table.name: _promise(table, promises.get(table.name, {})) for table in tables}


def _of_table(table: Table, promise: Mapping[str, Any]) -> Iterator[str]:
    name = table.name
    if table.version < promise["version"]:
        yield (
            f"{name} is version {table.version} and was {promise['version']}: files of that version could not"
            " be read any more; versions only rise"
        )
    if list(table.key) != promise["key"]:
        yield (
            f"{name} has the key {', '.join(table.key)} and had {', '.join(promise['key'])}: rows of older"
            " files would merge otherwise; declare another table"
        )
    if table.partitioned is not promise["partitioned"]:
        yield f"{name} would lie elsewhere (partitioned: {table.partitioned}); declare another table"


def _of_columns(table: Table, promise: Mapping[str, Any]) -> Iterator[str]:
    columns = {column.name: column for column in table.columns}
    for name, was in promise["columns"].items():
        column, title = columns.get(name), f"{table.name}.{name}"
        if column is None:
            yield (
                f"{title} is gone or renamed: files hold it and queries name it; keep it, nullable, and add"
                " the new one beside it"
            )
            continue
        if str(column.type) != was["type"]:
            yield (
                f"{title} is {column.type} and was {was['type']}: engines would refuse or misread older"
                " files; keep it and add a column of the new type beside it"
            )
        if column.required and not was["required"]:
            yield f"{title} is required and was not: older files have rows without it; leave it nullable"
    for name in [name for name in columns if name not in promise["columns"]]:
        if table.version <= promise["version"]:
            yield (
                f"{table.name}.{name} is new in version {table.version}, which stands already: nobody could"
                f" tell which files lack it; set version={promise['version'] + 1}"
            )
        if columns[name].required:
            yield f"{table.name}.{name} is new and required: older files have no value; make it nullable"


def _promise(table: Table, before: Mapping[str, Any]) -> dict[str, Any]:
    since = {name: was["since"] for name, was in before.get("columns", {}).items()}
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
    elif missing := find_unrecorded_changes(promises, TABLES):
        sys.exit(f"not written down yet: {', '.join(missing)}; run: python -m assets.tables.history")


if __name__ == "__main__":
    _main()
