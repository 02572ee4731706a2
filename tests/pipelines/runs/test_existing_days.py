"""A daemon that starts after the extraction computes the days that are already in the lake."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines.operations.stages import STAGES
from sandbox.dumps import Manifest
from tests.support.site import Site, wait_until

SETTINGS = """\
[lake]
uri = "lake"
[history]
start_date = "2026-10-05"
end_date = "2026-10-09"
[report]
folder = "reports"
[[sources]]
kind = "archive"
uri = "{dumps}"
"""
DAYS = 4


@pytest.mark.long
def test_existing_days_are_computed_in_a_few_ranged_runs(
    tmp_path: Path, dumps: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    site = Site(tmp_path)
    daily_assets = [dg.AssetKey(asset) for stage in STAGES for asset in stage.daily_assets]
    other_assets = [dg.AssetKey(asset) for stage in STAGES for asset in stage.other_assets]
    with site.set_up(SETTINGS.format(dumps=dumps[0])) as instance:
        ledger = str(Path(sys.executable).with_name("ledger"))
        command = [ledger, "backfill", "--from", "2026-10-05", "--to", "2026-10-08", "--yes"]
        environment = dict(os.environ) | site.environment
        subprocess.run([*command, "--only", "executions"], env=environment, check=True, cwd=tmp_path)

        def is_computed() -> bool:
            recorded = [len(instance.get_materialized_partitions(key)) for key in daily_assets]
            events = [instance.get_latest_materialization_event(key) for key in other_assets]
            return all(days == DAYS for days in recorded) and all(events)

        with site.daemon() as daemon:
            wait_until(is_computed, daemon)

        runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
        assert len(runs) <= 2 * (len(daily_assets) + len(other_assets)), "ranged runs, not one for each day"
        assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
