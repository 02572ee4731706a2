"""The engines, each asked as its users would ask it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import lookout_ledger
from assets.tables import PARTITION, Table
from assets.tables.ddl import LakeLocation, build_external_table, render_spark_ddl
from assets.tables.duckdb_views import render_views_script
from resources.lake.lake import Lake
from tests.support.engine_questions import KINDS, Answer, Days, Span

JOIN = """\
SELECT event_id, count(*) AS predictions, sum(anomaly_score) AS score
FROM inference_executions
JOIN anomaly_predictions USING (scheduler_arn, data_start_time, data_date)
JOIN anomaly_events ON anomaly_events.scheduler_arn = inference_executions.scheduler_arn
  AND anomaly_predictions.timestamp >= anomaly_events.start_time
  AND anomaly_predictions.timestamp < anomaly_events.end_time
WHERE data_date = DATE '{day}'
GROUP BY event_id"""


def _utc(value: Any) -> Any:
    """Instants in UTC, whatever zone an engine hands them over in."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _plain(rows: pa.Table) -> Answer:
    return [tuple(_utc(value) for value in row.values()) for row in rows.to_pylist()]


def _kinds(schema: pa.Schema) -> dict[str, str]:
    """Kinds of an Arrow schema; an instant may have another unit, an inner field another name."""
    found = {}
    for column in schema:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.tz:
            kind = pa.timestamp("ms", tz="UTC")
        if pa.types.is_large_string(kind):
            kind = pa.string()
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = pa.list_(kind.value_type)
        found[column.name] = KINDS.get(kind, str(kind))
    return found


class DuckDB:
    """The views of `ledger views`, in a DuckDB that knows nothing else of this project."""

    def __init__(self, lake: Lake, tables: list[Table]) -> None:
        there = [
            (table, lake.files(table), bool(lake.days(table)) if table.partitioned else lake.has(table))
            for table in tables
        ]
        self._connection = duckdb.connect()
        self._connection.execute(render_views_script(there))

    def _ask(self, statement: str) -> pa.Table:
        return self._connection.sql(statement).to_arrow_table()

    def schema(self, table: Table) -> dict[str, str]:
        return _kinds(self._ask(f"FROM {table.name} LIMIT 0").schema)

    def rows(self, table: Table) -> Answer:
        return _plain(self._ask(f"FROM {table.name}"))

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        counts = [
            f"(SELECT count(*) FROM {table.name} WHERE {PARTITION} BETWEEN '{first}' AND '{last}')"
            for first, last in ranges
        ]
        return self._numbers(f"SELECT [{', '.join(counts)}] AS found")

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        counts = [
            f"count(*) FILTER (\"{column}\" >= TIMESTAMPTZ '{start}' AND \"{column}\" < TIMESTAMPTZ '{end}')"
            for column, start, end in spans
        ]
        return self._numbers(f"SELECT [{', '.join(counts)}] AS found FROM {table.name}")

    def nulls(self, table: Table) -> dict[str, int]:
        names = self.schema(table)
        counts = ", ".join(f'count(*) FILTER ("{name}" IS NULL) AS "{name}"' for name in names)
        [row] = self._ask(f"SELECT {counts} FROM {table.name}").to_pylist()
        return dict(row)

    def joined(self, day: date) -> Answer:
        return _plain(self._ask(JOIN.format(day=day)))

    def _numbers(self, statement: str) -> list[int]:
        [row] = self._ask(statement).to_pylist()
        return list(row["found"])


