"""The query engines, called as their users call them."""

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


def _convert_to_utc(value: Any) -> Any:
    """Convert instants to UTC, because engines return different zones."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _list_rows(rows: pa.Table) -> Answer:
    return [tuple(_convert_to_utc(value) for value in row.values()) for row in rows.to_pylist()]


def _get_kinds(schema: pa.Schema) -> dict[str, str]:
    """Return the kind of each column. The unit of instants and the names of inner fields can differ."""
    kinds = {}
    for column in schema:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.tz:
            kind = pa.timestamp("ms", tz="UTC")
        if pa.types.is_large_string(kind):
            kind = pa.string()
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = pa.list_(kind.value_type)
        kinds[column.name] = KINDS.get(kind, str(kind))
    return kinds


class DuckDB:
    """The views of `ledger views`, in a separate DuckDB."""

    def __init__(self, lake: Lake, tables: list[Table]) -> None:
        table_files = [
            (table, lake.files(table), bool(lake.days(table)) if table.partitioned else lake.has(table))
            for table in tables
        ]
        self._connection = duckdb.connect()
        self._connection.execute(render_views_script(table_files))

    def _ask(self, statement: str) -> pa.Table:
        return self._connection.sql(statement).to_arrow_table()

    def schema(self, table: Table) -> dict[str, str]:
        return _get_kinds(self._ask(f"FROM {table.name} LIMIT 0").schema)

    def rows(self, table: Table) -> Answer:
        return _list_rows(self._ask(f"FROM {table.name}"))

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        counts = [
            f"(SELECT count(*) FROM {table.name} WHERE {PARTITION} BETWEEN '{first}' AND '{last}')"
            for first, last in ranges
        ]
        return self._list_numbers(f"SELECT [{', '.join(counts)}] AS found")

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        counts = [
            f"count(*) FILTER (\"{column}\" >= TIMESTAMPTZ '{start}' AND \"{column}\" < TIMESTAMPTZ '{end}')"
            for column, start, end in spans
        ]
        return self._list_numbers(f"SELECT [{', '.join(counts)}] AS found FROM {table.name}")

    def nulls(self, table: Table) -> dict[str, int]:
        names = self.schema(table)
        counts = ", ".join(f'count(*) FILTER ("{name}" IS NULL) AS "{name}"' for name in names)
        [row] = self._ask(f"SELECT {counts} FROM {table.name}").to_pylist()
        return dict(row)

    def joined(self, day: date) -> Answer:
        return _list_rows(self._ask(JOIN.format(day=day)))

    def _list_numbers(self, statement: str) -> list[int]:
        [row] = self._ask(statement).to_pylist()
        return list(row["found"])


class Arrow:
    """Datasets of pyarrow, with filter pushdown."""

    def __init__(self, lake: Lake, tables: list[Table]) -> None:
        self._datasets = {table.name: lake.dataset(table) for table in tables}

    def schema(self, table: Table) -> dict[str, str]:
        return _get_kinds(self._datasets[table.name].schema)

    def rows(self, table: Table) -> Answer:
        return _list_rows(self._datasets[table.name].to_table())

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        day = pc.field(PARTITION)
        return [
            self._datasets[table.name].count_rows(filter=(day >= first) & (day <= last))
            for first, last in ranges
        ]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        return [
            self._datasets[table.name].count_rows(
                filter=(pc.field(column) >= start) & (pc.field(column) < end)
            )
            for column, start, end in spans
        ]

    def nulls(self, table: Table) -> dict[str, int]:
        rows = self._datasets[table.name].to_table()
        return {name: rows[name].null_count for name in rows.schema.names}

    def joined(self, day: date) -> Answer:
        is_day = pc.field(PARTITION) == day
        executions = self._datasets["inference_executions"].to_table(
            ["scheduler_arn", "data_start_time"], filter=is_day
        )
        predictions = self._datasets["anomaly_predictions"].to_table(
            ["scheduler_arn", "data_start_time", "timestamp", "anomaly_score"], filter=is_day
        )
        spans = self._datasets["anomaly_events"].to_table(
            ["event_id", "scheduler_arn", "start_time", "end_time"]
        )
        points = predictions.join(executions, ["scheduler_arn", "data_start_time"], join_type="inner")
        pairs = points.join(spans, "scheduler_arn", join_type="inner")
        inside = (pc.field("timestamp") >= pc.field("start_time")) & (
            pc.field("timestamp") < pc.field("end_time")
        )
        summed = (
            pairs.filter(inside).group_by("event_id").aggregate([([], "count_all"), ("anomaly_score", "sum")])
        )
        return _list_rows(summed.select(["event_id", "count_all", "anomaly_score_sum"]))


class Pandas:
    """`lookout_ledger.read`, and pandas for filters and joins."""

    def __init__(self, lake: Lake, _: list[Table]) -> None:
        self._uri = lake.uri

    def _read(self, name: str, *days: Any, **more: Any) -> pd.DataFrame:
        return lookout_ledger.read(name, *days, lake=self._uri, **more)

    def schema(self, table: Table) -> dict[str, str]:
        frame = self._read(table.name)
        return {str(name): _get_pandas_kind(frame[name]) for name in frame.columns}

    def rows(self, table: Table) -> Answer:
        frame = self._read(table.name)
        return [tuple(map(_convert_from_pandas, row)) for row in frame.itertuples(index=False, name=None)]

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
        result = inside.groupby("event_id")["anomaly_score"].agg(
            ["size", lambda scores: scores.sum(min_count=1)]
        )
        return [tuple(map(_convert_from_pandas, row)) for row in result.itertuples(name=None)]


def _get_pandas_kind(column: "pd.Series[Any]") -> str:
    kinds = {"str": "text", "Int64": "integer", "float64": "float", "boolean": "flag"}
    kind = str(column.dtype)
    if kind == "datetime64[ms, UTC]":
        return "instant"
    if kind == "object":  # dates or lists of dates
        values = [value for value in column if value is not None]
        return (
            "date" if column.name == PARTITION and all(type(value) is date for value in values) else "dates"
        )
    return kinds.get(kind, kind)


def _convert_from_pandas(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().astimezone(UTC)
    if hasattr(value, "tolist"):
        value = value.tolist()
    return value if isinstance(value, list) or not pd.isna(value) else None


class Polars:
    """polars on the files, with the declared type of the partition."""

    def __init__(self, lake: Lake, tables: list[Table]) -> None:
        self._datasets = {table.name: _scan_with_polars(lake, table) for table in tables}

    def schema(self, table: Table) -> dict[str, str]:
        return _get_kinds(self._datasets[table.name].head(0).collect().to_arrow().schema)

    def rows(self, table: Table) -> Answer:
        return [tuple(map(_convert_to_utc, row)) for row in self._datasets[table.name].collect().rows()]

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        return [self._count(table, pl.col(PARTITION).is_between(*days)) for days in ranges]

    def between_instants(self, table: Table, spans: list[Span]) -> list[int]:
        return [
            self._count(table, (pl.col(column) >= start) & (pl.col(column) < end))
            for column, start, end in spans
        ]

    def nulls(self, table: Table) -> dict[str, int]:
        return self._datasets[table.name].null_count().collect().to_dicts()[0]

    def joined(self, day: date) -> Answer:
        is_day = pl.col(PARTITION) == day
        keys = ["scheduler_arn", "data_start_time"]
        span = ["event_id", "scheduler_arn", "start_time", "end_time"]
        result = (
            self._datasets["inference_executions"]
            .filter(is_day)
            .join(self._datasets["anomaly_predictions"].filter(is_day), on=keys)
            .join(self._datasets["anomaly_events"].select(span), on="scheduler_arn")
            .filter(
                (pl.col("timestamp") >= pl.col("start_time")) & (pl.col("timestamp") < pl.col("end_time"))
            )
            .group_by("event_id")
            .agg(
                pl.len(),
                pl.when(pl.col("anomaly_score").is_not_null().any()).then(pl.col("anomaly_score").sum()),
            )
        )
        return list(result.collect().rows())

    def _count(self, table: Table, condition: pl.Expr) -> int:
        return int(self._datasets[table.name].filter(condition).select(pl.len()).collect().item())


def _scan_with_polars(lake: Lake, table: Table) -> pl.LazyFrame:
    exists = lake.days(table) if table.partitioned else lake.has(table)
    if not exists:  # polars cannot scan an empty list of files
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
        location = LakeLocation(lake.root.as_uri(), date(2025, 1, 1))
        for table in tables:
            create, *repair = (
                render_spark_ddl(build_external_table(table, location), database)
                .removesuffix(";")
                .split(";\n\n")
            )
            session.sql(create)
            if repair and lake.days(table):  # without Hive, Spark cannot repair a table without a folder
                session.sql(repair[0])

    def _ask(self, statement: str) -> pa.Table:
        self._session.sql(f"USE {self._database}")
        return self._session.sql(statement).toArrow()

    def schema(self, table: Table) -> dict[str, str]:
        return _get_kinds(self._ask(f"SELECT * FROM {table.name} LIMIT 0").schema)

    def rows(self, table: Table) -> Answer:
        return _list_rows(self._ask(f"SELECT * FROM {table.name}"))

    def between_days(self, table: Table, ranges: list[Days]) -> list[int]:
        counts = [
            f"SELECT {place} AS place, count(*) AS found FROM {table.name}"
            f" WHERE {PARTITION} BETWEEN DATE '{first}' AND DATE '{last}'"
            for place, (first, last) in enumerate(ranges)
        ]  # one statement, because the number of statements determines the time
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
        return _list_rows(self._ask(JOIN.format(day=day)))


ENGINES: dict[str, Any] = {"DuckDB": DuckDB, "pyarrow": Arrow, "pandas": Pandas, "polars": Polars}
"""The engines that run in this process."""
