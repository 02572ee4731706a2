"""The ranking of the machines that need attention, their findings, and the silences."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from assets.report.model.attention import AttentionItem, Severity
from assets.report.model.page import Page, build_page
from assets.report.model.silencing import SilenceSummary
from assets.report.query.data import ReportData, read_report_data
from assets.report.query.result import Figure, Statement
from assets.report.query.scope import ReportScope
from assets.report.render.html import render_html
from assets.report.render.markdown import render_markdown
from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS
from pipelines.operations.query import open_query
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry
from resources.config.silences import Silence
from resources.lake.lake import Lake
from tests.support.machine_lake import (
    FIRST,
    LAST,
    NOW,
    START,
    BuildPage,
    Machine,
    write_machines,
    write_rows,
)


def to_text(statement: Statement) -> str:
    return "".join(part.text if isinstance(part, Figure) else part for part in statement).replace(
        "\u202f", " "
    )


FINDINGS = {
    "anomalous now": (
        Machine("anomalous now", events=[(160, 168)], state="open"),
        Severity.ALERT,
        (
            "anomalous since Wed 7 Oct 16:00, 8 h so far, peak score 0.94;"
            " top sensor: pump-sensors\\Sensor0 (36.0 %)"
        ),
    ),
    "an event today": (
        Machine("an event today", events=[(150, 153)]),
        Severity.WARNING,
        "anomalous for 3 h from Wed 7 Oct 06:00, peak score 0.94; top sensor: pump-sensors\\Sensor0 (36.0 %)",
    ),
    "earlier events": (
        Machine("earlier events", events=[(10, 12), (20, 21)], has_scores=False, sensors=()),
        Severity.INFO,
        "2 events, 3 h anomalous (1.7 % of running time); longest: 2 h from Thu 1 Oct 10:00",
    ),
    "two events today and one before": (
        Machine("two events today and one before", events=[(30, 36), (146, 148), (150, 153)]),
        Severity.WARNING,
        (
            "2 events on the last day, 5 h anomalous (20.8 % of running time); longest: 3 h"
            " from Wed 7 Oct 06:00, peak score 0.94; top sensor: pump-sensors\\Sensor0 (36.0 %)"
        ),
    ),
    "no result for long": (
        Machine("no result for long", gaps=[(160, 168)]),
        Severity.ALERT,
        "no result is recorded for 8 h: the newest is from Wed 7 Oct 16:00",
    ),
    "no result for a while": (
        Machine("no result for a while", gaps=[(166, 168)]),
        Severity.WARNING,
        "no result is recorded for 2 h: the newest is from Wed 7 Oct 22:00",
    ),
    "few results": (
        Machine("few results", gaps=[(50, 70)]),
        Severity.WARNING,
        (
            "only 88.0 % of the executions due returned a result; 120 executions had no input data;"
            " longest time without a result within a day: 20 h"
        ),
    ),
    "no results at all": (
        Machine("no results at all", fails=True),
        Severity.ALERT,
        "no result is recorded: none of 1,008 executions has one",
    ),
    "access denied": (
        Machine("access denied", objects={"forbidden": 3}),
        Severity.ALERT,
        "3 result objects are not readable: access denied",
    ),
    "objects not found": (
        Machine("objects not found", objects={"missing": 2}),
        Severity.WARNING,
        "2 result objects are not found",
    ),
    "object not found": (
        Machine("object not found", objects={"missing": 1}),
        Severity.WARNING,
        "1 result object is not found",
    ),
    "wrong owner": (
        Machine("wrong owner", objects={"wrong_owner": 1}),
        Severity.ALERT,
        "1 result object is in a bucket of an unexpected account",
    ),
    "new model": (
        Machine("new model", switch_at=50),
        Severity.INFO,
        "model v2 since Sat 3 Oct 02:00: scores before and after are not comparable",
    ),
}
"""Machines by name, each with the severity and the text of its most severe finding."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, AttentionItem]:
    """The page of one fleet, by machine: a finding of one machine does not depend on the others."""
    lake = Lake(str(tmp_path_factory.mktemp("fleet") / "lake"))
    write_machines(lake, *(machine for machine, _, _ in FINDINGS.values()))
    with open_query(lake) as run_query:
        data = read_report_data(ReportScope(FIRST, LAST), run_query)
    items = build_page(data, EquipmentRegistry(), [], NOW).attention
    by_machine = {item.machine.label: item for item in items}
    assert len(by_machine) == len(items), "a machine is listed once"
    return by_machine


@pytest.mark.parametrize("name", FINDINGS)
def test_the_most_severe_finding_comes_first(findings: dict[str, AttentionItem], name: str) -> None:
    _, severity, text = FINDINGS[name]

    assert findings.keys() == FINDINGS.keys()
    assert findings[name].severity == severity
    assert to_text(findings[name].finding) == text


