"""Notifications about anomaly events, with a real lake, the evaluated sensor and a real HTTP server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pyarrow as pa
import pytest

from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS
from pipelines.automation import event_alerts
from pipelines.definitions import build_defs
from resources.config.sections import AlertSettings, EquipmentSettings, LakeSettings
from resources.config.settings import Settings
from resources.lake.lake import Lake
from tests.support.receiver import Receiver

START = datetime(2026, 10, 6, 2, 40, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0001"
REGISTRY = """\
[[equipment]]
name = "Feed *pump* 7"
schedulers = ["pump-1"]
site = "Leeds"
criticality = "high"
sensors = { 'pump\\bearing' = { name = "Bearing temperature" } }
"""
SILENCE = """\
[[silences]]
equipment = "Feed *pump* 7"
until = 2026-10-06T08:00:00Z
who = "shift lead"
why = "bearing is replaced"
"""


@dataclass
class Plant:
    """A lake with events, its configuration files, and the sensor. Tests set `now`."""

    folder: Path
    settings: Settings
    lake: Lake
    instance: dg.DagsterInstance
    now: datetime = START + timedelta(hours=1)
    cursor: str | None = None

    def replace_events(self, *events: dict[str, Any]) -> None:
        """Replace all events in the lake."""
        rows = pa.Table.from_pylist(list(events), schema=ANOMALY_EVENTS.schema)
        self.lake.update(ANOMALY_EVENTS, None, lambda _: rows)

    def tick(self) -> str:
        """Evaluate the sensor of newly built definitions, as after a restart."""
        definitions = build_defs({"clock": lambda: self.now}, settings=self.settings)
        context = dg.build_sensor_context(
            self.instance,
            cursor=self.cursor,
            definitions=definitions,
            resources={"lake": self.lake, "clock": lambda: self.now},
        )
        result = (
            definitions.get_repository_def().get_sensor_def("notify_anomaly_events").evaluate_tick(context)
        )
        self.cursor = context.cursor
        return result.skip_message or ""


@pytest.fixture
def plant(tmp_path: Path, receiver: Receiver, instance: dg.DagsterInstance) -> Callable[..., Plant]:
    def make(**alerts: Any) -> Plant:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            equipment=EquipmentSettings(registry=str(tmp_path / "equipment.toml")),
            alerts=AlertSettings(
                webhook_url=receiver.url,
                allow_private_addresses=True,
                silences=str(tmp_path / "silences.toml"),
                **alerts,
            ),
        )
        return Plant(tmp_path, settings, Lake(settings.lake.uri), instance)

    return make


def event(minutes: int = 45, state: str = "open", **more: Any) -> dict[str, Any]:
    return {
        "event_id": "0f3a",
        "scheduler_arn": ARN,
        "scheduler_name": "pump-1",
        "start_time": START,
        "end_time": START + timedelta(minutes=minutes),
        "duration_seconds": minutes * 60.0,
        "points": minutes,
        "peak_score": 0.934,
        "mean_score": 0.7,
        "sensors": 30,
        "top_sensors": '[{"component": "pump", "sensor": "bearing", "contribution": 0.41}]',
        "model_version": 1,
        "state": state,
        "recorded_at": START,
    } | more


def test_event_is_notified_once_as_new_and_once_as_over_across_restarts(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant(report_url="https://reports.example.com")
    (site.folder / "equipment.toml").write_text(REGISTRY)
    site.replace_events(event())

    site.tick()
    site.tick()

    assert receiver.kinds() == ["event_new"]
    new = receiver.bodies[0]
    assert new["title"] == "Feed *pump* 7: anomaly since 2026-10-06 02:40 UTC (45 min so far)"
    assert new["severity"] == "critical"
    assert new["text"].splitlines()[2:] == [
        r"- Equipment: Feed \*pump\* 7 at Leeds, criticality high (scheduler pump-1)",
        "- Time: 2026-10-06 02:40 UTC to 2026-10-06 03:25 UTC, 45 min. The anomaly continues.",
        "- Peak score: 0.93 of 1",
        "- Top sensors: Bearing temperature 41%",
        '- To acknowledge, add `event = "0f3a"` to the silences file.',
        "",
        "<https://reports.example.com/latest.html>",
    ]
    assert new["facts"]["top_sensors"] == [{"name": r"pump\bearing", "contribution": 0.41}]

    site.replace_events(event(90, "closed"))
    site.tick()
    site.tick()

    assert receiver.kinds() == ["event_new", "event_over"]
    assert receiver.bodies[1]["title"] == "Feed *pump* 7: anomaly over after 1 h 30 min"
    assert receiver.bodies[1]["cause"] == new["cause"]
    records = site.lake.read(EVENT_NOTIFICATIONS).to_pylist()
    assert [(row["event_id"], row["state"], row["end_notified_at"]) for row in records] == [
        ("0f3a", "closed", site.now)
    ]


def test_scheduler_is_the_equipment_without_a_registry(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant()
    site.replace_events(event())

    site.tick()

    assert receiver.bodies[0]["title"].startswith("pump-1: anomaly since")
    assert receiver.bodies[0]["severity"] == "warning"


def test_missing_event_table_does_not_withdraw_events(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant()
    site.replace_events(event())
    site.tick()
    Path(site.lake.path(ANOMALY_EVENTS)).unlink()

    site.tick()

    assert receiver.kinds() == ["event_new"]


def test_moved_start_is_notified_as_a_change(plant: Callable[..., Plant], receiver: Receiver) -> None:
    site = plant()
    site.replace_events(event())
    site.tick()

    site.replace_events(event(event_id="77aa", start_time=START - timedelta(minutes=10)))
    site.tick()
    site.tick()

    assert receiver.kinds() == ["event_new", "event_changed"]
    assert "late data changed the start of an anomaly to 2026-10-06 02:30 UTC" in receiver.bodies[1]["title"]
    assert "Previously notified: 2026-10-06 02:40 UTC" in receiver.bodies[1]["text"]
    (row,) = site.lake.read(EVENT_NOTIFICATIONS).to_pylist()
    assert (row["event_id"], row["current_event_id"], row["changes"]) == ("0f3a", "77aa", 1)


def test_undelivered_notification_is_sent_by_a_later_tick(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant()
    site.replace_events(event())
    receiver.statuses = [503] * 3

    site.tick()
    assert site.lake.read(EVENT_NOTIFICATIONS).num_rows == 0
    site.tick()
    site.tick()

    assert len(receiver.bodies) == 4
    assert site.lake.read(EVENT_NOTIFICATIONS).num_rows == 1


def test_many_notifications_are_sent_as_one_summary(plant: Callable[..., Plant], receiver: Receiver) -> None:
    site = plant()
    site.replace_events(
        *sorted(
            (
                event(event_id=f"e{number}", scheduler_name=f"fan-{number}", scheduler_arn=f"{ARN}{number}")
                for number in range(8)
            ),
            key=lambda row: row["event_id"],
        )
    )

    site.tick()
    site.tick()

    assert receiver.kinds() == ["events"]
    assert len(receiver.bodies[0]["facts"]["events"]) == 8
    assert site.lake.read(EVENT_NOTIFICATIONS).num_rows == 8


def build_past_events(*numbers: int) -> list[dict[str, Any]]:
    """Events of other schedulers that are over."""
    return [
        event(
            state="closed",
            event_id=f"past{number}",
            scheduler_name=f"fan-{number}",
            scheduler_arn=f"{ARN}{number}",
        )
        for number in numbers
    ]


def test_first_look_at_old_history_is_one_summary(plant: Callable[..., Plant], receiver: Receiver) -> None:
    site = plant()
    site.replace_events(*build_past_events(*range(10, 89)))

    site.tick()
    site.tick()

    assert receiver.kinds() == ["events"]
    assert "79 anomaly notifications" in receiver.bodies[0]["title"]
    assert "and 59 more" in receiver.bodies[0]["text"]
    assert len(receiver.bodies[0]["facts"]["events"]) == 79


def test_past_events_of_a_backfill_are_summarized_once_an_hour_and_current_ones_are_sent_at_once(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant()
    past: list[dict[str, Any]] = []
    for minute in range(10):
        past = build_past_events(*range(10, 13 + 3 * minute))
        site.replace_events(event(), *past) if minute == 9 else site.replace_events(*past)
        site.now += timedelta(minutes=1)
        site.tick()
    assert receiver.kinds() == ["events", "event_new"]
    assert len(receiver.bodies[0]["facts"]["events"]) == 3

    site.now += timedelta(hours=1)
    site.tick()
    site.tick()

    assert receiver.kinds() == ["events", "event_new", "events"]
    assert len(receiver.bodies[2]["facts"]["events"]) == 27


def test_notifications_reach_apprise_services_too(plant: Callable[..., Plant], receiver: Receiver) -> None:
    site = plant(urls=[f"json://127.0.0.1:{urlsplit(receiver.url).port}/chat"])
    site.replace_events(event())

    site.tick()
    site.tick()

    posted, sent = receiver.bodies
    assert posted["kind"] == "event_new"
    assert sent["title"] == posted["title"] and sent["type"] == "warning"


def test_silenced_equipment_is_notified_after_the_silence(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant()
    (site.folder / "equipment.toml").write_text(REGISTRY)
    (site.folder / "silences.toml").write_text(SILENCE)
    site.replace_events(event())

    site.tick()
    assert receiver.bodies == []

    site.replace_events(event(400))
    site.now = START + timedelta(hours=7)
    site.tick()
    assert receiver.kinds() == ["event_new"]


def test_errors_in_the_silences_file_are_notified_once_and_silence_nothing(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    site = plant()
    (site.folder / "silences.toml").write_text(SILENCE.replace("who", "whoo"))
    site.replace_events(event())

    site.tick()
    site.tick()

    assert sorted(receiver.kinds()) == ["alert_files_invalid", "event_new"]
    notice = next(body for body in receiver.bodies if body["kind"] == "alert_files_invalid")
    assert "silences[0].who: is missing" in notice["text"]


@pytest.mark.parametrize(
    ("minutes", "alerts"),
    [(45, {"min_duration_minutes": 46}), (9, {}), (45, {"min_criticality": "high"})],
    ids=["too short", "shorter than the default", "not critical"],
)
def test_event_below_a_threshold_is_not_notified(
    plant: Callable[..., Plant], receiver: Receiver, minutes: int, alerts: dict[str, Any]
) -> None:
    site = plant(**alerts)
    (site.folder / "equipment.toml").write_text(REGISTRY.replace('"high"', '"medium"'))
    site.replace_events(event(minutes))

    site.tick()

    assert receiver.bodies == []


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", '{"pending": 1}'])
def test_a_cursor_that_cannot_be_used_is_empty(cursor: str | None) -> None:
    assert event_alerts._parse_cursor(cursor) == ("", {})


def test_a_lake_that_cannot_be_read_skips_the_tick_with_the_reason(plant: Callable[..., Plant]) -> None:
    site = plant()
    site.replace_events(event())
    Path(site.lake.path(ANOMALY_EVENTS)).write_bytes(b"damaged")

    assert "Cannot evaluate anomaly events: Cannot read" in site.tick()
