"""Dagster's storages during a run, with connections that stay open.

Dagster's SQLite storage opens and closes a connection for each event, in the file of the run and in the file
of all runs, and looks up its own schema. This costs more than writing the event: two thirds of the CPU time
of a materialization. Its PostgreSQL storages connect for each query, twice for a materialization.

SQLAlchemy and Dagster's storages are imported on use. Definitions load faster without them.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from sqlalchemy import Connection

_POOL_SECONDS = 60
"""How long a connection to PostgreSQL is used: not for as long as networks drop silent ones."""

_BUSY_TIMEOUT_SECONDS = 60
_Connect = Callable[[str], "AbstractContextManager[Connection]"]


@contextmanager
def keep_connections_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let the storages of an instance reuse their connections until the end of the context.

    Each event is still a transaction of its own, so a killed process loses no more events than before. Other
    storages than SQLite and PostgreSQL stay as they are.
    """
    from dagster._core.storage.event_log import SqliteEventLogStorage  # noqa: PLC0415 (imports SQLAlchemy)

    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        with _reuse_files(storage):
            yield
    elif "dagster_postgres" in sys.modules:
        with _pool_connections(instance):
            yield
    else:
        yield


@contextmanager
def _pool_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let the event log and the runs in PostgreSQL share a connection.

    A connection that the server has closed is replaced before its next use.
    """
    from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage  # noqa: PLC0415
    from dagster_postgres.utils import create_pg_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    storages = [
        storage
        for storage in (instance.event_log_storage, instance.run_storage)
        if isinstance(storage, PostgresEventLogStorage | PostgresRunStorage)
        and isinstance(storage._engine.pool, NullPool)  # noqa: SLF001 (else an outer context did it)
    ]
    engines = {
        storage.postgres_url: create_pg_engine(
            storage.postgres_url,
            storage._token_provider,  # noqa: SLF001
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_pre_ping=True,
            pool_recycle=_POOL_SECONDS,
        )
        for storage in storages
    }
    single = [(storage, storage._engine) for storage in storages]  # noqa: SLF001
    for storage in storages:
        storage._engine = engines[storage.postgres_url]  # noqa: SLF001
    try:
        yield
    finally:
        for storage, engine in single:
            storage._engine = engine  # noqa: SLF001
        for engine in engines.values():
            engine.dispose()


@contextmanager
def _reuse_files(storage: "SqliteEventLogStorage") -> Iterator[None]:
    """Reuse the connections to the files of an event log, and cache which tables and columns it has."""
    if "_connect" in vars(storage):  # an outer context did it
        yield
        return
    with ExitStack() as connections:
        replaced = {
            "_connect": _reuse(storage, connections),
            "has_table": cache(storage.has_table),
            "_has_asset_key_col_on_connection": _remember_columns(storage),
        }
        vars(storage).update(replaced)
        try:
            yield
        finally:
            for name in replaced:
                delattr(storage, name)


def _remember_columns(storage: "SqliteEventLogStorage") -> "Callable[[Connection, str], bool]":
    look_up, known = storage._has_asset_key_col_on_connection, dict[str, bool]()  # noqa: SLF001

    def has_column(connection: "Connection", name: str) -> bool:
        if name not in known:
            known[name] = look_up(connection, name)
        return known[name]

    return has_column


def _reuse(storage: "SqliteEventLogStorage", connections: ExitStack) -> _Connect:
    from sqlalchemy import Connection, create_engine  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    connect_once, open_connections, lock = storage._connect, dict[str, Connection](), threading.Lock()  # noqa: SLF001

    @contextmanager
    def connect(shard: str) -> Iterator["Connection"]:
        with lock:
            if shard not in open_connections:
                with connect_once(shard):  # creates the tables of a new file
                    pass
                engine = create_engine(
                    storage.conn_string_for_shard(shard),
                    poolclass=StaticPool,
                    connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                )
                connections.callback(engine.dispose)
                open_connections[shard] = connections.enter_context(engine.connect())
            connection = open_connections[shard]
            with connection.begin():
                yield connection
            # the file itself changes only at a checkpoint; the Dagster UI watches it for new events
            os.utime(storage.path_for_shard(shard))

    return connect
