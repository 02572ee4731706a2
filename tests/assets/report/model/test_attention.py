"""The ranking of the machines that need attention, their findings, and the silences."""

from datetime import datetime, timedelta

import pytest

from assets.report.model.attention import AttentionItem, Severity
from assets.report.model.page import Page, build_page
from assets.report.model.silencing import SilenceSummary
from assets.report.query.data import read_report_data
from assets.report.query.result import Figure, Statement
from assets.report.query.scope import ReportScope
from assets.report.render.html import render_html
from assets.report.render.markdown import render_markdown
from assets.tables import EVENT_NOTIFICATIONS
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


def test_a_machine_without_a_finding_is_not_listed(build_report: BuildPage) -> None:
    page = build_report(Machine("pump-1"), Machine("pump-2", off=[(0, 168)]))

    assert page.attention == ()
    assert page.unaffected == 2
    assert page.urgent == 0


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


def test_silenced_findings_are_listed_apart_with_author_period_and_reason(build_report: BuildPage) -> None:
    machine = Machine("pump-1", events=[(160, 168)], state="open")
    page = build_report(
        machine,
        Machine("pump-2", events=[(160, 168)], state="open"),
        silences=[create_silence(NOW, scheduler="pump-1"), create_silence(hour(100), scheduler="pump-2")],
    )

    assert [item.machine.label for item in page.attention] == ["pump-2"]
    (item,) = page.silenced
    assert item.machine.label == "pump-1"
    assert item.silence == SilenceSummary(
        "scheduler pump-1", "shift lead", "until Thu 8 Oct 06:00", "bearing is replaced"
    )
    assert page.urgent == 1
    assert page.unaffected == 0
    text = render_html(page)
    assert "silenced by <bdi>shift lead</bdi> until Thu 8 Oct 06:00: <bdi>bearing is replaced</bdi>" in text
    assert "silenced by shift lead until Thu 8 Oct 06:00: bearing is replaced" in render_markdown(page)


def test_past_maintenance_silences_the_events_within_it_and_no_others(build_report: BuildPage) -> None:
    page = build_report(
        Machine("pump-1", events=[(30, 33), (150, 153)]),
        silences=[create_silence(hour(40), since=hour(29), scheduler="pump-?")],
    )

    assert [to_text(item.finding)[:53] for item in page.attention] == [
        "anomalous for 3 h from Wed 7 Oct 06:00, peak score 0."
    ]
    assert list_silenced(page) == [
        ("pump-1", "anomalous for 3 h from Fri 2 Oct 06:00", "from Fri 2 Oct 05:00 until Fri 2 Oct 16:00")
    ]
    assert [event.silence is not None for event in page.events] == [False, True]
    assert page.unused_silences == ()


def test_an_event_longer_than_its_maintenance_is_not_silenced(build_report: BuildPage) -> None:
    page = build_report(
        Machine("pump-1", events=[(30, 33)]), silences=[create_silence(hour(32), scheduler="pump-1")]
    )

    assert [item.machine.label for item in page.attention] == ["pump-1"]
    assert page.silenced == ()
    assert [silence.target for silence in page.unused_silences] == ["scheduler pump-1"]


@pytest.mark.parametrize("acknowledged_as", ["current id", "notified id"])
def test_an_event_is_acknowledged_by_its_current_id_or_a_notified_one(
    lake: Lake, build_report: BuildPage, acknowledged_as: str
) -> None:
    event_id = build_report(Machine("pump-1", events=[(160, 168)], state="open")).events[0].row.event_id
    if acknowledged_as == "notified id":
        row = {
            "event_id": "first-id",
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
    acknowledged = event_id if acknowledged_as == "current id" else "first-id"

    page = build_report(silences=[create_silence(NOW, event=acknowledged)])

    assert page.attention == ()
    assert list_silenced(page) == [("pump-1", "anomalous since Wed 7 Oct 16:00", "until Thu 8 Oct 06:00")]


def test_an_expired_acknowledgement_silences_nothing(build_report: BuildPage) -> None:
    event_id = build_report(Machine("pump-1", events=[(160, 168)], state="open")).events[0].row.event_id

    page = build_report(silences=[create_silence(hour(167), event=event_id)])

    assert [item.machine.label for item in page.attention] == ["pump-1"]


def test_a_silence_without_a_finding_is_listed(build_report: BuildPage) -> None:
    page = build_report(
        Machine("pump-1"),
        silences=[create_silence(NOW, equipment="Pump 7"), create_silence(hour(-1), event="0f3a")],
    )

    assert [silence.target for silence in page.unused_silences] == ["equipment Pump 7"]
    assert "equipment Pump 7" in render_html(page)


def test_machines_with_the_same_name_show_their_location(build_report: BuildPage) -> None:
    arn = "arn:aws:lookoutequipment:us-east-1:999900001111:inference-scheduler/pump-1/other"
    page = build_report(Machine("pump-1", fails=True), Machine("pump-1", arn=arn, fails=True))

    assert sorted(item.machine.hint for item in page.attention) == [
        "eu-west-1 · 111122223333",
        "us-east-1 · 999900001111",
    ]


def test_a_machine_created_again_shows_the_start_of_its_uuid(build_report: BuildPage) -> None:
    arn = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0a1b2c3d-4e5f"
    page = build_report(
        Machine("pump-1", arn=arn, fails=True), Machine("pump-1", arn=arn[:-13] + "9f8e7d6c-5b4a")
    )

    assert sorted(card.machine.hint for card in page.cards) == [
        "eu-west-1 · 111122223333 · 0a1b2c3d",
        "eu-west-1 · 111122223333 · 9f8e7d6c",
    ]


@pytest.mark.parametrize(
    ("machine", "verdict"),
    [
        (Machine(gaps=[(20, 22)]), "Good"),
        (Machine(gaps=[(20, 40)]), "Degraded"),
        (Machine(gaps=[(20, 120)]), "Poor"),
        (Machine(fails=True), "Poor"),
    ],
    ids=["nearly all", "most", "few", "none"],
)
def test_data_quality_depends_on_the_share_of_executions_with_a_result(
    build_report: BuildPage, machine: Machine, verdict: str
) -> None:
    assert build_report(machine).data_quality.verdict == verdict
