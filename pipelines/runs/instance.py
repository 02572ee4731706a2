"""Where Dagster keeps its runs: one instance for this checkout, shared by every command."""

import os
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HOME = CHECKOUT / ".dagster"

INSTANCE = """\
# the local instance of this checkout: SQLite files beside this one
telemetry:
  enabled: false
nux: # no invitation to a newsletter in front of the first page
  enabled: false
concurrency:
  pools: # runs that ask the service take turns, from the queue on
    default_limit: 1
    granularity: run
run_retries: # for runs whose process died; what a step says itself is final
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
run_monitoring: # a run whose process died is declared failed, and then taken up again
  enabled: true
  start_timeout_seconds: 300
  max_runtime_seconds: 86400
  free_slots_after_run_end_seconds: 300
"""
EARLIER = (
    """\
# the local instance of this checkout: SQLite files beside this one
telemetry:
  enabled: false
nux: # no invitation to a newsletter in front of the first page
  enabled: false
""",
)
"""What earlier versions wrote; a file that is still so, and so nobody's own, is written anew."""

ENVIRONMENT, EARLIER_ENVIRONMENT = "DAGSTER_HOME=${{DAGSTER_HOME:-{home}}}\n", "DAGSTER_HOME={home}\n"
"""Dagster's programs let `.env` count more than their environment, so it has to give way by itself."""


def prepare() -> Path:
    """Make the instance's folder, and `.env`, from which `dg` and `dagster` learn of it; both only once."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(HOME)))
    home.mkdir(parents=True, exist_ok=True)
    _write_once(home / "dagster.yaml", INSTANCE, EARLIER)
    earlier = EARLIER_ENVIRONMENT.format(home=HOME)
    _write_once(CHECKOUT / ".env", ENVIRONMENT.format(home=HOME), (earlier,))
    return home


def _write_once(file: Path, text: str, earlier: Sequence[str]) -> None:
    if not file.exists() or file.read_text() in earlier:
        file.write_text(text)


if __name__ == "__main__":
    prepare()
