"""The tables in Glue's catalog, where Athena finds them: compared with the declarations, created, updated.

A table is changed on the condition that it still is what was compared. Where somebody changed it meanwhile,
Glue refuses, and all is done again with what is there then. Tables that are not ours are left alone.
Credentials, region and endpoint (`AWS_ENDPOINT_URL_GLUE`) are boto3's to find.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import boto3
import botocore.exceptions as refusals
from botocore.config import Config

from resources.aws.external_table import ExternalTable
from resources.aws.glue_table import (
    Change,
    GlueTable,
    build_table_input,
    find_differences,
    find_update_obstacle,
    list_undeclared_columns,
)
from resources.clock import sleep_up_to
from resources.errors import ConfigurationError, LedgerError, PermissionsError, RetryLaterError

ATTEMPTS = 8
"""How often a table is tried that others keep changing."""

_LONGEST_PAUSE_SECONDS = 1.0
_MISSING = "EntityNotFoundException"
_CAME_BETWEEN = {
    "glue:CreateTable": {"AlreadyExistsException", "ConcurrentModificationException"},
    "glue:UpdateTable": {"ConcurrentModificationException", _MISSING},
}
_LATER = {
    "InternalServiceException",
    "OperationTimeoutException",
    "ResourceNotReadyException",
    "ThrottlingException",
}
_FORBIDDEN = {"AccessDenied", "AccessDeniedException"}
_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
_SERVER_ERROR = 500

Action = Literal["create", "update", "none", "refuse"]


@dataclass(frozen=True)
class TableOutcome:
    """What is to be done, or was done, to one table.

    `kept` are columns that Glue has and the declaration has not: they stay. `reason` says why a table is
    refused.
    """

    table: str
    action: Action
    changes: tuple[Change, ...] = ()
    undeclared_columns: tuple[str, ...] = ()
    reason: str = ""


class Catalog:
    """One database of Glue's catalog. Nothing is asked before the first call."""

    def __init__(self, database: str, *, adopt: bool = False) -> None:
        """Name the database.

        Args:
            database: its name.
            adopt: take over tables of our names that do not carry our mark.
        """
        self.database = database
        self._adopt = adopt

    def exists(self) -> bool:
        """Tell whether the database is there.

        Raises:
            LedgerError: Glue refuses, or cannot be reached.
        """
        with self._asking("glue:GetDatabase"):
            try:
                self._glue.get_database(Name=self.database)
            except refusals.ClientError as problem:
                if _code(problem) == _MISSING:
                    return False
                raise
        return True

    def create(self) -> None:
        """Create the database; nothing happens where it is there.

        Raises:
            LedgerError: Glue refuses, or cannot be reached.
        """
        about = {"Name": self.database, "Description": "Executions and results of Lookout for Equipment."}
        with self._asking("glue:CreateDatabase"):
            try:
                self._glue.create_database(DatabaseInput=about)
            except refusals.ClientError as problem:
                if _code(problem) != "AlreadyExistsException":
                    raise

    def compare(self, wanted: Sequence[ExternalTable]) -> list[TableOutcome]:
        """Tell what `sync` would do to each table; nothing is changed.

        Raises:
            LedgerError: Glue refuses, or cannot be reached.
        """
        return [self._planned(table, self._there(table.name)) for table in wanted]

    def sync(self, wanted: Sequence[ExternalTable]) -> Iterator[TableOutcome]:
        """Create or update one table after the other; hands on what became of each as soon as it did.

        Raises:
            RetryLaterError: others kept changing a table, or Glue is busy.
            LedgerError: Glue refuses, or cannot be reached.
        """
        return map(self._brought_in_step, wanted)

    def _brought_in_step(self, wanted: ExternalTable) -> TableOutcome:
        for attempt in range(ATTEMPTS):
            there = self._there(wanted.name)
            planned = self._planned(wanted, there)
            if planned.action in ("none", "refuse") or self._done(wanted, there):
                return planned
            longest = min(_LONGEST_PAUSE_SECONDS, 0.02 * 2**attempt)
            sleep_up_to(longest)
        raise RetryLaterError(
            f"others changed the table {ATTEMPTS} times while it was being updated",
            where=self._where(wanted.name),
            next_step="see who else writes to this database, and run this again; nothing was lost",
        )

    def _planned(self, wanted: ExternalTable, there: GlueTable | None) -> TableOutcome:
        if there is None:
            columns = (*wanted.columns, *wanted.partition_keys)
            changes = [Change(f"column {column.name}", None, column.type) for column in columns]
            return TableOutcome(wanted.name, "create", (Change("location", None, wanted.location), *changes))
        kept = tuple(list_undeclared_columns(there, wanted))
        if reason := find_update_obstacle(there, wanted, adopt=self._adopt):
            return TableOutcome(wanted.name, "refuse", undeclared_columns=kept, reason=reason)
        changes = find_differences(there, wanted)
        return TableOutcome(wanted.name, "update" if changes else "none", tuple(changes), kept)

    def _there(self, name: str) -> GlueTable | None:
        with self._asking("glue:GetTable", table=name):
            try:
                table: GlueTable = self._glue.get_table(DatabaseName=self.database, Name=name)["Table"]
            except refusals.ClientError as problem:
                if _code(problem) == _MISSING:
                    return None
                raise
        return table

    def _done(self, wanted: ExternalTable, there: GlueTable | None) -> bool:
        """Create or update a table; False: somebody else came in between."""
        given = build_table_input(wanted, there, self._members)
        if there is None:
            return self._unless_others_did(
                "glue:CreateTable",
                wanted.name,
                lambda: self._glue.create_table(DatabaseName=self.database, TableInput=given),
            )
        return self._unless_others_did(
            "glue:UpdateTable",
            wanted.name,
            lambda: self._glue.update_table(
                DatabaseName=self.database, TableInput=given, VersionId=there["VersionId"]
            ),
        )

    def _unless_others_did(self, action: str, table: str, do: Callable[[], object]) -> bool:
        with self._asking(action, table=table):
            try:
                do()
            except refusals.ClientError as problem:
                if _code(problem) in _CAME_BETWEEN[action]:
                    return False
                raise
        return True

    @cached_property
    def _glue(self) -> Any:  # noqa: ANN401 (boto3 has no types)
        config = Config(retries={"mode": "standard"}, connect_timeout=10)
        return _session().client("glue", config=config)

    @cached_property
    def _members(self) -> list[str]:
        return list(self._glue.meta.service_model.shape_for("TableInput").members)

    def _where(self, table: str | None = None) -> str:
        return f"Glue, database {self.database}" + (f", table {table}" if table else "")

    @contextmanager
    def _asking(self, action: str, *, table: str | None = None) -> Iterator[None]:
        where = self._where(table)
        try:
            where += f" at {self._glue.meta.endpoint_url}"
            yield
        except (refusals.BotoCoreError, refusals.ClientError, ValueError) as problem:
            raise _told(problem, where, action) from problem


