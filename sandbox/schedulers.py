"""A scheduler and its executions: the grid of slots and the state of each execution.

Everything is a function of the seed and the given time. A later time adds executions and ends those in
progress. It never changes a final execution.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sandbox import chance
from sandbox.plants import Plant, Window
from sandbox.result_formats import LATEST, ResultFormat

FREQUENCIES = {
    "PT5M": timedelta(minutes=5),
    "PT10M": timedelta(minutes=10),
    "PT15M": timedelta(minutes=15),
    "PT30M": timedelta(minutes=30),
    "PT1H": timedelta(hours=1),
}
USUAL_LATENCY_SECONDS = (60, 120)
SLOW_LATENCY_SECONDS = (600, 2_700)
SLOW_EXECUTIONS = 0.02

Summary = dict[str, Any]
"""One element of InferenceExecutionSummaries, with times as aware UTC datetimes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """A period in which a scheduler runs with one frequency and one delay.

    A stop is a gap between two schedules. An update ends a schedule and begins the next one: windows that are
    in their delay at that time do not run, and the grid starts again.
    """

    since: datetime
    until: datetime | None
    frequency: str
    delay_minutes: int


@dataclass(frozen=True)
class ModelVersion:
    """The model version since a time. `None` is the time before the service had model versions."""

    since: datetime
    number: int | None


@dataclass(frozen=True)
class FormatChange:
    """The result format of windows that start at `since` or later."""

    since: datetime
    result_format: ResultFormat


@dataclass(frozen=True)
class Output:
    """The location of the result objects of a scheduler."""

    bucket: str
    prefix: str
    kms_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A data window on the grid of a scheduler, and the start of its execution."""

    window: Window
    scheduled: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an execution and its end, which is `None` if it never ends."""

    status: Literal["SUCCESS", "FAILED"]
    settles_at: datetime | None
    seconds: int


