"""Forgets what sources, schedulers or days brought into the lake, and lifts what was forgotten."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import dagster as dg

from assets.anomalies.events import EventRule
from assets.executions.archive_index import lift_files, load_records
from assets.executions.bucket_identity import IDENTITY_COLUMNS
from assets.executions.service_state import get_service_state
from assets.executions.tombstones import ForgetOperation, read_operations, save_operation
from assets.health.execution_health import build_health_policy
from assets.removal.derived import DerivedTables
from assets.removal.operation import ForgetReport, Forgetting
from assets.removal.selection import SERVICE_PREFIX, select_arns, select_hashes, select_sources
from assets.tables import ARCHIVE_FILES, EXECUTION_SOURCES, FORGET_OPERATIONS, INFERENCE_SCHEDULERS
from resources.config.equipment import load_equipment
from resources.config.settings import Settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.redaction import redact
from resources.sources.base import Source
from resources.sources.factory import open_sources


@dataclass(frozen=True)
class ForgetRequest:
    """What a command names; None: everything."""

    source: str | None = None
    file: str | None = None
    scheduler: str | None = None
    first: date | None = None
    last: date | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing."""
        return not any((self.source, self.file, self.scheduler, self.first, self.last))


def find_operation(lake: Lake, settings: Settings, request: ForgetRequest, now: datetime) -> ForgetOperation:
    """Return the recorded operation with the same selection that is not lifted, or a new one.

    Raises:
        ConfigurationError: the lake knows no such source or scheduler.
        LedgerError: the lake cannot be read.
    """
    spellings = _list_spellings(request.source or request.file, settings)
    own = (request.scheduler, request.first, request.last)
    for recorded in read_operations(lake):
        is_source = recorded.source in spellings if spellings else recorded.source is None
        if is_source and recorded.is_active and recorded.selection[1:] == own:
            return recorded
    name = sources = hashes = arns = None
    if spellings:
        records = load_records(lake.read(ARCHIVE_FILES))
        known = {*records, *lake.read(EXECUTION_SOURCES, columns=["source"])["source"].to_pylist()}
        if request.file:
            name, sources = select_sources(spellings, records, "--file", is_folder_allowed=False)
        else:
            others = {redact(source.uri) for source in _open(settings) if not source.files}
            name, sources = select_sources(spellings, known | others, "--source")
        hashes = select_hashes(sources, records)
    if request.scheduler:
        arns = select_arns(request.scheduler, lake.read(INFERENCE_SCHEDULERS, columns=IDENTITY_COLUMNS))
    operation = ForgetOperation(
        "",
        started_at=now,
        recorded_at=now,
        source=name,
        scheduler=request.scheduler,
        first_date=request.first,
        last_date=request.last,
        sources=sources,
        content_hashes=hashes,
        scheduler_arns=arns,
    )
    digest = blake2b(repr(operation.selection).encode(), digest_size=2).hexdigest()
    return replace(operation, operation_id=f"{now:%Y%m%d-%H%M%S}-{digest}")


def _list_spellings(name: str | None, settings: Settings) -> list[str]:
    """Return a name as it is, and as a path below the current folder and below that of the settings."""
    if not name:
        return []
    folders = [Path.cwd(), *([settings.config_file.parent] if settings.config_file else [])]
    is_path = "://" not in name and not name.startswith(SERVICE_PREFIX)
    paths = [str((folder / Path(name).expanduser()).resolve()) for folder in folders] if is_path else []
    return list(dict.fromkeys([name, *paths]))


def _open(settings: Settings) -> Sequence[Source]:
    return open_sources(settings) if settings.sources else ()


def open_forgetting(
    lake: Lake,
    settings: Settings,
    operation: ForgetOperation,
    now: datetime,
    report_progress: Callable[[str], None],
) -> Forgetting:
    """Open an operation; nothing is read yet.

    Raises:
        ConfigurationError: the settings of a source or of the machines cannot be used.
    """
    sources = _open(settings)
    settle_after = timedelta(minutes=settings.history.settle_after_minutes)
    rule = EventRule(settings.events.gap_steps, timedelta(minutes=settings.events.min_duration_minutes))
    derived = DerivedTables(
        lake,
        build_health_policy(get_service_state(sources), settle_after, now),
        rule,
        load_equipment(settings.equipment.registry, settings.equipment.expected_bucket_owner),
        now,
    )
    return Forgetting(lake, operation, sources, derived, settle_after, now, report_progress)


def lift(lake: Lake, operation_id: str, now: datetime) -> ForgetOperation:
    """Let the next runs read again what an operation skips.

    Raises:
        ConfigurationError: there is no such operation, or it is unfinished or lifted.
        LedgerError: the lake cannot be written.
    """
    operations = {operation.operation_id: operation for operation in read_operations(lake)}
    operation = operations.get(operation_id)
    if operation is None or not operation.is_active or not operation.is_finished:
        reason = "there is no such operation"
        if operation:
            reason = "it is unfinished" if operation.is_active else "it is lifted already"
        raise ConfigurationError(
            f"Cannot lift {operation_id}: {reason}",
            where="--lift",
            next_step="run ledger forget without options to list the operations; an unfinished one is"
            " completed by the command that started it",
        )
    lifted = replace(operation, lifted_at=now)
    # the files first: a kill between both leaves files that are skipped again and then lifted
    lake.update(ARCHIVE_FILES, None, lambda existing: lift_files(existing, lifted))
    lake.update(FORGET_OPERATIONS, None, lambda existing: save_operation(existing, lifted, now))
    return lifted


def log_materializations(settings: Settings, report: ForgetReport) -> str | None:
    """Log the new content of the days in Dagster, so that the report is updated; return why not, or None.

    Without an instance there is nothing to log.
    """
    home = os.environ.get("DAGSTER_HOME")
    if home is None or not Path(home, "dagster.yaml").exists():
        return None
    try:
        with dg.DagsterInstance.get() as instance:
            for day, result in report.materializations:
                event = result.materialization(day.isoformat(), settings.dagster.key_prefix)
                instance.report_runless_asset_event(event)
    except Exception as error:  # noqa: BLE001 (databases and YAML files raise many types)
        return str(error).strip().partition("\n")[0] or repr(error)
    return None
