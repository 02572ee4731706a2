"""The fleet: which schedulers there are, and how each of them misbehaves.

Everything odd about the fleet stands in `_roster`. The turning points are fractions of the history, so that a
history of two days holds the same stories as one of a year.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sandbox import chance
from sandbox.plants import Plant
from sandbox.result_formats import BARE, EMPTY, FIRST, LATEST, REASONED, SCORED, Age
from sandbox.schedulers import Era, Format, Output, Scheduler, Summary, Version

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """The stretch of time over which the fleet's stories are laid out; it runs on after the end."""

    start: datetime
    end: datetime

    def at(self, fraction: float) -> datetime:
        """The whole hour nearest below a fraction of the history: people change things on the hour."""
        moment = self.start + fraction * (self.end - self.start)
        return moment - (moment - _EPOCH) % _HOUR


@dataclass(frozen=True)
class Site:
    """An account in a region, with the bucket that its plants upload to."""

    name: str
    account: str
    region: str

    @property
    def bucket(self) -> str:
        """The bucket for inputs and results."""
        return f"{self.name}-plant-inference"

    def arn(self, seed: int, resource: str, name: str, generation: int = 1) -> str:
        """The ARN of a scheduler or a model; its uuid is new for each generation of a name."""
        uuid = chance.identifier(seed, self.account, self.region, resource, name, generation)
        return f"arn:aws:lookoutequipment:{self.region}:{self.account}:{resource}/{name}/{uuid}"


VIRGINIA = Site("virginia", "111122223333", "us-east-1")
IRELAND = Site("ireland", "111122223333", "eu-west-1")
LEEDS = Site("leeds", "123456789012", "eu-west-1")
SEOUL = Site("seoul", "123456789012", "ap-northeast-2")


@dataclass(frozen=True)
class Fleet:
    """All schedulers of all accounts and regions, those included that were deleted on the way."""

    seed: int
    history: History
    schedulers: tuple[Scheduler, ...]

    def listed(self, clock: datetime) -> tuple[Scheduler, ...]:
        """The schedulers that the service knows of at `clock`."""
        return tuple(scheduler for scheduler in self.schedulers if scheduler.is_listed(clock))

    def executions(self, clock: datetime) -> Iterator[Summary]:
        """Everything that ever ran by `clock`, as it stood then, scheduler by scheduler, oldest first.

        Executions of deleted schedulers are among them, although the service no longer lists those: this is
        what the owner of every dump could know.
        """
        for scheduler in self.schedulers:
            yield from scheduler.executions(clock)


def fleet(seed: int, history: History) -> Fleet:
    """The fleet of this seed, with its stories laid out over `history`."""
    return Fleet(seed, history, tuple(_roster(seed, history)))


def _roster(seed: int, history: History) -> Iterator[Scheduler]:
    yield from _pumps(seed, history)
    yield from _compressors(seed, history)
    yield from _turbines(seed, history)
    yield from _fans(seed, history)
    yield from _slow_ones(seed, history)
    yield _written(_scheduler(seed, VIRGINIA, "blower-1", _always(history, "PT15M", 3)), BARE)
    plain = _scheduler(seed, LEEDS, "boiler-1", _always(history, "PT30M", 0))
    yield replace(plain, plant=replace(plain.plant, sensors=300, sampling=timedelta(minutes=5)))


def _pumps(seed: int, history: History) -> Iterator[Scheduler]:
    """The bulk of the data: one well-behaved, one with a second model version, one namesake."""
    yield _scheduler(seed, VIRGINIA, "pump-1", _always(history, "PT5M", 0))
    upgraded = history.at(0.55)
    yield replace(
        _written(_scheduler(seed, VIRGINIA, "pump-2", _always(history, "PT5M", 2)), SCORED),
        versions=(Version(history.at(0), 1), Version(upgraded, 2)),
        remark=f"model version 2 since {_told(upgraded)}",
    )
    yield replace(
        _written(_scheduler(seed, LEEDS, "pump-1", _always(history, "PT5M", 1)), REASONED),
        remark="has a namesake in another account",
    )