EVENT_NOW, PAST_AND_PRESENT, PAST = "pump-1", "fan-1", "fan-2"
ACKNOWLEDGED = "pump-2"
MACHINES = (
    Machine(EVENT_NOW, events=[(160, 168)], state="open"),
    Machine(ACKNOWLEDGED, events=[(160, 168)], state="open"),
    Machine(PAST_AND_PRESENT, events=[(30, 33), (150, 153)]),
    Machine(PAST, events=[(30, 33)]),
    Machine("mixer-1"),
    Machine("mixer-2", off=[(0, 168)]),
)
LISTED = [EVENT_NOW, ACKNOWLEDGED, PAST_AND_PRESENT, PAST]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """What the report reads about `MACHINES`; the event of one was notified under another id."""
    lake = Lake(str(tmp_path_factory.mktemp("silences") / "lake"))
    write_machines(lake, *MACHINES)
    events = lake.read(ANOMALY_EVENTS).to_pylist()
    (current_id,) = (row["event_id"] for row in events if row["scheduler_name"] == ACKNOWLEDGED)
    row = {
        "event_id": "first-id",
        "current_event_id": current_id,
        "scheduler_arn": Machine(ACKNOWLEDGED).arn,
        "start_time": hour(160),
        "end_time": hour(168),
        "state": "open",
        "first_notified_at": NOW,
        "last_notified_at": NOW,
        "changes": 1,
    }
    write_rows(lake, EVENT_NOTIFICATIONS, [row])
    with open_query(lake) as run_query:
        return read_report_data(ReportScope(FIRST, LAST), run_query)


def build_silenced(fleet: ReportData, *silences: Silence) -> Page:
    return build_page(fleet, EquipmentRegistry(), silences, NOW)


def list_attention(page: Page) -> list[str]:
    return [item.machine.label for item in page.attention]


def test_a_machine_without_a_finding_is_not_listed(fleet: ReportData) -> None:
    page = build_silenced(fleet)

    assert list_attention(page) == LISTED
    assert page.unaffected == 2
    assert page.urgent == 3, "the past event alone is not urgent"
    assert page.silenced == page.unused_silences == ()


def test_items_are_ranked_by_severity_then_criticality_then_duration(build_report: BuildPage) -> None:
    registry = EquipmentRegistry(
        [
            EquipmentEntry(Equipment("Spare", criticality="low"), ("spare",)),
            EquipmentEntry(Equipment("Main", criticality="high"), ("main",)),
            EquipmentEntry(Equipment("Calm", criticality="high"), ("calm",)),
        ]
    )
    page = build_report(
        Machine("spare", events=[(100, 168)], state="open", equipment="Spare"),
        Machine("main", events=[(160, 168)], state="open", equipment="Main"),
        Machine("calm", events=[(10, 12)], equipment="Calm"),
        Machine("other", events=[(140, 168)], state="open"),
        registry=registry,
    )

    assert [item.machine.label for item in page.attention] == ["Main", "other", "Spare", "Calm"]
    assert [card.machine.label for card in page.cards] == ["Main", "other", "Spare", "Calm"]


def create_silence(until: datetime, since: datetime | None = None, **target: str) -> Silence:
    return Silence(who="shift lead", why="bearing is replaced", until=until, since=since, **target)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def list_silenced(page: Page) -> list[tuple[str, str, str]]:
    return [
        (
            item.machine.label,
            to_text(item.finding).partition(",")[0],
            item.silence.period if item.silence else "",
        )
        for item in page.silenced
    ]


def test_silenced_findings_are_listed_apart_with_author_period_and_reason(fleet: ReportData) -> None:
    page = build_silenced(
        fleet, create_silence(NOW, scheduler=EVENT_NOW), create_silence(hour(100), scheduler=ACKNOWLEDGED)
    )

    assert list_attention(page) == [ACKNOWLEDGED, PAST_AND_PRESENT, PAST]
    (item,) = page.silenced
    assert item.machine.label == EVENT_NOW
    assert item.silence == SilenceSummary(
        "scheduler pump-1", "shift lead", "until Thu 8 Oct 06:00", "bearing is replaced"
    )
    assert page.urgent == 2
    assert page.unaffected == 2
    text = render_html(page)
    assert "silenced by <bdi>shift lead</bdi> until Thu 8 Oct 06:00: <bdi>bearing is replaced</bdi>" in text
    assert "silenced by shift lead until Thu 8 Oct 06:00: bearing is replaced" in render_markdown(page)


