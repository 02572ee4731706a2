"""Runs and checks of a deployment, with Dagster's SQLite storage."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import executions
from benchmarks.cases import (
    OURS,
    Case,
    Contender,
    Costs,
    Environment,
    Target,
    limit_cpu,
    limit_memory,
    limit_ratio,
    limit_result,
)
from benchmarks.service import REGION

Counts = Mapping[str, Any]
FOLDER = "BENCHMARK_FOLDER"
FIRST, LAST = date(2024, 10, 9), date(2026, 10, 7)
EMPTY_DAYS, REFRESHED_DAYS = 200, 7
_YEAR, _YEAR_SCHEDULERS = 365, 2
_EVENTS_OF_DAY = 2
"""Materializations of a day: of executions and of coverage."""

_CHECKED_DAYS, _CHECKED_SCHEDULERS = 10, 150
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def _execute(instance: Any, job: Any, first: date, last: date) -> None:  # noqa: ANN401
    """Run a job as `ledger backfill` does."""
    from assets.framework.event_log import keep_connections_open

    tags = dict(zip(_RANGE, (first.isoformat(), last.isoformat()), strict=True))
    with keep_connections_open(instance):
        job.execute_in_process(instance=instance, tags=tags)


def open_instance(folder: Path) -> Any:  # noqa: ANN401
    """Open a new instance in a folder, as a process of `ledger backfill` does."""
    import dagster as dg

    from pipelines.runs import instance

    home = folder / f"home-{os.getpid()}"
    os.environ |= {**instance.TUNING, instance.HOME_VARIABLE: str(home)}
    instance.create_home(home)
    return dg.DagsterInstance.from_config(str(home))


def _open_instance() -> Any:  # noqa: ANN401
    return open_instance(Path(os.environ[FOLDER]))


def _build_job(
    lake: Path, assets: Sequence[str], checks_of: Sequence[str] = (), *, from_service: bool = False
) -> Any:  # noqa: ANN401
    import dagster as dg

    from benchmarks.lakes import NOW
    from pipelines.definitions import build_defs
    from resources.config.settings import (
        ApiSettings,
        ArchiveSettings,
        HistorySettings,
        LakeSettings,
        Settings,
    )

    archive = ArchiveSettings(uri=os.environ[FOLDER] + "/dumps")
    settings = Settings(
        lake=LakeSettings(uri=str(lake)),
        history=HistorySettings(start_date=FIRST, end_date=LAST + timedelta(days=1)),
        sources=(ApiSettings(region=REGION) if from_service else archive,),
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
    lake = Path(os.environ[FOLDER], "empty")
    instance, job = _open_instance(), _build_job(lake, ["inference_executions"])
    _execute(instance, job, LAST - timedelta(days=1), LAST)  # creates the databases

    def work() -> Counts:
        _execute(instance, job, LAST - timedelta(days=EMPTY_DAYS + 1), LAST - timedelta(days=2))
        return {"days": EMPTY_DAYS}

    return work


def prepare_refresh() -> Callable[[], Counts]:
    """Return a run that reads the unsettled days again, and changes nothing."""
    lake = Path(os.environ[FOLDER], "refresh")
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
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)

    names = ["inference_executions", "anomaly_predictions"]
    instance, job = _open_instance(), _build_job(Path(os.environ[FOLDER], "lake"), [], names)

    def work() -> Counts:
        result = job.execute_in_process(instance=instance)
        evaluations = result.get_asset_check_evaluations()
        failed = [evaluation.check_name for evaluation in evaluations if not evaluation.passed]
        return {"checks": len(evaluations), "_failed": failed}

    return work


def prepare_year() -> Callable[[], Counts]:
    """Return a backfill of a year from a service."""
    lake = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
    instance, job = _open_instance(), _build_job(lake, ["inference_executions"], from_service=True)
    _execute(instance, job, LAST, LAST)  # creates the databases
    first = executions.FIRST

    def work() -> Counts:
        _execute(instance, job, first, first + timedelta(days=_YEAR - 1))
        return {"executions": _count_executions(lake)}

    return work


def prepare_year_without_dagster() -> Callable[[], Counts]:
    """Return the same extraction without Dagster."""
    from assets.framework.time_windows import Days
    from resources.lake.lake import Lake

    executions.import_extraction()
    folder = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
    days = [executions.FIRST + timedelta(days=number) for number in range(_YEAR)]
    history = Days(FIRST, LAST + timedelta(days=1))

    def work() -> Counts:
        executions.extract(Lake(str(folder)), history, days)
        return {"executions": _count_executions(folder)}

    return work


def _count_executions(lake: Path) -> int:
    import pyarrow.dataset as ds

    return int(ds.dataset(lake / "inference_executions", exclude_invalid_files=True).count_rows())


def materialize(lake: Path, assets: Sequence[str], first: date) -> None:
    """Materialize assets of a lake, from a day to the last one."""
    _execute(_open_instance(), _build_job(lake, assets), first, LAST)


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
        yield {FOLDER: folder}


@contextmanager
def serve_lake(
    schedulers: int, days: int, days_with_sensors: int, *, has_results: bool = False
) -> Iterator[Environment]:
    """Write a lake of a fleet; without results, only its coverage."""
    from benchmarks import lakes
    from resources.lake.lake import Lake

    with serve_archive() as environment:
        lake = Lake(f"{environment[FOLDER]}/lake")
        listed = lakes.list_days(days)
        lakes.write_coverage(lake, schedulers, listed)
        if days_with_sensors or has_results:
            parts = (listed[: days // 2], 0), (listed[days // 2 :], days_with_sensors)
            with ProcessPoolExecutor(len(parts), get_context("spawn")) as pool:
                for written in [pool.submit(_write_days, lake.uri, schedulers, *part) for part in parts]:
                    written.result()
        yield environment


def _write_days(uri: str, schedulers: int, days: Sequence[date], days_with_sensors: int) -> None:
    from benchmarks import lakes
    from resources.lake.lake import Lake

    lakes.write_executions(Lake(uri), schedulers, days)
    lakes.write_results(Lake(uri), schedulers, days, days_with_sensors)


@contextmanager
def serve_year() -> Iterator[Environment]:
    """Start a service with a year of executions."""
    with serve_archive() as folder, executions.serve(_YEAR_SCHEDULERS, _YEAR) as service:
        yield {**folder, **service}


def _compute_time_of_event(costs: Costs) -> float | None:
    if len(costs) < len((OURS, _ALONE)):
        return None
    return (costs[OURS].seconds - costs[_ALONE].seconds) * 1000 / (_YEAR * _EVENTS_OF_DAY)


FLOOR, _ALONE = "a trivial asset", "without Dagster"
_CPU_OF_A_DAY = limit_cpu("CPU of a day, ms", 15, EMPTY_DAYS / 1000).missed_because(
    "Dagster writes one planned and two recorded events for each day; a trivial asset needs more. Fewer"
    " events would be necessary, and Dagster has none for several partitions."
)
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
        seconds=15,
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
        seconds=10,
    ),
    Case(
        "checks",
        f"checks of {_CHECKED_SCHEDULERS} schedulers, {_CHECKED_DAYS} days with results",
        [Contender(OURS, f"{__name__}:prepare_checks")],
        [limit_memory(600)],
        partial(serve_lake, _CHECKED_SCHEDULERS, _CHECKED_DAYS, 2),
        seconds=20,
    ),
    Case(
        "year",
        f"a backfill of {_YEAR} days of {_YEAR_SCHEDULERS} schedulers in Dagster",
        [
            Contender(OURS, f"{__name__}:prepare_year"),
            Contender(_ALONE, f"{__name__}:prepare_year_without_dagster"),
        ],
        [
            Target(
                "elapsed time above that without Dagster, ms per event",
                _compute_time_of_event,
                30,
            )
        ],
        serve_year,
        seconds=20,
    ),
]
