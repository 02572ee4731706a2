"""SQL over a lake in S3: the same answers, and of one day only that day's file is fetched."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

import lookout_ledger
from assets.tables import INFERENCE_EXECUTIONS
from pipelines.operations.query import query_once
from resources.lake.lake import Lake
from tests.support.engine_world import DAYS, World, made, write

STATEMENT = "SELECT status, count(*) AS n FROM inference_executions {where} GROUP BY 1 ORDER BY 1"


@pytest.fixture
def lake(s3_lake_uri: str, tmp_path: Path) -> Lake:
    """Written on disk, and put there file by file."""
    local = World(Lake(str(tmp_path / "lake")))
    client = boto3.Session().client("s3")
    for day in DAYS:
        write(local, INFERENCE_EXECUTIONS, day, made(INFERENCE_EXECUTIONS, day))
        key = f"lake/{INFERENCE_EXECUTIONS.name}/data_date={day}/part-0.parquet"
        body = Path(local.lake.path(INFERENCE_EXECUTIONS, day)).read_bytes()
        client.put_object(Bucket="plant", Key=key, Body=body)
    client.close()
    return Lake(s3_lake_uri)


@pytest.fixture
def fetched(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> set[str]:  # noqa: ARG001 (which is there before)
    """The days whose files S3 was asked for."""
    days: set[str] = set()
    answer_to = DomainDispatcherApplication.__call__

    def record(app: Any, environ: dict[str, Any], start: Any) -> Any:
        _, is_a_file, day = environ["PATH_INFO"].partition("data_date=")
        if is_a_file and environ["REQUEST_METHOD"] == "GET":
            days.add(day.partition("/")[0])
        return answer_to(app, environ, start)

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", record)
    return days


def test_a_question_about_one_day_fetches_the_file_of_that_day_alone(lake: Lake, fetched: set[str]) -> None:
    found = query_once(lake, STATEMENT.format(where=f"WHERE data_date = '{DAYS[2]}'"))

    assert sum(found["n"].to_pylist()) == 18
    assert fetched == {str(DAYS[2])}


def test_reading_some_days_in_python_fetches_their_files_alone(lake: Lake, fetched: set[str]) -> None:
    found = lookout_ledger.read(INFERENCE_EXECUTIONS.name, DAYS[1], DAYS[3], lake=lake.uri)

    assert len(found) == 36
    assert fetched == {str(DAYS[1]), str(DAYS[2])}


def test_a_question_without_a_day_fetches_them_all(lake: Lake, fetched: set[str]) -> None:
    found = query_once(lake, STATEMENT.format(where=""))

    assert sum(found["n"].to_pylist()) == 18 * len(DAYS)
    assert fetched == {str(day) for day in DAYS}
