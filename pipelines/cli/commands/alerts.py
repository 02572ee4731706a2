"""`ledger alerts test`: one notification to every target of the settings."""

from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.json_output import AlertTarget, AlertTestOutput
from pipelines.cli.options import Json, format_examples
from pipelines.cli.output import open_console, print_json
from resources.clock import unique_id, utc_now
from resources.config.settings import load_settings
from resources.errors import LedgerError
from resources.notifications.base import Notice, Target
from resources.notifications.open import open_targets

EXAMPLES = ("ledger alerts test",)

app = typer.Typer(
    name="alerts",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Test the targets of notifications.",
)


@app.callback()
def _require_subcommand() -> None:
    """Keep `test` a subcommand: Typer would merge a single command into its group."""


@app.command("test", epilog=format_examples(EXAMPLES))
def send_tests(as_json: Annotated[bool, Json] = False) -> None:
    """Send one test notification to every target, and report each result.

    The targets are `alerts.webhook_url` and `alerts.urls` of the settings. Exit code 1: a target did not
    accept the notification, or there is no target.
    """
    targets = [_send_test(target) for target in open_targets(load_settings().alerts)]
    delivered = bool(targets) and all(target.delivered for target in targets)
    if as_json:
        print_json(AlertTestOutput(delivered, targets))
    else:
        _print(targets)
    if not delivered:
        raise typer.Exit(1)


def _send_test(target: Target) -> AlertTarget:
    notice = Notice(
        kind="test",
        severity="info",
        title="Test notification of lookout-ledger",
        text="Alerts of lookout-ledger reach this target.",
        cause=f"test:{unique_id()}",
    )
    try:
        target.post(notice, utc_now())
    except LedgerError as error:
        return AlertTarget(target.location, False, str(error))
    return AlertTarget(target.location, True, None)


def _print(targets: list[AlertTarget]) -> None:
    console = open_console()
    for target in targets:
        line = Text("ok    ", "green") if target.delivered else Text("fail  ", "bold red")
        console.print(line.append(target.target, "default"), soft_wrap=True)
        if target.error:
            console.print(Text(f"      {target.error}"), soft_wrap=True)
    if not targets:
        console.print(
            "No target is set, so notifications are only in the log of the sensors. Set alerts.urls or"
            " alerts.webhook_url.",
            soft_wrap=True,
        )