def _compressors(seed: int, history: History) -> Iterator[Scheduler]:
    """One that has been there since before the service knew model versions; one with every setting set."""
    versioned, upgraded = history.at(0.3), history.at(0.8)
    yield replace(
        _scheduler(seed, IRELAND, "compressor-1", _always(history, "PT10M", 5)),
        versions=(Version(history.at(0), None), Version(versioned, 1), Version(upgraded, 2)),
        formats=(Format(history.at(0), FIRST), Format(versioned, REASONED), Format(upgraded, LATEST)),
        remark=f"without model versions until {_told(versioned)}, version 2 since {_told(upgraded)}",
    )
    plain = _scheduler(seed, IRELAND, "compressor-2", _always(history, "PT10M", 10))
    kms_key = f"arn:aws:kms:{IRELAND.region}:{IRELAND.account}:key/{chance.identifier(seed, 'key')}"
    yield replace(
        plain,
        plant=replace(
            plain.plant, zone=timedelta(hours=2), delimiter="-", timestamp_format="yyyy-MM-dd-HH-mm-ss"
        ),
        output=replace(plain.output, kms_key_id=kms_key),
        echoes_input=True,
        formats=(Format(history.at(0), EMPTY),),
        remark="names its input files in its own way, at +02:00, and encrypts its results with its own key",
    )


def _turbines(seed: int, history: History) -> Iterator[Scheduler]:
    """One that was stopped for a while; one whose frequency and delay were changed."""
    stopped, restarted = history.at(0.4), history.at(0.57)
    yield replace(
        _scheduler(
            seed,
            IRELAND,
            "turbine-1",
            (Era(history.at(0), stopped, "PT15M", 15), Era(restarted, None, "PT15M", 15)),
        ),
        remark=f"stopped from {_told(stopped)} to {_told(restarted)}",
    )
    changed = history.at(0.5)
    yield replace(
        _scheduler(
            seed,
            LEEDS,
            "turbine-2",
            (Era(history.at(0), changed, "PT15M", 5), Era(changed, None, "PT5M", 2)),
        ),
        remark=f"every 5 minutes instead of 15 since {_told(changed)}",
    )


def _fans(seed: int, history: History) -> Iterator[Scheduler]:
    """Two that were deleted, and stopped shortly before that; one of them came back under its old name."""
    gone = history.at(0.7)
    yield replace(
        _written(
            _scheduler(seed, SEOUL, "fan-1", (Era(history.at(0), gone - 3 * _HOUR, "PT30M", 30),)), REASONED
        ),
        deleted_at=gone,
        remark=f"deleted at {_told(gone)}",
    )
    gone, reborn = history.at(0.45), history.at(0.45) + 2 * _HOUR
    yield replace(
        _scheduler(seed, SEOUL, "fan-2", (Era(history.at(0), gone - 3 * _HOUR, "PT30M", 20),)),
        deleted_at=gone,
        remark=f"deleted at {_told(gone)}",
    )
    yield replace(
        _scheduler(seed, SEOUL, "fan-2", (Era(reborn, None, "PT30M", 20),), generation=2),
        remark=f"created again at {_told(reborn)}, with a new ARN",
    )


def _slow_ones(seed: int, history: History) -> Iterator[Scheduler]:
    """Hourly ones: one gets stuck, one lives on another clock, one is ahead of its time."""
    stuck, ahead = history.at(0.6), history.at(0.65)
    yield replace(
        _scheduler(seed, VIRGINIA, "mixer-1", _always(history, "PT1H", 60)),
        stuck_at=stuck,
        remark=f"its execution at {_told(stuck)} stays IN_PROGRESS for ever",
    )
    plain = _scheduler(seed, SEOUL, "mill-1", _always(history, "PT1H", 5))
    yield replace(
        plain,
        plant=replace(plain.plant, zone=timedelta(hours=5, minutes=30)),
        remark="stands at +05:30, so that a window of it straddles each midnight of UTC",
    )
    yield replace(
        _scheduler(seed, SEOUL, "chiller-1", _always(history, "PT1H", 45)),
        novelties_since=ahead,
        remark=f"has members that no known API has, since {_told(ahead)}",
    )


def _always(history: History, frequency: str, delay_minutes: int) -> tuple[Era, ...]:
    return (Era(history.at(0), None, frequency, delay_minutes),)


def _scheduler(seed: int, site: Site, name: str, eras: tuple[Era, ...], generation: int = 1) -> Scheduler:
    """A scheduler with nothing odd about it but its eras."""
    arn = site.arn(seed, "inference-scheduler", name, generation)
    component = f"{name.partition('-')[0]}-sensors"
    return Scheduler(
        seed=seed,
        arn=arn,
        model_arn=site.arn(seed, "model", f"{name}-model"),
        plant=Plant(seed, arn, component, site.bucket, f"{name}/input/"),
        output=Output(site.bucket, f"{name}/output/"),
        eras=eras,
        versions=(Version(eras[0].since, 1),),
    )


def _written(scheduler: Scheduler, age: Age) -> Scheduler:
    return replace(scheduler, formats=(Format(scheduler.created_at, age),))


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"
