"""The views over s3:// work in the newest DuckDB with a packaged httpfs, in a virtual environment."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipelines.operations.query import views
from resources.aws.session import default_session
from resources.lake.lake import Lake
from tests.support.engine_questions import Plain
from tests.support.engine_world import DAYS, World, write_world

pytestmark = pytest.mark.slow

PACKAGES = ("duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5", "pytz")

PROGRAM = """\
import json, sys
from pathlib import Path
import duckdb, duckdb_extension_httpfs

connection = duckdb.connect()
[file] = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
connection.execute(f"LOAD '{file}'")
connection.execute(sys.argv[1])
connection.execute(open(sys.argv[2], encoding="utf-8").read())
views = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
names = [name for name, in connection.execute(views).fetchall()]
counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
query = "SELECT count(*), min(epoch_ms(data_start_time)) FROM inference_executions"
query += " WHERE data_date = '2026-10-25'"
plan = connection.execute("EXPLAIN ANALYZE " + query).fetchall()[0][1]
print(json.dumps({"counts": counts, "day": connection.execute(query).fetchone(), "plan": plan}))
"""


@pytest.fixture(scope="module")
def python_with_httpfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python interpreter with DuckDB and httpfs."""
    folder = tmp_path_factory.mktemp("duckdb") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    installation = subprocess.run(
        [str(interpreter), "-m", "pip", "install", "--quiet", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    )
    if installation.returncode:
        pytest.skip(f"cannot install {', '.join(PACKAGES)}")
    return interpreter


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "lake",
        "AWS_SECRET_ACCESS_KEY": "lake",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    default_session.cache_clear()
    boto3.Session().client("s3").create_bucket(Bucket="plant")
    yield f"http://{host}:{port}"
    default_session.cache_clear()
    server.stop()


def test_the_views_of_a_lake_in_s3_work_with_httpfs(
    python_with_httpfs: Path, endpoint: str, tmp_path: Path
) -> None:
    world = write_world_to_s3(Lake("s3://plant/lake"), tmp_path / "copy")
    file = tmp_path / "views.sql"
    file.write_text(views(world.lake))
    secret = (
        "CREATE SECRET lake (TYPE s3, PROVIDER config, KEY_ID 'lake', SECRET 'lake', REGION 'us-east-1',"
        f" ENDPOINT '{urlsplit(endpoint).netloc}', USE_SSL false, URL_STYLE 'path')"
    )

    done = subprocess.run(
        [str(python_with_httpfs), "-c", PROGRAM, secret, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    output = json.loads(done.stdout)
    assert output["counts"] == {name: len(rows) for name, rows in world.truth.items()}
    rows_of_day = [
        row for row in Plain(world).world.truth["inference_executions"] if row["data_date"] == DAYS[2]
    ]
    first = min(row["data_start_time"] for row in rows_of_day)
    assert output["day"] == [len(rows_of_day), int(first.timestamp() * 1000)]
    assert "Scanning Files: 1/5" in output["plan"]


def write_world_to_s3(lake: Lake, copy: Path) -> World:
    """Write the generated rows to disk and upload each file to S3."""
    world = write_world(copy)
    client = boto3.Session().client("s3")
    for file in copy.rglob("part-0.parquet"):
        client.put_object(Bucket="plant", Key=f"lake/{file.relative_to(copy)}", Body=file.read_bytes())
    return World(lake, world.truth)
