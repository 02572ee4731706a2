"""`ledger catalog sync`: its output for users and programs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assets.tables import TABLES
from pipelines.cli.app import app
from resources.errors import ConfigurationError
from tests.support.glue import Glue

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with its own settings."""

    def command(*words: str, uri: str = "s3://plant-a/lake") -> Result:
        file = tmp_path / "ledger.toml"
        file.write_text(f'[lake]\nuri = "{uri}"\n')
        monkeypatch.setenv("LEDGER_CONFIG", str(file))
        return CliRunner().invoke(app, ["catalog", "sync", *words])

    return command


def test_differences_are_shown_and_then_applied(glue: Glue, run: Run) -> None:
    first = run("--database", "plant")
    again = run("--database", "plant")

    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert "+ plant.inference_executions: create" in first.stdout
    assert "    + column scheduler_arn: string" in first.stdout
    assert f"{len(TABLES)} created." in first.stdout
    assert "= plant.inference_executions: up to date" in again.stdout
    assert f"{len(TABLES)} up to date." in again.stdout
    assert glue.table("archive_files")["StorageDescriptor"]["Location"] == "s3://plant-a/lake/archive_files/"


def test_a_dry_run_changes_nothing(glue: Glue, run: Run) -> None:
    done = run("--database", "plant", "--dry-run", "inference_executions")

    assert done.exit_code == 0, done.output
    assert "1 to create. Nothing was changed." in done.stdout
    assert glue.client.get_tables(DatabaseName="plant")["TableList"] == []


def test_a_database_is_created_only_on_request(glue: Glue, run: Run) -> None:
    refused = run("--database", "another")
    planned = run("--database", "another", "--create-database", "--dry-run")
    names = {database["Name"] for database in glue.client.get_databases()["DatabaseList"]}
    done = run("--database", "another", "--create-database", "inference_executions")

    assert isinstance(refused.exception, ConfigurationError)
    assert "--create-database" in str(refused.exception)
    assert planned.exit_code == 0
    assert names == {"plant"}
    assert done.exit_code == 0
    assert glue.table("inference_executions", "another")["TableType"] == "EXTERNAL_TABLE"


def test_a_foreign_table_is_refused_unless_adopted(glue: Glue, run: Run) -> None:
    theirs = {"Name": "archive_files", "StorageDescriptor": {"Columns": [{"Name": "mine", "Type": "int"}]}}
    glue.client.create_table(DatabaseName="plant", TableInput=theirs)

    done = run("--database", "plant", "archive_files", "extraction_coverage")

    assert done.exit_code == 1
    assert "! plant.archive_files: refused" in done.stdout
    assert "--adopt" in done.stdout
    assert "= column mine: undeclared, kept" in done.stdout
    assert "1 created, 1 refused." in done.stdout

    assert run("--database", "plant", "archive_files", "--adopt").exit_code == 0
    columns = glue.table("archive_files")["StorageDescriptor"]["Columns"]
    assert (columns[0]["Name"], columns[-1]["Name"]) == ("uri", "mine")


def test_json_has_each_table_with_its_changes(glue: Glue, run: Run) -> None:
    planned = run("--database", "plant", "--json", "--dry-run")
    done = run("--database", "plant", "--json")

    output = json.loads(done.stdout)
    assert json.loads(planned.stdout) == output | {"dry_run": True}
    assert (output["database"], output["dry_run"]) == ("plant", False)
    assert [table["table"] for table in output["tables"]] == [table.name for table in TABLES]
    assert {table["action"] for table in output["tables"]} == {"create"}
    assert output["tables"][0]["changes"][0] == {
        "attribute": "location",
        "before": None,
        "after": f"s3://plant-a/lake/{TABLES[0].name}/",
    }
    assert glue.table(TABLES[0].name)


@pytest.mark.usefixtures("glue")
def test_a_local_lake_is_refused_before_any_call(run: Run) -> None:
    done = run("--database", "plant", uri="lake")

    assert isinstance(done.exception, ConfigurationError)
    assert "Athena reads only from S3" in str(done.exception)
