"""What needs attention: for each machine why, and how much, ranked.

Belongs here: when something needs attention, and what comes first.
Does not belong here: how machines are shown (see `machines`) and how data is judged as a whole (see `trust`).

A machine has one line. What is worst about it is told first, the rest after it. Somebody who planned or knows
of it has silenced it; it is then shown apart, with who did so and why, and never left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from fnmatch import fnmatchcase

from assets.reporting.answers import Answers, Row, Said
from assets.reporting.roster import Machine, Roster
from assets.reporting.scope import Scope
from resources.silences import Silence

BLIND_MINUTES = 60.0
"""From so long without a result on, at the end of what is recorded, a machine is blind."""

WELL_WATCHED, HARDLY_WATCHED = 0.95, 0.5
"""Shares of the due executions that gave a result; below the first one looks, below the second one acts."""

_CRITICALITY = {"high": 3, "medium": 2, None: 2, "low": 1}


class Severity(IntEnum):
    """How much attention something needs."""

    KNOW = 1
    LOOK = 2
    ACT = 3

    @property
    def word(self) -> str:
        """The name on the page."""
        return self.name.lower()


@dataclass(frozen=True)
class Reason:
    """Why a machine needs attention; of equal severity the larger weight goes first."""

    severity: Severity
    weight: float
    said: Said


@dataclass(frozen=True)
class Attention:
    """The line of one machine."""

    machine: Machine
    severity: Severity
    said: Said
    also: tuple[Said, ...] = ()
    silence: Silence | None = None


def ranked(
    scope: Scope, answers: Answers, roster: Roster, silences: Sequence[Silence], as_of: datetime
) -> list[Attention]:
    """Return a line for each machine that needs attention, the most needed first."""
    lines = []
    for machine in roster.machines:
        reasons = sorted(
            _reasons(scope, answers, roster, machine), key=lambda one: (-one.severity, -one.weight)
        )
        if not reasons:
            continue
        silence = next((one for one in silences if one.lasts(as_of) and _is_meant(one, machine)), None)
        first = reasons[0]
        line = Attention(machine, first.severity, first.said, tuple(one.said for one in reasons[1:]), silence)
        lines.append((line, first.weight))
    lines.sort(
        key=lambda one: (
            -one[0].severity,
            -_CRITICALITY.get(one[0].machine.criticality, 2),
            -one[1],
            one[0].machine.label,
        )
    )
    return [line for line, _ in lines]


def _is_meant(silence: Silence, machine: Machine) -> bool:
    if silence.equipment is not None:
        return silence.equipment == machine.key
    return silence.scheduler is not None and any(
        fnmatchcase(scheduler.name, silence.scheduler) or fnmatchcase(scheduler.arn, silence.scheduler)
        for scheduler in machine.schedulers
    )


def _reasons(scope: Scope, answers: Answers, roster: Roster, machine: Machine) -> Iterator[Reason]:
    yield from _anomalous(scope, answers, roster, machine)
    for scheduler in machine.schedulers:
        yield from _blind(answers, scheduler.arn)
        yield from _badly_watched(answers, scheduler.arn)
        yield from _unreadable(answers, scheduler.arn)
    yield from _new_model(answers, machine)


def _anomalous(scope: Scope, answers: Answers, roster: Roster, machine: Machine) -> Iterator[Reason]:
    """Tell of an event that is not over, else of those that are."""
    arns = {scheduler.arn for scheduler in machine.schedulers}
    events = [row for row in answers.rows("events").values() if row["scheduler_arn"] in arns]
    if not events:
        return
    lasting = [row for row in events if row["state"] == "open" or row["end_time"] >= scope.end]
    if lasting:
        event = max(lasting, key=_size)
        since, lasted = answers.figures("events", event["event_id"], "start_time", "duration_seconds")
        said: Said = ("anomalous since ", since, ", for ", lasted, " so far", *_peak(answers, event))
        yield Reason(Severity.ACT, 1e9 + _size(event), said + _leader(answers, roster, machine, event))
        return
    largest = max(events, key=_size)
    share, anomalous = answers.figures("equipment", machine.key, "anomalous_share", "anomalous_minutes")
    today = answers["last_day", machine.key, "events"]
    severity = Severity.LOOK if today else Severity.KNOW
    lasted, began = answers.figures("events", largest["event_id"], "duration_seconds", "start_time")
    many: Said = (
        (
            answers["equipment", machine.key, "events"],
            " events, ",
            anomalous,
            " anomalous, ",
            share,
            " of its running time; the longest ",
        )
        if len(events) > 1 and anomalous
        else ("anomalous for ",)
    )
    yield Reason(
        severity,
        sum(map(_size, events)),
        (
            *many,
            lasted,
            " from ",
            began,
            *_peak(answers, largest),
            *_leader(answers, roster, machine, largest),
        ),
    )


def _size(event: Row) -> float:
    return float(event["duration_seconds"] or 0)


def _peak(answers: Answers, event: Row) -> Said:
    peak = answers["events", event["event_id"], "peak_score"]
    return (", peak ", peak) if peak else ()


def _leader(answers: Answers, roster: Roster, machine: Machine, event: Row) -> Said:
    row = answers.rows("sensors").get(f"{event['event_id']} 1")
    if not row:
        return ()
    sensor = roster.sensor(row["component"], row["sensor"], machine)
    return ("; led by ", sensor.name, " with ", answers["sensors", f"{event['event_id']} 1", "contribution"])


def _blind(answers: Answers, arn: str) -> Iterator[Reason]:
    row = answers.rows("recorded").get(arn)
    if row is None:
        return
    if row["newest_result"] is None:
        executions = answers["recorded", arn, "executions"]
        yield Reason(Severity.ACT, 1e8, ("nobody watched: none of ", executions, " executions gave a result"))
    elif (row["blind_minutes"] or 0) >= BLIND_MINUTES:
        for_long, newest = answers.figures("recorded", arn, "blind_minutes", "newest_result")
        severity = Severity.ACT if row["blind_minutes"] >= 6 * BLIND_MINUTES else Severity.LOOK
        yield Reason(
            severity,
            row["blind_minutes"] * 60,
            ("blind for ", for_long, ": the newest result is of ", newest),
        )


def _badly_watched(answers: Answers, arn: str) -> Iterator[Reason]:
    row = answers.rows("schedulers").get(arn)
    if row is None:
        return
    watched, without_input, silence = answers.figures(
        "schedulers", arn, "watched", "failed_missing_input", "longest_silence_minutes"
    )
    if row["succeeded"] and row["watched"] is not None and row["watched"] < WELL_WATCHED:
        severity = Severity.ACT if row["watched"] < HARDLY_WATCHED else Severity.LOOK
        why: Said = ("; ", without_input, " executions got no data") if without_input else ()
        yield Reason(
            severity,
            (1 - row["watched"]) * 1e4,
            ("watched for only ", watched, " of the time", *why, "; longest silence ", silence),
        )
    for column, words in (
        ("stuck", " executions never ended"),
        ("missing", " executions never came"),
        ("failed_other", " executions failed for another reason than missing input"),
        ("not_extracted", " executions were never asked for"),
    ):
        figure = answers["schedulers", arn, column]
        if figure:
            yield Reason(Severity.LOOK, float(figure.value), (figure, words))


def _unreadable(answers: Answers, arn: str) -> Iterator[Reason]:
    for state, words, severity in (
        ("forbidden", " result objects may not be read", Severity.ACT),
        ("key_missing", " result objects are encrypted with a key that may not be used", Severity.ACT),
        ("wrong_owner", " result objects lie in a bucket of somebody else", Severity.ACT),
        ("missing", " result objects are gone", Severity.LOOK),
        ("archived", " result objects lie in Glacier", Severity.LOOK),
        ("unreachable", " result objects could not be reached", Severity.LOOK),
    ):
        figure = answers["objects", f"{arn} {state}", "objects"]
        if figure:
            yield Reason(severity, float(figure.value), (figure, words))


def _new_model(answers: Answers, machine: Machine) -> Iterator[Reason]:
    for scheduler in machine.schedulers:
        rows = [row for row in answers.rows("models").values() if row["scheduler_arn"] == scheduler.arn]
        for row in rows[1:]:
            version, since = answers.figures("models", row["row"], "model_version", "since")
            yield Reason(
                Severity.KNOW,
                0,
                ("model ", version, " since ", since, ": scores before and after do not compare"),
            )
