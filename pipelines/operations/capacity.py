"""What a fleet needs, computed from measured figures; docs/explanation/scale.md shows the result."""

from dataclasses import dataclass

FLEETS = (15, 1_000, 10_000, 100_000)

OBJECTS_PER_SCHEDULER_DAY = 288
"""Executions, and so result objects, of a scheduler with a frequency of five minutes."""

CONTRIBUTIONS_PER_OBJECT = 150
"""Five lines with thirty sensors each."""

BYTES_PER_CONTRIBUTION = 3.1
MAX_CALLS_PER_SECOND = 10
"""The assumed rate of ListInferenceExecutions, for each account and region."""

FIRST_READING_SECONDS, UNCHANGED_SECONDS = 0.24, 0.13
"""CPU of a scheduler-day over S3, first and unchanged; measured with 15, 60 and 150 schedulers."""

BASE_MEGABYTES, READING_MEGABYTES = 400, 3.4
"""Peak memory of a run that reads a day: a part that is always there, and what a scheduler adds.
Measured with 15, 60 and 150 schedulers."""


@dataclass(frozen=True)
class Capacity:
    """The needs of a fleet; without other units, for one day.

    Attributes:
        objects: result objects, one GET each.
        contributions: rows of sensor_contributions.
        hourly_pass_seconds: shortest time in which one account can be asked for all schedulers once.
        first_seconds: CPU to read the day.
        unchanged_seconds: CPU to look at the unchanged day again.
        reading_megabytes: peak memory of the run that reads the day.
        lake_megabytes: bytes of all tables.
        list_requests: LIST requests of hourly runs.
    """

    objects: int
    contributions: int
    hourly_pass_seconds: float
    first_seconds: float
    unchanged_seconds: float
    reading_megabytes: float
    lake_megabytes: float
    list_requests: int


def compute_capacity(schedulers: int) -> Capacity:
    """Compute the needs of a fleet. All figures are linear in the schedulers."""
    objects = schedulers * OBJECTS_PER_SCHEDULER_DAY
    contributions = objects * CONTRIBUTIONS_PER_OBJECT
    return Capacity(
        objects=objects,
        contributions=contributions,
        hourly_pass_seconds=schedulers / MAX_CALLS_PER_SECOND,
        first_seconds=schedulers * FIRST_READING_SECONDS,
        unchanged_seconds=schedulers * UNCHANGED_SECONDS,
        reading_megabytes=BASE_MEGABYTES + schedulers * READING_MEGABYTES,
        lake_megabytes=contributions * BYTES_PER_CONTRIBUTION / 1e6,
        list_requests=schedulers * 24,
    )


def build_capacity_table() -> str:
    """Return the table of the page in Markdown."""
    fleets = [compute_capacity(schedulers) for schedulers in FLEETS]
    rows = {
        "executions = result objects = first GETs": [f"{fleet.objects:,}" for fleet in fleets],
        "contributions, million": [f"{fleet.contributions / 1e6:,.1f}" for fleet in fleets],
        "LIST requests of hourly runs": [f"{fleet.list_requests:,}" for fleet in fleets],
        "one pass of the API in one account, s": [f"{fleet.hourly_pass_seconds:,.0f}" for fleet in fleets],
        "first reading, CPU s": [f"{fleet.first_seconds:,.0f}" for fleet in fleets],
        "looking at an unchanged day, CPU s": [f"{fleet.unchanged_seconds:,.0f}" for fleet in fleets],
        "peak memory of reading, GB": [f"{fleet.reading_megabytes / 1e3:,.1f}" for fleet in fleets],
        "Parquet, MB": [f"{fleet.lake_megabytes:,.0f}" for fleet in fleets],
    }
    lines = ["| schedulers | " + " | ".join(f"{count:,}" for count in FLEETS) + " |"]
    lines.append("| --- |" + " ---: |" * len(FLEETS))
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join(lines)
