"""The checks of `ledger doctor`, in their order."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import dagster as dg

from assets.executions.assets import POOL
from assets.executions.day_status import read_coverage
from assets.report.formatting import pluralize
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE
from pipelines.operations.lake_knowledge import COVERAGE_COLUMNS, find_unknown_days
from pipelines.runs.instance import prepare_home
from pipelines.runs.pools import create_pools
from resources import diagnostics
from resources.aws.access import AwsAccess
from resources.clock import utc_now
from resources.config import equipment, silences
from resources.config.equipment import load_equipment
from resources.config.sections import AlertSettings, EquipmentSettings
from resources.config.settings import Settings, load_settings
from resources.config.silences import load_silences
from resources.config.toml_file import read_toml
from resources.diagnostics import Finding, Level
from resources.errors import ConfigurationError, LedgerError
from resources.lake.lake import Lake
from resources.notifications.open import open_targets
from resources.results.fetcher import ResultFetcher
from resources.sources.factory import open_sources


def run_diagnostics() -> Iterator[Finding]:
    """Yield each finding as soon as its check has run."""
    settings: Settings | None = None
    try:
        settings = load_settings()
    except ConfigurationError as error:
        yield Finding(Level.fail, "settings", error.what, error.next_step)
    if settings is not None:
        yield _check_settings(settings)
        lake = diagnostics.check_lake(
            settings.lake.uri, settings.lake.kms_key_id, settings.lake.expected_bucket_owner
        )
        yield lake
        errors: Mapping[str, str] = {}
        if lake.level is Level.ok:  # otherwise the same error would be reported twice
            yield from _check_knowledge(settings)
            try:
                errors = _read_file_errors(settings)
            except LedgerError as error:
                yield diagnostics.error_finding("errors of saved responses, not known", error)
        yield from _check_sources(settings, errors)
        yield from _check_optional_files(settings)
        yield _check_alerts(settings)
    yield from check_instance(is_configured=settings is not None)


def _check_settings(settings: Settings) -> Finding:
    try:
        sources = settings.require_sources()
    except ConfigurationError as error:
        return diagnostics.error_finding("settings", error)
    count = f"{len(sources)} source{'' if len(sources) == 1 else 's'}"
    return Finding(Level.ok, "settings", f"{settings.config_file or 'the environment'}, {count}")


def _check_knowledge(settings: Settings) -> Iterator[Finding]:
    """Warn if results of recorded executions are not read, or tables of recorded days are not computed."""
    lake = Lake.from_settings(settings)
    try:
        min_event = timedelta(minutes=settings.events.min_duration_minutes)
        coverage = read_coverage(lake, columns=COVERAGE_COLUMNS)
        unknown_days = find_unknown_days(lake, coverage, lake.days(EXTRACTION_COVERAGE), min_event)
    except LedgerError as error:  # without this, the list of findings would look complete
        yield diagnostics.error_finding("recorded data, not known", error)
        return
    for unknown in unknown_days:
        when = f"{unknown.first} to {unknown.last}"
        message = f"{unknown.text}, {when}"
        yield Finding(Level.warn, f"recorded data {unknown.state}", message, unknown.command)


def _read_file_errors(settings: Settings) -> dict[str, str]:
    """Return why saved responses were not read completely, by URI.

    Raises:
        LedgerError: the lake cannot be read.
    """
    rows = Lake.from_settings(settings).read(ARCHIVE_FILES, columns=["uri", "error"])
    return {row["uri"]: row["error"] for row in rows.to_pylist() if row["error"]}


def _check_sources(settings: Settings, errors: Mapping[str, str]) -> Iterator[Finding]:
    results: dict[str, str] = {}
    for source in open_sources(settings) if settings.sources else []:  # which connects to nothing
        if source.files:
            yield diagnostics.check_archive(source.files, errors)
        if source.days:
            yield from diagnostics.check_bucket(source.days, results)
        if source.service:
            yield diagnostics.check_identity(source.service.access, source.uri)
            yield from diagnostics.check_service(source.service, utc_now(), results)
    reader = AwsAccess(profile=settings.results.profile, role_arn=settings.results.role_arn)
    if reader != AwsAccess():
        yield diagnostics.check_identity(reader, "results")
    yield from diagnostics.check_results(ResultFetcher.from_settings(settings), results)


def _check_optional_files(settings: Settings) -> Iterator[Finding]:
    """Check the equipment registry and the silences: a file that does not exist counts as an empty one."""

    def count_machines(uri: str, owner: str | None) -> str:
        count = len(load_equipment(uri, owner).entries)
        return f"{count:,} {pluralize(count, 'machine')}"

    def count_silences(uri: str, owner: str | None) -> str:
        count = len(load_silences(uri, owner))
        return f"{count:,} {pluralize(count, 'silence')}"

    yield from _check_optional_file(
        equipment.SETTING, settings.equipment, count_machines, "each scheduler counts as a machine"
    )
    yield from _check_optional_file(silences.SETTING, settings.alerts, count_silences, "nothing is silenced")


def _check_optional_file(
    setting: str,
    section: EquipmentSettings | AlertSettings,
    count: Callable[[str, str | None], str],
    meaning_without: str,
) -> Iterator[Finding]:
    """Warn if a file does not exist, unless its name is the default."""
    field = setting.rpartition(".")[2]
    uri, owner = getattr(section, field), section.expected_bucket_owner
    try:
        if read_toml(uri, setting, owner) is not None:
            yield Finding(Level.ok, setting, f"{uri}, {count(uri, owner)}")
        elif field in section.model_fields_set:
            message = f"{uri} does not exist, so {meaning_without}"
            yield Finding(Level.warn, setting, message, "create it, or correct the setting")
    except LedgerError as error:
        yield diagnostics.error_finding(setting, error)


def _check_alerts(settings: Settings) -> Finding:
    names = ", ".join(target.location for target in open_targets(settings.alerts))
    message = f"are sent to {names}; try it: ledger alerts test" if names else "are only in the log of ticks"
    return Finding(Level.ok, "alerts", message)


def check_instance(*, is_configured: bool) -> Iterator[Finding]:
    """Check the storage and daemons of the Dagster instance and, with valid settings, its schedules."""
    try:
        subject = f"Dagster instance at {prepare_home()}"
    except ConfigurationError as error:
        yield diagnostics.error_finding("Dagster instance", error)
        return
    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs_count()
            yield Finding(Level.ok, subject, f"its storage works; recorded runs: {runs:,}")
            yield _check_daemons(instance)
            yield _check_pool(instance)
            if is_configured:  # otherwise the code location cannot load
                yield from _check_schedules(instance)
    except Exception as error:  # noqa: BLE001 (databases and YAML files raise many types)
        message = str(error).strip().partition("\n")[0] or repr(error)
        yield Finding(
            Level.fail,
            subject,
            f"cannot be opened: {message}",
            "check DAGSTER_HOME and dagster.yaml, and that its database is running and writable",
        )


def _check_daemons(instance: dg.DagsterInstance) -> Finding:
    statuses = instance.get_daemon_statuses()
    silent = sorted(name for name, status in statuses.items() if not status.healthy)
    if silent:
        return Finding(
            Level.warn,
            "Dagster daemon",
            f"is not running: no heartbeat from {', '.join(silent)}",
            "start it: ledger dev, or dagster-daemon run. Schedules and automation need it; ledger"
            " backfill does not",
        )
    return Finding(Level.ok, "Dagster daemon", "is running")


def _check_pool(instance: dg.DagsterInstance) -> Finding:
    create_pools(instance)
    subject = f"pool {POOL}"
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    limit = limits.get(POOL, instance.get_concurrency_config().pool_config.default_pool_limit)
    if limit is None:
        return Finding(
            Level.warn,
            subject,
            "has no limit, so concurrent runs are throttled by the API",
            f"set a limit: dagster instance concurrency set {POOL} 1; or set"
            " concurrency.pools.default_limit in dagster.yaml for all pools",
        )
    return Finding(Level.ok, subject, f"allows {limit} concurrent run{'' if limit == 1 else 's'}")


def _check_schedules(instance: dg.DagsterInstance) -> Iterator[Finding]:
    from pipelines.definitions import defs  # noqa: PLC0415 (loads only with valid settings)

    stored = {state.instigator_name: state.is_running for state in instance.all_instigator_state()}
    for schedule in defs.schedules or ():
        name = str(getattr(schedule, "name", schedule))
        by_default = getattr(getattr(schedule, "default_status", None), "value", "") == "RUNNING"
        if stored.get(name, by_default):
            yield Finding(Level.ok, f"schedule {name}", "is on; the daemon starts its runs")
        else:
            yield Finding(
                Level.warn,
                f"schedule {name}",
                "is off",
                f"start it: dagster schedule start {name}, or in the Dagster UI under Automation",
            )
