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
from resources.config.validation_errors import SettingError, build_configuration_error, format_value, suggest
from resources.errors import ConfigurationError
from resources.name_patterns import ARN, matches_any

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
class EquipmentEntry:
    """What the registry says of one machine: its schedulers (names or ARNs, with * and ?), its sensors."""

    equipment: Equipment
    schedulers: tuple[str, ...]
    sensors: Mapping[str, Sensor] = field(default_factory=dict)

    def watches(self, arn: str, name: str) -> bool:
        """Tell whether one of its schedulers is this one."""
        return matches_any(self.schedulers, name, arn)


class EquipmentRegistry:
    """All machines that are named, and all that are not."""

    def __init__(
        self,
        entries: Sequence[EquipmentEntry] = (),
        sensors: Mapping[str, Sensor] | None = None,
        file: str = "equipment.toml",
    ) -> None:
        """Take what a file says; nothing: every scheduler is a machine of its own."""
        self.entries = tuple(entries)
        self._sensors = dict(sensors or {})
        self._file = file

    def find_equipment(self, scheduler_arn: str, scheduler_name: str | None = None) -> Equipment:
        """Return the machine that a scheduler watches; unnamed ones have the scheduler's ARN as their name.

        Raises:
            ConfigurationError: it is said to watch two.
        """
        name = scheduler_name or _name_in(scheduler_arn)
        found = [entry.equipment for entry in self.entries if entry.watches(scheduler_arn, name)]
        if len(found) > 1:
            raise ConfigurationError(
                f"the scheduler {name} is said to watch two machines: "
                + " and ".join(format_value(equipment.name) for equipment in found),
                where=f"{self._file}, for {scheduler_arn}",
                next_step="narrow the names or patterns in `schedulers` of one of them",
            )
        return found[0] if found else Equipment(scheduler_arn)

    def find_sensor(self, diagnostic_name: str, equipment: str | None = None) -> Sensor:
        """Return a sensor by the name that the service gives it (`component`, backslash, `sensor`).

        What is said of this equipment's own sensors goes before what is said of all.
        """
        own = (entry.sensors for entry in self.entries if entry.equipment.name == equipment)
        for known in (*own, self._sensors):
            if diagnostic_name in known:
                return known[diagnostic_name]
        return Sensor(diagnostic_name)


def load_equipment(uri: str) -> EquipmentRegistry:
    """Read the registry; where there is no such file, nothing is named.

    Args:
        uri: a path of this machine, or `s3://bucket/key`.

    Raises:
        ConfigurationError: it cannot be used; one message lists every mistake and its mend.
        LedgerError: S3 refuses, or cannot be reached.
    """
    said = read_toml(uri, SETTING)
    if said is None:
        return EquipmentRegistry(file=uri)
    mistakes: list[SettingError] = []
    _known(said, ("equipment", "sensors"), "", uri, mistakes)
    sensors = _sensors(said.get("sensors", {}), "sensors", uri, mistakes)
    given = said.get("equipment", [])
    if not isinstance(given, list):
        mend = "write [[equipment]], in double brackets, for each machine"
        mistakes.append(
            SettingError("equipment", uri, f"must be a list of tables, not {format_value(given)}", mend)
        )
        given = []
    entries = [_entry(number, one, uri, mistakes) for number, one in enumerate(given)]
    mistakes += _claimed_twice(entries, uri)
    if mistakes:
        raise build_configuration_error(mistakes, "the equipment registry has")
    return EquipmentRegistry(entries, sensors, uri)


def _entry(number: int, said: object, file: str, mistakes: list[SettingError]) -> EquipmentEntry:
    place = f"equipment[{number}]"
    if not isinstance(said, dict):
        mistakes.append(
            SettingError(place, file, f"must be a table, not {format_value(said)}", f"write {_EXAMPLE}")
        )
        said = {"name": place, "schedulers": ["?"]}
    name = _text(said, "name", _EXAMPLE, place, file, mistakes)
    place = f"equipment {format_value(name)}" if name else place
    _known(said, _KEYS, f"{place}.", file, mistakes)
    criticality = said.get("criticality")
    if criticality is not None and criticality not in CRITICALITIES:
        problem = (
            f"must be {', '.join(CRITICALITIES[:-1])} or {CRITICALITIES[-1]}, not {format_value(criticality)}"
        )
        problem += suggest(str(criticality), CRITICALITIES)
        mistakes.append(SettingError(f"{place}.criticality", file, problem, 'write criticality = "high"'))
        criticality = None
    site = _text(said, "site", 'site = "Leeds"', place, file, mistakes) if "site" in said else None
    return EquipmentEntry(
        Equipment(name or place, site, criticality),
        _schedulers(said.get("schedulers"), place, file, mistakes),
        _sensors(said.get("sensors", {}), f"{place}.sensors", file, mistakes),
    )


