"""DDL for Athena and Spark, verified with a SQL parser."""

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from assets.tables import ANOMALY_PREDICTIONS, ARCHIVE_FILES, INFERENCE_EXECUTIONS, TABLES, Column, Table
from assets.tables.ddl import LakeLocation, build_external_table, render_athena_ddl, render_spark_ddl

LOCATION = LakeLocation("s3://plant-a/lake", date(2025, 1, 1))
ATHENA = {
    pa.string(): "STRING",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("ms", tz="UTC"): "TIMESTAMP",
    pa.list_(pa.date32()): "ARRAY<DATE>",
}

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def parsed(table: Table, location: LakeLocation = LOCATION, database: str | None = None) -> exp.Create:
    statement = render_athena_ddl(build_external_table(table, location), database)
    (create,) = sqlglot.parse(statement, dialect="athena")
    assert isinstance(create, exp.Create)
    return create


def columns(create: exp.Expression) -> dict[str, tuple[str, str]]:
    """Return type and comment of each column from the parsed statement."""
    actual = {}
    for column in create.find_all(exp.ColumnDef):
        comment = column.find(exp.CommentColumnConstraint)
        kind = column.args["kind"].sql("hive")
        actual[column.name] = (kind, comment.this.this if comment else "")
    return actual


def properties(create: exp.Create) -> dict[str, str]:
    return {
        item.name: item.args["value"].name
        for item in create.find_all(exp.Property)
        if item.name and item.args.get("value")
    }


@every_table
def test_athena_ddl_has_every_column_with_type_and_comment(table: Table) -> None:
    actual = columns(parsed(table))

    expected = {column.name: (ATHENA[column.type], column.comment) for column in table.columns}
    if table.partitioned:
        expected["data_date"] = ("DATE", "UTC date of the execution's DataStartTime; filter on it")
    assert actual == expected


@every_table
def test_location_is_the_folder_of_the_table(table: Table) -> None:
    create = parsed(table)

    assert create.find(exp.LocationProperty).this.name == f"s3://plant-a/lake/{table.name}/"
    assert create.find(exp.FileFormatProperty).this.name == "PARQUET"
    assert create.find(exp.SchemaCommentProperty).this.this.startswith(table.meaning)


@every_table
def test_athena_ddl_has_partition_projection(table: Table) -> None:
    actual = properties(parsed(table))

    assert actual["lookout_ledger.table"] == table.name
    assert actual["lookout_ledger.version"] == str(table.version)
    if table.partitioned:
        assert actual["projection.enabled"] == "true"
        assert actual["projection.data_date.type"] == "date"
        assert actual["projection.data_date.format"] == "yyyy-MM-dd"
        assert actual["projection.data_date.range"] == "2025-01-01,NOW"
        assert actual["storage.location.template"] == (
            f"s3://plant-a/lake/{table.name}/data_date=${{data_date}}"
        )
    else:
        assert not [name for name in actual if name.startswith(("projection", "storage"))]


def test_projection_ends_with_the_history() -> None:
    location = LakeLocation("s3://plant-a/lake", date(2025, 3, 1), date(2026, 10, 8))

    actual = properties(parsed(INFERENCE_EXECUTIONS, location))

    assert actual["projection.data_date.range"] == "2025-03-01,2026-10-07"


def test_trailing_slash_of_the_uri_is_ignored() -> None:
    with_slash = LakeLocation("s3://plant-a/lake/", date(2025, 1, 1))

    assert build_external_table(INFERENCE_EXECUTIONS, with_slash) == build_external_table(
        INFERENCE_EXECUTIONS, LOCATION
    )


@every_table
def test_every_name_is_quoted(table: Table) -> None:
    external = build_external_table(table, LOCATION)

    for statement in (render_athena_ddl(external, "plant"), render_spark_ddl(external, "plant")):
        assert f"`plant`.`{table.name}`" in statement
        for column in (*external.columns, *external.partition_keys):
            assert f"  `{column.name}` {column.type} COMMENT" in statement


@pytest.mark.parametrize("database", [None, "plant_a"])
def test_table_name_has_the_database(database: str | None) -> None:
    table = parsed(ANOMALY_PREDICTIONS, database=database).find(exp.Table)

    assert table is not None
    assert table.name == "anomaly_predictions"
    assert table.db == (database or "")


@pytest.mark.parametrize(
    "text",
    [
        "it's",
        "a\\b",
        "a\\'b",
        "two\nlines",
        "semi; colon -- no comment",
        'double "quotes"',
        "`ticks`",
        "Zürich °C",
    ],
)
def test_any_text_is_escaped_as_a_comment(text: str) -> None:
    table = replace(ARCHIVE_FILES, columns=(Column("uri", pa.string(), text),), meaning=text)

    create = parsed(table)

    assert columns(create) == {"uri": ("STRING", text)}
    assert create.find(exp.SchemaCommentProperty).this.this.startswith(text)


@every_table
def test_comments_fit_the_limits_of_glue(table: Table) -> None:
    external = build_external_table(table, LOCATION)

    assert len(external.comment) <= 2048
    assert {column.name for column in external.columns if len(column.comment) > 255} == set()
    assert all(letter >= " " for column in external.columns for letter in column.comment)


@every_table
def test_spark_ddl_discovers_partitions(table: Table) -> None:
    statements = [
        item
        for item in sqlglot.parse(render_spark_ddl(build_external_table(table, LOCATION)), dialect="spark")
        if item
    ]

    expected = {column.name: (ATHENA[column.type], column.comment) for column in table.columns}
    if table.partitioned:
        expected["data_date"] = ("DATE", "UTC date of the execution's DataStartTime; filter on it")
    assert columns(statements[0]) == expected
    assert [item.sql("spark") for item in statements[1:]] == (
        [f"MSCK REPAIR TABLE `{table.name}`"] if table.partitioned else []
    )
