"""What needs attention: who is named, why, and in which order."""

from datetime import datetime, timedelta

import pytest

from assets.reporting.answers import Figure, Said
from assets.reporting.attention import Severity
from resources.registry import Entry, Equipment, Registry
from resources.silences import Silence
from tests.assets.reporting.conftest import Paged
from tests.assets.reporting.worlds import NOW, Machine


def words(said: Said) -> str:
    return "".join(part.text if isinstance(part, Figure) else part for part in said).replace("\u202f", " ")


@pytest.mark.parametrize(
    ("machine", "severity", "why"),
    [
        (
            Machine(events=[(160, 168)], state="open"),
            Severity.ACT,
            (
                "anomalous since Wed 7 Oct 16:00, for 8 h so far, peak 0.94;"
                " led by pump-sensors\\Sensor0 with 36.0 %"
            ),
        ),
        (
            Machine(events=[(150, 153)]),
            Severity.LOOK,
            "anomalous for 3 h from Wed 7 Oct 06:00, peak 0.94; led by pump-sensors\\Sensor0 with 36.0 %",
        ),
        (
            Machine(events=[(10, 12), (20, 21)], has_scores=False, sensors=()),
            Severity.KNOW,
            "2 events, 3 h anomalous, 1.7 % of its running time; the longest 2 h from Thu 1 Oct 10:00",
        ),
        (
            Machine(gaps=[(160, 168)]),
            Severity.ACT,
            "blind for 8 h: the newest result is of Wed 7 Oct 16:00",
        ),
        (
            Machine(gaps=[(166, 168)]),
            Severity.LOOK,
            "blind for 2 h: the newest result is of Wed 7 Oct 22:00",
        ),
        (
            Machine(gaps=[(50, 70)]),
            Severity.LOOK,
            "watched for only 88.0 % of the time; 120 executions got no data; longest silence 20 h",
        ),
        (Machine(fails=True), Severity.ACT, "nobody watched: none of 1,008 executions gave a result"),
        (Machine(objects={"forbidden": 3}), Severity.ACT, "3 result objects may not be read"),
        (Machine(objects={"missing": 2}), Severity.LOOK, "2 result objects are gone"),
        (
            Machine(switch_at=50),
            Severity.KNOW,
            "model v2 since Sat 3 Oct 02:00: scores before and after do not compare",
        ),
    ],
    ids=[
        "anomalous now",
        "an event today",
        "earlier events",
        "blind for long",
        "blind",
        "badly watched",
        "never watched",
        "forbidden",
        "gone",
        "new model",
    ],
)
def test_the_worst_is_told_first(paged: Paged, machine: Machine, severity: Severity, why: str) -> None:
    (line,) = paged(machine).attention

    assert line.severity == severity
    assert words(line.said) == why


def test_a_machine_without_a_reason_is_not_named(paged: Paged) -> None:
    page = paged(Machine("pump-1"), Machine("pump-2", off=[(0, 168)]))

    assert page.attention == ()
    assert page.calm == 2
    assert page.urgent == 0


def test_severity_goes_before_criticality_and_that_before_length(paged: Paged) -> None:
    registry = Registry(
        [
            Entry(Equipment("Spare", criticality="low"), ("spare",)),
            Entry(Equipment("Main", criticality="high"), ("main",)),
            Entry(Equipment("Calm", criticality="high"), ("calm",)),
        ]
    )
    page = paged(
        Machine("spare", events=[(100, 168)], state="open", equipment="Spare"),
        Machine("main", events=[(160, 168)], state="open", equipment="Main"),
        Machine("calm", events=[(10, 12)], equipment="Calm"),
        Machine("other", events=[(140, 168)], state="open"),
        registry=registry,
    )

    assert [line.machine.label for line in page.attention] == ["Main", "other", "Spare", "Calm"]
    assert [card.machine.label for card in page.cards] == ["Main", "other", "Spare", "Calm"]


def silence(until: datetime, **target: str) -> Silence:
    return Silence(who="shift lead", why="bearing is replaced", until=until, **target)


def test_what_is_silenced_is_shown_apart_with_who_and_why(paged: Paged) -> None:
    machine = Machine("pump-1", events=[(160, 168)], state="open")
    page = paged(
        machine,
        Machine("pump-2", events=[(160, 168)], state="open"),
        silences=[silence(NOW, scheduler="pump-1"), silence(NOW - timedelta(days=1), scheduler="pump-2")],
    )

    assert [line.machine.label for line in page.attention] == ["pump-2"]
    assert [(line.machine.label, line.silence and line.silence.who) for line in page.silenced] == [
        ("pump-1", "shift lead")
    ]
    assert page.urgent == 1


def test_two_machines_of_one_name_are_told_apart(paged: Paged) -> None:
    arn = "arn:aws:lookoutequipment:us-east-1:999900001111:inference-scheduler/pump-1/other"
    page = paged(Machine("pump-1", fails=True), Machine("pump-1", arn=arn, fails=True))

    assert sorted(line.machine.hint for line in page.attention) == [
        "eu-west-1 · 111122223333",
        "us-east-1 · 999900001111",
    ]
