"""Fixtures of all tests: a small fleet, saved and captured responses, S3, Spark, a receiver of alerts.

`conftest.py` loads them in the processes that run tests.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.loaders
import botocore.session
import moto.backends
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from resources import redaction
from resources.aws.session import default_session
from sandbox.dumps import Manifest, write_history
from sandbox.fleet import Fleet, History
from tests.support.dagster_databases import create_databases_once
from tests.support.fleets import build_sparse_fleet
from tests.support.glue import REGION as GLUE_REGION
from tests.support.glue import Glue, GlueServer
from tests.support.receiver import Receiver, run_receiver
from tests.support.s3_server import EXTERNAL_ENDPOINT, NEEDS_MOTO, Bucket, Server, set_aws_credentials
from tests.support.spark import HIVE, open_session

AnyServer = TypeVar("AnyServer", Server, GlueServer)
BUCKET_NUMBERS = itertools.count(1)
FLEET_END = datetime(2026, 10, 8, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def _libraries_load_their_data_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Load once: Dagster's migrations and empty databases, the data of boto3, the services of moto."""
    load = ScriptDirectory.from_config
    loaded: dict[str | None, ScriptDirectory] = {}

    def load_once(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in loaded:
            loaded[location] = load(config)
        return loaded[location]

    modules = list(moto.backends.list_of_moto_modules())  # moto would look for them at each request
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moto.backends, "list_of_moto_modules", lambda: modules)
        patch.setattr(ScriptDirectory, "from_config", load_once)
        create_databases_once(tmp_path_factory.mktemp("databases"), patch)
        patch.setattr(botocore.session, "create_loader", cache(botocore.loaders.create_loader))
        yield


@pytest.fixture(scope="session")
def small_fleet() -> Fleet:
    """Two days of the fleet, 2026-10-06 and 2026-10-07; only one scheduler runs every five minutes."""
    return build_sparse_fleet(seed=1, history=History(datetime(2026, 10, 6, tzinfo=UTC), FLEET_END))


@pytest.fixture(scope="session")
def dumps(small_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """The folder and manifest of saved responses of the small fleet. Tests only read them."""
    folder = tmp_path_factory.mktemp("dumps")
    return folder, write_history(small_fleet, folder, FLEET_END)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of captured real responses that LEDGER_CAPTURES names, with a subfolder for each form."""
    folder = os.environ.get("LEDGER_CAPTURES")
    if not folder:
        pytest.skip("LEDGER_CAPTURES is not set")
    return Path(folder)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An HTTP server that records alerts."""
    with run_receiver() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LEDGER_") and name != "LEDGER_CAPTURES":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_protected", set())


def _serve_with_one_session(server: AnyServer) -> Iterator[AnyServer]:
    """Yield a server, and stop it; a new session is slow to open, so one serves all tests."""
    default_session.cache_clear()
    yield server
    default_session.cache_clear()
    server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    yield from _serve_with_one_session(Server())


@pytest.fixture
def _s3_environment(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", EXTERNAL_ENDPOINT or s3_server.url)
    s3_server.faults.clear()
    s3_server.ignored_headers.clear()
    s3_server.requests.clear()


@pytest.fixture
def s3(s3_server: Server, _s3_environment: None) -> Server:
    """The server, with an environment that has its credentials and no other AWS settings."""
    if EXTERNAL_ENDPOINT:
        pytest.skip(NEEDS_MOTO)
    return s3_server


@pytest.fixture(scope="session")
def _client(s3_server: Server) -> Any:
    return boto3.Session().client(
        "s3",
        endpoint_url=EXTERNAL_ENDPOINT or s3_server.url,
        region_name="eu-west-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )


@pytest.fixture
def bucket(s3_server: Server, _s3_environment: None, _client: Any) -> Bucket:
    name = f"bucket-{os.getpid()}-{next(BUCKET_NUMBERS)}"
    _client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3_server.requests.clear()
    return Bucket(name, s3_server, _client)


@pytest.fixture(scope="session")
def glue_server() -> Iterator[GlueServer]:
    yield from _serve_with_one_session(GlueServer())


@pytest.fixture(scope="session")
def glue_client(glue_server: GlueServer) -> Any:
    """One client for all tests, because botocore loads its model of Glue for seconds."""
    return boto3.Session().client(
        "glue",
        endpoint_url=glue_server.url,
        region_name=GLUE_REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )


@pytest.fixture
def glue(glue_server: GlueServer, glue_client: Any, monkeypatch: pytest.MonkeyPatch) -> Glue:
    """The catalog, and an environment with its credentials and no other AWS settings."""
    set_aws_credentials(monkeypatch)
    monkeypatch.setenv("AWS_DEFAULT_REGION", GLUE_REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", glue_server.url)
    for database in glue_client.get_databases()["DatabaseList"]:
        glue_client.delete_database(Name=database["Name"])
    glue_client.create_database(DatabaseInput={"Name": "plant"})
    for records in (glue_server.operations, glue_server.refusals, glue_server.before):
        records.clear()
    return Glue(glue_server, glue_client)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session for one module. Mark the tests `spark`."""
    yield from open_session(tmp_path_factory.mktemp("spark"), {})


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session with a Hive catalog in memory. Mark the tests `spark`."""
    yield from open_session(tmp_path_factory.mktemp("hive"), HIVE)


@pytest.fixture
def rounds() -> Callable[[int], int]:
    """The number of rounds of a test that samples: its default, or that of `make faults ROUNDS=1000`."""
    return lambda default: int(os.environ.get("FAULT_ROUNDS") or default)
