"""The Glue catalog: boto3 over HTTP, against a Glue server that checks versions as AWS does."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from assets.tables import INFERENCE_EXECUTIONS, TABLES
from assets.tables.ddl import LakeLocation, build_external_table
from resources.aws.external_table import ExternalColumn, ExternalTable
from resources.aws.glue_catalog import ATTEMPTS, Catalog
from resources.aws.session import default_session
from resources.errors import ConfigurationError, PermissionsError, RetryLaterError
from tests.support.glue import Before, Glue, Refusal

CHECKOUT = Path(__file__).resolve().parents[3]
PLACE = LakeLocation("s3://plant-a/lake", date(2025, 1, 1))
ALL = [build_external_table(table, PLACE) for table in TABLES]
EXECUTIONS = build_external_table(INFERENCE_EXECUTIONS, PLACE)
NOTE = ExternalColumn("note", "string", "since version 2")
LATER = replace(
    EXECUTIONS,
    columns=(NOTE, *EXECUTIONS.columns),
    properties={**EXECUTIONS.properties, "lookout_ledger.version": "2"},
)

Change = Callable[[dict[str, Any]], None]


def sync(*tables: ExternalTable, **more: Any) -> list[Any]:
    return list(Catalog("plant", **more).sync(tables))


def actions(outcomes: list[Any]) -> list[str]:
    return [outcome.action for outcome in outcomes]


def column_names(table: dict[str, Any]) -> list[str]:
    return [column["Name"] for column in table["StorageDescriptor"]["Columns"]]


# --- Creating ---------------------------------------------------------------------------------------------


def test_created_tables_match_the_ddl(glue: Glue) -> None:
    assert actions(sync(*ALL)) == ["create"] * len(ALL)

    for declared in ALL:
        table = glue.table(declared.name)
        storage = table["StorageDescriptor"]
        assert storage["Location"] == f"s3://plant-a/lake/{declared.name}/"
        assert storage["Columns"] == [
            {"Name": column.name, "Type": column.type, "Comment": column.comment}
            for column in declared.columns
        ]
        assert [(key["Name"], key["Type"]) for key in table["PartitionKeys"]] == [
            (key.name, key.type) for key in declared.partition_keys
        ]
        assert table["TableType"] == "EXTERNAL_TABLE"
        assert table["Description"] == declared.comment
        assert table["Parameters"] == {"EXTERNAL": "TRUE", **declared.properties}
        assert storage["InputFormat"].endswith("MapredParquetInputFormat")
        assert storage["OutputFormat"].endswith("MapredParquetOutputFormat")
        assert storage["SerdeInfo"]["SerializationLibrary"].endswith("ParquetHiveSerDe")


def test_a_second_sync_writes_nothing(glue: Glue) -> None:
    sync(*ALL)
    glue.server.operations.clear()

    assert actions(sync(*ALL)) == ["none"] * len(ALL)
    assert set(glue.server.operations) == {"GetTable"}


def test_compare_changes_nothing(glue: Glue) -> None:
    assert actions(Catalog("plant").compare(ALL)) == ["create"] * len(ALL)
    assert glue.client.get_tables(DatabaseName="plant")["TableList"] == []


@pytest.mark.usefixtures("glue")
def test_create_is_idempotent() -> None:
    catalog = Catalog("another")

    assert not catalog.exists()
    catalog.create()
    catalog.create()
    assert catalog.exists()


@pytest.mark.usefixtures("glue")
def test_a_missing_database_fails_without_retries() -> None:
    with pytest.raises(ConfigurationError, match="EntityNotFoundException"):
        list(Catalog("nowhere").sync([EXECUTIONS]))


# --- Updating ---------------------------------------------------------------------------------------------


def test_a_new_column_is_added_and_reported(glue: Glue) -> None:
    sync(EXECUTIONS)

    (outcome,) = sync(LATER)

    assert outcome.action == "update"
    assert [str(change) for change in outcome.changes] == [
        "~ property lookout_ledger.version: 1 -> 2",
        "+ column note: string",
    ]
    assert column_names(glue.table(EXECUTIONS.name)) == [column.name for column in LATER.columns]


def test_an_undeclared_column_stays_and_is_reported(glue: Glue) -> None:
    sync(EXECUTIONS)
    mine = {"Name": "mine", "Type": "int", "Comment": "of another owner", "Parameters": {"a": "b"}}
    glue.change(EXECUTIONS.name, lambda table: table["StorageDescriptor"]["Columns"].insert(3, mine))

    (untouched,) = sync(EXECUTIONS)
    (outcome,) = sync(LATER)

    assert (untouched.action, untouched.kept) == ("none", ("mine",))
    assert (outcome.action, outcome.kept) == ("update", ("mine",))
    columns = glue.table(EXECUTIONS.name)["StorageDescriptor"]["Columns"]
    assert columns[-1] == mine
    assert [column["Name"] for column in columns[:-1]] == [column.name for column in LATER.columns]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda table: table.update(Description="else"), "~ comment: else -> "),
        (lambda table: table.pop("Description"), "+ comment: "),
        (
            lambda table: table["StorageDescriptor"].update(Location="s3://else/where"),
            "~ location: s3://else/where/ -> s3://plant-a/lake/inference_executions/",
        ),
        (
            lambda table: table["Parameters"].update({"projection.data_date.range": "2024-01-01,NOW"}),
            "~ property projection.data_date.range: 2024-01-01,NOW -> 2025-01-01,NOW",
        ),
        (lambda table: table["Parameters"].pop("projection.enabled"), "+ property projection.enabled: true"),
        (
            lambda table: table["StorageDescriptor"]["Columns"][0].update(Type="int"),
            "~ type of scheduler_arn: int -> string",
        ),
        (
            lambda table: table["StorageDescriptor"]["Columns"][0].update(Comment="else"),
            "~ comment of scheduler_arn: else -> ",
        ),
        (lambda table: table["StorageDescriptor"]["Columns"].pop(0), "+ column scheduler_arn: string"),
        (lambda table: table["PartitionKeys"][0].update(Comment="else"), "~ comment of data_date: else -> "),
        (lambda table: table["StorageDescriptor"].update(InputFormat="Text"), "~ InputFormat: Text -> "),
        (
            lambda table: table["StorageDescriptor"]["SerdeInfo"].update(SerializationLibrary="Json"),
            "~ serde: Json -> ",
        ),
    ],
    ids=[
        "a comment of the table",
        "no comment of the table",
        "a location",
        "a range of days",
        "a property that is gone",
        "a type",
        "a comment of a column",
        "a column that is gone",
        "a comment of the partition",
        "an input format",
        "a serde",
    ],
)
def test_a_foreign_change_is_reported_and_reverted(glue: Glue, change: Change, expected: str) -> None:
    sync(EXECUTIONS)
    glue.change(EXECUTIONS.name, change)

    (planned,) = Catalog("plant").compare([EXECUTIONS])
    (outcome,) = sync(EXECUTIONS)

    assert [str(change) for change in planned.changes] == [str(change) for change in outcome.changes]
    (line,) = map(str, outcome.changes)
    assert line.startswith(expected)
    assert actions(sync(EXECUTIONS)) == ["none"]


def test_undeclared_properties_survive_an_update(glue: Glue) -> None:
    sync(EXECUTIONS)

    def add_undeclared(table: dict[str, Any]) -> None:
        table["Owner"] = "plant"
        table["Parameters"]["team"] = "reliability"
        table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["more"] = "of it"

    glue.change(EXECUTIONS.name, add_undeclared)
    sync(LATER)

    table = glue.table(EXECUTIONS.name)
    assert table["Owner"] == "plant"
    assert table["Parameters"]["team"] == "reliability"
    assert table["StorageDescriptor"]["SerdeInfo"]["Parameters"] == {
        "serialization.format": "1",
        "more": "of it",
    }


def test_a_missing_slash_at_the_end_of_a_location_is_no_difference(glue: Glue) -> None:
    sync(EXECUTIONS)
    glue.change(
        EXECUTIONS.name,
        lambda table: table["StorageDescriptor"].update(Location="s3://plant-a/lake/inference_executions"),
    )

    assert actions(sync(EXECUTIONS)) == ["none"]


# --- Tables of other owners -------------------------------------------------------------------------------


def create_foreign_table(glue: Glue, **more: Any) -> dict[str, Any]:
    """Create a table with a declared name and another owner."""
    table_input = {
        "Name": EXECUTIONS.name,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": "data_date", "Type": "date"}],
        "StorageDescriptor": {"Columns": [{"Name": "theirs", "Type": "int"}], "Location": "s3://theirs/"},
        "Parameters": {"classification": "csv"},
        **more,
    }
    glue.client.create_table(DatabaseName="plant", TableInput=table_input)
    return glue.table(EXECUTIONS.name)


def test_a_table_of_another_owner_is_not_changed(glue: Glue) -> None:
    before = create_foreign_table(glue)

    outcomes = sync(*ALL)

    assert glue.table(EXECUTIONS.name) == before
    (refused,) = (outcome for outcome in outcomes if outcome.action == "refuse")
    assert refused.table == EXECUTIONS.name
    assert "belongs to another owner" in refused.reason and "--adopt" in refused.reason
    assert actions(outcomes).count("create") == len(ALL) - 1  # the other tables are created


def test_an_adopted_table_keeps_its_columns(glue: Glue) -> None:
    create_foreign_table(glue)

    (outcome,) = sync(EXECUTIONS, adopt=True)

    assert (outcome.action, outcome.kept) == ("update", ("theirs",))
    assert column_names(glue.table(EXECUTIONS.name)) == [*(c.name for c in EXECUTIONS.columns), "theirs"]
    assert actions(sync(EXECUTIONS)) == ["none"]  # the table has the property now


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"PartitionKeys": [{"Name": "day", "Type": "string"}]},
            "partitioned by day string, not by data_date",
        ),
        ({"PartitionKeys": []}, "partitioned by nothing, not by data_date date"),
        ({"TableType": "VIRTUAL_VIEW"}, "another kind of table (VIRTUAL_VIEW)"),
        ({"Parameters": {"table_type": "ICEBERG"}}, "another kind of table (ICEBERG)"),
    ],
    ids=["other partitions", "no partitions", "a view", "an Iceberg table"],
)
def test_a_table_that_cannot_be_adopted_is_not_changed(
    glue: Glue, more: dict[str, Any], expected: str
) -> None:
    before = create_foreign_table(glue, **more)

    (outcome,) = sync(EXECUTIONS, adopt=True)

    assert outcome.action == "refuse"
    assert expected in outcome.reason
    assert glue.table(EXECUTIONS.name) == before


def test_a_table_of_a_newer_version_is_not_changed(glue: Glue) -> None:
    sync(LATER)

    (outcome,) = sync(EXECUTIONS)

    assert outcome.action == "refuse"
    assert "newer version" in outcome.reason
    assert glue.table(EXECUTIONS.name)["Parameters"]["lookout_ledger.version"] == "2"


def test_other_tables_of_the_database_are_not_read(glue: Glue) -> None:
    glue.client.create_table(DatabaseName="plant", TableInput={"Name": "others"})
    before = glue.table("others")
    glue.server.operations.clear()

    sync(*ALL)

    assert set(glue.server.operations) == {"GetTable", "CreateTable"}
    assert glue.table("others") == before


# --- Concurrency---------------------------------------------------------------------------------------------


def test_a_change_between_read_and_write_is_not_lost(glue: Glue) -> None:
    sync(EXECUTIONS)
    mine = {"Name": "mine", "Type": "int"}

    def meanwhile() -> None:
        glue.change(EXECUTIONS.name, lambda table: table["StorageDescriptor"]["Columns"].append(mine))

    glue.server.before.append(Before("UpdateTable", meanwhile))
    (outcome,) = sync(LATER)

    assert (outcome.action, outcome.kept) == ("update", ("mine",))
    assert column_names(glue.table(EXECUTIONS.name)) == [*(c.name for c in LATER.columns), "mine"]


def test_a_table_that_another_writer_creates_first_is_compared_again(glue: Glue) -> None:
    glue.server.before.append(Before("CreateTable", lambda: create_foreign_table(glue) and None))

    (outcome,) = sync(EXECUTIONS)

    assert outcome.action == "refuse"
    assert column_names(glue.table(EXECUTIONS.name)) == ["theirs"]


def test_a_table_that_is_dropped_during_an_update_is_created(glue: Glue) -> None:
    sync(EXECUTIONS)
    drop = {"DatabaseName": "plant", "Name": EXECUTIONS.name}
    glue.server.before.append(Before("UpdateTable", lambda: glue.client.delete_table(**drop)))

    (outcome,) = sync(LATER)

    assert outcome.action == "create"
    assert column_names(glue.table(EXECUTIONS.name)) == [column.name for column in LATER.columns]


def test_concurrent_threads_reach_the_same_state(glue: Glue) -> None:
    sync(EXECUTIONS)
    tables = [LATER, *(table for table in ALL if table.name != EXECUTIONS.name)]

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(sync, *tables) for _ in range(4)]
    outcomes = [outcome for future in futures for outcome in future.result()]

    assert {outcome.action for outcome in outcomes} <= {"create", "update", "none"}
    for table in tables:
        mine = [outcome.action for outcome in outcomes if outcome.table == table.name]
        assert len([action for action in mine if action != "none"]) == 1  # only one thread changed it
        assert column_names(glue.table(table.name)) == [column.name for column in table.columns]


_SYNC = """\
from tests.resources.aws.test_glue_catalog import ALL, sync
print("\\n".join(outcome.action for outcome in sync(*ALL)))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("glue")
def test_concurrent_processes_reach_the_same_state() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _SYNC], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    expected = [process.communicate(timeout=240)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert [sorted(pair) for pair in zip(*expected, strict=True)] == [["create", "none"]] * len(ALL)


def test_permanent_conflicts_raise_an_error(glue: Glue) -> None:
    sync(EXECUTIONS)
    glue.server.refusals.append(Refusal("UpdateTable", "ConcurrentModificationException", times=1000))

    with pytest.raises(RetryLaterError, match=f"other writers changed it {ATTEMPTS} times"):
        sync(LATER)
    assert glue.server.operations.count("UpdateTable") == ATTEMPTS


# --- Errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("GetTable", "glue:GetTable"),
        ("CreateTable", "glue:CreateTable"),
        ("UpdateTable", "glue:UpdateTable"),
    ],
)
def test_a_missing_table_permission_is_named(glue: Glue, operation: str, action: str) -> None:
    sync(EXECUTIONS)
    glue.server.refusals.append(Refusal(operation, "AccessDeniedException"))

    with pytest.raises(PermissionsError) as caught:
        sync(LATER, build_external_table(TABLES[0], PLACE))
    assert f"grant {action} on" in caught.value.next_step
    assert "database plant, table" in caught.value.where


