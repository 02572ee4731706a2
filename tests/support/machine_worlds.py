"""Machines of report pages: a busy week, and lakes with extreme states or hostile names."""

from collections.abc import Iterator

from tests.support.machine_lake import Machine

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "🔥 Pumpe №1 & „Söhne“ </style></svg>",
    "мотор \u202eאבג",
    "nul\x00 and bell\x07",
    "javascript:alert(1)//https://evil.example/",
]


def list_busy_machines() -> Iterator[Machine]:
    yield Machine("pump-1", events=[(20, 23.5), (160, 168)], state="open")
    yield Machine("pump-2", switch_at=100, events=[(50, 52)], off=[(0, 8), (80, 100)])
    yield Machine("turbine-1", step_minutes=15, gaps=[(60, 75), (140, 152)], objects={"forbidden": 4})
    yield Machine("fan-1", step_minutes=60)
    yield Machine("blower-1", has_scores=False, events=[(148, 150.5)], sensors=())
    yield Machine("mixer-1", fails=True)


def list_hostile_machines() -> Iterator[Machine]:
    for number, name in enumerate(HOSTILE):
        yield Machine(
            name,
            arn=f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/{name}/{number}",
            step_minutes=60,
            events=[(30 + number, 40 + number)],
            gaps=[(100, 120)],
            sensors=[(name, 0.5), (f"{name}\\{name}", 0.2)],
            cause=f"no input: {name}",
        )


def list_many_machines() -> Iterator[Machine]:
    """Yield twenty machines whose names have up to 200 characters, the limit of the service."""
    for number in range(20):
        yield Machine(
            f"{'compressor-station-' * (number % 12)}{number}"[:200],
            step_minutes=60,
            events=[(hour, hour + 2) for hour in range(number, 160, 60)],
            gaps=[(number, number + 5)],
            sensors=[(f"{'bearing_temperature_drive_end_' * 6}{number}", 0.4), ("Speed", 0.1)],
            cause="no input for " + "component-" * (number % 20),
        )


WORLDS: dict[str, list[Machine]] = {
    "a busy week": list(list_busy_machines()),
    "all machines off": [Machine("pump-1", off=[(0, 168)]), Machine("pump-2", off=[(0, 168)])],
    "everything failed": [Machine("pump-1", fails=True), Machine("pump-2", fails=True)],
    "one execution": [Machine("pump-1", step_minutes=60, gaps=[(1, 168)])],
    "hostile names": list(list_hostile_machines()),
    "an empty lake": [],
}
