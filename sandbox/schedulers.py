"""A scheduler and the executions it runs: the grid of its slots and the life cycle of each.

Everything is a function of the seed and of the clock that is handed in. A later clock adds executions and
settles those in progress; it never changes one that is final.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sandbox import chance
from sandbox.plants import Plant, Window
from sandbox.result_formats import LATEST, Age

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
"""One element of InferenceExecutionSummaries: the service's member names, times as aware UTC datetimes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Era:
    """A stretch of time through which a scheduler runs with one frequency and one delay.

    A stop is a gap between two eras. An update ends one era and begins the next; windows that were waiting
    for their delay at that moment are not run, and the grid starts anew.
    """

    since: datetime
    until: datetime | None
    frequency: str
    delay_minutes: int


@dataclass(frozen=True)
class Version:
    """The model version in use from `since` on; `None` stands for the years before the service had any."""

    since: datetime
    number: int | None


@dataclass(frozen=True)
class Format:
    """How result lines are written for windows that start at `since` or later."""

    since: datetime
    age: Age


@dataclass(frozen=True)
class Output:
    """Where a scheduler puts its result objects."""

    bucket: str
    prefix: str
    kms_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One place on a scheduler's grid: the window of data, and when the execution on it starts."""

    window: Window
    scheduled: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the execution of a slot ends, and when; never, where `settles_at` is `None`."""

    status: Literal["SUCCESS", "FAILED"]
    settles_at: datetime | None
    seconds: int


@dataclass(frozen=True)
class Scheduler:
    """An inference scheduler, from its creation to its deletion.

    Attributes:
        seed: What its fate is drawn from, together with its ARN.
        arn: Its ARN; a scheduler that is created again under its old name has a new one.
        model_arn: The model that it runs.
        plant: The machine whose data it reads.
        output: Where its results go.
        eras: When it runs and how often, oldest first.
        versions: The model versions that it used, oldest first.
        deleted_at: When it was deleted, and its history with it.
        stuck_at: The execution whose window holds this instant never ends.
        novelties_since: From here on, some executions have members that no published model of the API knows.
        echoes_input: Whether its executions repeat how input files are named, or only where they lie.
        formats: How its result lines were written, oldest first; before the first as the first.
        remark: What is odd about it, for people.
    """

    seed: int
    arn: str
    model_arn: str
    plant: Plant
    output: Output
    eras: tuple[Era, ...]
    versions: tuple[Version, ...]
    deleted_at: datetime | None = None
    stuck_at: datetime | None = None
    novelties_since: datetime | None = None
    echoes_input: bool = False
    formats: tuple[Format, ...] = ()
    remark: str = ""

    @property
    def name(self) -> str:
        """Its name, which is unique in an account and region at any one time only."""
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
        """When it was created, which also started it."""
        return self.eras[0].since

    def is_listed(self, clock: datetime) -> bool:
        """Whether the service knows of it: it is created and not yet deleted."""
        return self.created_at <= clock and (self.deleted_at is None or clock < self.deleted_at)

    def is_running(self, clock: datetime) -> bool:
        """Whether it runs, as opposed to being stopped."""
        until = self.era(clock).until
        return self.is_listed(clock) and (until is None or clock < until)

    def era(self, clock: datetime) -> Era:
        """The era whose frequency and delay are set at `clock`; while stopped, that of before the stop."""
        return [era for era in self.eras if era.since <= clock or era is self.eras[0]][-1]

    def version(self, at: datetime) -> int | None:
        """The model version in use, where the service says one."""
        return [version for version in self.versions if version.since <= at][-1].number

    def age(self, at: datetime) -> Age:
        """How the result lines of a window that starts at `at` are written."""
        ages = [one.age for one in self.formats if one.since <= at or one is self.formats[0]]
        return ages[-1] if ages else LATEST

    def slots(self, start: datetime, end: datetime) -> Iterator[Slot]:
        """The slots whose window starts in [start, end), oldest first."""
        for era in self.eras:
            yield from _slots(era, self.plant.zone, start, end)

    def outcome(self, slot: Slot) -> Outcome:
        """How the execution on this slot ends; the same whenever it is asked."""
        latency, slowness = chance.fractions(
            self.seed, self.arn, "latency", int(slot.window.start.timestamp()), count=2
        )
        shortest, longest = SLOW_LATENCY_SECONDS if slowness < SLOW_EXECUTIONS else USUAL_LATENCY_SECONDS
        seconds = shortest + int(latency * (longest - shortest))
        stuck = self.stuck_at is not None and slot.window.start <= self.stuck_at < slot.window.end
        return Outcome(
            status="FAILED" if self.plant.is_silent(slot.window) else "SUCCESS",
            settles_at=None if stuck else slot.scheduled + timedelta(seconds=seconds),
            seconds=seconds,
        )

    def executions(
        self, clock: datetime, start: datetime | None = None, end: datetime | None = None
    ) -> Iterator[Summary]:
        """All that ran by `clock`, oldest first, as it stood then.

        Of a deleted scheduler this is its record up to the deletion, as a dump made before still holds it;
        the service itself has forgotten it (`is_listed`).

        Args:
            clock: The moment of looking.
            start: Only executions whose DataStartTime is not before this.
            end: Only executions whose DataStartTime is before this.
        """
        clock = clock if self.deleted_at is None else min(clock, self.deleted_at)
        for slot in self.slots(start or self.created_at, clock if end is None else min(clock, end)):
            if slot.scheduled <= clock:
                yield self.summary(slot, clock)

    def summary(self, slot: Slot, clock: datetime) -> Summary:
        """The execution of one slot as the service shows it at `clock`; no value, no member."""
        window = slot.window
        summary: Summary = {
            "ModelName": self.model_arn.split("/")[1],
            "ModelArn": self.model_arn,
            "InferenceSchedulerName": self.name,
            "InferenceSchedulerArn": self.arn,
            "ScheduledStartTime": slot.scheduled,
            "DataStartTime": window.start,
            "DataEndTime": window.end,
            "DataInputConfiguration": self.input_configuration(whole=self.echoes_input),
            "DataOutputConfiguration": self.output_configuration(),
        }
        version = self.version(window.start)
        outcome = self.outcome(slot)
        settled = outcome.settles_at is not None and outcome.settles_at <= clock
        if not settled:
            summary["Status"] = "IN_PROGRESS"
        elif outcome.status == "SUCCESS":
            summary |= {"CustomerResultObject": self.result_object(window), "Status": "SUCCESS"}
        else:
            reason = self.plant.why_failed(window, in_the_old_words=version is None)
            summary |= {"Status": "FAILED", "FailedReason": reason}
        if version is not None:
            summary |= {
                "ModelVersion": version,
                "ModelVersionArn": f"{self.model_arn}/model-version/{version}",
            }
        self._add_novelties(summary, outcome if settled else None)
        return summary

    def input_configuration(self, *, whole: bool) -> dict[str, Any]:
        """Where its input lies and, as a whole, how input files are named."""
        plant = self.plant
        configuration: dict[str, Any] = {
            "S3InputConfiguration": {"Bucket": plant.bucket, "Prefix": plant.prefix}
        }
        if whole:
            configuration["InputTimeZoneOffset"] = _offset(plant.zone)
            configuration["InferenceInputNameConfiguration"] = {
                "TimestampFormat": plant.timestamp_format,
                "ComponentTimestampDelimiter": plant.delimiter,
            }
        return configuration

    def output_configuration(self) -> dict[str, Any]:
        """Where its results go."""
        output = self.output
        configuration: dict[str, Any] = {
            "S3OutputConfiguration": {"Bucket": output.bucket, "Prefix": output.prefix}
        }
        if output.kms_key_id is not None:
            configuration["KmsKeyId"] = output.kms_key_id
        return configuration

    def result_object(self, window: Window) -> dict[str, str]:
        """Where the results of a window lie, once it succeeded."""
        key = f"{self.output.prefix}{window.start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"
        return {"Bucket": self.output.bucket, "Key": key}

    def _add_novelties(self, summary: Summary, outcome: Outcome | None) -> None:
        start = summary["DataStartTime"]
        if self.novelties_since is None or start < self.novelties_since:
            return
        (luck,) = chance.fractions(self.seed, self.arn, "novelty", int(start.timestamp()), count=1)
        if luck < 1 / 2:
            summary["DataOutputConfiguration"]["ResultFormat"] = {"Name": "JSON_LINES", "Revision": 2}
            if outcome is not None:
                summary["InferenceRuntimeInSeconds"] = outcome.seconds - 18.5


def newest_first(summaries: Iterable[Summary]) -> list[Summary]:
    """The order in which the service lists the executions of one scheduler."""
    return sorted(summaries, key=lambda summary: summary["DataStartTime"], reverse=True)


def _slots(era: Era, zone: timedelta, start: datetime, end: datetime) -> Iterator[Slot]:
    # Windows lie on the plant's clock: at +05:30 the hours begin at half past in UTC.
    step = FREQUENCIES[era.frequency]
    delay = timedelta(minutes=era.delay_minutes)
    slots_before = -((_EPOCH - zone - max(start, era.since)) // step)
    window_start = _EPOCH - zone + slots_before * step
    while window_start < end:
        window_end = window_start + step
        scheduled = window_end + delay
        if era.until is not None and scheduled >= era.until:
            return
        yield Slot(Window(window_start, window_end), scheduled)
        window_start = window_end


def _offset(zone: timedelta) -> str:
    minutes = int(abs(zone).total_seconds()) // 60
    return f"{'-' if zone < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"
