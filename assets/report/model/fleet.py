"""Which machines a page is about, and what people call them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from assets.report.formatting import format_number
from assets.report.query.answers import Answers
from resources.config.equipment import Equipment, EquipmentRegistry, Sensor

_PARTS_OF_ARN = 6


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of a machine: its ARN and its name."""

    arn: str
    name: str


@dataclass(frozen=True)
class Machine:
    """A machine as a page names it.

    Attributes:
        key: its name in `equipment_health`.
        label: what people call it.
        place: its site, or region and account of its scheduler.
        criticality: as the registry has it.
        schedulers: what watches it, in order of their names.
        anchor: where it stands on the page.
        hint: its place, where another machine has the same label; else nothing.
    """

    key: str
    label: str
    location: str
    criticality: str | None
    schedulers: tuple[Scheduler, ...]
    anchor: str
    hint: str = ""


class Fleet:
    """All machines of a page."""

    def __init__(self, names: Mapping[str, str | None], registry: EquipmentRegistry) -> None:
        """Take the schedulers, by ARN with their names, and what the registry says of them."""
        self._registry = registry
        found: dict[str, Equipment] = {}
        schedulers: dict[str, list[Scheduler]] = defaultdict(list)
        for arn, name in sorted(names.items()):
            equipment = registry.find_equipment(arn, name)
            found[equipment.name] = equipment
            schedulers[equipment.name].append(Scheduler(arn, format_number(name or equipment.label)))
        labels = Counter(equipment.label for equipment in found.values())
        places = {key: equipment.site or _place(schedulers[key][0].arn) for key, equipment in found.items()}
        ordered = sorted(found.values(), key=lambda one: (one.label.casefold(), places[one.name], one.name))
        self.machines = [
            Machine(
                key=one.name,
                label=format_number(one.label),
                location=format_number(places[one.name]),
                criticality=one.criticality,
                schedulers=tuple(
                    sorted(schedulers[one.name], key=lambda scheduler: (scheduler.name, scheduler.arn))
                ),
                anchor=f"machine-{number}",
                hint=format_number(places[one.name]) if labels[one.label] > 1 else "",
            )
            for number, one in enumerate(ordered, start=1)
        ]
        self._by_scheduler = {
            scheduler.arn: machine for machine in self.machines for scheduler in machine.schedulers
        }

    def of(self, scheduler_arn: str) -> Machine:
        """Return the machine that a scheduler watches."""
        return self._by_scheduler[scheduler_arn]

    def sensor(self, component: str | None, sensor: str, machine: Machine) -> Sensor:
        """Return a sensor as people call it; one that nobody named keeps its own name."""
        named = self._registry.find_sensor(f"{component}\\{sensor}" if component else sensor, machine.key)
        return Sensor(format_number(named.name), format_number(named.unit) if named.unit else None)


def build_fleet(answers: Answers, registry: EquipmentRegistry) -> Fleet:
    """Return the machines that any of the answers tells of."""
    names: dict[str, str | None] = {}
    for question in ("recorded", "schedulers", "events", "objects"):
        for row in answers.rows(question).values():
            names.setdefault(row["scheduler_arn"], row["scheduler_name"])
    told_of: Iterable[str] = [
        arn
        for row in answers.rows("equipment").values()
        for arn in (row["scheduler_arns"] or "").split(",")
        if arn
    ]
    for arn in (*told_of, *answers.tables["strips"]["scheduler_arn"].unique().to_pylist()):
        names.setdefault(arn, None)
    return Fleet(names, registry)


def _place(arn: str) -> str:
    parts = arn.split(":")
    return f"{parts[3]} · {parts[4]}" if len(parts) >= _PARTS_OF_ARN else ""
