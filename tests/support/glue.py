"""Glue for the tests: moto in this process, behind a door that is as strict about versions as AWS is."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.backends import get_backend

from resources.aws.session import default_session
from tests.support.s3_server import CREDENTIALS, Server

ACCOUNT, REGION = "123456789012", "eu-west-1"
_TARGET = "HTTP_X_AMZ_TARGET"


@dataclass
class Refusal:
    """What the next requests of one operation get instead of an answer."""

    operation: str
    code: str
    times: int = 1
    status: str = "400 Bad Request"


@dataclass
class Before:
    """What happens right before the next request of one operation is answered."""

    operation: str
    do: Callable[[], None]


class GlueServer(Server):
    """moto's Glue; unlike moto it takes an update only of the version that is there, as AWS does."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.refusals: list[Refusal] = []
        self.before: list[Before] = []
        super().__init__()

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        operation = environ.get(_TARGET, "").rpartition(".")[2]
        for one in [one for one in self.before if one.operation == operation]:
            self.before.remove(one)
            one.do()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self._lock:
            self.operations.append(operation)
            refusal = next((one for one in self.refusals if one.operation == operation), None)
            if refusal:
                refusal.times -= 1
                if not refusal.times:
                    self.refusals.remove(refusal)
                return _refused(start_response, refusal.status, refusal.code)
            if operation == "UpdateTable" and _is_stale(json.loads(body)):
                return _refused(start_response, "400 Bad Request", "ConcurrentModificationException")
            return list(self._moto(environ, start_response))


def _is_stale(request: dict[str, Any]) -> bool:
    database = get_backend("glue")[ACCOUNT][REGION].databases.get(request["DatabaseName"])
    table = database and database.tables.get(request["TableInput"]["Name"])
    return bool(table) and request.get("VersionId", "") != str(table._current_version)


def _refused(start_response: Callable[..., Any], status: str, code: str) -> list[bytes]:
    body = json.dumps({"__type": code, "Message": f"said {code}"}).encode()
    start_response(
        status, [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
    )
    return [body]


@dataclass(frozen=True)
class Glue:
    """A catalog that is empty at first, and what a test does with it besides the code under test."""

    server: GlueServer
    client: Any

    def table(self, name: str, database: str = "plant") -> dict[str, Any]:
        found: dict[str, Any] = self.client.get_table(DatabaseName=database, Name=name)["Table"]
        return found

    def change(self, name: str, change: Callable[[dict[str, Any]], None], database: str = "plant") -> None:
        """Change a table past the code under test, as somebody in the console does."""
        allowed = self.client.meta.service_model.shape_for("TableInput").members
        there = self.table(name, database)
        given = {member: value for member, value in there.items() if member in allowed}
        change(given)
        self.client.update_table(DatabaseName=database, TableInput=given, VersionId=there["VersionId"])


@pytest.fixture(scope="session")
def glue_server() -> Iterator[GlueServer]:
    server = GlueServer()
    default_session.cache_clear()  # one that knows these credentials serves all tests
    yield server
    default_session.cache_clear()
    server.stop()


@pytest.fixture(scope="session")
def glue_client(glue_server: GlueServer) -> Any:
    """One for all tests: botocore's model of Glue takes seconds to load."""
    return boto3.Session().client(
        "glue",
        endpoint_url=glue_server.url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )


@pytest.fixture
def glue(glue_server: GlueServer, glue_client: Any, monkeypatch: pytest.MonkeyPatch) -> Glue:
    """The catalog, with the environment of someone who uses it and has no other AWS account."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", glue_server.url)
    for database in glue_client.get_databases()["DatabaseList"]:
        glue_client.delete_database(Name=database["Name"])
    glue_client.create_database(DatabaseInput={"Name": "plant"})
    for happened in (glue_server.operations, glue_server.refusals, glue_server.before):
        happened.clear()
    return Glue(glue_server, glue_client)
