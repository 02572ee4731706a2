"""The equipment registry: the equipment behind each scheduler, and the names of its sensors.

Reports and notifications apply it; recorded data never changes with it. Patterns match scheduler names, so a
scheduler that is recreated with a new ARN keeps its equipment. A scheduler without an entry is its own
equipment, and a sensor without an entry keeps the name that the service uses.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resources.config.toml_file import read_toml
from resources.config.validation_errors import SettingError, build_configuration_error
from resources.errors import ConfigurationError, format_value, suggest
from resources.name_patterns import ARN, matches_any
from resources.scheduler_arns import extract_name

CRITICALITIES = ("low", "medium", "high")
SETTING = "equipment.registry"

_NAME_EXAMPLE = 'name = "Feed pump 1"'
_KEYS = ("name", "schedulers", "site", "criticality", "sensors")
_SCHEDULER_PATTERN = re.compile(r"[0-9A-Za-z_*?/.=@-]+")
"""Names of the service, and output prefixes as names of schedulers that only a bucket shows."""


@dataclass(frozen=True)
class Equipment:
    """One piece of equipment; `criticality` is one of `CRITICALITIES`, or None if not ranked.

    `scheduler_name` is the name of its scheduler, for equipment without an entry.
    """

    name: str
    site: str | None = None
    criticality: str | None = None
    scheduler_name: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The name, or the scheduler's name if the name is the scheduler's ARN."""
        return (self.scheduler_name or extract_name(self.name)) if self.name.startswith(ARN) else self.name

    def is_at_least(self, criticality: str | None) -> bool:
        """Whether it is at least this critical; always true for None and for equipment without a rank."""
        if criticality is None or self.criticality is None:
            return True
        return CRITICALITIES.index(self.criticality) >= CRITICALITIES.index(criticality)


@dataclass(frozen=True)
class Sensor:
    """The display name and the unit of a sensor."""

    name: str
    unit: str | None = None


@dataclass(frozen=True)
class EquipmentEntry:
    """One entry of the file; `schedulers` holds names or ARNs, with * and ?."""

    equipment: Equipment
    schedulers: tuple[str, ...]
    sensors: Mapping[str, Sensor] = field(default_factory=dict)

    def watches(self, arn: str, name: str) -> bool:
        """Whether one of its patterns matches the scheduler."""
        return matches_any(self.schedulers, name, arn)


class EquipmentRegistry:
    """The entries of the file, with defaults for schedulers and sensors without an entry."""

    def __init__(
        self,
        entries: Sequence[EquipmentEntry] = (),
        sensors: Mapping[str, Sensor] | None = None,
        file: str = "equipment.toml",
    ) -> None:
        """Create a registry; without entries every scheduler is its own equipment."""
        self.entries = tuple(entries)
        self._sensors = dict(sensors or {})
        self._file = file

    def find_equipment(self, scheduler_arn: str, scheduler_name: str | None = None) -> Equipment:
        """Return the equipment of a scheduler; without an entry, its name is the scheduler's ARN.

        Raises:
            ConfigurationError: two entries match the scheduler.
        """
        name = scheduler_name or extract_name(scheduler_arn)
        matches = [entry.equipment for entry in self.entries if entry.watches(scheduler_arn, name)]
        if len(matches) > 1:
            names = " and ".join(format_value(equipment.name) for equipment in matches)
            raise ConfigurationError(
                f"Cannot assign the scheduler {name}: it matches {names}",
                where=f"{self._file}, for {scheduler_arn}",
                next_step="narrow the names or patterns in `schedulers` of one of them",
            )
        return matches[0] if matches else Equipment(scheduler_arn, scheduler_name=name)

    def find_sensor(self, diagnostic_name: str, equipment: str | None = None) -> Sensor:
        """Return a sensor by the name that the service uses: `component`, backslash, `sensor`.

        The sensors of the equipment take precedence over the sensors of the whole file.
        """
        own = (entry.sensors for entry in self.entries if entry.equipment.name == equipment)
        for sensors in (*own, self._sensors):
            if diagnostic_name in sensors:
                return sensors[diagnostic_name]
        return Sensor(diagnostic_name)


def load_equipment(uri: str, owner: str | None = None) -> EquipmentRegistry:
    """Read the registry; without a file it is empty.

    Args:
        uri: a local path or `s3://bucket/key`.
        owner: the account that must own the bucket; None: any.

    Raises:
        ConfigurationError: the file is invalid; one message lists all errors and their fixes.
        LedgerError: S3 refuses or cannot be reached.
    """
    table = read_toml(uri, SETTING, owner)
    if table is None:
        return EquipmentRegistry(file=uri)
    parser = _Parser(uri)
    entries, sensors = parser.parse(table)
    if parser.errors:
        raise build_configuration_error(parser.errors, "the equipment registry")
    return EquipmentRegistry(entries, sensors, uri)


