"""SQL over a lake: in S3, only the files of the queried days are fetched; errors name the file."""

from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

import lookout_ledger
from assets.tables import INFERENCE_EXECUTIONS
from pipelines.operations import query
from pipelines.operations.query import open_query, query_once
from resources.errors import DataError
from resources.lake.lake import Lake
from tests.support.engine_world import DAYS, World, build_rows, write_rows

STATEMENT = "SELECT status, count(*) AS n FROM inference_executions {where} GROUP BY 1 ORDER BY 1"


@pytest.fixture
def lake(s3_lake_uri: str, tmp_path: Path) -> Lake:
    """Write a lake on disk and upload it."""
    local = World(Lake(str(tmp_path / "lake")))
    client = boto3.Session().client("s3")
    for day in DAYS:
        write_rows(local, INFERENCE_EXECUTIONS, day, build_rows(INFERENCE_EXECUTIONS, day))
        key = f"lake/{INFERENCE_EXECUTIONS.name}/data_date={day}/part-0.parquet"
        body = Path(local.lake.path(INFERENCE_EXECUTIONS, day)).read_bytes()
        client.put_object(Bucket="plant", Key=key, Body=body)
    client.close()
    return Lake(s3_lake_uri)


@pytest.fixture
def fetched(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> set[str]:  # noqa: ARG001 (must exist first)
    """Record the days whose files are fetched from S3."""
    days: set[str] = set()
    answer_to = DomainDispatcherApplication.__call__

    def record(app: Any, environ: dict[str, Any], start: Any) -> Any:
        _, is_a_file, day = environ["PATH_INFO"].partition("data_date=")
        if is_a_file and environ["REQUEST_METHOD"] == "GET":
            days.add(day.partition("/")[0])
        return answer_to(app, environ, start)

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", record)
    return days


def test_a_query_on_one_day_fetches_only_its_file(lake: Lake, fetched: set[str]) -> None:
    rows = query_once(lake, STATEMENT.format(where=f"WHERE data_date = '{DAYS[2]}'"))

    assert sum(rows["n"].to_pylist()) == 18
    assert fetched == {str(DAYS[2])}


def test_reading_some_days_in_python_fetches_only_their_files(lake: Lake, fetched: set[str]) -> None:
    rows = lookout_ledger.read(INFERENCE_EXECUTIONS.name, DAYS[1], DAYS[3], lake=lake.uri)

    assert len(rows) == 36
    assert fetched == {str(DAYS[1]), str(DAYS[2])}


def test_a_query_without_a_day_fetches_all_files(lake: Lake, fetched: set[str]) -> None:
    rows = query_once(lake, STATEMENT.format(where=""))

    assert sum(rows["n"].to_pylist()) == 18 * len(DAYS)
    assert fetched == {str(day) for day in DAYS}


def test_integers_over_64_bits_stay_exact() -> None:
    with duckdb.connect() as connection:
        rows = query.execute(
            connection, "SELECT sum(n) AS n FROM (VALUES (9223372036854775807), (1)) AS t(n)"
        )
    assert [int(n) for n in rows["n"].to_pylist()] == [2**63]


def test_an_error_names_the_damaged_file(tmp_path: Path) -> None:
    world = World(Lake(str(tmp_path / "lake")))
    write_rows(world, INFERENCE_EXECUTIONS, DAYS[0], build_rows(INFERENCE_EXECUTIONS, DAYS[0]))
    file = Path(world.lake.path(INFERENCE_EXECUTIONS, DAYS[0]))
    file.write_bytes(file.read_bytes()[:-1])

    with (
        pytest.raises(DataError, match=f"Cannot query the lake: .*{file.name}"),
        open_query(world.lake) as run,
    ):
        run("SELECT count(*) FROM inference_executions")
