"""What a check found: yes or no, in a sentence, with numbers, examples, and the next command to copy."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from assets.executions.selection import contiguous_ranges
from assets.framework.metadata import build_metadata

EXAMPLES = 5
CAUSES, NEXT_COMMANDS = "causes", "next"
"""Metadata under this name tells what is wrong, one by one; alerts tell a new one anew."""


@dataclass(frozen=True)
class CheckOutcome:
    """What a check found.

    `said` is one sentence for both cases, `numbers` are worth plotting, `examples` are a few rows of what is
    wrong, `commands` are what to run next. `causes` name what is wrong: as long as they are the same it is
    the same matter. None: the check itself is the matter, whatever it finds.
    """

    passed: bool
    said: str
    numbers: Mapping[str, int | float | str] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[str] = ()
    causes: Sequence[str] | None = None


@dataclass(frozen=True)
class Check:
    """One question to the lake: its name, what it asks, and how that is judged.

    A blocking one keeps what is downstream from being computed.
    """

    name: str
    description: str
    judge: Callable[..., CheckOutcome]
    is_blocking: bool = False


def build_check_result(check: Check, verdict: CheckOutcome, asset: dg.AssetKey) -> dg.AssetCheckResult:
    """Return what Dagster shows; the severity counts only where it failed."""
    metadata: dict[str, Any] = dict(verdict.numbers)
    if verdict.examples:
        records = [
            dg.TableRecord({name: _shown(value) for name, value in row.items()})
            for row in verdict.examples[:EXAMPLES]
        ]
        metadata["examples"] = dg.MetadataValue.table(records)
    if verdict.commands:
        metadata[NEXT_COMMANDS] = dg.MetadataValue.md("\n".join(["```sh", *verdict.commands, "```"]))
    if not verdict.passed and verdict.causes is not None:
        metadata[CAUSES] = dg.MetadataValue.json(sorted(verdict.causes))
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=check.name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.is_blocking else dg.AssetCheckSeverity.WARN,
        description=verdict.said,
        metadata=build_metadata(metadata),
    )


def build_backfill_commands(days: Iterable[date], most: int = EXAMPLES) -> list[str]:
    """Return the commands that read these days again; of many stretches one command over all of them."""
    spans = list(contiguous_ranges(days))
    if len(spans) > most:
        spans = [(spans[0][0], spans[-1][1])]
    return [f"ledger backfill --from {first} --to {last}" for first, last in spans]


def build_status_commands(days: Iterable[date]) -> list[str]:
    """Return the command that shows how these days stand."""
    ordered = sorted(days)
    return [f"ledger status --from {ordered[0]} --to {ordered[-1]}"] if ordered else []


def summarize(names: Iterable[str], most: int = EXAMPLES) -> str:
    """List names: a few of them, and how many more there are."""
    all_names = list(names)
    rest = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _shown(value: Any) -> str | int | float | bool | None:  # noqa: ANN401 (a value of any column)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
