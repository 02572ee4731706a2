"""Options, arguments and help texts that several commands share."""

from collections.abc import Sequence

import typer

From = typer.Option("--from", metavar="DAY", help="First day (UTC): YYYY-MM-DD, today or yesterday.")
To = typer.Option("--to", metavar="DAY", help="Last day (UTC), included.")
HistoryFrom = typer.Option(
    "--from",
    metavar="DAY",
    help="First day (UTC): YYYY-MM-DD, today or yesterday. Default: history.start_date of the settings.",
)
HistoryTo = typer.Option(
    "--to",
    metavar="DAY",
    help="Last day (UTC), included. Default: the last day of the history, at most today.",
)
SchedulerPatterns = typer.Option(
    "--scheduler", metavar="NAME", help="Include only this name or ARN; * and ? match. Repeatable."
)
SkipSettled = typer.Option("--skip-settled", help="Skip the settled days of each scheduler.")
Yes = typer.Option("--yes", "-y", help="Do not ask for confirmation.")
Json = typer.Option("--json", help="Print one JSON object.")
TableNames = typer.Argument(metavar="TABLE", help="Table names. Default: all tables.", show_default=False)
Location = typer.Option(
    metavar="URI",
    help="S3 location of the lake, s3://bucket/prefix. Default: lake.uri of the settings.",
    show_default=False,
)


def format_examples(examples: Sequence[str]) -> str:
    """Return the Markdown text below the options of a command: a list of command lines."""
    title = "Example:" if len(examples) == 1 else "Examples:"
    return "\n\n".join([title, *(f"- `{example}`" for example in examples)])
