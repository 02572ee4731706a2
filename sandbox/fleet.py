"""The schedulers of the fleet and their peculiarities.

Times of changes are fractions of the history, so a history of two days has the same changes as one of a year.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sandbox import chance
from sandbox.plants import Plant
from sandbox.result_formats import BARE, EMPTY, FIRST, LATEST, REASONED, SCORED, ResultFormat
from sandbox.schedulers import FormatChange, ModelVersion, Output, Schedule, Scheduler, Summary

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """The period in which the fleet changes. The fleet keeps running after the end."""

    start: datetime
    end: datetime

    def at(self, fraction: float) -> datetime:
        """Return the time at a fraction of the history, rounded down to the hour."""
        moment = self.start + fraction * (self.end - self.start)
        return moment - (moment - _EPOCH) % _HOUR


@dataclass(frozen=True)
class Site:
    """An account in a region, and the bucket of its plants."""

    name: str
    account: str
    region: str

    @property
    def bucket(self) -> str:
        """The bucket for inputs and results."""
        return f"{self.name}-plant-inference"

    def arn(self, seed: int, resource: str, name: str, generation: int = 1) -> str:
        """Return the ARN of a scheduler or a model. Each generation of a name has its own UUID."""
        uuid = chance.draw_uuid(seed, self.account, self.region, resource, name, generation)
        return f"arn:aws:lookoutequipment:{self.region}:{self.account}:{resource}/{name}/{uuid}"


VIRGINIA = Site("virginia", "111122223333", "us-east-1")
IRELAND = Site("ireland", "111122223333", "eu-west-1")
LEEDS = Site("leeds", "123456789012", "eu-west-1")
SEOUL = Site("seoul", "123456789012", "ap-northeast-2")


@dataclass(frozen=True)
class Fleet:
    """All schedulers of all accounts and regions, including deleted ones."""

    seed: int
    history: History
    schedulers: tuple[Scheduler, ...]

    def list_schedulers(self, clock: datetime) -> tuple[Scheduler, ...]:
        """Return the schedulers that the service lists at `clock`."""
        return tuple(scheduler for scheduler in self.schedulers if scheduler.is_listed(clock))

    def executions(self, clock: datetime) -> Iterator[Summary]:
        """Yield all executions up to `clock` with their state at that time, by scheduler, oldest first.

        Executions of deleted schedulers are included, although the service no longer lists them.
        """
        for scheduler in self.schedulers:
            yield from scheduler.executions(clock)


def build_fleet(seed: int, history: History) -> Fleet:
    """Build the fleet of a seed, with its changes spread over a history."""
    return Fleet(seed, history, tuple(_build_schedulers(seed, history)))


def _build_schedulers(seed: int, history: History) -> Iterator[Scheduler]:
    yield from _build_pumps(seed, history)
    yield from _build_compressors(seed, history)
    yield from _build_turbines(seed, history)
    yield from _build_fans(seed, history)
    yield from _build_hourly_schedulers(seed, history)
    yield _set_result_format(
        _build_scheduler(seed, VIRGINIA, "blower-1", _run_without_stop(history, "PT15M", 3)), BARE
    )
    plain = _build_scheduler(seed, LEEDS, "boiler-1", _run_without_stop(history, "PT30M", 0))
    yield replace(plain, plant=replace(plain.plant, sensors=300, sampling=timedelta(minutes=5)))


def _build_pumps(seed: int, history: History) -> Iterator[Scheduler]:
    """A scheduler without defects, one with two model versions, and one with the same name elsewhere."""
    yield _build_scheduler(seed, VIRGINIA, "pump-1", _run_without_stop(history, "PT5M", 0))
    upgraded = history.at(0.55)
    yield replace(
        _set_result_format(
            _build_scheduler(seed, VIRGINIA, "pump-2", _run_without_stop(history, "PT5M", 2)), SCORED
        ),
        versions=(ModelVersion(history.at(0), 1), ModelVersion(upgraded, 2)),
        remark=f"model version 2 since {_format_time(upgraded)}",
    )
    yield replace(
        _set_result_format(
            _build_scheduler(seed, LEEDS, "pump-1", _run_without_stop(history, "PT5M", 1)), REASONED
        ),
        remark="has the same name as a scheduler in another account",
    )


def _build_compressors(seed: int, history: History) -> Iterator[Scheduler]:
    """A scheduler older than model versions, and one with every optional setting."""
    versioned, upgraded = history.at(0.3), history.at(0.8)
    yield replace(
        _build_scheduler(seed, IRELAND, "compressor-1", _run_without_stop(history, "PT10M", 5)),
        versions=(ModelVersion(history.at(0), None), ModelVersion(versioned, 1), ModelVersion(upgraded, 2)),
        formats=(
            FormatChange(history.at(0), FIRST),
            FormatChange(versioned, REASONED),
            FormatChange(upgraded, LATEST),
        ),
        remark=(
            f"without model versions until {_format_time(versioned)}, "
            f"version 2 since {_format_time(upgraded)}"
        ),
    )
    plain = _build_scheduler(seed, IRELAND, "compressor-2", _run_without_stop(history, "PT10M", 10))
    kms_key = f"arn:aws:kms:{IRELAND.region}:{IRELAND.account}:key/{chance.draw_uuid(seed, 'key')}"
    yield replace(
        plain,
        plant=replace(
            plain.plant, zone=timedelta(hours=2), delimiter="-", timestamp_format="yyyy-MM-dd-HH-mm-ss"
        ),
        output=replace(plain.output, kms_key_id=kms_key),
        repeats_input_names=True,
        formats=(FormatChange(history.at(0), EMPTY),),
        remark="custom names of input files, at +02:00, and results encrypted with a custom key",
    )


def _build_turbines(seed: int, history: History) -> Iterator[Scheduler]:
    """A scheduler with a stop, and one with a change of frequency and delay."""
    stopped, restarted = history.at(0.4), history.at(0.57)
    yield replace(
        _build_scheduler(
            seed,
            IRELAND,
            "turbine-1",
            (Schedule(history.at(0), stopped, "PT15M", 15), Schedule(restarted, None, "PT15M", 15)),
        ),
        remark=f"stopped from {_format_time(stopped)} to {_format_time(restarted)}",
    )
    changed = history.at(0.5)
    yield replace(
        _build_scheduler(
            seed,
            LEEDS,
            "turbine-2",
            (Schedule(history.at(0), changed, "PT15M", 5), Schedule(changed, None, "PT5M", 2)),
        ),
        remark=f"every 5 minutes instead of 15 since {_format_time(changed)}",
    )


def _build_fans(seed: int, history: History) -> Iterator[Scheduler]:
    """Two deleted schedulers. One of them was created again with its old name."""
    deleted = history.at(0.7)
    schedule = Schedule(history.at(0), deleted - 3 * _HOUR, "PT30M", 30)
    yield replace(
        _set_result_format(
            _build_scheduler(seed, SEOUL, "fan-1", (schedule,)),
            REASONED,
        ),
        deleted_at=deleted,
        remark=f"deleted at {_format_time(deleted)}",
    )
    deleted, recreated = history.at(0.45), history.at(0.45) + 2 * _HOUR
    yield replace(
        _build_scheduler(seed, SEOUL, "fan-2", (Schedule(history.at(0), deleted - 3 * _HOUR, "PT30M", 20),)),
        deleted_at=deleted,
        remark=f"deleted at {_format_time(deleted)}",
    )
    yield replace(
        _build_scheduler(seed, SEOUL, "fan-2", (Schedule(recreated, None, "PT30M", 20),), generation=2),
        remark=f"created again at {_format_time(recreated)}, with a new ARN",
    )


def _build_hourly_schedulers(seed: int, history: History) -> Iterator[Scheduler]:
    """A scheduler with a stuck execution, one at +05:30, and one with unknown members."""
    stuck, ahead = history.at(0.6), history.at(0.65)
    yield replace(
        _build_scheduler(seed, VIRGINIA, "mixer-1", _run_without_stop(history, "PT1H", 60)),
        stuck_at=stuck,
        remark=f"its execution at {_format_time(stuck)} stays IN_PROGRESS forever",
    )
    plain = _build_scheduler(seed, SEOUL, "mill-1", _run_without_stop(history, "PT1H", 5))
    yield replace(
        plain,
        plant=replace(plain.plant, zone=timedelta(hours=5, minutes=30)),
        remark="at +05:30: a window crosses each midnight of UTC",
    )
    yield replace(
        _build_scheduler(seed, SEOUL, "chiller-1", _run_without_stop(history, "PT1H", 45)),
        unknown_members_since=ahead,
        remark=f"unknown members in its summaries since {_format_time(ahead)}",
    )


def _run_without_stop(history: History, frequency: str, delay_minutes: int) -> tuple[Schedule, ...]:
    return (Schedule(history.at(0), None, frequency, delay_minutes),)


def _build_scheduler(
    seed: int, site: Site, name: str, schedules: tuple[Schedule, ...], generation: int = 1
) -> Scheduler:
    """Build a scheduler without peculiarities except its schedules."""
    arn = site.arn(seed, "inference-scheduler", name, generation)
    component = f"{name.partition('-')[0]}-sensors"
    return Scheduler(
        seed=seed,
        arn=arn,
        model_arn=site.arn(seed, "model", f"{name}-model"),
        plant=Plant(seed, arn, component, site.bucket, f"{name}/input/"),
        output=Output(site.bucket, f"{name}/output/"),
        schedules=schedules,
        versions=(ModelVersion(schedules[0].since, 1),),
    )


def _set_result_format(scheduler: Scheduler, result_format: ResultFormat) -> Scheduler:
    return replace(scheduler, formats=(FormatChange(scheduler.created_at, result_format),))


def _format_time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"
