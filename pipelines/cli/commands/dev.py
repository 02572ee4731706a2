"""`ledger dev`: the Dagster UI on this machine."""

import sys
from typing import Annotated

import typer

from pipelines.cli import dev_server

EXAMPLES = ("ledger dev", "ledger dev --port 3001")


def dev(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, metavar="N", help="Port of the Dagster UI.")
    ] = 3000,
) -> None:
    """Start the Dagster UI and daemon on this machine.

    Open the URL that it prints in a browser. Uses your settings: the file in LEDGER_CONFIG, or ledger.toml in
    the current folder or next to workspace.yaml. Without settings it uses the project of the demo and starts
    the simulated service. Stop it with Ctrl-C or SIGTERM.
    """
    sys.exit(dev_server.run(port))
