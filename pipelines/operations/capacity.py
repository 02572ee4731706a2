"""What a fleet needs, computed from measured figures; docs/explanation/scale.md shows the result.

The figures were measured on 2026-11-29 with 20, 60 and 150 schedulers, a lake in S3, and a busy machine.
"""

from dataclasses import dataclass
from math import ceil

FLEETS = (15, 1_000, 10_000, 100_000)

OBJECTS_PER_SCHEDULER_DAY = 288
"""Executions, and so result objects, of a scheduler with a frequency of five minutes."""

LINES_PER_DAY = 1_440
"""Result lines of a scheduler: one a minute, whatever its frequency."""

SENSORS = 30
"""The assumed sensors of a scheduler."""

MAX_CALLS_PER_SECOND = 10
"""The assumed rate of ListInferenceExecutions, for each account and region; AWS documents none."""

SCHEDULERS_PER_ACCOUNT = 15
"""The default quota of an account in a region: 15 models with one scheduler each."""

EXECUTION_SECONDS = 13e-6
OBJECT_SECONDS, UNCHANGED_OBJECT_SECONDS, CONTRIBUTION_SECONDS = 380e-6, 200e-6, 0.63e-6
FRAGMENT_SECONDS = 60e-6
"""CPU time of one execution, result object, contribution, and of the points of one object."""

RUN_SECONDS, DAY_SECONDS = 4.0, 1.2
"""CPU time of the start of a run, and of the health and the report of a day."""

BASE_MEGABYTES, OBJECT_KILOBYTES, CONTRIBUTION_BYTES = 400, 4.5, 27
"""Peak memory of a run that reads results, and what each object and each contribution of its day adds."""

RUN_MEGABYTES = 1_600
"""The memory of a run that shards are chosen for: the files in `deploy/` give it 2 GiB."""

CONTRIBUTION_BYTES_ON_DISK = 3.1

LAKE_REQUESTS_PER_DAY = 160
"""Requests of all stages for the tables of a lake in S3; most of them are queries of the report."""

STAGES = 5
EVENTS_PER_RUN, EVENTS_PER_DAY = 35, 23
"""Rows of Dagster's event log, checks included."""

EVENT_KILOBYTES_PER_RUN, EVENT_KILOBYTES_PER_DAY = 40, 55


@dataclass(frozen=True)
class Workload:
    """What the days of a backfill contain.

    Attributes:
        days: number of days.
        scheduler_days: sum of the schedulers of each day.
        objects: executions, each with one result object.
        sensors: sensors of a scheduler.
        shards: files of a day and table, which are processed one after the other.
    """

    days: int
    scheduler_days: int
    objects: int
    sensors: int = SENSORS
    shards: int = 1

    @property
    def contributions(self) -> int:
        """Rows of sensor_contributions."""
        return self.scheduler_days * LINES_PER_DAY * self.sensors

    @property
    def day_megabytes(self) -> float:
        """Memory that the results of an average day add, if they are processed as a whole."""
        kilobytes = self.objects * OBJECT_KILOBYTES + self.contributions * CONTRIBUTION_BYTES / 1e3
        return kilobytes / 1e3 / max(self.days, 1)


@dataclass(frozen=True)
class Capacity:
    """The needs of a backfill of all stages, in a run for each.

    Attributes:
        first_seconds: CPU to build the days.
        unchanged_seconds: CPU to look at the unchanged result objects again.
        peak_megabytes: peak memory of the run that reads the results of an average day.
        lake_megabytes: bytes of all tables.
        object_requests: GET requests for result objects.
        lake_requests: requests for a lake in S3; a local lake has none.
        event_rows: rows in Dagster's event log.
        event_megabytes: their size.
    """

    first_seconds: float
    unchanged_seconds: float
    peak_megabytes: float
    lake_megabytes: float
    object_requests: int
    lake_requests: int
    event_rows: int
    event_megabytes: float


def compute_reading_seconds(workload: Workload) -> float:
    """Return the CPU time to read results for the first time."""
    return workload.objects * OBJECT_SECONDS + workload.contributions * CONTRIBUTION_SECONDS


def compute_capacity(workload: Workload) -> Capacity:
    """Compute the needs. All figures are linear in the days, objects and contributions."""
    other_seconds = workload.objects * (EXECUTION_SECONDS + FRAGMENT_SECONDS)
    return Capacity(
        first_seconds=compute_reading_seconds(workload)
        + other_seconds
        + workload.days * DAY_SECONDS
        + STAGES * RUN_SECONDS,
        unchanged_seconds=workload.objects * UNCHANGED_OBJECT_SECONDS,
        peak_megabytes=BASE_MEGABYTES + workload.day_megabytes / workload.shards,
        lake_megabytes=workload.contributions * CONTRIBUTION_BYTES_ON_DISK / 1e6,
        object_requests=workload.objects,
        lake_requests=workload.days * LAKE_REQUESTS_PER_DAY,
        event_rows=STAGES * EVENTS_PER_RUN + workload.days * EVENTS_PER_DAY,
        event_megabytes=(STAGES * EVENT_KILOBYTES_PER_RUN + workload.days * EVENT_KILOBYTES_PER_DAY) / 1e3,
    )


def choose_shards(workload: Workload) -> int:
    """Return the smallest number of shards with which a run stays below `RUN_MEGABYTES`."""
    return max(1, ceil(workload.day_megabytes / (RUN_MEGABYTES - BASE_MEGABYTES)))


def build_day(schedulers: int) -> Workload:
    """Return a day of a fleet with a frequency of five minutes."""
    return Workload(1, schedulers, schedulers * OBJECTS_PER_SCHEDULER_DAY)


def build_capacity_table() -> str:
    """Return the table of the page in Markdown."""
    workloads = [build_day(schedulers) for schedulers in FLEETS]
    fleets = [compute_capacity(workload) for workload in workloads]
    accounts = [ceil(schedulers / SCHEDULERS_PER_ACCOUNT) for schedulers in FLEETS]
    rows = {
        "executions = result objects = first GETs": [f"{fleet.object_requests:,}" for fleet in fleets],
        "contributions, million": [f"{workload.contributions / 1e6:,.1f}" for workload in workloads],
        "LIST requests of hourly runs": [f"{24 * schedulers:,}" for schedulers in FLEETS],
        "calls of an hourly pass": [f"{schedulers:,}" for schedulers in FLEETS],
        "one pass of the API in one account, s": [f"{n / MAX_CALLS_PER_SECOND:,.0f}" for n in FLEETS],
        "accounts and regions with the default quota": [f"{count:,}" for count in accounts],
        "first build of all stages, CPU s": [f"{fleet.first_seconds:,.0f}" for fleet in fleets],
        "looking at unchanged objects, CPU s": [f"{fleet.unchanged_seconds:,.0f}" for fleet in fleets],
        "peak memory of reading, one shard, GB": [f"{fleet.peak_megabytes / 1e3:,.1f}" for fleet in fleets],
        "shards for runs of 1.6 GB": [f"{choose_shards(workload):,}" for workload in workloads],
        "Parquet, MB": [f"{fleet.lake_megabytes:,.0f}" for fleet in fleets],
        "requests for the tables in S3": [f"{fleet.lake_requests:,}" for fleet in fleets],
        "event rows of a day in a range": [f"{EVENTS_PER_DAY:,}" for _ in fleets],
    }
    lines = ["| schedulers | " + " | ".join(f"{count:,}" for count in FLEETS) + " |"]
    lines.append("| --- |" + " ---: |" * len(FLEETS))
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join(lines)
