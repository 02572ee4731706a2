"""How each machine did: its figures and its strips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.report.formatting import pluralize
from assets.report.model.attention import Attention
from assets.report.model.charts import Strip, position, strip
from assets.report.model.fleet import Fleet, Machine
from assets.report.query.answers import Answers, Figure, StatementValue
from assets.report.query.scope import ReportScope

MOST_TICKS = 8
"""More days than that are not all named under a strip."""

_FULL, _LEAN = 672, 336
_MANY = 40
"""From more machines than that on strips have half as many steps."""


@dataclass(frozen=True)
class Tick:
    """A local midnight: where it is, in percent of the strip, and what it is called."""

    at: float
    label: str


@dataclass(frozen=True)
class Switch:
    """A model version that took over: where, in percent of the strip."""

    at: float
    version: Figure
    since: Figure


@dataclass(frozen=True)
class Watched:
    """One scheduler's view of a machine."""

    scheduler: str
    strip: Strip
    switches: tuple[Switch, ...]
    words: str
    remarks: tuple[StatementValue, ...] = ()


@dataclass(frozen=True)
class Card:
    """A machine with its figures and strips."""

    machine: Machine
    severity: str
    figures: tuple[tuple[str, Figure], ...]
    views: tuple[Watched, ...]


def choose_bins(schedulers: int) -> int:
    """Return how many steps a strip has, so that the strips of a large fleet are no large page."""
    return _LEAN if schedulers > _MANY else _FULL


def build_cards(
    scope: ReportScope, answers: Answers, roster: Fleet, attention: Sequence[Attention]
) -> list[Card]:
    """Return a card for each machine, in the order of its first line of attention; the calm ones last."""
    severities: dict[str, str] = {}
    for line in attention:
        severities.setdefault(line.machine.key, line.severity.word)
    order = {key: number for number, key in enumerate(severities)}
    steps = _by_scheduler(answers.tables["strips"])
    spans = _event_spans(answers)
    machines = sorted(roster.machines, key=lambda machine: order.get(machine.key, len(order)))
    return [
        Card(
            machine,
            severities.get(machine.key, "calm"),
            tuple(_figures(answers, machine)),
            tuple(
                _watched(scope, answers, scheduler.arn, scheduler.name, steps, spans)
                for scheduler in machine.schedulers
            ),
        )
        for machine in machines
    ]


def ticks(scope: ReportScope) -> list[Tick]:
    """Return the midnights within the range, on the reader's clock."""
    every = -(-len(scope.days) // MOST_TICKS)
    first = scope.start.astimezone(scope.zone).date()
    found = []
    for number in range(len(scope.days) + 1):
        day = first + timedelta(days=number)
        midnight = datetime(day.year, day.month, day.day, tzinfo=scope.zone)
        if scope.start <= midnight < scope.end:
            label = f"{day:%a} {day.day}" if number % every == 0 else ""
            found.append(Tick(round(100 * position(scope, midnight), 2), label))
    if found and found[0].at > 0 and len(scope.days) == 1:  # else a day in another zone has one tick only
        found.insert(0, Tick(0, f"{first:%a} {first.day}"))
    return found


def _figures(answers: Answers, machine: Machine) -> list[tuple[str, Figure]]:
    key = machine.key
    anomalous, running, events = answers.figures(
        "equipment", key, "anomalous_share", "running_minutes", "events"
    )
    figures = [("anomalous", anomalous), (pluralize(events.value, "event"), events), ("running", running)]
    off = answers["equipment", key, "off_minutes"]
    if off:
        figures.append(("off", off))
    watched = [answers["schedulers", scheduler.arn, "watched"] for scheduler in machine.schedulers]
    known = [figure for figure in watched if figure.value is not None]
    return [*figures, *(("with result", figure) for figure in known[:1] if len(known) == 1)]


def _by_scheduler(strips: pa.Table) -> Mapping[str, pa.Table]:
    arns = strips["scheduler_arn"]
    return {arn: strips.filter(pc.equal(arns, arn)) for arn in arns.unique().to_pylist()}


def _event_spans(answers: Answers) -> Mapping[str, list[tuple[datetime, datetime]]]:
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in answers.rows("events").values():
        spans.setdefault(row["scheduler_arn"], []).append((row["start_time"], row["end_time"]))
    return spans


def _watched(
    scope: ReportScope,
    answers: Answers,
    arn: str,
    name: str,
    steps: Mapping[str, pa.Table],
    spans: Mapping[str, list[tuple[datetime, datetime]]],
) -> Watched:
    rows = steps.get(arn, answers.tables["strips"].slice(0, 0))
    drawn = strip(scope, rows, spans.get(arn, []))
    switches = tuple(_switches(scope, answers, arn))
    if drawn.known:
        words = f"{name}: score over time, {len(spans.get(arn, []))} events"
    else:
        words = f"{name}: no results in these days"
    remarks: list[StatementValue] = [("model ", one.version, " since ", one.since) for one in switches]
    if drawn.known and not drawn.has_scores:
        remarks.append(("this format has no scores",))
    return Watched(name, drawn, switches, words, tuple(remarks))


def _switches(scope: ReportScope, answers: Answers, arn: str) -> list[Switch]:
    rows = [row for row in answers.rows("models").values() if row["scheduler_arn"] == arn]
    return [
        Switch(
            round(100 * position(scope, row["since"]), 2),
            *answers.figures("models", row["row"], "model_version", "since"),
        )
        for row in rows[1:]
    ]
