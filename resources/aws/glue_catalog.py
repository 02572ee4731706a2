"""The tables in the Glue catalog, where Athena finds them: compare with the declarations, create, update.

An update is conditional: if another writer changed the table first, Glue rejects it, and the comparison is
repeated. Tables of other owners are not changed. Credentials, region and endpoint (`AWS_ENDPOINT_URL_GLUE`)
come from boto3's default chain.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import botocore.exceptions as refusals
from botocore.config import Config

from resources.aws.clients import create_client
from resources.aws.error_codes import CHECK_PROXY, ErrorKind, classify_error, credentials_error
from resources.aws.external_table import ExternalTable
from resources.aws.glue_table import (
    Change,
    GlueTable,
    build_table_input,
    find_differences,
    find_update_obstacle,
    list_undeclared_columns,
)
from resources.aws.session import default_session
from resources.clock import sleep_up_to
from resources.errors import ConfigurationError, LedgerError, PermissionsError, RetryLaterError

ATTEMPTS = 8
"""How often an update is tried while other writers change the table."""

_LONGEST_PAUSE_SECONDS = 1.0

Action = Literal["create", "update", "none", "refuse"]


@dataclass(frozen=True)
class TableOutcome:
    """The planned or completed change of one table; also one object of `ledger catalog --json`.

    Attributes:
        table: its name.
        action: what is done.
        changes: each difference from the declaration.
        kept: columns in Glue that are not declared; they stay.
        reason: why the table is not changed; empty otherwise.
    """

    table: str
    action: Action
    changes: tuple[Change, ...] = ()
    kept: tuple[str, ...] = ()
    reason: str = ""


class Catalog:
    """One database of the Glue catalog. The first call opens the client."""

    def __init__(self, database: str, *, adopt: bool = False) -> None:
        """Make no request yet.

        Args:
            database: its name.
            adopt: also change tables of the declared names that lack this project's property.
        """
        self.database = database
        self._adopt = adopt

    def exists(self) -> bool:
        """Return whether the database exists.

        Raises:
            LedgerError: Glue returned an error, or cannot be reached.
        """
        with self._translate_errors("glue:GetDatabase"):
            try:
                self._glue.get_database(Name=self.database)
            except refusals.ClientError as error:
                if classify_error(error).kind is ErrorKind.NO_RESOURCE:
                    return False
                raise
        return True

    def create(self) -> None:
        """Create the database, if it does not exist.

        Raises:
            LedgerError: Glue returned an error, or cannot be reached.
        """
        database = {"Name": self.database, "Description": "Executions and results of Lookout for Equipment."}
        with self._translate_errors("glue:CreateDatabase"):
            try:
                self._glue.create_database(DatabaseInput=database)
            except refusals.ClientError as error:
                if classify_error(error).kind is not ErrorKind.EXISTS:
                    raise

    def compare(self, declared: Sequence[ExternalTable]) -> list[TableOutcome]:
        """Return what `sync` would do to each table, without a change.

        Raises:
            LedgerError: Glue returned an error, or cannot be reached.
        """
        return [self._plan(table, self._read_table(table.name)) for table in declared]

    def sync(self, declared: Sequence[ExternalTable]) -> Iterator[TableOutcome]:
        """Create or update one table after the other; yield each outcome when it is reached.

        Raises:
            RetryLaterError: other writers kept changing a table, or Glue is busy.
            LedgerError: Glue returned an error, or cannot be reached.
        """
        return map(self._sync_table, declared)

    def _sync_table(self, declared: ExternalTable) -> TableOutcome:
        for attempt in range(ATTEMPTS):
            existing = self._read_table(declared.name)
            plan = self._plan(declared, existing)
            if plan.action in ("none", "refuse") or self._write_table(declared, existing):
                return plan
            sleep_up_to(min(_LONGEST_PAUSE_SECONDS, 0.02 * 2**attempt))
        raise RetryLaterError(
            f"Cannot update the table: other writers changed it {ATTEMPTS} times meanwhile",
            where=self._describe_place(declared.name),
            next_step="find the other writers of this database, then run again; no data is lost",
        )

    def _plan(self, declared: ExternalTable, existing: GlueTable | None) -> TableOutcome:
        if existing is None:
            columns = (*declared.columns, *declared.partition_keys)
            changes = [Change(f"column {column.name}", None, column.type) for column in columns]
            location = Change("location", None, declared.location)
            return TableOutcome(declared.name, "create", (location, *changes))
        kept = tuple(list_undeclared_columns(existing, declared))
        if reason := find_update_obstacle(existing, declared, adopt=self._adopt):
            return TableOutcome(declared.name, "refuse", kept=kept, reason=reason)
        changes = find_differences(existing, declared)
        return TableOutcome(declared.name, "update" if changes else "none", tuple(changes), kept)

    def _read_table(self, name: str) -> GlueTable | None:
        with self._translate_errors("glue:GetTable", table=name):
            try:
                table: GlueTable = self._glue.get_table(DatabaseName=self.database, Name=name)["Table"]
            except refusals.ClientError as error:
                if classify_error(error).kind is ErrorKind.NO_RESOURCE:
                    return None
                raise
        return table

    def _write_table(self, declared: ExternalTable, existing: GlueTable | None) -> bool:
        """Create or update a table; False: another writer changed it first."""
        table_input = build_table_input(declared, existing, self._input_members)
        if existing is None:
            return self._write_unless_changed(
                "glue:CreateTable",
                declared.name,
                lambda: self._glue.create_table(DatabaseName=self.database, TableInput=table_input),
                {ErrorKind.EXISTS, ErrorKind.CONFLICT},
            )
        return self._write_unless_changed(
            "glue:UpdateTable",
            declared.name,
            lambda: self._glue.update_table(
                DatabaseName=self.database, TableInput=table_input, VersionId=existing["VersionId"]
            ),
            {ErrorKind.NO_RESOURCE, ErrorKind.CONFLICT},
        )

    def _write_unless_changed(
        self, action: str, table: str, write: Callable[[], object], conflicts: Collection[ErrorKind]
    ) -> bool:
        with self._translate_errors(action, table=table):
            try:
                write()
            except refusals.ClientError as error:
                if classify_error(error).kind in conflicts:
                    return False
                raise
        return True

    @cached_property
    def _glue(self) -> Any:  # noqa: ANN401 (boto3 has no types)
        config = Config(retries={"mode": "standard"}, connect_timeout=10)
        return create_client(default_session(), "glue", config=config)

    @cached_property
    def _input_members(self) -> list[str]:
        return list(self._glue.meta.service_model.shape_for("TableInput").members)

    def _describe_place(self, table: str | None = None) -> str:
        return f"Glue, database {self.database}" + (f", table {table}" if table else "")

    @contextmanager
    def _translate_errors(self, action: str, *, table: str | None = None) -> Iterator[None]:
        where = self._describe_place(table)
        try:
            where += f" at {self._glue.meta.endpoint_url}"
            yield
        except (refusals.BotoCoreError, refusals.ClientError, ValueError) as error:
            raise translate_error(error, where, action) from error


def translate_error(error: Exception, where: str, action: str) -> LedgerError:
    """Turn an error of Glue, the network or boto3 into a LedgerError by what can be done about it."""
    answer = classify_error(error)
    failure = f"Cannot call {action}"
    match answer.kind:
        case ErrorKind.CREDENTIALS:
            return credentials_error(answer.message, where)
        case ErrorKind.FORBIDDEN | ErrorKind.KMS:
            return PermissionsError(
                f"{failure}: {answer.message}",
                where=where,
                next_step=f"grant {action} on the catalog, this database and its tables to this caller (see"
                " `aws sts get-caller-identity`); docs/reference/iam has the whole policy. If Lake Formation"
                " governs the database, grant it there too",
            )
        case ErrorKind.BUSY:
            return RetryLaterError(
                f"{failure}: Glue is busy: {answer.message}", where=where, next_step="run this again later"
            )
        case ErrorKind.UNREACHABLE | ErrorKind.CONNECTION_LOST | ErrorKind.UNTRUSTED:
            return RetryLaterError(
                f"Cannot reach Glue: {answer.message}",
                where=where,
                next_step=CHECK_PROXY
                if answer.is_about_proxy
                else "check the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_GLUE, then run again",
            )
    fix = "set AWS_PROFILE and AWS_DEFAULT_REGION to the account and region of the catalog"
    if answer.code:
        fix = "correct what the error names, then run this again"
    return ConfigurationError(f"{failure}: {answer.message}", where=where, next_step=fix)
