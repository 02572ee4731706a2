"""Forgetting with a live service, a recording of it and saved responses, with one shard and with several."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path

import pytest

from assets.executions.archive_index import load_records
from assets.executions.bucket_identity import IDENTITY_COLUMNS
from assets.executions.tombstones import ForgetOperation
from assets.removal.selection import select_arns, select_hashes
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from pipelines.operations.recording import Recorder
from resources.aws.session import AwsAccess
from resources.lake.lake import Lake
from resources.redaction import redact
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource
from resources.sources.base import Source
from resources.storage.recording_store import open_recording_store
from sandbox.fleet import Fleet
from sandbox.service import run_sandbox
from tests.support.forgetting import World, find_differences
from tests.support.live_service import NOW, PLACES
from tests.support.replay import DAYS, SETTLE_AFTER

SOURCES = ("service", "recording", "saved.json")


@pytest.fixture(scope="module")
def recorded(small_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Source]]:
    """A service, a complete recording of it, and saved responses of half of the executions."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "credentials").write_text(
        f"[{PLACES[0][0]}]\naws_access_key_id={PLACES[0][0]}\naws_secret_access_key=x\n"
    )
    with pytest.MonkeyPatch.context() as environment, run_sandbox(small_fleet, NOW, s3=False) as service:
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        access = AwsAccess(profile=PLACES[0][0], region=PLACES[0][1], endpoint_url=service.url)
        live = ApiSource(access, clock=lambda: NOW)
        store = open_recording_store(str(folder / "recording"))
        assert Recorder(store, DAYS, (), SETTLE_AFTER, lambda: NOW, lambda _: None).record([live]).is_complete
        summaries = [
            summary
            for scheduler in small_fleet.list_schedulers(NOW)
            if (scheduler.account, scheduler.region) == PLACES[0]
            for summary in list(scheduler.executions(NOW))[::2]
        ]
        (folder / "saved.json").write_text(json.dumps(summaries, default=datetime.isoformat))
        files = {name: ArchiveSource(str(folder / name)) for name in SOURCES[1:]}
        yield {"service": ApiSource(access, clock=lambda: NOW), **files}


def open_world(folder: Path, sources: Sequence[Source], shards: int = 1) -> World:
    world = World(Lake(str(folder), shards=shards), folder / "results", NOW)
    world.extract(sources, DAYS)
    return world


def list_files(lake: Lake, source: Source) -> frozenset[str]:
    """Return the names of a source in the lake: itself, or the files in its folder."""
    if not source.files:
        return frozenset([redact(source.uri)])
    return frozenset(uri for uri in load_records(lake.read(ARCHIVE_FILES)) if uri.startswith(source.uri))


@pytest.mark.parametrize(
    ("name", "shards"),
    [
        ("service", 3),
        *(
            pytest.param(name, shards, marks=pytest.mark.slow)
            for name, shards in (("service", 1), ("recording", 3), ("saved.json", 1), ("saved.json", 3))
        ),
    ],
)
def test_what_remains_equals_a_lake_from_the_other_sources(
    recorded: dict[str, Source], tmp_path: Path, name: str, shards: int
) -> None:
    """The rest is read again from the live service and the recording.

    A recording proves days as the service does. If it is forgotten, the service proves them in the next run.
    """
    sources = list(recorded.values())
    world = open_world(tmp_path / "all", sources, shards)
    names = list_files(world.lake, recorded[name])
    hashes = select_hashes(names, load_records(world.lake.read(ARCHIVE_FILES)))
    operation = ForgetOperation("a1", NOW, NOW, source=name, sources=names, content_hashes=hashes)
    report = world.forget(operation, sources)
    assert not report.unreadable
    assert not report.operation.executions_kept

    others = open_world(tmp_path / "others", [source for source in sources if source is not recorded[name]])
    differences = find_differences(world.read(without=names), others.read(without=names))
    assert differences.keys() == ({EXTRACTION_COVERAGE.name} if name == "recording" else set())
    world.extract(sources, DAYS)  # the tombstone skips the source
    assert not find_differences(world.read(without=names), others.read(without=names))


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_a_scheduler_is_forgotten_on_some_days_only(
    recorded: dict[str, Source], tmp_path: Path, shards: int
) -> None:
    sources = list(recorded.values())
    world = open_world(tmp_path / "all", sources, shards)
    before = world.read()
    settings = world.lake.read(INFERENCE_SCHEDULERS, columns=IDENTITY_COLUMNS)
    arns = select_arns("pump-1", settings)
    first, last = DAYS[1], DAYS[1]
    operation = ForgetOperation(
        "a1", NOW, NOW, scheduler="pump-1", scheduler_arns=arns, first_date=first, last_date=last
    )
    world.forget(operation, sources)
    world.extract(sources, DAYS)

    def is_forgotten(row: dict[str, object]) -> bool:
        day = row["data_date"]
        return row["scheduler_arn"] in arns and isinstance(day, date) and first <= day <= last

    after = world.read()
    removed = [row for row in before[INFERENCE_EXECUTIONS.name] if is_forgotten(row)]
    assert removed
    assert [row for row in after[INFERENCE_EXECUTIONS.name] if is_forgotten(row)] == []
    for table in (INFERENCE_EXECUTIONS.name, EXTRACTION_COVERAGE.name):
        rest = [row for row in before[table] if not is_forgotten(row)]
        assert [row for row in after[table] if not is_forgotten(row)] == rest
    for row in after[EXTRACTION_COVERAGE.name]:  # it is listed, and nothing is claimed about its day
        if is_forgotten(row):
            assert (row["complete_through"], row["executions"]) == (None, 0)
