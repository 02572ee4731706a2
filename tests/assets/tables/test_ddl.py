"""DDL: what Athena and Spark are told of the tables, read back by a parser of Athena's dialect."""

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from assets.tables import ANOMALY_PREDICTIONS, ARCHIVE_FILES, INFERENCE_EXECUTIONS, TABLES, Column, Table
from assets.tables.ddl import LakeLocation, build_external_table, render_athena_ddl, render_spark_ddl

PLACE = LakeLocation("s3://plant-a/lake", date(2025, 1, 1))
ATHENA = {
    pa.string(): "STRING",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("ms", tz="UTC"): "TIMESTAMP",
    pa.list_(pa.date32()): "ARRAY<DATE>",
}

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def parsed(table: Table, place: LakeLocation = PLACE, database: str | None = None) -> exp.Create:
    statement = render_athena_ddl(build_external_table(table, place), database)
    (create,) = sqlglot.parse(statement, dialect="athena")
    assert isinstance(create, exp.Create)
    return create


def columns(create: exp.Expression) -> dict[str, tuple[str, str]]:
    """Type and comment by name, as the parser read them."""
    found = {}
    for column in create.find_all(exp.ColumnDef):
        comment = column.find(exp.CommentColumnConstraint)
        kind = column.args["kind"].sql("hive")
        found[column.name] = (kind, comment.this.this if comment else "")
    return found


def properties(create: exp.Create) -> dict[str, str]:
    return {
        found.name: found.args["value"].name
        for found in create.find_all(exp.Property)
        if found.name and found.args.get("value")
    }


@every_table
def test_athena_reads_every_column_with_its_type_and_what_it_means(table: Table) -> None:
    found = columns(parsed(table))

    expected = {column.name: (ATHENA[column.type], column.comment) for column in table.columns}
    if table.partitioned:
        expected["data_date"] = ("DATE", "UTC date of the execution's DataStartTime; filter on it")
    assert found == expected


@every_table
def test_a_table_lies_in_its_folder_of_the_lake(table: Table) -> None:
    create = parsed(table)

    assert create.find(exp.LocationProperty).this.name == f"s3://plant-a/lake/{table.name}/"
    assert create.find(exp.FileFormatProperty).this.name == "PARQUET"
    assert create.find(exp.SchemaCommentProperty).this.this.startswith(table.meaning)


@every_table
def test_athena_works_out_the_days_by_itself(table: Table) -> None:
    found = properties(parsed(table))

    assert found["lookout_ledger.table"] == table.name
    assert found["lookout_ledger.version"] == str(table.version)
    if table.partitioned:
        assert found["projection.enabled"] == "true"
        assert found["projection.data_date.type"] == "date"
        assert found["projection.data_date.format"] == "yyyy-MM-dd"
        assert found["projection.data_date.range"] == "2025-01-01,NOW"
        assert found["storage.location.template"] == (
            f"s3://plant-a/lake/{table.name}/data_date=${{data_date}}"
        )
    else:
        assert not [name for name in found if name.startswith(("projection", "storage"))]


def test_a_history_that_has_ended_is_not_looked_for_after_its_last_day() -> None:
    place = LakeLocation("s3://plant-a/lake", date(2025, 3, 1), date(2026, 10, 8))

    found = properties(parsed(INFERENCE_EXECUTIONS, place))

    assert found["projection.data_date.range"] == "2025-03-01,2026-10-07"


def test_a_slash_at_the_end_of_the_lake_changes_nothing() -> None:
    slashed = LakeLocation("s3://plant-a/lake/", date(2025, 1, 1))

    assert build_external_table(INFERENCE_EXECUTIONS, slashed) == build_external_table(
        INFERENCE_EXECUTIONS, PLACE
    )


@every_table
def test_every_name_is_quoted_for_some_are_reserved(table: Table) -> None:
    external = build_external_table(table, PLACE)

    for statement in (render_athena_ddl(external, "plant"), render_spark_ddl(external, "plant")):
        assert f"`plant`.`{table.name}`" in statement
        for column in (*external.columns, *external.partition_keys):
            assert f"  `{column.name}` {column.type} COMMENT" in statement


@pytest.mark.parametrize("database", [None, "plant_a"])
def test_a_table_goes_to_the_database_that_is_named(database: str | None) -> None:
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
def test_any_text_survives_as_a_comment(text: str) -> None:
    odd = replace(ARCHIVE_FILES, columns=(Column("uri", pa.string(), text),), meaning=text)

    create = parsed(odd)

    assert columns(create) == {"uri": ("STRING", text)}
    assert create.find(exp.SchemaCommentProperty).this.this.startswith(text)


@every_table
def test_glue_takes_the_comments(table: Table) -> None:
    external = build_external_table(table, PLACE)

    assert len(external.comment) <= 2048
    assert {column.name for column in external.columns if len(column.comment) > 255} == set()
    assert all(letter >= " " for column in external.columns for letter in column.comment)


@every_table
def test_spark_is_told_to_look_which_days_there_are(table: Table) -> None:
    statements = [
        found
        for found in sqlglot.parse(render_spark_ddl(build_external_table(table, PLACE)), dialect="spark")
        if found
    ]

    expected = {column.name: (ATHENA[column.type], column.comment) for column in table.columns}
    if table.partitioned:
        expected["data_date"] = ("DATE", "UTC date of the execution's DataStartTime; filter on it")
    assert columns(statements[0]) == expected
    assert [found.sql("spark") for found in statements[1:]] == (
        [f"MSCK REPAIR TABLE `{table.name}`"] if table.partitioned else []
    )