@dataclass(frozen=True)
class Scheduler:
    """An inference scheduler, from its creation to its deletion.

    Attributes:
        seed: The seed of its random draws, together with its ARN.
        arn: The ARN. A scheduler that is created again with the same name has a new ARN.
        model_arn: The ARN of the model.
        plant: The machine whose data it reads.
        output: The location of its results.
        schedules: Its frequencies and delays, oldest first.
        versions: Its model versions, oldest first.
        deleted_at: The time of the deletion of the scheduler and its history.
        stuck_at: The execution whose window contains this time never ends.
        unknown_members_since: From this time, some executions have members that no published API model has.
        repeats_input_names: Whether executions include the names of input files, in addition to the location.
        formats: The changes of its result format, oldest first. The first also applies earlier.
        remark: Its peculiarity, as text.
    """

    seed: int
    arn: str
    model_arn: str
    plant: Plant
    output: Output
    schedules: tuple[Schedule, ...]
    versions: tuple[ModelVersion, ...]
    deleted_at: datetime | None = None
    stuck_at: datetime | None = None
    unknown_members_since: datetime | None = None
    repeats_input_names: bool = False
    formats: tuple[FormatChange, ...] = ()
    remark: str = ""

    @property
    def name(self) -> str:
        """The name, which is unique in an account and region at any time."""
        return self.arn.split("/")[1]

    @property
    def region(self) -> str:
        """The region in its ARN."""
        return self.arn.split(":")[3]

    @property
    def account(self) -> str:
        """The account in its ARN."""
        return self.arn.split(":")[4]

    @property
    def created_at(self) -> datetime:
        """The time of its creation and first start."""
        return self.schedules[0].since

    def is_listed(self, clock: datetime) -> bool:
        """Whether the service lists it: it is created and not deleted."""
        return self.created_at <= clock and (self.deleted_at is None or clock < self.deleted_at)

    def is_running(self, clock: datetime) -> bool:
        """Whether it is running, not stopped."""
        until = self.get_schedule(clock).until
        return self.is_listed(clock) and (until is None or clock < until)

    def get_schedule(self, clock: datetime) -> Schedule:
        """Return the schedule at a time, or the one before the stop if it is stopped."""
        return [item for item in self.schedules if item.since <= clock or item is self.schedules[0]][-1]

    def get_version(self, at: datetime) -> int | None:
        """Return the model version at a time, or None."""
        return [version for version in self.versions if version.since <= at][-1].number

    def get_result_format(self, at: datetime) -> ResultFormat:
        """Return the result format of a window that starts at `at`."""
        changes = [change for change in self.formats if change.since <= at or change is self.formats[0]]
        return changes[-1].result_format if changes else LATEST

    def slots(self, start: datetime, end: datetime) -> Iterator[Slot]:
        """Yield the slots whose window starts in [start, end), oldest first."""
        for schedule in self.schedules:
            yield from _generate_slots(schedule, self.plant.zone, start, end)

    def outcome(self, slot: Slot) -> Outcome:
        """Return the outcome of the execution of a slot. It does not depend on the clock."""
        latency, slowness = chance.draw_fractions(
            self.seed, self.arn, "latency", int(slot.window.start.timestamp()), count=2
        )
        shortest, longest = SLOW_LATENCY_SECONDS if slowness < SLOW_EXECUTIONS else USUAL_LATENCY_SECONDS
        seconds = shortest + int(latency * (longest - shortest))
        stuck = self.stuck_at is not None and slot.window.start <= self.stuck_at < slot.window.end
        return Outcome(
            status="FAILED" if self.plant.has_no_data(slot.window) else "SUCCESS",
            settles_at=None if stuck else slot.scheduled + timedelta(seconds=seconds),
            seconds=seconds,
        )

    def executions(
        self, clock: datetime, start: datetime | None = None, end: datetime | None = None
    ) -> Iterator[Summary]:
        """Yield the executions up to `clock` with their state at that time, oldest first.

        For a deleted scheduler, these are the executions up to the deletion. Only older dumps have them,
        because the service does not list them (`is_listed`).

        Args:
            clock: The time of the state.
            start: Only executions whose DataStartTime is not before this.
            end: Only executions whose DataStartTime is before this.
        """
        clock = clock if self.deleted_at is None else min(clock, self.deleted_at)
        for slot in self.slots(start or self.created_at, clock if end is None else min(clock, end)):
            if slot.scheduled <= clock:
                yield self.summary(slot, clock)

    def summary(self, slot: Slot, clock: datetime) -> Summary:
        """Return the summary of an execution at `clock`, without members that have no value."""
        window = slot.window
        summary: Summary = {
            "ModelName": self.model_arn.split("/")[1],
            "ModelArn": self.model_arn,
            "InferenceSchedulerName": self.name,
            "InferenceSchedulerArn": self.arn,
            "ScheduledStartTime": slot.scheduled,
            "DataStartTime": window.start,
            "DataEndTime": window.end,
            "DataInputConfiguration": self.input_configuration(include_names=self.repeats_input_names),
            "DataOutputConfiguration": self.output_configuration(),
        }
        version = self.get_version(window.start)
        outcome = self.outcome(slot)
        settled = outcome.settles_at is not None and outcome.settles_at <= clock
        if not settled:
            summary["Status"] = "IN_PROGRESS"
        elif outcome.status == "SUCCESS":
            summary |= {"CustomerResultObject": self.result_object(window), "Status": "SUCCESS"}
        else:
            reason = self.plant.get_failed_reason(window, use_legacy_text=version is None)
            summary |= {"Status": "FAILED", "FailedReason": reason}
        if version is not None:
            summary |= {
                "ModelVersion": version,
                "ModelVersionArn": f"{self.model_arn}/model-version/{version}",
            }
        self._add_unknown_members(summary, outcome if settled else None)
        return summary

    def input_configuration(self, *, include_names: bool) -> dict[str, Any]:
        """Return the location of the input, and optionally the names of input files."""
        plant = self.plant
        configuration: dict[str, Any] = {
            "S3InputConfiguration": {"Bucket": plant.bucket, "Prefix": plant.prefix}
        }
        if include_names:
            configuration["InputTimeZoneOffset"] = _format_offset(plant.zone)
            configuration["InferenceInputNameConfiguration"] = {
                "TimestampFormat": plant.timestamp_format,
                "ComponentTimestampDelimiter": plant.delimiter,
            }
        return configuration

    def output_configuration(self) -> dict[str, Any]:
        """Return the location of the results."""
        output = self.output
        configuration: dict[str, Any] = {
            "S3OutputConfiguration": {"Bucket": output.bucket, "Prefix": output.prefix}
        }
        if output.kms_key_id is not None:
            configuration["KmsKeyId"] = output.kms_key_id
        return configuration

    def result_object(self, window: Window) -> dict[str, str]:
        """Return the location of the result object of a successful window."""
        key = f"{self.output.prefix}{window.start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"
        return {"Bucket": self.output.bucket, "Key": key}

    def _add_unknown_members(self, summary: Summary, outcome: Outcome | None) -> None:
        start = summary["DataStartTime"]
        if self.unknown_members_since is None or start < self.unknown_members_since:
            return
        (fraction,) = chance.draw_fractions(self.seed, self.arn, "novelty", int(start.timestamp()), count=1)
        if fraction < 1 / 2:
            summary["DataOutputConfiguration"]["ResultFormat"] = {"Name": "JSON_LINES", "Revision": 2}
            if outcome is not None:
                summary["InferenceRuntimeInSeconds"] = outcome.seconds - 18.5


def sort_newest_first(summaries: Iterable[Summary]) -> list[Summary]:
    """Sort executions in the order of the service."""
    return sorted(summaries, key=lambda summary: summary["DataStartTime"], reverse=True)


def _generate_slots(schedule: Schedule, zone: timedelta, start: datetime, end: datetime) -> Iterator[Slot]:
    # windows follow the local time of the plant: at +05:30, hours begin at half past in UTC
    step = FREQUENCIES[schedule.frequency]
    delay = timedelta(minutes=schedule.delay_minutes)
    slots_before = -((_EPOCH - zone - max(start, schedule.since)) // step)
    window_start = _EPOCH - zone + slots_before * step
    while window_start < end:
        window_end = window_start + step
        scheduled = window_end + delay
        if schedule.until is not None and scheduled >= schedule.until:
            return
        yield Slot(Window(window_start, window_end), scheduled)
        window_start = window_end


def _format_offset(zone: timedelta) -> str:
    minutes = int(abs(zone).total_seconds()) // 60
    return f"{'-' if zone < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"
