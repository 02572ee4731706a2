"""The table declarations: names, keys, types and metadata that readers of the lake rely on."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.tables import INFERENCE_EXECUTIONS, INSTANT, PARTITION, TABLES, Column, Table

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def test_tables_are_declared_in_this_order() -> None:
    assert [table.name for table in TABLES] == [
        "inference_schedulers",
        "inference_executions",
        "extraction_coverage",
        "execution_sources",
        "forget_operations",
        "archive_files",
        "rejected_executions",
        "result_objects",
        "anomaly_predictions",
        "sensor_contributions",
        "rejected_results",
        "anomaly_fragments",
        "anomaly_events",
        "execution_health",
        "equipment_health",
        "event_notifications",
    ]


def test_inference_executions_has_these_columns_in_this_order() -> None:
    assert INFERENCE_EXECUTIONS.schema.names == [
        "scheduler_arn",
        "scheduler_name",
        "account_id",
        "region",
        "model_arn",
        "model_name",
        "model_version",
        "model_version_arn",
        "scheduled_start_time",
        "data_start_time",
        "data_end_time",
        "input_s3_bucket",
        "input_s3_prefix",
        "input_time_zone_offset",
        "input_timestamp_format",
        "input_component_timestamp_delimiter",
        "output_s3_bucket",
        "output_s3_prefix",
        "output_kms_key_id",
        "result_s3_bucket",
        "result_s3_key",
        "status",
        "failed_reason",
        "source",
        "outcome_source",
        "recorded_at",
        "unrecognized",
    ]


@pytest.mark.parametrize(
    ("name", "key", "partitioned"),
    [
        ("inference_schedulers", ("scheduler_arn", "valid_from"), False),
        ("inference_executions", ("scheduler_arn", "data_start_time"), True),
        ("extraction_coverage", ("scheduler_arn",), True),
        ("archive_files", ("uri",), False),
        ("rejected_executions", ("source", "position"), False),
        ("result_objects", ("scheduler_arn", "data_start_time"), True),
        ("anomaly_predictions", ("scheduler_arn", "data_start_time", "timestamp"), True),
        ("sensor_contributions", ("scheduler_arn", "data_start_time", "timestamp", "diagnostic_name"), True),
        ("rejected_results", ("scheduler_arn", "data_start_time", "line_number"), True),
        ("anomaly_fragments", ("scheduler_arn", "first_time"), True),
        ("anomaly_events", ("event_id",), False),
        ("execution_health", ("scheduler_arn",), True),
        ("equipment_health", ("equipment",), True),
        ("event_notifications", ("event_id",), False),
    ],
)
def test_table_has_this_key_and_partitioning(name: str, key: tuple[str, ...], partitioned: bool) -> None:
    (table,) = (table for table in TABLES if table.name == name)
    assert table.key == key
    assert table.partitioned is partitioned


@every_table
def test_key_columns_are_required(table: Table) -> None:
    columns = {column.name: column for column in table.columns}
    assert table.key
    assert all(columns[name].required for name in table.key)


@every_table
def test_column_names_are_unique_and_need_no_quotes(table: Table) -> None:
    names = table.schema.names
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert PARTITION not in names  # it is in the path; a copy in the file could contradict it


@every_table
def test_recorded_at_is_required_and_not_part_of_the_content(table: Table) -> None:
    recorded_at = table.schema.field("recorded_at")
    assert recorded_at.type == INSTANT
    assert not recorded_at.nullable
    assert "recorded_at" not in table.content_columns


@every_table
def test_volatile_columns_exist_and_are_not_in_the_key(table: Table) -> None:
    assert table.volatile <= set(table.schema.names)
    assert table.volatile.isdisjoint(table.key)


@every_table
def test_file_footer_contains_table_name_version_and_comments(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "part-0.parquet"
    pq.write_table(table.schema.empty_table(), path)
    stored = pq.read_schema(path)
    assert stored.equals(table.schema)
    assert stored.metadata[b"lookout_ledger.table"].decode() == table.name
    assert int(stored.metadata[b"lookout_ledger.version"]) == table.version >= 1
    assert all(field.metadata[b"comment"] for field in stored)


def has_meaning_and_unit(column: Column) -> bool:
    is_text_or_flag = column.type in (pa.string(), pa.bool_())
    # a bar would end a cell of a Markdown table
    is_clean = column.meaning == column.meaning.strip() and "|" not in column.meaning
    return bool(column.meaning) and is_clean and (column.unit is None) is is_text_or_flag


@every_table
def test_columns_have_a_meaning_and_a_unit(table: Table) -> None:
    assert [column for column in table.columns if not has_meaning_and_unit(column)] == []
    units = {column.name: f" [{column.unit}]" if column.unit else "" for column in table.columns}
    assert {field.name: field.metadata for field in table.schema} == {
        column.name: {b"comment": f"{column.meaning}{units[column.name]}".encode()}
        for column in table.columns
    }


@every_table
def test_lineage_names_columns_of_other_tables(table: Table) -> None:
    known = {(other.name, name) for other in TABLES if other != table for name in other.schema.names}
    assert {source for column in table.columns for source in column.lineage} <= known
    assert all(len(set(column.lineage)) == len(column.lineage) for column in table.columns)


@every_table
def test_columns_are_nullable_unless_required(table: Table) -> None:
    assert [(field.name, field.nullable) for field in table.schema] == [
        (column.name, not column.required) for column in table.columns
    ]


@every_table
def test_types_are_supported_by_every_engine(table: Table) -> None:
    supported = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), INSTANT, pa.list_(pa.date32()))
    assert [column for column in table.columns if column.type not in supported] == []


@every_table
def test_encodings_fit_the_types(table: Table) -> None:
    for column in table.columns:
        assert column in table.columns_with_encoding(column.encoding)
        if column.encoding == "delta":
            assert column.type in (pa.string(), pa.int64(), INSTANT), column
        if column.type == INSTANT:
            assert column.encoding == "delta", (
                column
            )  # timestamps rarely repeat; a dictionary only adds bytes


def test_execution_requires_only_key_sources_and_recording_time() -> None:
    required = [column.name for column in INFERENCE_EXECUTIONS.columns if column.required]
    assert required == ["scheduler_arn", "data_start_time", "source", "outcome_source", "recorded_at"]


def test_no_member_is_stored_in_two_columns_of_executions() -> None:
    sources = [column.source for column in INFERENCE_EXECUTIONS.columns if column.source]
    assert len(sources) == len(set(sources))


def test_importing_declarations_does_not_import_heavy_libraries() -> None:
    script = "import sys, json, assets.tables; print(json.dumps([*sys.modules]))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script], text=True))
    assert {"dagster", "pandas", "boto3", "duckdb"}.isdisjoint(loaded)
