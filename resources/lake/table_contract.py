"""The contract between a file of the lake and the declaration of its table."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import LakeContractError

_VERSION = b"lookout_ledger.version"
_FOOTER_END_BYTES = 8
"""A length and the letters PAR1."""


class StoredColumn(Protocol):
    """How one column is stored: with a dictionary, as differences, or plain."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> pa.DataType: ...  # noqa: D102


class StoredTable(Protocol):
    """What the lake must know of a table; declarations stand in `assets.tables`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def schema(self) -> pa.Schema: ...  # noqa: D102
    @property
    def partitioned(self) -> bool: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102
    def columns_with_encoding(self, encoding: str) -> Iterable[StoredColumn]: ...  # noqa: D102


@dataclass(frozen=True)
class Footer:
    """What a file says of itself: the version that wrote it, its rows, and what keeps it from fitting."""

    version: int
    rows: int
    problem: str


def inspect_footer(stored: pq.ParquetFile, table: StoredTable) -> Footer:
    """Hold the footer of a file against the declaration of its table; no row is read.

    A file of an older version may lack columns that came later. The footer shows a required column by its
    type, so nulls in it need no look at the rows.
    """
    written_by = read_table_version(stored)
    found, declared = stored.schema_arrow, table.schema
    if written_by > table.version:
        return Footer(written_by, stored.metadata.num_rows, "a newer version of the software wrote it")
    if written_by < table.version:
        there = set(found.names)
        later = {field.name for field in declared if field.nullable and field.name not in there}
        declared = pa.schema([field for field in declared if field.name not in later])
    if found.names != declared.names and sorted(found.names) == sorted(declared.names):
        return Footer(written_by, stored.metadata.num_rows, "the columns are in another order")
    problem = "" if found.equals(declared) else _difference(found, declared)
    return Footer(written_by, stored.metadata.num_rows, problem)


def parquet_options(table: StoredTable) -> dict[str, Any]:
    """Return how the columns of a table are written, as options of pyarrow's writer."""
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [column.name for column in table.columns_with_encoding("dictionary")],
        "column_encoding": {
            column.name: "DELTA_BYTE_ARRAY" if pa.types.is_string(column.type) else "DELTA_BINARY_PACKED"
            for column in table.columns_with_encoding("delta")
        },
    }


def read_table_version(stored: pq.ParquetFile) -> int:
    """Return the version of the table that wrote a file; it stands in the footer.

    Raises:
        ValueError: something else stands there.
    """
    return int((stored.schema_arrow.metadata or {}).get(_VERSION, b"1"))


def read_footer_length(file: pa.NativeFile) -> int:
    """Say how long the footer of a Parquet file is; its last bytes tell. 0 where it is no such file."""
    size = file.size()
    if size < _FOOTER_END_BYTES:
        return 0
    file.seek(size - _FOOTER_END_BYTES)
    length = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return length + _FOOTER_END_BYTES


def read_conformed(stored: pq.ParquetFile, schema: pa.Schema, version: int, path: Path | str) -> pa.Table:
    """Read a file as declared; columns that came after the version that wrote it are null.

    Raises:
        LakeContractError: a newer version wrote it.
        ValueError: it holds something else.
    """
    _check_version(stored, version, path)
    return _as_declared(stored.read(columns=_shared(stored, schema)), schema)


def read_conformed_row_groups(
    stored: pq.ParquetFile, schema: pa.Schema, version: int, path: Path | str
) -> Iterator[pa.Table]:
    """Read a file as `read_conformed` does, a row group at a time.

    Raises:
        LakeContractError: a newer version wrote it.
        ValueError: it holds something else.
    """
    _check_version(stored, version, path)
    for number in range(stored.num_row_groups):
        yield _as_declared(stored.read_row_group(number, columns=_shared(stored, schema)), schema)


@contextmanager
def translate_read_errors(place: Path | str) -> Iterator[None]:
    """Tell of a file that cannot be read in our words.

    Raises:
        LakeContractError: with what is wrong with it.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise build_unreadable_file_error(problem, str(place)) from problem


def _check_version(stored: pq.ParquetFile, version: int, path: Path | str) -> None:
    written_by = read_table_version(stored)
    if written_by > version:
        raise LakeContractError(
            f"written by a newer version of the table ({written_by}; this software knows {version})",
            where=str(path),
            next_step="run the version of the software that wrote it, or a newer one",
        )


def _shared(stored: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    there = set(stored.schema_arrow.names)
    return [name for name in schema.names if name in there]


def _as_declared(stored_rows: pa.Table, schema: pa.Schema) -> pa.Table:
    there = set(stored_rows.schema.names)
    columns = [
        stored_rows[field.name].cast(field.type)
        if field.name in there
        else pa.nulls(stored_rows.num_rows, field.type)
        for field in schema
    ]
    rows = pa.table(columns, schema=schema)
    problem = schema_mismatch(rows, schema)
    if problem:
        raise ValueError(problem)
    return rows


def check_rows(rows: pa.Table, table: StoredTable, place: Path | str) -> None:
    """Refuse rows that are not what the table declares.

    Raises:
        LakeContractError: says what is wrong with them.
    """
    if problem := schema_mismatch(rows, table.schema):
        raise LakeContractError(
            f"rows that do not fit {table.name}: {problem}",
            where=str(place),
            next_step="nothing was written; this is a defect of the rule that made them",
        )


def schema_mismatch(rows: pa.Table, declared: pa.Schema) -> str:
    """Say in words what keeps rows from being what is declared; nothing where they are."""
    names = rows.schema.names
    if names != declared.names and sorted(names) == sorted(declared.names):
        return "the columns are in another order"
    if not rows.schema.equals(declared):
        return _difference(rows.schema, declared)
    lacking = [field.name for field in declared if not field.nullable and rows[field.name].null_count]
    return f"no value where one is required: {', '.join(lacking)}" if lacking else ""


def _difference(found: pa.Schema, declared: pa.Schema) -> str:
    there, meant = ({field.name: _kind(field) for field in schema} for schema in (found, declared))
    return "; ".join(
        f"{name}: {there.get(name, 'missing')} where {meant.get(name, 'nothing')} is declared"
        for name in dict.fromkeys([*meant, *there])
        if there.get(name) != meant.get(name)
    )


def _kind(field: pa.Field) -> str:
    return f"{field.type}{'' if field.nullable else ', required'}"


def build_unreadable_file_error(problem: Exception, where: str) -> LakeContractError:
    """Say of a file of the lake that it cannot be read."""
    return LakeContractError(
        f"a file of the lake cannot be read: {problem}",
        where=where,
        next_step="move it away and materialize that day again, or restore it from a backup",
    )


def parse_partition(text: str, folder: Path | str) -> date:
    """Read the day of a folder of the lake.

    Raises:
        LakeContractError: it is of no day.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise LakeContractError(
            f"a folder of the lake is of no day: {text}",
            where=str(folder),
            next_step="move it out of the lake: query engines would read it too",
        )
    return day