class Arrow:
    """pyarrow's datasets, with the filters handed down."""

    def __init__(self, lake: Lake, tables: list[Table]) -> None:
        self._found = {table.name: lake.dataset(table) for table in tables}

    def schema(self, table: Table) -> dict[str, str]:
        return _kinds(self._found[table.name].schema)

    def rows(self, table: Table) -> Answer:
        return _plain(self._found[table.name].to_table())

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        day = pc.field(PARTITION)
        return [
            self._found[table.name].count_rows(filter=(day >= first) & (day <= last))
            for first, last in ranges
        ]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        return [
            self._found[table.name].count_rows(filter=(pc.field(column) >= start) & (pc.field(column) < end))
            for column, start, end in spans
        ]

    def nulls(self, table: Table) -> dict[str, int]:
        rows = self._found[table.name].to_table()
        return {name: rows[name].null_count for name in rows.schema.names}

    def joined(self, day: date) -> Answer:
        of_day = pc.field(PARTITION) == day
        ran = self._found["inference_executions"].to_table(
            ["scheduler_arn", "data_start_time"], filter=of_day
        )
        said = self._found["anomaly_predictions"].to_table(
            ["scheduler_arn", "data_start_time", "timestamp", "anomaly_score"], filter=of_day
        )
        spans = self._found["anomaly_events"].to_table(
            ["event_id", "scheduler_arn", "start_time", "end_time"]
        )
        points = said.join(ran, ["scheduler_arn", "data_start_time"], join_type="inner")
        pairs = points.join(spans, "scheduler_arn", join_type="inner")
        inside = (pc.field("timestamp") >= pc.field("start_time")) & (
            pc.field("timestamp") < pc.field("end_time")
        )
        summed = (
            pairs.filter(inside).group_by("event_id").aggregate([([], "count_all"), ("anomaly_score", "sum")])
        )
        return _plain(summed.select(["event_id", "count_all", "anomaly_score_sum"]))


class Pandas:
    """`lookout_ledger.read`, and pandas for the rest."""

    def __init__(self, lake: Lake, _: list[Table]) -> None:
        self._uri = lake.uri

    def _read(self, name: str, *days: Any, **more: Any) -> pd.DataFrame:
        return lookout_ledger.read(name, *days, lake=self._uri, **more)

    def schema(self, table: Table) -> dict[str, str]:
        frame = self._read(table.name)
        return {str(name): _pandas_kind(frame[name]) for name in frame.columns}

    def rows(self, table: Table) -> Answer:
        frame = self._read(table.name)
        return [tuple(map(_from_pandas, row)) for row in frame.itertuples(index=False, name=None)]

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        return [
            len(self._read(table.name, first, last + timedelta(days=1), columns=[PARTITION]))
            for first, last in ranges
        ]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        rows = self._read(table.name, columns=list(dict.fromkeys(column for column, _, _ in spans)))
        return [int(((rows[column] >= start) & (rows[column] < end)).sum()) for column, start, end in spans]

    def nulls(self, table: Table) -> dict[str, int]:
        return {str(name): int(count) for name, count in self._read(table.name).isna().sum().items()}

    def joined(self, day: date) -> Answer:
        span = (day, day + timedelta(days=1))
        keys = ["scheduler_arn", "data_start_time"]
        points = self._read("anomaly_predictions", *span).merge(
            self._read("inference_executions", *span, columns=keys), on=keys
        )
        pairs = points.merge(self._read("anomaly_events"), on="scheduler_arn", suffixes=("", "_of_event"))
        inside = pairs[(pairs["timestamp"] >= pairs["start_time"]) & (pairs["timestamp"] < pairs["end_time"])]
        found = inside.groupby("event_id")["anomaly_score"].agg(
            ["size", lambda scores: scores.sum(min_count=1)]
        )
        return [tuple(map(_from_pandas, row)) for row in found.itertuples(name=None)]


def _pandas_kind(column: "pd.Series[Any]") -> str:
    named = {"str": "text", "Int64": "integer", "float64": "float", "boolean": "flag"}
    kind = str(column.dtype)
    if kind == "datetime64[ms, UTC]":
        return "instant"
    if kind == "object":  # of dates, or of lists of them
        known = [value for value in column if value is not None]
        return "date" if column.name == PARTITION and all(type(one) is date for one in known) else "dates"
    return named.get(kind, kind)


