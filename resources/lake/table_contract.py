"""The contract between a Parquet file of the lake and the declaration of its table."""

from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from resources.encoded_texts import encode_texts, has_encoded_texts, join_tables
from resources.errors import LakeContractError
from resources.lake.shards import FileLayout
from resources.storage.base import OpenFile, Storage

T = TypeVar("T")

_VERSION = b"lookout_ledger.version"
_ROWS_PER_BATCH = 1 << 16
FOOTER_BYTES = 1 << 16
"""The bytes of the first read of a footer; most footers have about ten thousand."""

_FOOTER_END_BYTES = 8
"""The length of the footer, and the letters PAR1."""


class StoredColumn(Protocol):
    """The part of a column declaration that the lake uses."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> pa.DataType: ...  # noqa: D102


class StoredTable(Protocol):
    """The part of a table declaration that the lake uses; the declarations are in `assets.tables`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def schema(self) -> pa.Schema: ...  # noqa: D102
    @property
    def encoded_schema(self) -> pa.Schema: ...  # noqa: D102
    @property
    def partitioned(self) -> bool: ...  # noqa: D102
    @property
    def has_shards(self) -> bool: ...  # noqa: D102
    @property
    def key(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102
    def columns_with_encoding(self, encoding: str) -> Iterable[StoredColumn]: ...  # noqa: D102
    @property
    def columns_without_statistics(self) -> frozenset[str]: ...  # noqa: D102


@dataclass(frozen=True)
class Footer:
    """The footer of a file: its table version, rows, mismatch ("" if none), and the shards of its day."""

    version: int
    rows: int
    problem: str
    shards: int = 1


def inspect_footer(stored: pq.ParquetFile, table: StoredTable) -> Footer:
    """Compare the footer of a file with the declaration of its table, without reading rows.

    A file of an older version may lack newer columns. The type of a column in the footer includes whether it
    is required.
    """
    version, rows = read_table_version(stored), stored.metadata.num_rows
    shards = FileLayout.read(stored).shards
    actual, declared = stored.schema_arrow, table.schema
    if version > table.version:
        return Footer(version, rows, "a newer version of the software wrote it", shards)
    if version < table.version:
        existing = set(actual.names)
        newer = {field.name for field in declared if field.nullable and field.name not in existing}
        declared = pa.schema([field for field in declared if field.name not in newer])
    if actual.names != declared.names and sorted(actual.names) == sorted(declared.names):
        return Footer(version, rows, "the columns are in another order", shards)
    problem = "" if actual.equals(declared) else _describe_difference(actual, declared)
    return Footer(version, rows, problem, shards)


def parquet_options(table: StoredTable) -> dict[str, Any]:
    """Return the options of pyarrow's Parquet writer for a table."""
    without = table.columns_without_statistics
    return {
        # a list of all names would exclude the elements of lists
        "write_statistics": [name for name in table.schema.names if name not in without] if without else True,
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [column.name for column in table.columns_with_encoding("dictionary")],
        "column_encoding": {
            column.name: "DELTA_BYTE_ARRAY" if pa.types.is_string(column.type) else "DELTA_BINARY_PACKED"
            for column in table.columns_with_encoding("delta")
        },
    }


def write_rows(
    rows: pa.Table,
    table: StoredTable,
    sink: BinaryIO,
    layout: FileLayout = FileLayout(),  # noqa: B008 (frozen)
) -> None:
    """Write rows with the `schema` or the `encoded_schema` of a table; both give the same bytes.

    All files without rows are the same, so their bytes are built once.
    """
    if rows.num_rows:
        _write_file(rows, table, sink, layout)
    else:
        sink.write(_build_empty_file(table, layout))  # type: ignore[arg-type] # declarations are frozen


def _write_file(
    rows: pa.Table, table: StoredTable, sink: BinaryIO | pa.NativeFile, layout: FileLayout
) -> None:
    with open_writer(sink, table, rows.schema, layout) as writer:
        writer.write_table(rows)


@contextmanager
def open_writer(
    sink: BinaryIO | pa.NativeFile, table: StoredTable, schema: pa.Schema, layout: FileLayout
) -> Iterator[pq.ParquetWriter]:
    """Open the writer of a file; `schema` is the `schema` or the `encoded_schema` of the table."""
    # Arrow would store the type of a dictionary, which other readers do not expect.
    with pq.ParquetWriter(sink, schema, store_schema=False, **parquet_options(table)) as writer:
        yield writer
        arrow_schema = b64encode(table.schema.serialize().to_pybytes())
        writer.add_key_value_metadata(
            {**(table.schema.metadata or {}), b"ARROW:schema": arrow_schema, **layout.entries}
        )


def build_empty_table(schema: pa.Schema) -> pa.Table:
    """Return no rows; `schema.empty_table()` takes ten times as long."""
    return pa.Table.from_arrays([*map(_build_empty_array, schema.types)], schema=schema)


@cache
def _build_empty_array(arrow_type: pa.DataType) -> pa.Array:
    return pa.array([], arrow_type)


@cache
def _build_empty_file(table: StoredTable, layout: FileLayout) -> bytes:
    sink = pa.BufferOutputStream()
    _write_file(table.schema.empty_table(), table, sink, layout)
    return bytes(sink.getvalue())


def read_table_version(stored: pq.ParquetFile) -> int:
    """Return the table version in the footer of a file.

    Raises:
        ValueError: the version is not a number.
    """
    return int((stored.schema_arrow.metadata or {}).get(_VERSION, b"1"))


def read_footer_length(file: pa.NativeFile) -> int:
    """Return the length of the footer in bytes, from the end of the file; 0 if it is too short."""
    size = file.size()
    if size < _FOOTER_END_BYTES:
        return 0
    file.seek(size - _FOOTER_END_BYTES)
    length = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return length + _FOOTER_END_BYTES


def read_conformed(stored: pq.ParquetFile, schema: pa.Schema, version: int, path: Path | str) -> pa.Table:
    """Read a file with the declared schema; columns that are newer than the file are null.

    Raises:
        LakeContractError: a newer version of the table wrote the file.
        ValueError: the file does not match the schema.
    """
    if has_encoded_texts(schema) and stored.metadata.num_rows > _ROWS_PER_BATCH:
        # a read of all rows at once needs twice the memory of the result
        batches = [*read_conformed_batches(stored, schema, version, path)]
        return encode_texts(join_tables(batches), schema)
    _check_version(stored, version, path)
    return _conform(stored.read(columns=_list_shared_columns(stored, schema)), schema)


def read_conformed_row_groups(
    stored: pq.ParquetFile, schema: pa.Schema, version: int, path: Path | str
) -> Iterator[pa.Table]:
    """Yield the row groups of a file with the declared schema, as `read_conformed` does.

    Raises:
        LakeContractError: a newer version of the table wrote the file.
        ValueError: the file does not match the schema.
    """
    _check_version(stored, version, path)
    for number in range(stored.num_row_groups):
        yield _conform(stored.read_row_group(number, columns=_list_shared_columns(stored, schema)), schema)


def read_conformed_batches(
    stored: pq.ParquetFile, schema: pa.Schema, version: int, path: Path | str
) -> Iterator[pa.Table]:
    """Yield the columns of a schema in batches of at most 65,536 rows; errors as in `read_conformed`."""
    _check_version(stored, version, path)
    for batch in stored.iter_batches(_ROWS_PER_BATCH, columns=_list_shared_columns(stored, schema)):
        yield _conform(pa.table(batch), schema)


@contextmanager
def translate_read_errors(location: Path | str) -> Iterator[None]:
    """Translate errors of pyarrow and the file system.

    Raises:
        LakeContractError: the file cannot be read.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise build_unreadable_file_error(problem, str(location)) from problem


def refuse_foreign_columns(stored: pq.ParquetFile, table: StoredTable, path: Path | str) -> None:
    """Refuse to replace a file that has columns of others, because the new file would lack them.

    Raises:
        LakeContractError: the file has a column that the table does not declare.
    """
    declared = set(table.schema.names)
    foreign = [name for name in stored.schema_arrow.names if name not in declared]
    if foreign and read_table_version(stored) <= table.version:
        raise LakeContractError(
            f"Cannot update a file of the lake: {table.name} does not declare its columns"
            f" {', '.join(foreign)}, and the update would remove them",
            where=str(path),
            next_step="move these columns to a table of your own with the same key, and remove them from this"
            " file",
        )


def _check_version(stored: pq.ParquetFile, version: int, path: Path | str) -> None:
    stored_version = read_table_version(stored)
    if stored_version > version:
        raise LakeContractError(
            f"Cannot read a newer version of the table ({stored_version}; this software knows {version})",
            where=str(path),
            next_step="run the version of the software that wrote it, or a newer one",
        )


def _list_shared_columns(stored: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    existing = set(stored.schema_arrow.names)
    return [name for name in schema.names if name in existing]


def _conform(stored_rows: pa.Table, schema: pa.Schema) -> pa.Table:
    existing = set(stored_rows.schema.names)
    columns = [
        stored_rows[field.name].cast(field.type)
        if field.name in existing
        else pa.nulls(stored_rows.num_rows, field.type)
        for field in schema
    ]
    rows = pa.table(columns, schema=schema)
    if has_encoded_texts(schema):
        rows = encode_texts(rows, schema)
    problem = schema_mismatch(rows, schema)
    if problem:
        raise ValueError(problem)
    return rows


def read_stored(
    open_file: OpenFile,
    location: Path | str,
    read: Callable[[pq.ParquetFile], T],
    encoded: Sequence[str] = (),
) -> T | None:
    """Open a file and return what `read` returns; None without a file.

    Args:
        open_file: opens the file.
        location: the file, for messages.
        read: reads from the open file.
        encoded: the columns to read as dictionaries.

    Raises:
        LakeContractError: the file cannot be read.
    """
    with (
        translate_read_errors(location),
        suppress(FileNotFoundError),
        open_file() as file,
        open_encoded(file, encoded) as stored,
    ):
        return read(stored)
    return None


def open_encoded(file: pa.NativeFile, encoded: Collection[str]) -> pq.ParquetFile:
    """Open a Parquet file; read those of the `encoded` columns that it has as dictionaries.

    A file of an older version lacks the columns that were added since.
    """
    metadata = pq.read_metadata(file)
    present = [name for name in metadata.schema.names if name in encoded]
    return pq.ParquetFile(file, metadata=metadata, read_dictionary=present)


def open_footer(storage: Storage, name: str) -> pa.NativeFile:
    """Open the end of a file that has its footer; raise FileNotFoundError if it does not exist."""
    end = storage.open_end(name, FOOTER_BYTES)
    length = read_footer_length(end)
    return end if length <= end.size() else storage.open_end(name, length)


def list_encoded(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that are dictionaries."""
    return [field.name for field in schema if pa.types.is_dictionary(field.type)]


def check_rows(rows: pa.Table, name: str, schema: pa.Schema, location: Path | str) -> None:
    """Check that rows match a schema of the table with this name.

    Raises:
        LakeContractError: the rows do not match.
    """
    if problem := schema_mismatch(rows, schema):
        raise LakeContractError(
            f"Cannot write rows that do not match {name}: {problem}",
            where=str(location),
            next_step="report this defect of the software; nothing was written",
        )


def schema_mismatch(rows: pa.Table, declared: pa.Schema) -> str:
    """Describe how rows differ from the declared schema; "" if they match."""
    names = rows.schema.names
    if names != declared.names and sorted(names) == sorted(declared.names):
        return "the columns are in another order"
    if not rows.schema.equals(declared):
        return _describe_difference(rows.schema, declared)
    null_columns = [field.name for field in declared if not field.nullable and rows[field.name].null_count]
    return f"no value where one is required: {', '.join(null_columns)}" if null_columns else ""


def _describe_difference(actual: pa.Schema, declared: pa.Schema) -> str:
    actual_types, declared_types = (
        {field.name: _describe_type(field) for field in schema} for schema in (actual, declared)
    )
    return "; ".join(
        f"{name}: {actual_types.get(name, 'missing')} where {declared_types.get(name, 'nothing')} is declared"
        for name in dict.fromkeys([*declared_types, *actual_types])
        if actual_types.get(name) != declared_types.get(name)
    )


def _describe_type(field: pa.Field) -> str:
    return f"{field.type}{'' if field.nullable else ', required'}"


def build_unreadable_file_error(problem: Exception, where: str) -> LakeContractError:
    """Build the error of a file that is damaged or does not match the declaration."""
    return LakeContractError(
        f"Cannot read a file of the lake: {problem}",
        where=where,
        next_step="move it away and materialize that day again, or restore it from a backup",
    )


def parse_partition(text: str, folder: Path | str) -> date:
    """Parse the day in the name of a partition folder.

    Raises:
        LakeContractError: the name is not a day.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise LakeContractError(
            f"Cannot read a partition of the lake: {text} is not a day",
            where=str(folder),
            next_step="move it out of the lake, because query engines would read it too",
        )
    return day
