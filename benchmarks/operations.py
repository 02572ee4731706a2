"""Runs, checks and `ledger status` of a deployment, with Dagster's SQLite storage."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import (
    OURS,
    Case,
    Contender,
    Environment,
    Target,
    limit_cpu,
    limit_memory,
    limit_ratio,
    limit_result,
)

Counts = Mapping[str, Any]
_FOLDER = "BENCHMARK_FOLDER"
FIRST, LAST = date(2024, 10, 9), date(2026, 10, 7)
EMPTY_DAYS, REFRESHED_DAYS = 200, 7
_STATUS_DAYS, _STATUS_SCHEDULERS = 365, 200
_CHECKED_DAYS, _CHECKED_SCHEDULERS = 10, 150
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def _execute(instance: Any, job: Any, first: date, last: date) -> None:  # noqa: ANN401
    """Run a job as `ledger backfill` does."""
    from assets.framework.event_log import keep_connections_open

    tags = dict(zip(_RANGE, (first.isoformat(), last.isoformat()), strict=True))
    with keep_connections_open(instance):
        job.execute_in_process(instance=instance, tags=tags)


def _open_instance() -> Any:  # noqa: ANN401
    import dagster as dg

    from pipelines.runs.instance import create_home

    home = Path(os.environ[_FOLDER], f"home-{os.getpid()}")
    create_home(home)
    return dg.DagsterInstance.from_config(str(home))


def _build_job(lake: Path, assets: Sequence[str], checks_of: Sequence[str] = ()) -> Any:  # noqa: ANN401
    import dagster as dg

    from benchmarks.lakes import NOW
    from pipelines.definitions import build_defs
    from resources.config.settings import ArchiveSettings, HistorySettings, LakeSettings, Settings

    settings = Settings(
        lake=LakeSettings(uri=str(lake)),
        history=HistorySettings(start_date=FIRST, end_date=LAST + timedelta(days=1)),
        sources=(ArchiveSettings(uri=os.environ[_FOLDER] + "/dumps"),),
    )
    job = build_defs({"clock": lambda: NOW}, settings=settings).resolve_implicit_global_asset_job_def()
    checks = {
        key for key in job.asset_layer.asset_graph.asset_check_keys if key.asset_key.path[-1] in checks_of
    }
    return job.get_subset(
        asset_selection={dg.AssetKey(name) for name in assets}, asset_check_selection=checks
    )


def prepare_empty_days() -> Callable[[], Counts]:
    """Return a backfill of an archive: many days, and 17 executions on the last but one of them."""
    lake = Path(os.environ[_FOLDER], "empty")
    instance, job = _open_instance(), _build_job(lake, ["inference_executions"])
    _execute(instance, job, LAST - timedelta(days=1), LAST)  # creates the databases

    def work() -> Counts:
        _execute(instance, job, LAST - timedelta(days=EMPTY_DAYS + 1), LAST - timedelta(days=2))
        return {"days": EMPTY_DAYS}

    return work


def prepare_refresh() -> Callable[[], Counts]:
    """Return a run that reads the unsettled days again, and changes nothing."""
    lake = Path(os.environ[_FOLDER], "refresh")
    instance, job = _open_instance(), _build_job(lake, ["inference_executions"])
    first = LAST - timedelta(days=REFRESHED_DAYS - 1)
    _execute(instance, job, first, LAST)

    def list_files() -> set[tuple[str, int]]:
        return {(str(file), file.stat().st_mtime_ns) for file in lake.rglob("*.parquet")}

    def work() -> Counts:
        before = list_files()
        _execute(instance, job, first, LAST)
        return {"days": REFRESHED_DAYS, "_files_written": len(list_files() - before)}

    return work


def _prepare_trivial_asset(days: int) -> Callable[[], Counts]:
    """Return a run of an asset that only logs the same number of materializations."""
    import dagster as dg

    partitions = dg.DailyPartitionsDefinition(str(FIRST), end_date=str(LAST + timedelta(days=1)))

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def trivial(context: dg.AssetExecutionContext) -> dg.Output[None]:
        for key in context.partition_keys:
            for name in ("trivial", "coverage"):
                metadata = {"dagster/partition_row_count": 0}
                context.log_event(dg.AssetMaterialization(name, partition=key, metadata=metadata))
        return dg.Output(None, metadata={"__source_asset_observation__": True})

    job = dg.Definitions([trivial], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    instance = _open_instance()
    _execute_alone(instance, job, LAST, LAST)

    def work() -> Counts:
        _execute_alone(instance, job, LAST - timedelta(days=days - 1), LAST)
        return {"days": days}

    return work


def _execute_alone(instance: Any, job: Any, first: date, last: date) -> None:  # noqa: ANN401
    job.execute_in_process(
        instance=instance, tags=dict(zip(_RANGE, (first.isoformat(), last.isoformat()), strict=True))
    )


def prepare_trivial_days() -> Callable[[], Counts]:
    """Return the floor of the days without executions."""
    return _prepare_trivial_asset(EMPTY_DAYS)


def prepare_trivial_refresh() -> Callable[[], Counts]:
    """Return the floor of the refresh."""
    return _prepare_trivial_asset(REFRESHED_DAYS)


def prepare_checks() -> Callable[[], Counts]:
    """Return the checks of executions and results."""
    names = ["inference_executions", "anomaly_predictions"]
    instance, job = _open_instance(), _build_job(Path(os.environ[_FOLDER], "lake"), [], names)

    def work() -> Counts:
        result = job.execute_in_process(instance=instance)
        evaluations = result.get_asset_check_evaluations()
        failed = [evaluation.check_name for evaluation in evaluations if not evaluation.passed]
        return {"checks": len(evaluations), "_failed": failed}

    return work


def prepare_status() -> Callable[[], Counts]:
    """Return `ledger status` over a year."""
    folder = Path(os.environ[_FOLDER])
    text = (
        f'[lake]\nuri = "{folder}/lake"\n[history]\nstart_date = "{FIRST}"\nend_date = "2026-10-08"\n'
        f'[[sources]]\nkind = "archive"\nuri = "{folder}/dumps"\n'
    )
    (folder / "ledger.toml").write_text(text)
    os.environ["LEDGER_CONFIG"] = str(folder / "ledger.toml")
    os.environ.pop("DAGSTER_HOME", None)
    import typer

    from pipelines.cli.commands.status import status

    def work() -> Counts:
        first = LAST - timedelta(days=_STATUS_DAYS - 1)
        try:
            status(first=str(first), last=str(LAST))
        except typer.Exit as ended:
            return {"exit": ended.exit_code}
        return {"exit": 0}

    return work


@contextmanager
def serve_archive() -> Iterator[Environment]:
    """Write an archive with 17 executions."""
    from benchmarks.service import build_template

    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for number in range(17):
            at = datetime(2026, 10, 6, tzinfo=UTC) + timedelta(minutes=5 * number)
            moment = at.timestamp()
            values = (moment + 337, moment, moment + 300, f"{at:%Y-%m-%dT%H:%M:%SZ}")
            rows.append(json.loads(build_template(0) % values))
        dumps = Path(folder, "dumps")
        dumps.mkdir()
        (dumps / "page.json").write_text(json.dumps({"InferenceExecutionSummaries": rows}))
        yield {_FOLDER: folder}


@contextmanager
def serve_lake(schedulers: int, days: int, days_with_sensors: int) -> Iterator[Environment]:
    """Write a lake of a fleet; without days with sensors, only its coverage."""
    from benchmarks import lakes
    from resources.lake.lake import Lake

    with serve_archive() as environment:
        lake = Lake(f"{environment[_FOLDER]}/lake")
        listed = lakes.list_days(days)
        lakes.write_coverage(lake, schedulers, listed)
        if days_with_sensors:
            lakes.write_executions(lake, schedulers, listed)
            lakes.write_results(lake, schedulers, listed, days_with_sensors)
        yield environment


FLOOR = "a trivial asset"
_CPU_OF_A_DAY = Target("CPU of a day, ms", lambda costs: costs[OURS].cpu_seconds * 1000 / EMPTY_DAYS, 15)
CASES = [
    Case(
        "empty-days",
        f"{EMPTY_DAYS} days without executions in Dagster",
        [
            Contender(OURS, f"{__name__}:prepare_empty_days"),
            Contender(FLOOR, f"{__name__}:prepare_trivial_days"),
        ],
        [_CPU_OF_A_DAY, limit_ratio(FLOOR, 1.5)],
        serve_archive,
    ),
    Case(
        "refresh",
        f"refresh of {REFRESHED_DAYS} days without changes in Dagster",
        [
            Contender(OURS, f"{__name__}:prepare_refresh"),
            Contender(FLOOR, f"{__name__}:prepare_trivial_refresh"),
        ],
        [limit_result("_files_written", 0, "files written"), limit_ratio(FLOOR, 1.5)],
        serve_archive,
    ),
    Case(
        "checks",
        f"checks of {_CHECKED_SCHEDULERS} schedulers, {_CHECKED_DAYS} days with results",
        [Contender(OURS, f"{__name__}:prepare_checks")],
        [limit_memory(600)],
        partial(serve_lake, _CHECKED_SCHEDULERS, _CHECKED_DAYS, 2),
    ),
    Case(
        "status",
        f"ledger status of {_STATUS_SCHEDULERS} schedulers, {_STATUS_DAYS} days",
        [Contender(OURS, f"{__name__}:prepare_status")],
        [limit_cpu("CPU, s", 2)],
        partial(serve_lake, _STATUS_SCHEDULERS, _STATUS_DAYS, 0),
    ),
]
