"""A source that fails is named, and the others are recorded, also if it fails only while it is read."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from resources.config.settings import ArchiveSettings, BucketSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from sandbox.dumps import Manifest
from tests.support.code_location import DAYS, Location
from tests.support.s3_server import Bucket, Server


@pytest.mark.parametrize("kind", ["archive", "bucket"])
def test_a_failing_source_is_named_and_the_others_are_recorded(
    tmp_path: Path, dumps: tuple[Path, Manifest], bucket: Bucket, s3: Server, kind: str
) -> None:
    bucket.put("in/a.json", b"{}")
    bucket.put("in/2026-10-06T12:00:00Z/results.jsonl", b"{}")
    failing = (ArchiveSettings if kind == "archive" else BucketSettings)(uri=f"{bucket.uri}/in")
    part = "in/a.json" if kind == "archive" else ""
    s3.fail_next("GET", "503 SLOW", "SlowDown", times=-1, path_part=part)
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
        sources=(failing, ArchiveSettings(uri=str(dumps[0]))),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        location = Location(build_defs(settings=settings), instance, Lake(settings.lake.uri))
        result = location.run()

        assert not result.success
        assert set(location.get_materializations(result)) == {"2026-10-06", "2026-10-07"}
        (failure,) = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        assert failure.dagster_event
        message = str(failure.dagster_event.step_failure_data.user_failure_data)
    assert bucket.uri in message and "SlowDown" in message
