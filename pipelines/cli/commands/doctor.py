"""`ledger doctor`: what would keep an extraction from working, before it is tried."""

from typing import Annotated

import typer

from pipelines.cli.options import Json

EXAMPLES = (
    "Examples: **ledger doctor** · **ledger doctor --json | jq '.findings[] | select(.level == \"fail\")'**"
)


def doctor(as_json: Annotated[bool, Json] = False) -> None:
    """Look at all that an extraction needs, and say what is wrong and how to mend it.

    Settings, the lake (writes a hidden file of a few bytes), credentials, each source with every permission
    that is needed, the results, clocks, Dagster's instance. Asks each service four times at most. Exit code
    1: something has to be mended.
    """
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from pipelines.cli.output import print_json  # noqa: PLC0415
    from pipelines.runs.diagnostics import run_diagnostics  # noqa: PLC0415
    from resources.diagnostics import Level  # noqa: PLC0415

    styles = {Level.ok: "green", Level.warn: "yellow", Level.fail: "bold red"}
    console = Console(highlight=False)
    findings = []
    for one in run_diagnostics():
        findings.append(one)
        if not as_json:
            line = Text(f"{one.level:<5}", styles[one.level])
            console.print(line.append(f"{one.subject}: {one.message}", "default"), soft_wrap=True)
            if one.fix:
                console.print(Text(f"     {one.fix}"), soft_wrap=True)
    counted = {level: sum(one.level is level for one in findings) for level in Level}
    if as_json:
        print_json(
            {
                "healthy": not counted[Level.fail],
                "counts": {str(level): count for level, count in counted.items()},
                "findings": [
                    {"level": str(one.level), "subject": one.subject, "found": one.message, "mend": one.fix}
                    for one in findings
                ],
            }
        )
    else:
        console.print(
            f"{counted[Level.ok]} ok, {counted[Level.warn]} to look at, {counted[Level.fail]} to mend."
        )
    if counted[Level.fail]:
        raise typer.Exit(1)
