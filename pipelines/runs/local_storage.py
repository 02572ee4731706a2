"""The storage of a local instance: Dagster's SQLite files, where planned events need few transactions.

Before a run over a range of days starts, Dagster stores one event for each asset and day. Its own SQLite
storage opens two connections for each of these events. For a range of two years, that keeps the Dagster UI or
the daemon busy for minutes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_NO_ID = 0
"""The table of assets stores the id of materializations only."""


class LocalStorage(DagsterSqliteStorage):
    """Dagster's default storage in the same files; only the event log differs.

    Each dagster.yaml that `ledger dev` wrote has the name of this class.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """See `DagsterSqliteStorage`."""
        super().__init__(base_dir, inst_data)
        self._event_log_storage = LocalEventLogStorage(str(Path(base_dir, "history", "runs")))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, object]
    ) -> "LocalStorage":
        """Return the storage that dagster.yaml names."""
        return cls.from_local(str(config_value["base_dir"]), inst_data)


class LocalEventLogStorage(SqliteEventLogStorage):
    """Stores the planned materializations of a batch together. Dagster sends batches if it is set to."""

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store the events of a run, the planned materializations in one transaction per file."""
        planned = [event for event in events if event.dagster_event_type is _PLANNED]
        if planned:
            self._store_planned(planned)
        for event in events:
            if event.dagster_event_type is not _PLANNED:
                self.store_event(event)

    def _store_planned(self, events: Sequence[dg.EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        last_events = {row["asset_key"]: event for row, event in zip(rows, events, strict=True)}
        with self.index_transaction() as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
            for event in last_events.values():
                self._store_asset_event(connection, event, _NO_ID)
