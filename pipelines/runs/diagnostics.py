"""Everything that `ledger doctor` looks at, in this order."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from resources import diagnostics
from resources.aws.session import AwsAccess
from resources.clock import utc_now
from resources.config.settings import Settings, load_settings
from resources.diagnostics import Finding, Level
from resources.errors import ConfigurationError, LedgerError
from resources.results.fetcher import ResultFetcher
from resources.sources.factory import open_sources

if TYPE_CHECKING:
    import dagster as dg


def run_diagnostics() -> Iterator[Finding]:
    """Look at everything, and tell each finding as soon as it is there."""
    settings: Settings | None = None
    try:
        settings = load_settings()
    except ConfigurationError as problem:
        yield Finding(Level.fail, "settings", problem.what, problem.next_step)
    if settings is not None:
        yield _settings(settings)
        yield diagnostics.check_lake(settings.lake.uri, settings.lake.kms_key_id)
        yield from _sources(settings)
    yield from diagnose_instance(is_configured=settings is not None)


def _settings(settings: Settings) -> Finding:
    try:
        sources = settings.require_sources()
    except ConfigurationError as problem:
        return diagnostics.error_finding("settings", problem)
    return Finding(
        Level.ok, "settings", f"{settings.config_file or 'the environment'}, {len(sources)} sources"
    )


def _sources(settings: Settings) -> Iterator[Finding]:
    results: dict[str, str] = {}
    try:
        opened = open_sources(settings) if settings.sources else []
    except LedgerError as problem:
        yield diagnostics.error_finding("sources", problem)
        return
    for source in opened:
        if source.files:
            yield diagnostics.check_archive(source.files)
        if source.service:
            yield diagnostics.check_identity(source.service.access, source.uri)
            yield from diagnostics.check_service(source.service, utc_now(), results)
    reader = AwsAccess(profile=settings.results.profile, role_arn=settings.results.role_arn)
    if reader != AwsAccess():
        yield diagnostics.check_identity(reader, "results")
    yield from diagnostics.check_results(ResultFetcher.from_settings(settings.results), results)


def diagnose_instance(*, is_configured: bool) -> Iterator[Finding]:
    """Look at Dagster's instance: its storage, its daemons and, with good settings, its schedules."""
    from dagster import DagsterInstance  # noqa: PLC0415 (which takes seconds)

    subject = f"Dagster's instance at {os.environ.get('DAGSTER_HOME', '?')}"
    if not Path(os.environ.get("DAGSTER_HOME", ""), "dagster.yaml").exists():
        yield Finding(
            Level.warn,
            subject,
            "has no dagster.yaml, so Dagster's defaults count",
            "run: python -m pipelines.runs.instance",
        )
    try:
        with DagsterInstance.get() as there:
            runs = there.get_runs_count()
            yield Finding(Level.ok, subject, f"its storage answers, and knows {runs} runs")
            yield from _daemons(there)
            yield _pool(there)
            if is_configured:  # else there is no code location, and nothing to schedule
                yield from _schedules(there)
    except Exception as problem:  # noqa: BLE001 (whatever a database or a YAML file can raise)
        said = str(problem).strip().partition("\n")[0] or repr(problem)
        yield Finding(
            Level.fail,
            subject,
            f"cannot be opened: {said}",
            "check DAGSTER_HOME and dagster.yaml, and that its database is up and may be written to",
        )


def _daemons(there: "dg.DagsterInstance") -> Iterator[Finding]:
    statuses = there.get_daemon_statuses()
    silent = sorted(name for name, status in statuses.items() if not status.healthy)
    if silent:
        yield Finding(
            Level.warn,
            "Dagster's daemon",
            f"is not running: no heartbeat of {', '.join(silent)}",
            "start it (make dev, or dagster-daemon run): without it nothing is scheduled and nothing is"
            " recomputed; ledger backfill works all the same",
        )
    else:
        yield Finding(Level.ok, "Dagster's daemon", "is running")


def _pool(there: "dg.DagsterInstance") -> Finding:
    """A pool without a limit holds nobody back: runs would ask the service all at once."""
    from assets.executions.assets import POOL  # noqa: PLC0415 (only what has Dagster has a pool)

    subject = f"pool {POOL}"
    own = {pool.name: pool.limit for pool in there.event_log_storage.get_pool_limits()}
    limit = own.get(POOL, there.get_concurrency_config().pool_config.default_pool_limit)
    if limit is None:
        return Finding(
            Level.warn,
            subject,
            "has no limit, so runs ask the service all at once, and are throttled",
            f"set one: dagster instance concurrency set {POOL} 1; or concurrency.pools.default_limit in"
            " dagster.yaml, for all pools",
        )
    return Finding(Level.ok, subject, f"lets {limit} run{'' if limit == 1 else 's'} ask at a time")


def _schedules(there: "dg.DagsterInstance") -> Iterator[Finding]:
    from pipelines.definitions import defs  # noqa: PLC0415 (only what has settings can be loaded)

    stored = {state.instigator_name: state.is_running for state in there.all_instigator_state()}
    for schedule in defs.schedules or ():
        name = str(getattr(schedule, "name", schedule))
        by_default = getattr(getattr(schedule, "default_status", None), "value", "") == "RUNNING"
        if stored.get(name, by_default):
            yield Finding(Level.ok, f"schedule {name}", "is turned on")
        else:
            yield Finding(
                Level.warn,
                f"schedule {name}",
                "is turned off",
                f"turn it on: dagster schedule start {name} (or in Dagster's pages, Automation)",
            )
