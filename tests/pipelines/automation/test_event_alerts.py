"""Telling of anomaly events: a real lake, the sensor as Dagster evaluates it, real posts to a real server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS
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
    """A lake with events, the files beside it, and the sensor; the clock is moved by hand."""

    folder: Path
    settings: Settings
    lake: Lake
    instance: dg.DagsterInstance
    now: datetime = START + timedelta(hours=1)
    cursor: str | None = None

    def happens(self, *events: dict[str, Any]) -> None:
        """Replace the events in the lake."""
        rows = pa.Table.from_pylist(list(events), schema=ANOMALY_EVENTS.schema)
        self.lake.update(ANOMALY_EVENTS, None, lambda _: rows)

    def tick(self) -> str:
        """Evaluate the sensor of definitions that were loaded anew: every tick is a restart."""
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
                webhook_url=receiver.url, silences=str(tmp_path / "silences.toml"), **alerts
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


def test_an_event_is_told_as_new_and_as_over_and_never_again_over_restarts(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    there = plant(report_url="https://reports.example.com")
    (there.folder / "equipment.toml").write_text(REGISTRY)
    there.happens(event())

    there.tick()
    there.tick()

    assert receiver.kinds() == ["event_new"]
    new = receiver.bodies[0]
    assert new["title"] == "Feed *pump* 7: anomaly since 2026-10-06 02:40 UTC (45 min so far)"
    assert new["severity"] == "critical"
    assert new["text"].splitlines()[2:] == [
        r"- Machine: Feed \*pump\* 7 at Leeds, criticality high (scheduler pump-1)",
        "- From 2026-10-06 02:40 UTC to 2026-10-06 03:25 UTC, 45 min. It goes on.",
        "- Peak score 0.93 of 1",
        "- Top sensors: Bearing temperature 41%",
        '- Acknowledge: `event = "0f3a"` in the file of silences',
        "",
        "<https://reports.example.com>",
    ]
    assert new["facts"]["top_sensors"] == [{"name": r"pump\bearing", "contribution": 0.41}]

    there.happens(event(90, "closed"))
    there.tick()
    there.tick()

    assert receiver.kinds() == ["event_new", "event_over"]
    assert receiver.bodies[1]["title"] == "Feed *pump* 7: anomaly over after 1 h 30 min"
    assert receiver.bodies[1]["cause"] == new["cause"]
    told = there.lake.read(EVENT_NOTIFICATIONS).to_pylist()
    assert [(row["event_id"], row["state"], row["end_notified_at"]) for row in told] == [
        ("0f3a", "closed", there.now)
    ]


def test_without_a_registry_the_scheduler_is_the_machine(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    there = plant()
    there.happens(event())

    there.tick()

    assert receiver.bodies[0]["title"].startswith("pump-1: anomaly since")
    assert receiver.bodies[0]["severity"] == "warning"


def test_without_a_table_of_events_nothing_is_gone(plant: Callable[..., Plant], receiver: Receiver) -> None:
    there = plant()
    there.happens(event())
    there.tick()
    Path(there.lake.path(ANOMALY_EVENTS)).unlink()

    there.tick()

    assert receiver.kinds() == ["event_new"]


def test_late_data_that_move_an_event_are_told_as_a_change(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    there = plant()
    there.happens(event())
    there.tick()

    there.happens(event(event_id="77aa", start_time=START - timedelta(minutes=10)))
    there.tick()
    there.tick()

    assert receiver.kinds() == ["event_new", "event_changed"]
    assert "its start is another one now" in receiver.bodies[1]["title"]
    assert "Told before: 2026-10-06 02:40 UTC" in receiver.bodies[1]["text"]
    (row,) = there.lake.read(EVENT_NOTIFICATIONS).to_pylist()
    assert (row["event_id"], row["current_event_id"], row["changes"]) == ("0f3a", "77aa", 1)


def test_what_nobody_took_is_told_with_a_later_tick(plant: Callable[..., Plant], receiver: Receiver) -> None:
    there = plant()
    there.happens(event())
    receiver.statuses = [503] * 3

    there.tick()
    assert there.lake.read(EVENT_NOTIFICATIONS).num_rows == 0
    there.tick()
    there.tick()

    assert len(receiver.bodies) == 4
    assert there.lake.read(EVENT_NOTIFICATIONS).num_rows == 1


def test_many_at_once_are_one_notice(plant: Callable[..., Plant], receiver: Receiver) -> None:
    there = plant()
    there.happens(
        *sorted(
            (
                event(event_id=f"e{number}", scheduler_name=f"fan-{number}", scheduler_arn=f"{ARN}{number}")
                for number in range(8)
            ),
            key=lambda row: row["event_id"],
        )
    )

    there.tick()
    there.tick()

    assert receiver.kinds() == ["events"]
    assert len(receiver.bodies[0]["facts"]["events"]) == 8
    assert there.lake.read(EVENT_NOTIFICATIONS).num_rows == 8


def test_a_silenced_machine_is_not_told_until_its_silence_is_over(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    there = plant()
    (there.folder / "equipment.toml").write_text(REGISTRY)
    (there.folder / "silences.toml").write_text(SILENCE)
    there.happens(event())

    there.tick()
    assert receiver.bodies == []

    there.happens(event(400))
    there.now = START + timedelta(hours=7)
    there.tick()
    assert receiver.kinds() == ["event_new"]


def test_a_mistake_in_the_silences_is_told_once_and_silences_nobody(
    plant: Callable[..., Plant], receiver: Receiver
) -> None:
    there = plant()
    (there.folder / "silences.toml").write_text(SILENCE.replace("who", "whoo"))
    there.happens(event())

    there.tick()
    there.tick()

    assert sorted(receiver.kinds()) == ["alerts_mistaken", "event_new"]
    mistaken = next(body for body in receiver.bodies if body["kind"] == "alerts_mistaken")
    assert "silences[0].who: is missing" in mistaken["text"]


@pytest.mark.parametrize(
    "alerts", [{"min_duration_minutes": 46}, {"min_criticality": "high"}], ids=["too short", "not critical"]
)
def test_what_is_below_a_threshold_is_not_told(
    plant: Callable[..., Plant], receiver: Receiver, alerts: dict[str, Any]
) -> None:
    there = plant(**alerts)
    (there.folder / "equipment.toml").write_text(REGISTRY.replace('"high"', '"medium"'))
    there.happens(event())

    there.tick()

    assert receiver.bodies == []
