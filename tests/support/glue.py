"""A Glue server in this process: moto, with the version checks of AWS and injected errors."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend

from tests.support.s3_server import Server

ACCOUNT, REGION = "123456789012", "eu-west-1"
_TARGET = "HTTP_X_AMZ_TARGET"


@dataclass
class Refusal:
    """An error that the next requests of one operation get."""

    operation: str
    code: str
    times: int = 1
    status: str = "400 Bad Request"


@dataclass
class Before:
    """A function that runs right before the next request of one operation."""

    operation: str
    do: Callable[[], None]


class GlueServer(Server):
    """moto's Glue. It rejects an update of an outdated table version, as AWS does and moto does not."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.refusals: list[Refusal] = []
        self.before: list[Before] = []
        super().__init__()

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        operation = environ.get(_TARGET, "").rpartition(".")[2]
        for hook in [hook for hook in self.before if hook.operation == operation]:
            self.before.remove(hook)
            hook.do()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self._lock:
            self.operations.append(operation)
            refusal = next((item for item in self.refusals if item.operation == operation), None)
            if refusal:
                refusal.times -= 1
                if not refusal.times:
                    self.refusals.remove(refusal)
                return _refuse(start_response, refusal.status, refusal.code)
            if operation == "UpdateTable" and _is_stale(json.loads(body)):
                return _refuse(start_response, "400 Bad Request", "ConcurrentModificationException")
            return list(self._moto(environ, start_response))


def _is_stale(request: dict[str, Any]) -> bool:
    database = get_backend("glue")[ACCOUNT][REGION].databases.get(request["DatabaseName"])
    table = database and database.tables.get(request["TableInput"]["Name"])
    return bool(table) and request.get("VersionId", "") != str(table._current_version)


def _refuse(start_response: Callable[..., Any], status: str, code: str) -> list[bytes]:
    body = json.dumps({"__type": code, "Message": f"injected {code}"}).encode()
    start_response(
        status, [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
    )
    return [body]


@dataclass(frozen=True)
class Glue:
    """A catalog with one empty database, and direct access to it."""

    server: GlueServer
    client: Any

    def table(self, name: str, database: str = "plant") -> dict[str, Any]:
        table: dict[str, Any] = self.client.get_table(DatabaseName=database, Name=name)["Table"]
        return table

    def change(self, name: str, change: Callable[[dict[str, Any]], None], database: str = "plant") -> None:
        """Change a table directly, as a user of the console does."""
        allowed = self.client.meta.service_model.shape_for("TableInput").members
        table = self.table(name, database)
        table_input = {member: value for member, value in table.items() if member in allowed}
        change(table_input)
        self.client.update_table(DatabaseName=database, TableInput=table_input, VersionId=table["VersionId"])
