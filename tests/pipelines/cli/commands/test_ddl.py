"""`ledger ddl`: SQL for Athena and Spark."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assets.tables import TABLES
from pipelines.cli.app import app
from resources.errors import ConfigurationError

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with its own settings."""

    def command(*words: str, uri: str = "s3://plant-a/lake", history: str = "") -> Result:
        file = tmp_path / "ledger.toml"
        file.write_text(f'[lake]\nuri = "{uri}"\n[history]\nstart_date = "2025-02-01"\n{history}\n')
        monkeypatch.setenv("LEDGER_CONFIG", str(file))
        return CliRunner().invoke(app, ["ddl", *words])

    return command


def test_all_tables_are_printed_by_default(run: Run) -> None:
    done = run()

    assert done.exit_code == 0, done.output
    created = re.findall(r"^CREATE EXTERNAL TABLE IF NOT EXISTS `(\w+)` \($", done.stdout, re.MULTILINE)
    assert created == [table.name for table in TABLES]
    assert "'projection.data_date.range' = '2025-02-01,NOW'" in done.stdout


def test_the_end_of_the_history_ends_the_projection(run: Run) -> None:
    done = run("inference_executions", history='end_date = "2026-10-08"')

    assert "'projection.data_date.range' = '2025-02-01,2026-10-07'" in done.stdout


def test_location_and_database_can_be_set(run: Run) -> None:
    done = run("--database", "plant_a", "--location", "s3://copy/of/it/", "archive_files", uri="lake")

    assert done.exit_code == 0, done.output
    assert "`plant_a`.`archive_files`" in done.stdout
    assert "LOCATION 's3://copy/of/it/archive_files/'" in done.stdout


def test_spark_ddl_accepts_a_local_lake(run: Run, tmp_path: Path) -> None:
    done = run("--spark", "inference_executions", uri="a lake")

    assert done.exit_code == 0, done.output
    assert f"LOCATION '{(tmp_path / 'a lake').as_uri()}/inference_executions/'" in done.stdout
    assert done.stdout.endswith("MSCK REPAIR TABLE `inference_executions`;\n")


@pytest.mark.parametrize(
    ("words", "uri", "expected"),
    [
        (["inference_execution"], "s3://plant-a/lake", ['did you mean "inference_executions"?']),
        (["nothing"], "s3://plant-a/lake", ["inference_schedulers, inference_executions"]),
        ([], "lake", ["Athena reads only from S3", "lake.uri", "--location s3://"]),
        (["--location", "/mnt/lake"], "s3://plant-a/lake", ["/mnt/lake", "--location"]),
        (["--database", "Plant A"], "s3://plant-a/lake", ["'Plant A'", "lower-case"]),
    ],
    ids=["misspelled table", "unknown table", "local lake", "location outside S3", "invalid database"],
)
def test_an_error_names_its_cause_and_fix(run: Run, words: list[str], uri: str, expected: list[str]) -> None:
    done = run(*words, uri=uri)

    assert isinstance(done.exception, ConfigurationError)
    assert done.stdout == ""
    assert [part for part in expected if part not in str(done.exception)] == []
