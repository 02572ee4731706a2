"""The local Dagster instance of this checkout (DAGSTER_HOME)."""

import os
from pathlib import Path

from resources.config.loader import CHECKOUT

HOME = CHECKOUT / ".dagster"

INSTANCE = """\
# the local instance of this checkout; its SQLite files are in this folder
telemetry:
  enabled: false
nux: # no newsletter dialog
  enabled: false
concurrency:
  pools: # runs that call the API wait in the queue for their turn
    default_limit: 1
    granularity: run
run_retries: # only for runs whose process died; assets retry their own steps
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
run_monitoring: # detects runs whose process died
  enabled: true
  start_timeout_seconds: 300
  max_runtime_seconds: 86400
  free_slots_after_run_end_seconds: 300
"""
"""The content of dagster.yaml."""

ENVIRONMENT = "DAGSTER_HOME=${{DAGSTER_HOME:-{home}}}\n"
"""The content of .env. Dagster prefers .env to the environment, so the value refers back to it."""


def prepare() -> Path:
    """Create the folder of the instance, dagster.yaml, and `.env` for `dg` and `dagster`, where missing."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(HOME)))
    home.mkdir(parents=True, exist_ok=True)
    _write_missing(home / "dagster.yaml", INSTANCE)
    _write_missing(CHECKOUT / ".env", ENVIRONMENT.format(home=HOME))
    return home


def _write_missing(file: Path, text: str) -> None:
    if not file.exists():
        file.write_text(text)


if __name__ == "__main__":
    prepare()
