"""`ledger doctor`: what an extraction needs, checked before a run."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipelines.cli.json_output import DoctorCounts, DoctorFinding, DoctorOutput
from pipelines.cli.options import Json
from pipelines.cli.output import format_count, open_console, print_json
from pipelines.runs.diagnostics import run_diagnostics
from resources.diagnostics import Finding, Level

EXAMPLES = (
    "ledger doctor",
    "ledger doctor --json | jq '.findings[] | select(.level == \"fail\")'",
)
_STYLES = {Level.ok: "green", Level.warn: "yellow", Level.fail: "bold red"}


def doctor(as_json: Annotated[bool, Json] = False) -> None:
    """Check settings, credentials, sources, lake and Dagster.

    Each finding is ok, warn or fail; a problem has its fix. The command writes a hidden file of a few bytes
    to the lake and tests each permission that a run needs. It sends at most four requests to each service.
    Exit code 1: a check failed.
    """
    console = open_console()
    findings: list[Finding] = []
    for finding in run_diagnostics():
        findings.append(finding)
        if not as_json:
            _print(console, finding)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    if as_json:
        print_json(
            DoctorOutput(
                healthy=not counts[Level.fail],
                counts=DoctorCounts(counts[Level.ok], counts[Level.warn], counts[Level.fail]),
                findings=[
                    DoctorFinding(str(finding.level), finding.subject, finding.message, finding.fix)
                    for finding in findings
                ],
            )
        )
    else:
        warnings, failures = (
            format_count(counts[Level.warn], "warning"),
            format_count(counts[Level.fail], "failure"),
        )
        console.print(f"{counts[Level.ok]} ok, {warnings}, {failures}.")
    if counts[Level.fail]:
        raise typer.Exit(1)


def _print(console: Console, finding: Finding) -> None:
    line = Text(f"{finding.level:<5}", _STYLES[finding.level])
    console.print(line.append(f"{finding.subject}: {finding.message}", "default"), soft_wrap=True)
    if finding.fix:
        console.print(Text(f"     {finding.fix}"), soft_wrap=True)
