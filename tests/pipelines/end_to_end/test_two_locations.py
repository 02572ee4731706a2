"""lookout-ledger next to another code location in one Dagster instance."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from sandbox.dumps import Manifest
from tests.support.site import Site, wait_until

pytestmark = pytest.mark.long
DAY = date(2026, 10, 6)
ORDERS = dg.AssetKey("work_orders")

OTHER_LOCATION = """\
import dagster as dg


@dg.asset(deps=[dg.AssetKey(EVENTS)], automation_condition=dg.AutomationCondition.eager())
def work_orders() -> None: ...


@dg.asset(name=OWN_ASSET, group_name="executions")
def own_asset() -> None: ...


sensor = dg.AutomationConditionSensorDefinition(
    "plant_automation", target="*", default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1
)
defs = dg.Definitions(assets=[work_orders, own_asset], sensors=[sensor])
"""


def write_workspace(folder: Path, events: dg.AssetKey, own_asset: str) -> Path:
    """Write the workspace of the guide: two locations, one of them with an interpreter of its own."""
    names = f"EVENTS, OWN_ASSET = {list(events.path)!r}, {own_asset!r}\n"
    (folder / "plant.py").write_text(names + OTHER_LOCATION)
    ledger = {
        "module_name": "pipelines.definitions",
        "location_name": "lookout_ledger",
        "executable_path": sys.executable,
    }
    plant = {"relative_path": "plant.py", "location_name": "plant"}
    file = folder / "workspace.yaml"
    file.write_text(yaml.safe_dump({"load_from": [{"python_module": ledger}, {"python_file": plant}]}))
    return file


def run_ledger(site: Site, *words: str) -> Any:
    """Run a command to its end and return its JSON."""
    program = Path(sys.executable).with_name("ledger")
    done = subprocess.run(
        [program, *words, "--json"], env=site.environment, cwd="/", check=False, capture_output=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("key_prefix", "own_asset", "options"),
    [((), "own_asset", ()), (("plant_a",), "inference_executions", ("--workers", "1"))],
    ids=["without_prefix", "same_names_with_prefix"],
)
def test_automation_updates_an_asset_of_another_location_after_new_events(
    dumps: tuple[Path, Manifest],
    tmp_path: Path,
    key_prefix: tuple[str, ...],
    own_asset: str,
    options: tuple[str, ...],
) -> None:
    events = dg.AssetKey([*key_prefix, "anomaly_events"])
    workspace = write_workspace(tmp_path, events, own_asset)
    site = Site(tmp_path, ("-w", str(workspace)))
    settings = f'[history]\nstart_date = "{DAY}"\nend_date = "2026-10-08"\n'
    if key_prefix:
        settings += f'[dagster]\nkey_prefix = "{"/".join(key_prefix)}"\ngroup_prefix = "plant_a"\n'
    settings += f'[[sources]]\nkind = "archive"\nuri = "{dumps[0]}"\n'
    with site.set_up(settings) as instance, site.daemon() as daemon:
        wait_until(instance.all_instigator_state, daemon)  # both locations have loaded
        assert instance.get_latest_materialization_event(ORDERS) is None

        words = ["backfill", "--from", str(DAY), "--to", str(DAY), "--yes", *options]
        report = run_ledger(site, *words, "--only", "executions,results,anomalies")

        assert report["days"][str(DAY)]["executions"] > 0
        event = wait_until(lambda: instance.get_latest_materialization_event(ORDERS), daemon)
        recorded = instance.get_latest_materialization_event(events)
        assert recorded is not None
        assert recorded.timestamp < event.timestamp
        run = instance.get_run_by_id(event.run_id)
        assert run.remote_job_origin.repository_origin.code_location_origin.location_name == "plant"
        if key_prefix:  # nothing is recorded under the names of the other location
            assert instance.get_latest_materialization_event(dg.AssetKey(own_asset)) is None
