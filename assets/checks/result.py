"""The outcome of a check, its conversion to Dagster's result, and the commands that it suggests."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from html import escape
from typing import Any

import dagster as dg

from assets.checks.context import CheckContext
from assets.executions.selection import contiguous_ranges
from assets.framework.metadata import build_metadata

EXAMPLES = 5
NEXT_COMMANDS, PROBLEM_IDS = "next", "problem_ids"
"""Names of the metadata that alerts read."""


@dataclass(frozen=True)
class CheckOutcome:
    """What a check found.

    Attributes:
        passed: Whether the check passed.
        message: What was examined and what was found, with numbers, for both results.
        metadata: Numbers that are worth plotting.
        examples: A few problem rows.
        commands: What to run next.
        problem_ids: One stable name for each problem. Alerts notify again when a new one appears. None: the
            check has a single problem at a time.
    """

    passed: bool
    message: str
    metadata: Mapping[str, int | float | str] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[str] = ()
    problem_ids: Sequence[str] | None = None


@dataclass(frozen=True)
class Check:
    """A declared check. A blocking check stops downstream assets if it fails."""

    name: str
    description: str
    evaluate: Callable[[CheckContext], CheckOutcome]
    is_blocking: bool = False


def build_check_result(check: Check, outcome: CheckOutcome, asset: dg.AssetKey) -> dg.AssetCheckResult:
    """Convert an outcome. Dagster ignores the severity of a check that passed."""
    metadata: dict[str, Any] = dict(outcome.metadata)
    if outcome.examples:
        records = [
            dg.TableRecord({name: _to_table_value(value) for name, value in row.items()})
            for row in outcome.examples[:EXAMPLES]
        ]
        metadata["examples"] = dg.MetadataValue.table(records)
    if outcome.commands:
        metadata[NEXT_COMMANDS] = dg.MetadataValue.md("\n".join(["```sh", *outcome.commands, "```"]))
    if not outcome.passed and outcome.problem_ids is not None:
        metadata[PROBLEM_IDS] = dg.MetadataValue.json(sorted(outcome.problem_ids))
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=check.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.is_blocking else dg.AssetCheckSeverity.WARN,
        description=escape(outcome.message, quote=False),  # the Dagster UI shows Markdown
        metadata=build_metadata(metadata),
    )


def build_backfill_commands(days: Iterable[date], most: int = EXAMPLES) -> list[str]:
    """Return one command for each contiguous range, or one over all days if there are more than `most`."""
    ranges = list(contiguous_ranges(days))
    if len(ranges) > most:
        ranges = [(ranges[0][0], ranges[-1][1])]
    return [f"ledger backfill --from {first} --to {last}" for first, last in ranges]


def build_status_commands(days: Iterable[date]) -> list[str]:
    """Return the command that shows the state of these days; none if there are no days."""
    ordered = sorted(days)
    return [f"ledger status --from {ordered[0]} --to {ordered[-1]}"] if ordered else []


def summarize(names: Iterable[str], most: int = EXAMPLES) -> str:
    """Join the first names and count the rest: "a, b and 3 more"."""
    all_names = list(names)
    rest = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _to_table_value(value: Any) -> str | int | float | bool | None:  # noqa: ANN401 (a value of any column)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
