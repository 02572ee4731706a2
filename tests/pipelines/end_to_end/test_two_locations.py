"""lookout-ledger next to another code location in one Dagster instance."""

import subprocess
import sys
from datetime import date
from pathlib import Path

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


@dg.asset(deps=["anomaly_events"], automation_condition=dg.AutomationCondition.eager())
def work_orders() -> None: ...


sensor = dg.AutomationConditionSensorDefinition(
    "plant_automation", target="*", default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1
)
defs = dg.Definitions(assets=[work_orders], sensors=[sensor])
"""


def write_workspace(folder: Path) -> Path:
    """Write the workspace of the guide: two locations, one of them with an interpreter of its own."""
    (folder / "plant.py").write_text(OTHER_LOCATION)
    ledger = {
        "module_name": "pipelines.definitions",
        "location_name": "lookout_ledger",
        "executable_path": sys.executable,
    }
    plant = {"relative_path": "plant.py", "location_name": "plant"}
    file = folder / "workspace.yaml"
    file.write_text(yaml.safe_dump({"load_from": [{"python_module": ledger}, {"python_file": plant}]}))
    return file


def test_automation_updates_an_asset_of_another_location_after_new_events(
    dumps: tuple[Path, Manifest], tmp_path: Path
) -> None:
    site = Site(tmp_path, ("-w", str(write_workspace(tmp_path))))
    settings = f'[history]\nstart_date = "{DAY}"\nend_date = "2026-10-08"\n'
    settings += f'[[sources]]\nkind = "archive"\nuri = "{dumps[0]}"\n'
    ledger = Path(sys.executable).with_name("ledger")
    with site.set_up(settings) as instance, site.daemon() as daemon:
        wait_until(instance.all_instigator_state, daemon)  # both locations have loaded
        assert instance.get_latest_materialization_event(ORDERS) is None

        words = [ledger, "backfill", "--from", str(DAY), "--to", str(DAY), "--yes"]
        subprocess.run(
            [*words, "--only", "executions,results,anomalies"], env=site.environment, cwd="/", check=True
        )

        event = wait_until(lambda: instance.get_latest_materialization_event(ORDERS), daemon)
        events = instance.get_latest_materialization_event(dg.AssetKey("anomaly_events"))
        assert events is not None
        assert events.timestamp < event.timestamp
        run = instance.get_run_by_id(event.run_id)
        assert run.remote_job_origin.repository_origin.code_location_origin.location_name == "plant"
