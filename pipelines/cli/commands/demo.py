"""`ledger demo`: a walkthrough on generated data."""

from pipelines.cli.demo import walkthrough
from pipelines.cli.output import open_console

EXAMPLES = ("ledger demo",)


def demo() -> None:
    """Run the whole pipeline on generated data.

    Takes one to two minutes. Generates a fleet with faults, and extracts its history with Dagster from a
    simulated service and from saved responses. Then it queries the results, reruns the last week and writes
    the report page. All files are below data/demo.
    """
    walkthrough.run(open_console())