def test_past_maintenance_silences_the_events_within_it_and_no_others(fleet: ReportData) -> None:
    page = build_silenced(fleet, create_silence(hour(40), since=hour(29), scheduler="fan-?"))

    assert list_attention(page) == [EVENT_NOW, ACKNOWLEDGED, PAST_AND_PRESENT]
    assert to_text(page.attention[2].finding)[:53] == "anomalous for 3 h from Wed 7 Oct 06:00, peak score 0."
    period = "from Fri 2 Oct 05:00 until Fri 2 Oct 16:00"
    assert list_silenced(page) == [
        (name, "anomalous for 3 h from Fri 2 Oct 06:00", period) for name in (PAST_AND_PRESENT, PAST)
    ]
    silenced = {(event.machine.label, event.row.start_time.value) for event in page.events if event.silence}
    assert silenced == {(name, hour(30)) for name in (PAST_AND_PRESENT, PAST)}
    assert page.unused_silences == ()


def test_an_event_longer_than_its_maintenance_is_not_silenced(fleet: ReportData) -> None:
    page = build_silenced(fleet, create_silence(hour(32), scheduler=PAST))

    assert list_attention(page) == LISTED
    assert page.silenced == ()
    assert [silence.target for silence in page.unused_silences] == ["scheduler fan-2"]


@pytest.mark.parametrize("acknowledged_as", ["current id", "notified id"])
def test_an_event_is_acknowledged_by_its_current_id_or_a_notified_one(
    fleet: ReportData, acknowledged_as: str
) -> None:
    event_id = get_event_id(fleet, ACKNOWLEDGED) if acknowledged_as == "current id" else "first-id"

    page = build_silenced(fleet, create_silence(NOW, event=event_id))

    assert list_attention(page) == [EVENT_NOW, PAST_AND_PRESENT, PAST]
    assert list_silenced(page) == [(ACKNOWLEDGED, "anomalous since Wed 7 Oct 16:00", "until Thu 8 Oct 06:00")]


def get_event_id(fleet: ReportData, machine: str) -> str:
    (event_id,) = (
        event.row.event_id for event in build_silenced(fleet).events if event.machine.label == machine
    )
    return event_id


def test_an_expired_acknowledgement_silences_nothing(fleet: ReportData) -> None:
    page = build_silenced(fleet, create_silence(hour(167), event=get_event_id(fleet, EVENT_NOW)))

    assert list_attention(page) == LISTED


def test_a_silence_without_a_finding_is_listed(fleet: ReportData) -> None:
    page = build_silenced(
        fleet, create_silence(NOW, equipment="Pump 7"), create_silence(hour(-1), event="0f3a")
    )

    assert [silence.target for silence in page.unused_silences] == ["equipment Pump 7"]
    assert "equipment Pump 7" in render_html(page)


def test_machines_with_the_same_name_show_their_location_or_the_start_of_their_uuid(
    build_report: BuildPage,
) -> None:
    elsewhere = "arn:aws:lookoutequipment:us-east-1:999900001111:inference-scheduler/pump-1/other"
    again = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/fan-1/"
    page = build_report(
        Machine("pump-1", fails=True),
        Machine("pump-1", arn=elsewhere, fails=True),
        Machine("fan-1", arn=again + "0a1b2c3d-4e5f", fails=True),
        Machine("fan-1", arn=again + "9f8e7d6c-5b4a"),
    )

    assert {(card.machine.schedulers[0].name, card.machine.hint) for card in page.cards} == {
        ("pump-1", "eu-west-1 · 111122223333"),
        ("pump-1", "us-east-1 · 999900001111"),
        ("fan-1", "eu-west-1 · 111122223333 · 0a1b2c3d"),
        ("fan-1", "eu-west-1 · 111122223333 · 9f8e7d6c"),
    }
    hints = {item.machine.hint for item in page.attention}
    assert hints == {card.machine.hint for card in page.cards} - {"eu-west-1 · 111122223333 · 9f8e7d6c"}


@pytest.mark.parametrize(
    ("results", "verdict"), [(950, "Good"), (949, "Degraded"), (500, "Degraded"), (499, "Poor"), (0, "Poor")]
)
def test_data_quality_depends_on_the_share_of_executions_with_a_result(
    fleet: ReportData, results: int, verdict: str
) -> None:
    values = {
        "expected": 1000,
        "succeeded": results,
        "failed_missing_input": 1000 - results,
        "result_share": results / 1000,
    }
    figures = {name: replace(fleet.slots.get_figure(name), value=value) for name, value in values.items()}

    page = build_page(replace(fleet, slots=replace(fleet.slots, **figures)), EquipmentRegistry(), [], NOW)

    assert page.data_quality.verdict == verdict
