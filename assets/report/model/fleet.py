"""The machines of a page, with the names, sites and sensors that the equipment registry gives them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.report.formatting import clean_text
from assets.report.query.data import ReportData
from resources.config.equipment import Equipment, EquipmentRegistry, Sensor
from resources.scheduler_arns import describe_location

_UUID_START = 8


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of a machine."""

    arn: str
    name: str


@dataclass(frozen=True)
class Machine:
    """A machine as a page names it.

    Attributes:
        key: its name in `equipment_health`.
        label: its name on the page.
        location: its site; else region and account of its first scheduler, or the bucket.
        criticality: its criticality in the registry.
        schedulers: its schedulers, by name.
        anchor: the id of its card in the HTML.
        hint: its location if another machine has the same label, else empty; with the start of the UUID
            in the ARN if that machine has the same location.
    """

    key: str
    label: str
    location: str
    criticality: str | None
    schedulers: tuple[Scheduler, ...]
    anchor: str
    hint: str = ""


class Fleet:
    """All machines of a page, by label."""

    def __init__(self, scheduler_names: Mapping[str, str | None], registry: EquipmentRegistry) -> None:
        """Group schedulers by machine.

        Args:
            scheduler_names: name of each scheduler by ARN; None if no table has its name.
            registry: names machines and sensors.
        """
        self._registry = registry
        equipment: dict[str, Equipment] = {}
        schedulers: dict[str, list[Scheduler]] = defaultdict(list)
        for arn, name in sorted(scheduler_names.items()):
            entry = registry.find_equipment(arn, name)
            equipment[entry.name] = entry
            schedulers[entry.name].append(Scheduler(arn, clean_text(name or entry.label)))
        locations = {
            key: entry.site or describe_location(schedulers[key][0].arn) for key, entry in equipment.items()
        }
        hints = _build_hints(equipment, locations, schedulers)
        ordered = sorted(
            equipment.values(), key=lambda entry: (entry.label.casefold(), locations[entry.name], entry.name)
        )
        self.machines = [
            Machine(
                key=entry.name,
                label=clean_text(entry.label),
                location=clean_text(locations[entry.name]),
                criticality=entry.criticality,
                schedulers=tuple(
                    sorted(schedulers[entry.name], key=lambda scheduler: (scheduler.name, scheduler.arn))
                ),
                anchor=f"machine-{number}",
                hint=clean_text(hints[entry.name]),
            )
            for number, entry in enumerate(ordered, start=1)
        ]
        self._by_scheduler = {
            scheduler.arn: machine for machine in self.machines for scheduler in machine.schedulers
        }

    def find_machine(self, scheduler_arn: str) -> Machine | None:
        """Return the machine of a scheduler; None if the page does not have it."""
        return self._by_scheduler.get(scheduler_arn)

    def get_machine(self, scheduler_arn: str) -> Machine:
        """Return the machine of a scheduler.

        Raises:
            KeyError: the page does not have this scheduler.
        """
        return self._by_scheduler[scheduler_arn]

    def get_sensor(self, component: str | None, sensor: str, machine: Machine) -> Sensor:
        """Return a sensor with its registered name, else with its name in the results."""
        entry = self._registry.find_sensor(join_sensor_name(component, sensor), machine.key)
        return Sensor(clean_text(entry.name), clean_text(entry.unit) if entry.unit else None)


def build_fleet(data: ReportData, registry: EquipmentRegistry) -> Fleet:
    """Return every machine that has a row in any of the results."""
    names: dict[str, str | None] = {}
    for rows in (data.recorded.values(), data.schedulers.values(), data.events, data.objects):
        for row in rows:
            names.setdefault(row.scheduler_arn, row.scheduler_name)
    unnamed = [arn for row in data.equipment.values() for arn in (row.scheduler_arns or "").split(",") if arn]
    for arn in (*unnamed, *data.score_bins["scheduler_arn"].unique().to_pylist()):
        names.setdefault(arn, None)
    return Fleet(names, registry)


def join_sensor_name(component: str | None, sensor: str) -> str:
    r"""Return the diagnostic name of a sensor, `component\sensor`."""
    return f"{component}\\{sensor}" if component else sensor


def _build_hints(
    equipment: Mapping[str, Equipment],
    locations: Mapping[str, str],
    schedulers: Mapping[str, Sequence[Scheduler]],
) -> dict[str, str]:
    """Return what distinguishes each machine from others with the same label."""
    labels = Counter(entry.label for entry in equipment.values())
    places = Counter((entry.label, locations[key]) for key, entry in equipment.items())
    hints = {}
    for key, entry in equipment.items():
        parts = [locations[key]] if labels[entry.label] > 1 else []
        if places[entry.label, locations[key]] > 1:
            parts.append(schedulers[key][0].arn.rpartition("/")[2][:_UUID_START])
        hints[key] = " · ".join(filter(None, parts))
    return hints
