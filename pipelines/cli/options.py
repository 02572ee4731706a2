"""Options that several commands have, so that they are called and explained alike."""

import typer

From = typer.Option("--from", metavar="DAY", help="First day (UTC): YYYY-MM-DD, today or yesterday.")
To = typer.Option("--to", metavar="DAY", help="Last day (UTC), itself included.")
SchedulerPatterns = typer.Option(
    "--scheduler", metavar="NAME", help="Only these: name or ARN, with * and ?; may be repeated."
)
Json = typer.Option("--json", help="Print one JSON object, for programs.")
