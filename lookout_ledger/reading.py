"""Tables of the lake in one line of Python, as pandas or as Arrow.

pandas is loaded when it is asked for: it costs a second or two.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from os import PathLike
from typing import TYPE_CHECKING, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc

from assets.tables import PARTITION, TABLES, Table, select_tables
from resources.config.settings import load_settings
from resources.config.validation_errors import suggest
from resources.errors import ConfigurationError
from resources.lake.lake import Lake

if TYPE_CHECKING:
    import pandas as pd

Frame = Literal["pandas", "arrow"]
"""What an answer comes as: a `pandas.DataFrame` or a `pyarrow.Table`."""

Day = date | str
"""A day in UTC: a date, or text such as "2026-10-01"."""

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
def read(  # noqa: PLR0913 (each may be left away)
    table: str,
    start: Day | None = None,
    end: Day | None = None,
    *,
    columns: Sequence[str] | None = None,
    schedulers: str | Iterable[str] | None = None,
    as_: Frame = "pandas",
    lake: str | PathLike[str] | None = None,
) -> "pd.DataFrame | pa.Table":
    """Read a table of the lake, or some days of it; files of other days are not opened.

    Instants are aware, in UTC. In pandas, `data_date` holds dates, whole numbers are `Int64` and flags
    `boolean`, so that a null stays one; rows come by day and, within a day, sorted by the table's key.

    Args:
        table: its name; `tables()` lists them.
        start: the first day of `data_date`; None: from the first that is there.
        end: the day after the last, as in `range`; None: to the last that is there.
        columns: those to read, in this order; None: all of them, `data_date` last.
        schedulers: names or ARNs of those to read; None: all. One that is not there has no rows.
        as_: "pandas" or "arrow".
        lake: folder or s3:// uri of the lake; None: that of ledger.toml, or of what LEDGER_CONFIG names.

    Raises:
        ConfigurationError: no such table, column, day or lake.
        LakeContractError: a file of the lake cannot be read.
    """
    [declared] = select_tables([table], where="the argument table")
    first, stop = _day(start, "start"), _day(end, "end")
    if (first or stop) and not declared.partitioned:
        raise _mistake(f"{table} has no days", "start, end", "leave both away: it is one small table")
    if first and stop and stop < first:
        raise _mistake(
            f"the end {stop} is before the start {first}",
            "start, end",
            "give the first day, and the day after the last",
        )
    names = [*declared.schema.names, *([PARTITION] if declared.partitioned else [])]
    wanted = _columns(declared, names, columns)
    chosen = _of_schedulers(declared, names, schedulers)
    rows = _lake(lake).scan(declared, first, stop, columns=wanted, rows=chosen)
    return _shaped(rows, as_)


@overload
def sql(
    statement: str, *, as_: Literal["pandas"] = "pandas", lake: str | PathLike[str] | None = None
) -> "pd.DataFrame": ...
@overload
def sql(statement: str, *, as_: Literal["arrow"], lake: str | PathLike[str] | None = None) -> pa.Table: ...
def sql(
    statement: str, *, as_: Frame = "pandas", lake: str | PathLike[str] | None = None
) -> "pd.DataFrame | pa.Table":
    """Answer one statement in DuckDB's SQL, with every table as a view; as `ledger sql` does.

    Args:
        statement: the question; a filter on `data_date` keeps the files of other days closed.
        as_: "pandas" or "arrow".
        lake: folder or s3:// uri of the lake; None: that of ledger.toml, or of what LEDGER_CONFIG names.

    Raises:
        DataError: DuckDB refuses the statement; the message is DuckDB's.
        ConfigurationError: no such lake.
    """
    from pipelines.operations.query import query_once  # noqa: PLC0415 (loads DuckDB)

    return _shaped(query_once(_lake(lake), statement), as_)


def tables() -> dict[str, str]:
    """Return the name of every table with its meaning."""
    return {table.name: table.meaning for table in TABLES}


def _day(given: Day | None, argument: str) -> date | None:
    match given:
        case None:
            return None
        case datetime():  # a Timestamp of pandas is one too
            in_utc = given.astimezone(UTC) if given.tzinfo else given
            if in_utc.time() == time():
                return in_utc.date()
            mend = f"give the day, {in_utc.date()}, and compare the times of the rows that come"
            raise _mistake(f"{given} is no day: it has a time", argument, mend)
        case date():
            return given
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise _mistake(
            f"{given!r} is no day", argument, 'give a date, or text such as "2026-10-01"'
        ) from None


def _columns(table: Table, names: list[str], asked: Sequence[str] | None) -> list[str]:
    if isinstance(asked, str):
        raise _mistake("columns are a list of names, not one text", "columns", f"give columns=[{asked!r}]")
    for name in asked or ():
        if name not in names:
            raise _mistake(
                f"{table.name} has no column {name!r}{suggest(name, names)}",
                "columns",
                f"name some of {', '.join(names)}",
            )
    return names if asked is None else list(asked)


def _of_schedulers(table: Table, names: list[str], asked: str | Iterable[str] | None) -> pc.Expression | None:
    if asked is None:
        return None
    columns = [name for name in _SCHEDULER if name in names]
    if not columns:
        raise _mistake(f"{table.name} is of no scheduler", "schedulers", "leave it away")
    wanted = pa.array([asked] if isinstance(asked, str) else list(asked), pa.string())
    by_arn, *by_name = (pc.field(name).isin(wanted) for name in columns)
    return by_arn | by_name[0] if by_name else by_arn


def _lake(given: str | PathLike[str] | None) -> Lake:
    return Lake(load_settings().lake.uri if given is None else str(given))


def _shaped(rows: pa.Table, as_: Frame) -> "pd.DataFrame | pa.Table":
    if as_ == "arrow":
        return rows
    if as_ != "pandas":
        raise _mistake(f"{as_!r} is no kind of frame", "as_", 'give "pandas" or "arrow"')
    import pandas as pd  # noqa: PLC0415 (which takes a second or two)

    kept = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return rows.to_pandas(types_mapper=kept.get)


def _mistake(what: str, argument: str, mend: str) -> ConfigurationError:
    return ConfigurationError(what, where=f"the argument {argument}", next_step=mend)
