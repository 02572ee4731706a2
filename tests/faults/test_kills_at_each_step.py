"""Each writer, killed at each of its steps and started again, leaves what an uninterrupted one leaves."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.certificate.evidence import Selection
from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS
from pipelines.automation.event_alerts import notify_events
from pipelines.automation.failure_alerts import open_notifier
from pipelines.operations.certification import certify
from resources.config.settings import AlertSettings, Settings
from resources.lake.lake import Lake
from resources.sources.base import Source
from resources.storage.recording_store import RecordingStore, open_recording_store
from tests.support.forgetting import DAYS, NOW, Execution, World, write_copy, write_file
from tests.support.kills import AFTER_S3, BEFORE_S3, DISK, count_steps, run_killed
from tests.support.receiver import Receiver
from tests.support.s3_server import Bucket

pytestmark = pytest.mark.slow
HOURS = (1, 2, 30)
WRITTEN_NS = 1_790_000_000_000_000_000
PAGES = {f"pump/{number:05}.warc.gz": bytes([number]) * 100 for number in range(3)}


@dataclass
class Scene:
    """A lake that the writer updates, its sources, and a folder for other files."""

    world: World
    sources: Sequence[Source]
    folder: Path

    def notify(self, receiver: Receiver) -> None:
        settings = Settings(alerts=AlertSettings(webhook_url=receiver.url, allow_private_addresses=True))
        notifier = open_notifier(settings.alerts, lambda _: None, {})
        notify_events(self.world.lake, settings, notifier, NOW - timedelta(days=2))

    def certify(self) -> None:
        settings, selection = Settings(), Selection(DAYS[0], DAYS[-1])
        outputs = [self.folder / "out" / name for name in ("c.json", "c.html", "c.md")]
        certify(self.world.lake, settings, selection, NOW, outputs, iter)

    def record(self) -> None:
        store = self.open_recording()
        for name in sorted(PAGES.keys() - set(store.list_names())):
            store.create(name, PAGES[name])

    def open_recording(self) -> RecordingStore:
        """Open a recording next to the lake."""
        parent, _, name = self.world.lake.uri.rpartition("/")
        return open_recording_store(f"{parent}/recording-{name}")

    def read(self) -> dict[str, Any]:
        """Return the rows of all tables, the names of the recording, and the bytes of all other files."""
        files = {
            str(file.relative_to(self.folder)): file.read_bytes()
            for file in sorted(self.folder.rglob("*"))
            if file.is_file() and file.relative_to(self.folder).parts[0] != "lake"
            if not file.name.startswith(".")
        }
        return {**self.world.read(), "recording": sorted(self.open_recording().list_names()), **files}


def write_sources(folder: Path) -> list[Source]:
    write_copy(folder / "results", (Execution(each, hour) for each in "ab" for hour in HOURS))
    first = {Execution("a", 1): "SUCCESS", Execution("b", 2): "FAILED", Execution("b", 30): "SUCCESS"}
    second = {Execution("a", 1): "SUCCESS", Execution("a", 30): "IN_PROGRESS"}
    sources = [write_file(folder / f"{number}.json", file) for number, file in enumerate((first, second))]
    for file in folder.rglob("*.json*"):
        os.utime(file, ns=(WRITTEN_NS, WRITTEN_NS))  # tags of files have their times
    return sources


def write_event(lake: Lake) -> None:
    end = datetime(2026, 10, 6, 23, tzinfo=UTC)
    row = {
        "event_id": "e1",
        "scheduler_arn": Execution("a", 1).arn,
        "scheduler_name": "pump-1",
        "start_time": end - timedelta(hours=1),
        "end_time": end,
        "duration_seconds": 3600,
        "points": 12,
        "peak_score": 0.9,
        "mean_score": 0.8,
        "sensors": 3,
        "model_version": 1,
        "state": "closed",
        "recorded_at": end,
    }
    lake.update(ANOMALY_EVENTS, None, lambda _: pa.Table.from_pylist([row], schema=ANOMALY_EVENTS.schema))


WRITERS: dict[str, tuple[list[str], Callable[[Scene], None]]] = {
    "extraction, with its indexes": ([], lambda scene: scene.world.extract(scene.sources) and None),
    "results, events and health": (["extract"], lambda scene: scene.world.compute()),
    "certificate": (["extract"], lambda scene: scene.certify()),
    "recording": ([], lambda scene: scene.record()),
}


def prepare(folder: Path, uri: str, steps: Sequence[str]) -> Scene:
    scene = Scene(World(Lake(uri, lock_timeout_seconds=5), folder / "results"), [], folder)
    scene.sources = write_sources(folder)
    if "extract" in steps:
        scene.world.extract(scene.sources)
    return scene


@pytest.fixture
def select_steps(rounds: Callable[[int], int]) -> Callable[[int, int], range]:
    """Select up to so many steps by default, and all of them in many rounds."""
    return lambda steps, default: range(0, steps, -(-steps // rounds(default)))


@pytest.mark.parametrize("writer", WRITERS)
def test_on_disk_nothing_is_lost(
    tmp_path: Path, writer: str, select_steps: Callable[[int, int], range]
) -> None:
    before, run = WRITERS[writer]
    home = tmp_path / "home"
    prepare(home, str(home / "lake"), before)
    shutil.copytree(home, tmp_path / "prepared")

    def restart() -> Scene:
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "prepared", home)
        return prepare(home, str(home / "lake"), [])

    scene = restart()
    with count_steps(DISK) as steps:
        run(scene)
    expected = scene.read()
    assert steps.count > 5
    for step in select_steps(steps.count, 15):
        scene = restart()
        assert run_killed(DISK, step, lambda scene=scene: run(scene))
        run(prepare(home, str(home / "lake"), []))
        assert scene.read() == expected, f"killed before step {step} of {steps.count}"


@pytest.mark.parametrize("place", [BEFORE_S3, AFTER_S3])
@pytest.mark.parametrize(
    "writer", ["extraction, with its indexes", "results, events and health", "recording"]
)
def test_in_s3_nothing_is_lost(
    tmp_path: Path, bucket: Bucket, writer: str, place: str, select_steps: Callable[[int, int], range]
) -> None:
    before, run = WRITERS[writer]
    numbers = count()
    prepare(tmp_path, f"{bucket.uri}/prepared", before)

    def start() -> Scene:
        name = f"lake-{next(numbers)}"
        bucket.copy("prepared/", f"{name}/")
        return prepare(tmp_path, f"{bucket.uri}/{name}", [])

    scene = start()
    with count_steps(place) as steps:
        run(scene)
    expected = scene.read()
    assert steps.count >= 3
    for step in select_steps(steps.count, 8):
        scene = start()
        assert run_killed(place, step, lambda scene=scene: run(scene))
        run(scene)
        assert scene.read() == expected, f"killed at step {step} of {steps.count}"


@pytest.mark.parametrize("place", [DISK, BEFORE_S3, AFTER_S3])
def test_a_notification_is_sent_at_least_once_and_recorded_once(
    tmp_path: Path, receiver: Receiver, bucket: Bucket, place: str
) -> None:
    for step in count():
        folder = tmp_path if place == DISK else bucket.uri
        lake = Lake(f"{folder}/lake-{step}", lock_timeout_seconds=5)
        write_event(lake)
        scene = Scene(World(lake, tmp_path), [], tmp_path)
        receiver.bodies.clear()
        is_killed = run_killed(place, step, lambda scene=scene: scene.notify(receiver))
        scene.notify(receiver)
        scene.notify(receiver)
        assert 1 <= len(receiver.bodies) <= 2, "a kill between sending and recording sends it again"
        assert lake.read(EVENT_NOTIFICATIONS).num_rows == 1
        if not is_killed:
            assert len(receiver.bodies) == 1
            break
    assert step >= (5 if place == DISK else 1)
