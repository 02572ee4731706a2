"""The equipment registry: which machine is behind a scheduler, and what its sensors are called.

It is applied when something is reported, never to what is recorded. Names of schedulers outlive them: one
that is deleted and created again has a new ARN and the same machine. Whatever the registry does not name
stands for itself: a scheduler is a machine, a sensor has the name that the service gives it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resources.config.toml_file import read_toml
from resources.config.validation_errors import Mistake, as_error, did_you_mean, shown
from resources.errors import ConfigurationError
from resources.name_patterns import ARN, fits_any

CRITICALITIES = ("low", "medium", "high")
SETTING = "equipment.registry"

_EXAMPLE = 'name = "Feed pump 1"'
_KEYS = ("name", "schedulers", "site", "criticality", "sensors")
_NAME = re.compile(r"[0-9A-Za-z_*?-]+")


@dataclass(frozen=True)
class Equipment:
    """A machine; `criticality` is one of `CRITICALITIES`, or None: nobody said."""

    name: str
    site: str | None = None
    criticality: str | None = None

    @property
    def label(self) -> str:
        """Its name, short: of a scheduler that stands for itself, the scheduler's name."""
        return _name_in(self.name) if self.name.startswith(ARN) else self.name

    def is_at_least(self, criticality: str | None) -> bool:
        """Tell whether it is this critical (None: any is); one that nobody ranked always is."""
        if criticality is None or self.criticality is None:
            return True
        return CRITICALITIES.index(self.criticality) >= CRITICALITIES.index(criticality)


@dataclass(frozen=True)
class Sensor:
    """A sensor as people call it, and the unit that it measures in."""

    name: str
    unit: str | None = None


@dataclass(frozen=True)
class Entry:
    """What the registry says of one machine: its schedulers (names or ARNs, with * and ?), its sensors."""

    equipment: Equipment
    schedulers: tuple[str, ...]
    sensors: Mapping[str, Sensor] = field(default_factory=dict)

    def watched_by(self, arn: str, name: str) -> bool:
        """Tell whether one of its schedulers is this one."""
        return fits_any(self.schedulers, name, arn)


class Registry:
    """All machines that are named, and all that are not."""

    def __init__(
        self,
        entries: Sequence[Entry] = (),
        sensors: Mapping[str, Sensor] | None = None,
        file: str = "equipment.toml",
    ) -> None:
        """Take what a file says; nothing: every scheduler is a machine of its own."""
        self.entries = tuple(entries)
        self._sensors = dict(sensors or {})
        self._file = file

    def equipment_of(self, scheduler_arn: str, scheduler_name: str | None = None) -> Equipment:
        """Return the machine that a scheduler watches; unnamed ones have the scheduler's ARN as their name.

        Raises:
            ConfigurationError: it is said to watch two.
        """
        name = scheduler_name or _name_in(scheduler_arn)
        found = [entry.equipment for entry in self.entries if entry.watched_by(scheduler_arn, name)]
        if len(found) > 1:
            raise ConfigurationError(
                f"the scheduler {name} is said to watch two machines: "
                + " and ".join(shown(equipment.name) for equipment in found),
                where=f"{self._file}, for {scheduler_arn}",
                next_step="narrow the names or patterns in `schedulers` of one of them",
            )
        return found[0] if found else Equipment(scheduler_arn)

    def sensor(self, diagnostic_name: str, equipment: str | None = None) -> Sensor:
        """Return a sensor by the name that the service gives it (`component`, backslash, `sensor`).

        What is said of this equipment's own sensors goes before what is said of all.
        """
        own = (entry.sensors for entry in self.entries if entry.equipment.name == equipment)
        for known in (*own, self._sensors):
            if diagnostic_name in known:
                return known[diagnostic_name]
        return Sensor(diagnostic_name)


def load_registry(uri: str) -> Registry:
    """Read the registry; where there is no such file, nothing is named.

    Args:
        uri: a path of this machine, or `s3://bucket/key`.

    Raises:
        ConfigurationError: it cannot be used; one message lists every mistake and its mend.
        LedgerError: S3 refuses, or cannot be reached.
    """
    said = read_toml(uri, SETTING)
    if said is None:
        return Registry(file=uri)
    mistakes: list[Mistake] = []
    _known(said, ("equipment", "sensors"), "", uri, mistakes)
    sensors = _sensors(said.get("sensors", {}), "sensors", uri, mistakes)
    given = said.get("equipment", [])
    if not isinstance(given, list):
        mend = "write [[equipment]], in double brackets, for each machine"
        mistakes.append(Mistake("equipment", uri, f"must be a list of tables, not {shown(given)}", mend))
        given = []
    entries = [_entry(number, one, uri, mistakes) for number, one in enumerate(given)]
    mistakes += _claimed_twice(entries, uri)
    if mistakes:
        raise as_error(mistakes, "the equipment registry has")
    return Registry(entries, sensors, uri)


