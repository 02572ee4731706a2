"""Reads tables of the lake as pandas or Arrow."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from os import PathLike
from typing import TYPE_CHECKING, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import PARTITION, TABLES, Table, select_tables
from resources.config.settings import load_settings
from resources.errors import ConfigurationError, DataError, suggest
from resources.lake.lake import Lake

if TYPE_CHECKING:
    import pandas as pd

Frame = Literal["pandas", "arrow"]
"""The result type: a `pandas.DataFrame` or a `pyarrow.Table`."""

Day = date | str
"""A day (UTC): a date, or text such as "2026-10-01"."""

_SCHEDULER = ("scheduler_arn", "scheduler_name")


@overload
def read(
    table: str,
    start: Day | None = None,
    end: Day | None = None,
    *,
    columns: Sequence[str] | None = None,
    schedulers: str | Iterable[str] | None = None,
    as_: Literal["pandas"] = "pandas",
    lake: str | PathLike[str] | None = None,
) -> "pd.DataFrame": ...
@overload
def read(
    table: str,
    start: Day | None = None,
    end: Day | None = None,
    *,
    columns: Sequence[str] | None = None,
    schedulers: str | Iterable[str] | None = None,
    as_: Literal["arrow"],
    lake: str | PathLike[str] | None = None,
) -> pa.Table: ...
def read(  # noqa: PLR0913 (all but the first are optional)
    table: str,
    start: Day | None = None,
    end: Day | None = None,
    *,
    columns: Sequence[str] | None = None,
    schedulers: str | Iterable[str] | None = None,
    as_: Frame = "pandas",
    lake: str | PathLike[str] | None = None,
) -> "pd.DataFrame | pa.Table":
    """Read a table of the lake, or some of its days; files of other days are not opened.

    Rows are ordered by day, then by the primary key. Timestamps are timezone-aware, in UTC. In pandas,
    `data_date` holds dates, integers are `Int64` and booleans are `boolean`, which keeps nulls.

    Args:
        table: name of the table; `tables()` lists the names.
        start: the first day of `data_date`; None: the first recorded day.
        end: the day after the last day, as in `range`; None: up to the last recorded day.
        columns: names of the columns, in the order to return; None: all columns, `data_date` last.
        schedulers: names or ARNs; None: all schedulers. An unknown scheduler has no rows.
        as_: "pandas" or "arrow".
        lake: folder or s3:// URI of the lake; None: the lake of the settings (ledger.toml or LEDGER_CONFIG).

    Raises:
        ConfigurationError: the table, a column, a day or the lake is invalid.
        LakeContractError: a file of the lake cannot be read.
    """
    [declared] = select_tables([table], where="the argument table")
    first, stop = _parse_day(start, "start"), _parse_day(end, "end")
    if (first or stop) and not declared.partitioned:
        raise _build_error(
            f"Cannot select days of {table}: it has no partitions", "start, end", "remove start and end"
        )
    if first and stop and stop < first:
        raise _build_error(
            f"Cannot read days from {first} to {stop}: the end is before the start",
            "start, end",
            "pass the first day, and the day after the last",
        )
    names = [*declared.schema.names, *([PARTITION] if declared.partitioned else [])]
    selected_columns = _select_columns(declared, names, columns)
    row_filter = _build_scheduler_filter(declared, names, schedulers)
    rows = _open_lake(lake).scan(declared, first, stop, columns=selected_columns, rows=row_filter)
    return _convert(rows, as_)


@overload
def sql(
    statement: str, *, as_: Literal["pandas"] = "pandas", lake: str | PathLike[str] | None = None
) -> "pd.DataFrame": ...
@overload
def sql(statement: str, *, as_: Literal["arrow"], lake: str | PathLike[str] | None = None) -> pa.Table: ...
def sql(
    statement: str, *, as_: Frame = "pandas", lake: str | PathLike[str] | None = None
) -> "pd.DataFrame | pa.Table":
    """Run one statement in DuckDB's SQL, where each table is a view, as `ledger sql` does.

    Args:
        statement: the statement; a filter on `data_date` limits the files that are read.
        as_: "pandas" or "arrow".
        lake: folder or s3:// URI of the lake; None: the lake of the settings (ledger.toml or LEDGER_CONFIG).

    Raises:
        DataError: DuckDB rejects the statement, or pandas cannot hold a value.
        ConfigurationError: the lake is invalid, or cannot be read.
    """
    from pipelines.operations.query import query_once  # noqa: PLC0415 (loads DuckDB)

    return _convert(query_once(_open_lake(lake), statement), as_)


def tables() -> dict[str, str]:
    """Return the name of every table with its meaning."""
    return {table.name: table.meaning for table in TABLES}


def _parse_day(value: Day | None, argument: str) -> date | None:
    match value:
        case None:
            return None
        case datetime():  # includes pandas.Timestamp
            in_utc = value.astimezone(UTC) if value.tzinfo else value
            if in_utc.time() == time():
                return in_utc.date()
            fix = f"pass the day, {in_utc.date()}, and filter the returned rows by time"
            raise _build_error(f"Cannot read {value} as a day: it has a time", argument, fix)
        case date():
            return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _build_error(
            f"Cannot read {value!r} as a day", argument, 'pass a date, or text such as "2026-10-01"'
        ) from None


def _select_columns(table: Table, names: list[str], requested: Sequence[str] | None) -> list[str]:
    if isinstance(requested, str):
        raise _build_error(
            "Cannot read columns from a string: they are a list", "columns", f"pass columns=[{requested!r}]"
        )
    for name in requested or ():
        if name not in names:
            raise _build_error(
                f"Cannot find column {name!r} in {table.name}{suggest(name, names)}",
                "columns",
                f"use columns of {', '.join(names)}",
            )
    return names if requested is None else list(requested)


def _build_scheduler_filter(
    table: Table, names: list[str], requested: str | Iterable[str] | None
) -> pc.Expression | None:
    if requested is None:
        return None
    columns = [name for name in _SCHEDULER if name in names]
    if not columns:
        raise _build_error(
            f"Cannot select schedulers: {table.name} has no scheduler column",
            "schedulers",
            "remove schedulers",
        )
    values = pa.array([requested] if isinstance(requested, str) else list(requested), pa.string())
    by_arn, *by_name = (pc.field(name).isin(values) for name in columns)
    return by_arn | by_name[0] if by_name else by_arn


def _open_lake(location: str | PathLike[str] | None) -> Lake:
    return Lake.from_settings(load_settings()) if location is None else Lake(str(location))


def _convert(rows: pa.Table, as_: Frame) -> "pd.DataFrame | pa.Table":
    if as_ == "arrow":
        return rows
    if as_ != "pandas":
        raise _build_error(f"Cannot return rows as {as_!r}", "as_", 'pass "pandas" or "arrow"')
    import pandas as pd  # noqa: PLC0415 (takes one to two seconds)

    nullable_types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    try:
        return rows.to_pandas(types_mapper=nullable_types.get)
    except (pa.ArrowException, ValueError, OverflowError) as error:  # such as years after 9999
        raise DataError(
            f"Cannot convert the rows to pandas: {error}",
            where="the result of the query",
            next_step='pass as_="arrow", or cast the column to VARCHAR',
        ) from None


def _build_error(what: str, argument: str, fix: str) -> ConfigurationError:
    return ConfigurationError(what, where=f"the argument {argument}", next_step=fix)