def _schedulers(said: object, place: str, file: str, mistakes: list[SettingError]) -> tuple[str, ...]:
    mend = 'write schedulers = ["pump-1"], with the names or ARNs of its schedulers'
    key = f"{place}.schedulers"
    if not isinstance(said, list) or not said:
        problem = "is missing" if said is None else f"must be a list of names, not {format_value(said)}"
        mistakes.append(SettingError(key, file, problem if said != [] else "is empty", mend))
        return ()
    bad = [
        one for one in said if not isinstance(one, str) or not (one.startswith(ARN) or _NAME.fullmatch(one))
    ]
    for one in bad:
        problem = f"{format_value(one)} is not a scheduler name (letters, digits, - and _, with * and ?)"
        mistakes.append(SettingError(key, file, problem, mend))
    return tuple(dict.fromkeys(one for one in said if one not in bad))


def _sensors(said: object, place: str, file: str, mistakes: list[SettingError]) -> dict[str, Sensor]:
    example = r"'pump-sensors\Sensor0' = { name = "
    mend = f'write {example}"Bearing temperature", unit = "°C" }}, the key in single quotes'
    if not isinstance(said, dict):
        mistakes.append(SettingError(place, file, f"must be a table, not {format_value(said)}", mend))
        return {}
    found = {}
    for raw, value in said.items():
        key = f"{place}.{format_value(raw)}"
        told = {"name": value} if isinstance(value, str) else value
        if not isinstance(told, dict):
            mistakes.append(
                SettingError(key, file, f"must be a table or a name, not {format_value(value)}", mend)
            )
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
    said: Mapping[str, Any], key: str, example: str, place: str, file: str, mistakes: list[SettingError]
) -> str:
    value = said.get(key)
    if isinstance(value, str) and value.strip():
        return value.strip()
    problem = f"must be text, not {format_value(value)}" if value is not None else "is missing"
    problem = "is empty" if isinstance(value, str) else problem
    mistakes.append(SettingError(f"{place}.{key}", file, problem, f"write {example}"))
    return ""


def _known(
    said: Mapping[str, Any], keys: Sequence[str], place: str, file: str, mistakes: list[SettingError]
) -> None:
    for key in said:
        if key not in keys:
            problem = f"is not a known key{suggest(key, keys)}"
            mend = f"remove it, or write what is known here: {', '.join(keys)}"
            mistakes.append(SettingError(f"{place}{key}", file, problem, mend))


def _claimed_twice(entries: Sequence[EquipmentEntry], file: str) -> Iterator[SettingError]:
    names: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.equipment.name
        if name in names:
            mend = "write one [[equipment]] with all schedulers of that machine"
            yield SettingError(f"equipment {format_value(name)}", file, "is there twice", mend)
        names.add(name)
        for other in entries[:number]:
            both = [one for one in entry.schedulers if _claims(other, one)]
            both += [one for one in other.schedulers if _claims(entry, one) and one not in both]
            for scheduler in both:
                problem = (
                    f"the scheduler {format_value(scheduler)}"
                    f" is one of {format_value(other.equipment.name)} too"
                )
                mend = "name it in one of them, or narrow the pattern of the other"
                yield SettingError(f"equipment {format_value(name)}.schedulers", file, problem, mend)


def _claims(entry: EquipmentEntry, scheduler: str) -> bool:
    # what two patterns have in common is seen when a scheduler fits both
    if scheduler in entry.schedulers:
        return True
    if re.search(r"[*?]", scheduler):
        return False
    return entry.watches(scheduler, _name_in(scheduler))


def _name_in(arn: str) -> str:
    """Return the name in an ARN `…:inference-scheduler/<name>/<uuid>`; a name is returned as it is."""
    parts = arn.split("/")
    return parts[1] if arn.startswith(ARN) and len(parts) > 1 else arn