@cache
def _session() -> boto3.Session:
    """One for all catalogs: it knows the credentials, and what took seconds to load for the first client."""
    return boto3.Session()


def _code(problem: refusals.ClientError) -> str:
    return str(problem.response.get("Error", {}).get("Code", ""))


def _told(problem: Exception, where: str, action: str) -> LedgerError:
    """Say in our words what Glue, the network or boto3 answered, by who can mend it."""
    match problem:
        case refusals.ClientError():
            return _told_by_glue(problem, where, action)
        case (
            refusals.NoCredentialsError()
            | refusals.PartialCredentialsError()
            | refusals.CredentialRetrievalError()
            | refusals.TokenRetrievalError()
            | refusals.SSOError()
        ):
            return _no_credentials(str(problem), where)
        case refusals.HTTPClientError() | refusals.ConnectionError():
            return RetryLaterError(
                f"Glue cannot be reached: {problem}",
                where=where,
                next_step="check the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_GLUE, and run again",
            )
    return ConfigurationError(
        f"Glue cannot be asked: {problem}",
        where=where,
        next_step="set AWS_PROFILE and AWS_DEFAULT_REGION to the account and region of the catalog",
    )


def _told_by_glue(problem: refusals.ClientError, where: str, action: str) -> LedgerError:
    code = _code(problem)
    status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code}: {problem.response.get('Error', {}).get('Message', '')}"
    if code in _CREDENTIALS:
        return _no_credentials(said, where)
    if code in _FORBIDDEN:
        return PermissionsError(
            f"Glue refuses: {said}",
            where=where,
            next_step=f"grant {action} on the catalog, this database and its tables to this caller, whom"
            " `aws sts get-caller-identity` names; docs/reference/iam has the whole policy. Where Lake"
            " Formation governs the database, grant it there, too",
        )
    if code in _LATER or status >= _SERVER_ERROR:
        return RetryLaterError(
            f"Glue is busy or out of order: {said}", where=where, next_step="run this again later"
        )
    return ConfigurationError(
        f"Glue refuses: {said}", where=where, next_step="correct what it names, and run this again"
    )


def _no_credentials(said: str, where: str) -> PermissionsError:
    return PermissionsError(
        f"no usable AWS credentials: {said}",
        where=where,
        next_step="log in (aws sso login), or set AWS_PROFILE;"
        " `aws sts get-caller-identity` shows whether that worked",
    )
