"""Glue's catalog: real boto3 over HTTP, against a Glue that is as strict about versions as AWS is."""

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
from tests.support.glue import Before, Glue, Refusal, glue, glue_client, glue_server

__all__ = ["glue", "glue_client", "glue_server"]  # fixtures

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


def test_tables_are_created_as_the_ddl_would_create_them(glue: Glue) -> None:
    assert actions(sync(*ALL)) == ["create"] * len(ALL)

    for wanted in ALL:
        table = glue.table(wanted.name)
        storage = table["StorageDescriptor"]
        assert storage["Location"] == f"s3://plant-a/lake/{wanted.name}/"
        assert storage["Columns"] == [
            {"Name": column.name, "Type": column.type, "Comment": column.comment} for column in wanted.columns
        ]
        assert [(key["Name"], key["Type"]) for key in table["PartitionKeys"]] == [
            (key.name, key.type) for key in wanted.partition_keys
        ]
        assert table["TableType"] == "EXTERNAL_TABLE"
        assert table["Description"] == wanted.comment
        assert table["Parameters"] == {"EXTERNAL": "TRUE", **wanted.properties}
        assert storage["InputFormat"].endswith("MapredParquetInputFormat")
        assert storage["OutputFormat"].endswith("MapredParquetOutputFormat")
        assert storage["SerdeInfo"]["SerializationLibrary"].endswith("ParquetHiveSerDe")


def test_a_second_time_nothing_is_written(glue: Glue) -> None:
    sync(*ALL)
    glue.server.operations.clear()

    assert actions(sync(*ALL)) == ["none"] * len(ALL)
    assert set(glue.server.operations) == {"GetTable"}


def test_comparing_changes_nothing(glue: Glue) -> None:
    assert actions(Catalog("plant").compare(ALL)) == ["create"] * len(ALL)
    assert glue.client.get_tables(DatabaseName="plant")["TableList"] == []


@pytest.mark.usefixtures("glue")
def test_a_database_is_created_once() -> None:
    catalog = Catalog("another")

    assert not catalog.exists()
    catalog.create()
    catalog.create()
    assert catalog.exists()


@pytest.mark.usefixtures("glue")
def test_without_the_database_no_table_is_tried_again_and_again() -> None:
    with pytest.raises(ConfigurationError, match="EntityNotFoundException"):
        list(Catalog("nowhere").sync([EXECUTIONS]))


# --- Updating ---------------------------------------------------------------------------------------------


def test_a_column_that_came_later_is_added_and_said(glue: Glue) -> None:
    sync(EXECUTIONS)

    (outcome,) = sync(LATER)

    assert outcome.action == "update"
    assert [str(change) for change in outcome.changes] == [
        "~ property lookout_ledger.version: 1 -> 2",
        "+ column note: string",
    ]
    assert column_names(glue.table(EXECUTIONS.name)) == [column.name for column in LATER.columns]


def test_a_column_that_is_not_declared_stays_and_is_named(glue: Glue) -> None:
    sync(EXECUTIONS)
    mine = {"Name": "mine", "Type": "int", "Comment": "of somebody", "Parameters": {"a": "b"}}
    glue.change(EXECUTIONS.name, lambda table: table["StorageDescriptor"]["Columns"].insert(3, mine))

    (untouched,) = sync(EXECUTIONS)
    (outcome,) = sync(LATER)

    assert (untouched.action, untouched.kept) == ("none", ("mine",))
    assert (outcome.action, outcome.kept) == ("update", ("mine",))
    columns = glue.table(EXECUTIONS.name)["StorageDescriptor"]["Columns"]
    assert columns[-1] == mine
    assert [column["Name"] for column in columns[:-1]] == [column.name for column in LATER.columns]