def _entry(number: int, said: object, file: str, mistakes: list[Mistake]) -> Entry:
    place = f"equipment[{number}]"
    if not isinstance(said, dict):
        mistakes.append(Mistake(place, file, f"must be a table, not {shown(said)}", f"write {_EXAMPLE}"))
        said = {"name": place, "schedulers": ["?"]}
    name = _text(said, "name", _EXAMPLE, place, file, mistakes)
    place = f"equipment {shown(name)}" if name else place
    _known(said, _KEYS, f"{place}.", file, mistakes)
    criticality = said.get("criticality")
    if criticality is not None and criticality not in CRITICALITIES:
        problem = f"must be {', '.join(CRITICALITIES[:-1])} or {CRITICALITIES[-1]}, not {shown(criticality)}"
        problem += did_you_mean(str(criticality), CRITICALITIES)
        mistakes.append(Mistake(f"{place}.criticality", file, problem, 'write criticality = "high"'))
        criticality = None
    site = _text(said, "site", 'site = "Leeds"', place, file, mistakes) if "site" in said else None
    return Entry(
        Equipment(name or place, site, criticality),
        _schedulers(said.get("schedulers"), place, file, mistakes),
        _sensors(said.get("sensors", {}), f"{place}.sensors", file, mistakes),
    )


def _schedulers(said: object, place: str, file: str, mistakes: list[Mistake]) -> tuple[str, ...]:
    mend = 'write schedulers = ["pump-1"], with the names or ARNs of its schedulers'
    key = f"{place}.schedulers"
    if not isinstance(said, list) or not said:
        problem = "is missing" if said is None else f"must be a list of names, not {shown(said)}"
        mistakes.append(Mistake(key, file, problem if said != [] else "is empty", mend))
        return ()
    bad = [
        one for one in said if not isinstance(one, str) or not (one.startswith(ARN) or _NAME.fullmatch(one))
    ]
    for one in bad:
        problem = (
            f"{shown(one)} is no name of a scheduler (letters, digits, - and _; * and ? stand for others)"
        )
        mistakes.append(Mistake(key, file, problem, mend))
    return tuple(dict.fromkeys(one for one in said if one not in bad))


def _sensors(said: object, place: str, file: str, mistakes: list[Mistake]) -> dict[str, Sensor]:
    example = r"'pump-sensors\Sensor0' = { name = "
    mend = f'write {example}"Bearing temperature", unit = "°C" }}, the key in single quotes'
    if not isinstance(said, dict):
        mistakes.append(Mistake(place, file, f"must be a table, not {shown(said)}", mend))
        return {}
    found = {}
    for raw, value in said.items():
        key = f"{place}.{shown(raw)}"
        told = {"name": value} if isinstance(value, str) else value
        if not isinstance(told, dict):
            mistakes.append(Mistake(key, file, f"must be a table or a name, not {shown(value)}", mend))
            continue
        _known(told, ("name", "unit"), f"{key}.", file, mistakes)
        unit = _text(told, "unit", 'unit = "°C"', key, file, mistakes) if "unit" in told else None
        name = (
            _text(told, "name", 'name = "Bearing temperature"', key, file, mistakes)
            if "name" in told
            else None
        )
        found[raw] = Sensor(name or raw, unit or None)
    return found


def _text(
    said: Mapping[str, Any], key: str, example: str, place: str, file: str, mistakes: list[Mistake]
) -> str:
    value = said.get(key)
    if isinstance(value, str) and value.strip():
        return value.strip()
    problem = f"must be text, not {shown(value)}" if value is not None else "is missing"
    problem = "is empty" if isinstance(value, str) else problem
    mistakes.append(Mistake(f"{place}.{key}", file, problem, f"write {example}"))
    return ""


def _known(
    said: Mapping[str, Any], keys: Sequence[str], place: str, file: str, mistakes: list[Mistake]
) -> None:
    for key in said:
        if key not in keys:
            problem = f"is not a known key{did_you_mean(key, keys)}"
            mend = f"remove it, or write what is known here: {', '.join(keys)}"
            mistakes.append(Mistake(f"{place}{key}", file, problem, mend))


def _claimed_twice(entries: Sequence[Entry], file: str) -> Iterator[Mistake]:
    names: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.equipment.name
        if name in names:
            mend = "write one [[equipment]] with all schedulers of that machine"
            yield Mistake(f"equipment {shown(name)}", file, "is there twice", mend)
        names.add(name)
        for other in entries[:number]:
            both = [one for one in entry.schedulers if _claims(other, one)]
            both += [one for one in other.schedulers if _claims(entry, one) and one not in both]
            for scheduler in both:
                problem = f"the scheduler {shown(scheduler)} is one of {shown(other.equipment.name)} too"
                mend = "name it in one of them, or narrow the pattern of the other"
                yield Mistake(f"equipment {shown(name)}.schedulers", file, problem, mend)


def _claims(entry: Entry, scheduler: str) -> bool:
    # what two patterns have in common is seen when a scheduler fits both
    if scheduler in entry.schedulers:
        return True
    if re.search(r"[*?]", scheduler):
        return False
    return entry.watched_by(scheduler, _name_in(scheduler))


def _name_in(arn: str) -> str:
    """Return the name in an ARN `…:inference-scheduler/<name>/<uuid>`; a name is returned as it is."""
    parts = arn.split("/")
    return parts[1] if arn.startswith(ARN) and len(parts) > 1 else arn