def _from_pandas(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().astimezone(UTC)
    if hasattr(value, "tolist"):
        value = value.tolist()
    return value if isinstance(value, list) or not pd.isna(value) else None


class Polars:
    """polars over the files, with the type of the partition declared; its SQL for the join."""

    def __init__(self, lake: Lake, tables: list[Table]) -> None:
        self._found = {table.name: _polars_scan(lake, table) for table in tables}

    def schema(self, table: Table) -> dict[str, str]:
        return _kinds(self._found[table.name].head(0).collect().to_arrow().schema)

    def rows(self, table: Table) -> Answer:
        return [tuple(map(_utc, row)) for row in self._found[table.name].collect().rows()]

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        return [self._count(table, pl.col(PARTITION).is_between(*days)) for days in ranges]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        return [
            self._count(table, (pl.col(column) >= start) & (pl.col(column) < end))
            for column, start, end in spans
        ]

    def nulls(self, table: Table) -> dict[str, int]:
        return self._found[table.name].null_count().collect().to_dicts()[0]

    def joined(self, day: date) -> Answer:
        of_day = pl.col(PARTITION) == day
        keys = ["scheduler_arn", "data_start_time"]
        span = ["event_id", "scheduler_arn", "start_time", "end_time"]
        found = (
            self._found["inference_executions"]
            .filter(of_day)
            .join(self._found["anomaly_predictions"].filter(of_day), on=keys)
            .join(self._found["anomaly_events"].select(span), on="scheduler_arn")
            .filter(
                (pl.col("timestamp") >= pl.col("start_time")) & (pl.col("timestamp") < pl.col("end_time"))
            )
            .group_by("event_id")
            .agg(
                pl.len(),
                pl.when(pl.col("anomaly_score").is_not_null().any()).then(pl.col("anomaly_score").sum()),
            )
        )
        return list(found.collect().rows())

    def _count(self, table: Table, condition: pl.Expr) -> int:
        return int(self._found[table.name].filter(condition).select(pl.len()).collect().item())


def _polars_scan(lake: Lake, table: Table) -> pl.LazyFrame:
    there = lake.days(table) if table.partitioned else lake.has(table)
    if not there:  # polars has no scan of nothing
        return pl.from_arrow(lake.dataset(table).to_table()).lazy()
    return pl.scan_parquet(
        lake.files(table),
        hive_schema={PARTITION: pl.Date} if table.partitioned else None,
        hive_partitioning=table.partitioned,
        schema=dict(pl.from_arrow(table.schema.empty_table()).schema),
        missing_columns="insert",
        extra_columns="ignore",
    )


class Spark:
    """Spark SQL over the tables of `ledger ddl --spark`."""

    def __init__(self, lake: Lake, tables: list[Table], session: Any, database: str) -> None:
        self._session = session
        self._database = database
        session.sql(f"CREATE DATABASE IF NOT EXISTS {database}")
        place = LakeLocation(lake.root.as_uri(), date(2025, 1, 1))
        for table in tables:
            create, *look = (
                render_spark_ddl(build_external_table(table, place), database)
                .removesuffix(";")
                .split(";\n\n")
            )
            session.sql(create)
            if look and lake.days(
                table
            ):  # without Hive, Spark refuses to look into a folder that is not there
                session.sql(look[0])

    def _ask(self, statement: str) -> pa.Table:
        self._session.sql(f"USE {self._database}")
        return self._session.sql(statement).toArrow()

    def schema(self, table: Table) -> dict[str, str]:
        return _kinds(self._ask(f"SELECT * FROM {table.name} LIMIT 0").schema)

    def rows(self, table: Table) -> Answer:
        return _plain(self._ask(f"SELECT * FROM {table.name}"))

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        counts = [
            f"SELECT {place} AS place, count(*) AS found FROM {table.name}"
            f" WHERE {PARTITION} BETWEEN DATE '{first}' AND DATE '{last}'"
            for place, (first, last) in enumerate(ranges)
        ]  # asked at once: it is the questions that cost, not the rows
        return [row["found"] for row in self._ask(" UNION ALL ".join(counts) + " ORDER BY place").to_pylist()]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        counts = ", ".join(
            f"count_if(`{column}` >= TIMESTAMP '{start}' AND `{column}` < TIMESTAMP '{end}') AS n{place}"
            for place, (column, start, end) in enumerate(spans)
        )
        [row] = self._ask(f"SELECT {counts} FROM {table.name}").to_pylist()
        return list(row.values())

    def nulls(self, table: Table) -> dict[str, int]:
        names = [*table.schema.names, *([PARTITION] if table.partitioned else [])]
        counts = ", ".join(f"count_if(`{name}` IS NULL) AS `{name}`" for name in names)
        [row] = self._ask(f"SELECT {counts} FROM {table.name}").to_pylist()
        return dict(row)

    def joined(self, day: date) -> Answer:
        return _plain(self._ask(JOIN.format(day=day)))


ENGINES: dict[str, Any] = {"DuckDB": DuckDB, "pyarrow": Arrow, "pandas": Pandas, "polars": Polars}
"""Those that need nothing but this process."""
