"""What needs attention: who is named, why, and in which order."""

from datetime import datetime, timedelta

import pytest

from assets.report.model.attention import Severity
from assets.report.model.page import Page
from assets.report.model.silencing import SilencedTarget
from assets.report.query.answers import Figure, StatementValue
from assets.report.render.html import render_html
from assets.report.render.markdown import render_markdown
from assets.tables import EVENT_NOTIFICATIONS
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry
from resources.config.silences import Silence
from resources.lake.lake import Lake
from tests.assets.conftest import Paged
from tests.support.machine_lake import NOW, START, Machine, write_rows


def words(said: StatementValue) -> str:
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
            Machine(events=[(30, 36), (146, 148), (150, 153)]),
            Severity.LOOK,
            (
                "2 events on the last day, 5 h anomalous, 20.8 % of its running time; the longest 3 h"
                " from Wed 7 Oct 06:00, peak 0.94; led by pump-sensors\\Sensor0 with 36.0 %"
            ),
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
            (
                "watched for only 88.0 % of the time; 120 executions got no data;"
                " longest silence within a day 20 h"
            ),
        ),
        (Machine(fails=True), Severity.ACT, "nobody watched: none of 1,008 executions gave a result"),
        (Machine(objects={"forbidden": 3}), Severity.ACT, "3 result objects may not be read"),
        (Machine(objects={"missing": 2}), Severity.LOOK, "2 result objects are gone"),
        (Machine(objects={"missing": 1}), Severity.LOOK, "1 result object is gone"),
        (
            Machine(objects={"wrong_owner": 1}),
            Severity.ACT,
            "1 result object is in a bucket of another account than expected",
        ),
        (
            Machine(switch_at=50),
            Severity.KNOW,
            "model v2 since Sat 3 Oct 02:00: scores before and after do not compare",
        ),
    ],
    ids=[
        "anomalous now",
        "an event today",
        "two events today and one before",
        "earlier events",
        "blind for long",
        "blind",
        "badly watched",
        "never watched",
        "forbidden",
        "gone",
        "one gone",
        "not ours",
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
    registry = EquipmentRegistry(
        [
            EquipmentEntry(Equipment("Spare", criticality="low"), ("spare",)),
            EquipmentEntry(Equipment("Main", criticality="high"), ("main",)),
            EquipmentEntry(Equipment("Calm", criticality="high"), ("calm",)),
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


def silence(until: datetime, since: datetime | None = None, **target: str) -> Silence:
    return Silence(who="shift lead", why="bearing is replaced", until=until, since=since, **target)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def silenced(page: Page) -> list[tuple[str, str, str]]:
    return [
        (line.machine.label, words(line.said).partition(",")[0], line.silence.span if line.silence else "")
        for line in page.silenced
    ]


def test_what_is_silenced_is_shown_apart_with_who_how_long_and_why(paged: Paged) -> None:
    machine = Machine("pump-1", events=[(160, 168)], state="open")
    page = paged(
        machine,
        Machine("pump-2", events=[(160, 168)], state="open"),
        silences=[silence(NOW, scheduler="pump-1"), silence(hour(100), scheduler="pump-2")],
    )

    assert [line.machine.label for line in page.attention] == ["pump-2"]
    (line,) = page.silenced
    assert line.machine.label == "pump-1"
    assert line.silence == SilencedTarget(
        "scheduler pump-1", "shift lead", "until Thu 8 Oct 06:00", "bearing is replaced"
    )
    assert page.urgent == 1
    assert page.calm == 0
    text = render_html(page)
    assert "silenced by <bdi>shift lead</bdi> until Thu 8 Oct 06:00: <bdi>bearing is replaced</bdi>" in text
    assert "silenced by shift lead until Thu 8 Oct 06:00: bearing is replaced" in render_markdown(page)


def test_a_maintenance_that_is_over_still_silences_the_events_within_it_and_no_others(paged: Paged) -> None:
    page = paged(
        Machine("pump-1", events=[(30, 33), (150, 153)]),
        silences=[silence(hour(40), since=hour(29), scheduler="pump-?")],
    )

    assert [words(line.said)[:47] for line in page.attention] == [
        "anomalous for 3 h from Wed 7 Oct 06:00, peak 0."
    ]
    assert silenced(page) == [
        ("pump-1", "anomalous for 3 h from Fri 2 Oct 06:00", "from Fri 2 Oct 05:00 until Fri 2 Oct 16:00")
    ]
    assert [event.silence is not None for event in page.events] == [False, True]
    assert page.other_silences == ()


def test_an_event_that_outlasts_a_maintenance_is_told(paged: Paged) -> None:
    page = paged(Machine("pump-1", events=[(30, 33)]), silences=[silence(hour(32), scheduler="pump-1")])

    assert [line.machine.label for line in page.attention] == ["pump-1"]
    assert page.silenced == ()
    assert [quiet.target for quiet in page.other_silences] == ["scheduler pump-1"]


@pytest.mark.parametrize("told_as", ["as it is", "before it moved"])
def test_an_acknowledged_event_is_silenced_by_any_id_that_people_were_told(
    lake: Lake, paged: Paged, told_as: str
) -> None:
    event_id = paged(Machine("pump-1", events=[(160, 168)], state="open")).events[0].event_id
    if told_as == "before it moved":
        row = {
            "event_id": "told-first",
            "current_event_id": event_id,
            "scheduler_arn": Machine("pump-1").arn,
            "start_time": hour(160),
            "end_time": hour(168),
            "state": "open",
            "first_notified_at": NOW,
            "last_notified_at": NOW,
            "changes": 1,
        }
        write_rows(lake, EVENT_NOTIFICATIONS, [row])
    acknowledged = event_id if told_as == "as it is" else "told-first"

    page = paged(silences=[silence(NOW, event=acknowledged)])

    assert page.attention == ()
    assert silenced(page) == [("pump-1", "anomalous since Wed 7 Oct 16:00", "until Thu 8 Oct 06:00")]


def test_an_acknowledgement_that_ran_out_silences_nothing(paged: Paged) -> None:
    event_id = paged(Machine("pump-1", events=[(160, 168)], state="open")).events[0].event_id

    page = paged(silences=[silence(hour(167), event=event_id)])

    assert [line.machine.label for line in page.attention] == ["pump-1"]


def test_what_is_planned_is_shown_where_it_silences_nothing(paged: Paged) -> None:
    page = paged(
        Machine("pump-1"), silences=[silence(NOW, equipment="Pump 7"), silence(hour(-1), event="0f3a")]
    )

    assert [quiet.target for quiet in page.other_silences] == ["equipment Pump 7"]
    assert "equipment Pump 7" in render_html(page)


def test_two_machines_of_one_name_are_told_apart(paged: Paged) -> None:
    arn = "arn:aws:lookoutequipment:us-east-1:999900001111:inference-scheduler/pump-1/other"
    page = paged(Machine("pump-1", fails=True), Machine("pump-1", arn=arn, fails=True))

    assert sorted(line.machine.hint for line in page.attention) == [
        "eu-west-1 · 111122223333",
        "us-east-1 · 999900001111",
    ]


@pytest.mark.parametrize(
    ("machine", "verdict"),
    [
        (Machine(gaps=[(20, 22)]), "Yes"),
        (Machine(gaps=[(20, 40)]), "With care"),
        (Machine(gaps=[(20, 120)]), "No"),
        (Machine(fails=True), "No"),
    ],
    ids=["nearly all", "a part", "hardly", "nothing"],
)
def test_whether_data_can_be_trusted_goes_by_what_gave_a_result(
    paged: Paged, machine: Machine, verdict: str
) -> None:
    assert paged(machine).trust.verdict == verdict
