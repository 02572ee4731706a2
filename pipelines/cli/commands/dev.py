"""`ledger dev`: the Dagster UI on this machine."""

import sys

from pipelines.cli import dev_server

EXAMPLES = ("ledger dev",)


def dev() -> None:
    """Start the Dagster UI and daemon on this machine.

    Open http://localhost:3000 in a browser. Uses your settings: the file in LEDGER_CONFIG, or ledger.toml in
    the current folder or next to workspace.yaml. Without settings it uses the project of the demo and starts
    the simulated service.
    Stop it with Ctrl-C or SIGTERM.
    """
    sys.exit(dev_server.run())