@pytest.mark.parametrize(
    ("change", "told"),
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
def test_what_somebody_changed_is_told_and_mended(glue: Glue, change: Change, told: str) -> None:
    sync(EXECUTIONS)
    glue.change(EXECUTIONS.name, change)

    (planned,) = Catalog("plant").compare([EXECUTIONS])
    (outcome,) = sync(EXECUTIONS)

    assert [str(one) for one in planned.changes] == [str(one) for one in outcome.changes]
    (only,) = (str(one) for one in outcome.changes)
    assert only.startswith(told)
    assert actions(sync(EXECUTIONS)) == ["none"]


def test_what_else_somebody_set_survives_an_update(glue: Glue) -> None:
    sync(EXECUTIONS)

    def dress(table: dict[str, Any]) -> None:
        table["Owner"] = "plant"
        table["Parameters"]["team"] = "reliability"
        table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["more"] = "of it"

    glue.change(EXECUTIONS.name, dress)
    sync(LATER)

    table = glue.table(EXECUTIONS.name)
    assert table["Owner"] == "plant"
    assert table["Parameters"]["team"] == "reliability"
    assert table["StorageDescriptor"]["SerdeInfo"]["Parameters"] == {
        "serialization.format": "1",
        "more": "of it",
    }


def test_an_unnamed_slash_at_the_end_of_a_location_is_no_difference(glue: Glue) -> None:
    sync(EXECUTIONS)
    glue.change(
        EXECUTIONS.name,
        lambda table: table["StorageDescriptor"].update(Location="s3://plant-a/lake/inference_executions"),
    )

    assert actions(sync(EXECUTIONS)) == ["none"]


# --- Tables that are not ours -----------------------------------------------------------------------------


def foreign(glue: Glue, **more: Any) -> dict[str, Any]:
    """A table of our name that somebody else made."""
    given = {
        "Name": EXECUTIONS.name,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": "data_date", "Type": "date"}],
        "StorageDescriptor": {"Columns": [{"Name": "theirs", "Type": "int"}], "Location": "s3://theirs/"},
        "Parameters": {"classification": "csv"},
        **more,
    }
    glue.client.create_table(DatabaseName="plant", TableInput=given)
    return glue.table(EXECUTIONS.name)


def test_a_table_of_the_same_name_that_is_not_ours_is_left_alone(glue: Glue) -> None:
    before = foreign(glue)

    outcomes = sync(*ALL)

    assert glue.table(EXECUTIONS.name) == before
    (refused,) = (outcome for outcome in outcomes if outcome.action == "refuse")
    assert refused.table == EXECUTIONS.name
    assert "belongs to another owner" in refused.reason and "--adopt" in refused.reason
    assert actions(outcomes).count("create") == len(ALL) - 1  # the others are not kept from theirs


def test_it_is_taken_over_when_told_and_keeps_its_columns(glue: Glue) -> None:
    foreign(glue)

    (outcome,) = sync(EXECUTIONS, adopt=True)

    assert (outcome.action, outcome.kept) == ("update", ("theirs",))
    assert column_names(glue.table(EXECUTIONS.name)) == [*(c.name for c in EXECUTIONS.columns), "theirs"]
    assert actions(sync(EXECUTIONS)) == ["none"]  # from now on it is ours


@pytest.mark.parametrize(
    ("more", "told"),
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
def test_what_cannot_become_ours_is_left_alone_whatever_is_told(
    glue: Glue, more: dict[str, Any], told: str
) -> None:
    before = foreign(glue, **more)

    (outcome,) = sync(EXECUTIONS, adopt=True)

    assert outcome.action == "refuse"
    assert told in outcome.reason
    assert glue.table(EXECUTIONS.name) == before


def test_a_table_that_a_newer_version_wrote_is_left_alone(glue: Glue) -> None:
    sync(LATER)

    (outcome,) = sync(EXECUTIONS)

    assert outcome.action == "refuse"
    assert "newer version" in outcome.reason
    assert glue.table(EXECUTIONS.name)["Parameters"]["lookout_ledger.version"] == "2"


def test_other_tables_of_the_database_are_not_even_looked_at(glue: Glue) -> None:
    glue.client.create_table(DatabaseName="plant", TableInput={"Name": "others"})
    before = glue.table("others")
    glue.server.operations.clear()

    sync(*ALL)

    assert set(glue.server.operations) == {"GetTable", "CreateTable"}
    assert glue.table("others") == before


# --- At once ----------------------------------------------------------------------------------------------


def test_a_change_between_looking_and_writing_is_not_lost(glue: Glue) -> None:
    sync(EXECUTIONS)
    mine = {"Name": "mine", "Type": "int"}

    def meanwhile() -> None:
        glue.change(EXECUTIONS.name, lambda table: table["StorageDescriptor"]["Columns"].append(mine))

    glue.server.before.append(Before("UpdateTable", meanwhile))
    (outcome,) = sync(LATER)

    assert (outcome.action, outcome.kept) == ("update", ("mine",))
    assert column_names(glue.table(EXECUTIONS.name)) == [*(c.name for c in LATER.columns), "mine"]


def test_a_table_that_somebody_else_creates_first_is_compared_again(glue: Glue) -> None:
    glue.server.before.append(Before("CreateTable", lambda: foreign(glue) and None))

    (outcome,) = sync(EXECUTIONS)

    assert outcome.action == "refuse"
    assert column_names(glue.table(EXECUTIONS.name)) == ["theirs"]


def test_a_table_that_is_dropped_meanwhile_is_created(glue: Glue) -> None:
    sync(EXECUTIONS)
    drop = {"DatabaseName": "plant", "Name": EXECUTIONS.name}
    glue.server.before.append(Before("UpdateTable", lambda: glue.client.delete_table(**drop)))

    (outcome,) = sync(LATER)

    assert outcome.action == "create"
    assert column_names(glue.table(EXECUTIONS.name)) == [column.name for column in LATER.columns]


def test_threads_that_sync_at_once_agree_in_the_end(glue: Glue) -> None:
    sync(EXECUTIONS)
    tables = [LATER, *(table for table in ALL if table.name != EXECUTIONS.name)]

    with ThreadPoolExecutor(4) as pool:
        doing = [pool.submit(sync, *tables) for _ in range(4)]
    outcomes = [outcome for one in doing for outcome in one.result()]

    assert {outcome.action for outcome in outcomes} <= {"create", "update", "none"}
    for table in tables:
        mine = [outcome.action for outcome in outcomes if outcome.table == table.name]
        assert len([action for action in mine if action != "none"]) == 1  # one did it, the others saw it done
        assert column_names(glue.table(table.name)) == [column.name for column in table.columns]


_SYNC = """\
from tests.resources.aws.test_glue_catalog import ALL, sync
print("\\n".join(outcome.action for outcome in sync(*ALL)))
"""


@pytest.mark.usefixtures("glue")
def test_processes_that_sync_at_once_agree_in_the_end() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _SYNC], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=240)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert [sorted(pair) for pair in zip(*told, strict=True)] == [["create", "none"]] * len(ALL)


