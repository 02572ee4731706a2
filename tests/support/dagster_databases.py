"""Databases of local Dagster instances, created once: each test starts from copies of the empty ones."""

import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage


class EmptyDatabases:
    """Copies of new databases. Dagster creates each kind once, with all its tables and migrations."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    def create(self, file: Path, create: Callable[[], Any]) -> Any:
        """Create a database, or copy that of the same kind; an existing one stays."""
        kind = file.name if file.stem in {"runs", "schedules", "index"} else "run.db"
        template = self._folder / kind
        is_new = not file.exists()
        if is_new and template.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._copy(template, file)
        created = create()
        if is_new and not template.exists() and not file.with_name(f"{file.name}-wal").exists():
            self._copy(file, template)
        return created

    def _copy(self, source: Path, target: Path) -> None:
        """Copy a file; if another process has created the target meanwhile, keep that."""
        temporary = target.with_name(f".{os.getpid()}-{next(self._numbers)}.tmp")
        shutil.copyfile(source, temporary)
        try:
            os.link(temporary, target)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()


def create_databases_once(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make new instances in this process start from copies; `folder` holds the empty databases."""
    databases = EmptyDatabases(folder)
    for storage, name in ((SqliteRunStorage, "runs"), (SqliteScheduleStorage, "schedules")):
        open_storage = storage.from_local

        def open_copy(
            base_dir: str, inst_data: Any = None, *, open_: Any = open_storage, name: str = name
        ) -> Any:
            return databases.create(Path(base_dir, f"{name}.db"), lambda: open_(base_dir, inst_data))

        patch.setattr(storage, "from_local", open_copy)
    open_index, create_shard = SqliteEventLogStorage.__init__, SqliteEventLogStorage._initdb

    def open_index_copy(self: Any, base_dir: str, inst_data: Any = None) -> None:
        databases.create(Path(base_dir, "index.db"), lambda: open_index(self, base_dir, inst_data))

    def create_shard_copy(self: Any, engine: Any, for_index_shard: bool = False) -> None:
        databases.create(
            Path(engine.url.database), lambda: create_shard(self, engine, for_index_shard=for_index_shard)
        )

    patch.setattr(SqliteEventLogStorage, "__init__", open_index_copy)
    patch.setattr(SqliteEventLogStorage, "_initdb", create_shard_copy)