class _Parser:
    """Parses the tables of the file and collects all errors."""

    def __init__(self, file: str) -> None:
        self.errors: list[SettingError] = []
        self._file = file

    def parse(self, table: Mapping[str, Any]) -> tuple[list[EquipmentEntry], dict[str, Sensor]]:
        self._check_keys(table, ("equipment", "sensors"), "")
        sensors = self._parse_sensors(table.get("sensors", {}), "sensors")
        tables = table.get("equipment", [])
        if not isinstance(tables, list):
            fix = "write [[equipment]], in double brackets, for each machine"
            self._add_error("equipment", f"must be a list of tables, not {format_value(tables)}", fix)
            tables = []
        entries = [self._parse_entry(number, entry) for number, entry in enumerate(tables)]
        for key, problem, fix in _find_conflicts(entries):
            self._add_error(key, problem, fix)
        return entries, sensors

    def _add_error(self, key: str, problem: str, fix: str) -> None:
        self.errors.append(SettingError(key, self._file, problem, fix))

    def _parse_entry(self, number: int, table: object) -> EquipmentEntry:
        location = f"equipment[{number}]"
        if not isinstance(table, dict):
            problem = f"must be a table, not {format_value(table)}"
            self._add_error(location, problem, f"write {_NAME_EXAMPLE}")
            table = {"name": location, "schedulers": ["?"]}
        name = self._parse_text(table, "name", _NAME_EXAMPLE, location)
        location = f"equipment {format_value(name)}" if name else location
        self._check_keys(table, _KEYS, f"{location}.")
        criticality = table.get("criticality")
        if criticality is not None and criticality not in CRITICALITIES:
            problem = "must be low, medium or high, not " + format_value(criticality)
            problem += suggest(str(criticality), CRITICALITIES)
            self._add_error(f"{location}.criticality", problem, 'write criticality = "high"')
            criticality = None
        site = self._parse_text(table, "site", 'site = "Leeds"', location) if "site" in table else None
        return EquipmentEntry(
            Equipment(name or location, site, criticality),
            self._parse_schedulers(table.get("schedulers"), f"{location}.schedulers"),
            self._parse_sensors(table.get("sensors", {}), f"{location}.sensors"),
        )

    def _parse_schedulers(self, values: object, key: str) -> tuple[str, ...]:
        fix = 'write schedulers = ["pump-1"], with the names or ARNs of its schedulers'
        if not isinstance(values, list) or not values:
            problem = (
                "is missing" if values is None else f"must be a list of names, not {format_value(values)}"
            )
            self._add_error(key, problem if values != [] else "is empty", fix)
            return ()
        invalid = [value for value in values if not _is_scheduler_pattern(value)]
        for value in invalid:
            problem = (
                f"{format_value(value)} is not a scheduler name (letters, digits, - and _, with * and ?)"
            )
            self._add_error(key, problem, fix)
        return tuple(dict.fromkeys(value for value in values if value not in invalid))

    def _parse_sensors(self, table: object, location: str) -> dict[str, Sensor]:
        example = r"'pump-sensors\Sensor0' = { name = "
        fix = f'write {example}"Bearing temperature", unit = "°C" }}, with the key in single quotes'
        if not isinstance(table, dict):
            self._add_error(location, f"must be a table, not {format_value(table)}", fix)
            return {}
        sensors = {}
        for diagnostic_name, value in table.items():
            key = f"{location}.{format_value(diagnostic_name)}"
            entry = {"name": value} if isinstance(value, str) else value
            if not isinstance(entry, dict):
                self._add_error(key, f"must be a table or a name, not {format_value(value)}", fix)
                continue
            self._check_keys(entry, ("name", "unit"), f"{key}.")
            unit = self._parse_text(entry, "unit", 'unit = "°C"', key) if "unit" in entry else ""
            name = (
                self._parse_text(entry, "name", 'name = "Bearing temperature"', key)
                if "name" in entry
                else ""
            )
            sensors[diagnostic_name] = Sensor(name or diagnostic_name, unit or None)
        return sensors

    def _parse_text(self, table: Mapping[str, Any], key: str, example: str, location: str) -> str:
        """Return "" and add an error if the text is invalid."""
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
        problem = "is missing" if value is None else f"must be text, not {format_value(value)}"
        problem = "is empty" if isinstance(value, str) else problem
        self._add_error(f"{location}.{key}", problem, f"write {example}")
        return ""

    def _check_keys(self, table: Mapping[str, Any], known_keys: Sequence[str], prefix: str) -> None:
        for key in table:
            if key not in known_keys:
                problem = f"is not a known key{suggest(key, known_keys)}"
                self._add_error(
                    f"{prefix}{key}", problem, f"remove it, or use a known key: {', '.join(known_keys)}"
                )


def _is_scheduler_pattern(value: object) -> bool:
    return isinstance(value, str) and (value.startswith(ARN) or bool(_SCHEDULER_PATTERN.fullmatch(value)))


def _find_conflicts(entries: Sequence[EquipmentEntry]) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and fix of each repeated name and each scheduler of two entries."""
    names: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.equipment.name
        if name in names:
            fix = "write one [[equipment]] with all schedulers of that machine"
            yield f"equipment {format_value(name)}", "is a duplicate", fix
        names.add(name)
        for other in entries[:number]:
            shared = [scheduler for scheduler in entry.schedulers if _covers(other, scheduler)]
            shared += [
                scheduler
                for scheduler in other.schedulers
                if _covers(entry, scheduler) and scheduler not in shared
            ]
            for scheduler in shared:
                problem = (
                    f"the scheduler {format_value(scheduler)} also belongs to"
                    f" {format_value(other.equipment.name)}"
                )
                fix = "name it in one of them, or narrow the pattern of the other"
                yield f"equipment {format_value(name)}.schedulers", problem, fix


def _covers(entry: EquipmentEntry, scheduler: str) -> bool:
    # the overlap of two patterns is found later, when one scheduler matches both
    if scheduler in entry.schedulers:
        return True
    if re.search(r"[*?]", scheduler):
        return False
    return entry.watches(scheduler, extract_name(scheduler))