@pytest.mark.parametrize("operation", ["GetDatabase", "CreateDatabase"])
def test_a_missing_database_permission_is_named(glue: Glue, operation: str) -> None:
    glue.server.refusals.append(Refusal(operation, "AccessDeniedException"))
    catalog = Catalog("another")
    ask = catalog.exists if operation == "GetDatabase" else catalog.create

    with pytest.raises(PermissionsError) as caught:
        ask()
    assert f"grant glue:{operation} on" in caught.value.next_step


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InternalServiceException", "500 Internal Server Error", RetryLaterError),
        ("ThrottlingException", "400 Bad Request", RetryLaterError),
        ("ExpiredTokenException", "400 Bad Request", PermissionsError),
        ("InvalidInputException", "400 Bad Request", ConfigurationError),
    ],
)
def test_an_error_response_is_classified_by_what_fixes_it(
    glue: Glue, code: str, status: str, kind: type
) -> None:
    glue.server.refusals.append(Refusal("GetTable", code, status=status))

    with pytest.raises(kind, match=code):
        sync(EXECUTIONS)


@pytest.mark.usefixtures("glue")
def test_missing_credentials_raise_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    default_session.cache_clear()

    with pytest.raises(PermissionsError, match="usable AWS credentials"):
        sync(EXECUTIONS)
    default_session.cache_clear()


@pytest.mark.usefixtures("glue")
def test_a_missing_region_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(ConfigurationError) as caught:
        sync(EXECUTIONS)
    assert "AWS_DEFAULT_REGION" in caught.value.next_step


@pytest.mark.usefixtures("glue")
def test_an_unreachable_endpoint_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:9")

    with pytest.raises(RetryLaterError, match="Cannot reach Glue"):
        sync(EXECUTIONS)