def test_endless_changes_by_others_end_in_a_message(glue: Glue) -> None:
    sync(EXECUTIONS)
    glue.server.refusals.append(Refusal("UpdateTable", "ConcurrentModificationException", times=1000))

    with pytest.raises(RetryLaterError, match=f"other writers changed it {ATTEMPTS} times"):
        sync(LATER)
    assert glue.server.operations.count("UpdateTable") == ATTEMPTS


# --- What can go wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("GetTable", "glue:GetTable"),
        ("CreateTable", "glue:CreateTable"),
        ("UpdateTable", "glue:UpdateTable"),
    ],
)
def test_a_missing_permission_is_named(glue: Glue, operation: str, action: str) -> None:
    sync(EXECUTIONS)
    glue.server.refusals.append(Refusal(operation, "AccessDeniedException"))

    with pytest.raises(PermissionsError) as caught:
        sync(LATER, build_external_table(TABLES[0], PLACE))
    assert f"grant {action} on" in caught.value.next_step
    assert "database plant, table" in caught.value.where


@pytest.mark.parametrize("operation", ["GetDatabase", "CreateDatabase"])
def test_a_missing_permission_on_databases_is_named(glue: Glue, operation: str) -> None:
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
def test_a_refusal_is_told_by_who_can_mend_it(glue: Glue, code: str, status: str, kind: type) -> None:
    glue.server.refusals.append(Refusal("GetTable", code, status=status))

    with pytest.raises(kind, match=code):
        sync(EXECUTIONS)


@pytest.mark.usefixtures("glue")
def test_no_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    default_session.cache_clear()

    with pytest.raises(PermissionsError, match="usable AWS credentials"):
        sync(EXECUTIONS)
    default_session.cache_clear()


@pytest.mark.usefixtures("glue")
def test_no_region_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(ConfigurationError) as caught:
        sync(EXECUTIONS)
    assert "AWS_DEFAULT_REGION" in caught.value.next_step


@pytest.mark.usefixtures("glue")
def test_a_place_where_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:9")

    with pytest.raises(RetryLaterError, match="Cannot reach Glue"):
        sync(EXECUTIONS)
