"""What needs attention: for each machine why, and how much, ranked.

A machine has one line. What is worst about it is told first, the rest after it. What somebody has planned or
knows of is silenced: it has a line of its own, with who did so and why, and is never left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from assets.report.formatting import pluralize
from assets.report.model.fleet import Fleet, Machine
from assets.report.model.silencing import SilencedTarget, SilenceMatcher
from assets.report.query.answers import Answers, Figure, Row, StatementValue
from assets.report.query.scope import ReportScope

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
    said: StatementValue
    silence: SilencedTarget | None = None


@dataclass(frozen=True)
class Attention:
    """The line of one machine, or of what is silenced of it."""

    machine: Machine
    severity: Severity
    said: StatementValue
    also: tuple[StatementValue, ...] = ()
    silence: SilencedTarget | None = None


def rank_machines(
    scope: ReportScope, answers: Answers, roster: Fleet, quieting: SilenceMatcher
) -> list[Attention]:
    """Return the lines of what needs attention, the most needed first; those that are silenced too."""
    lines = []
    for machine in roster.machines:
        by_silence: dict[SilencedTarget | None, list[Reason]] = defaultdict(list)
        for reason in _reasons(scope, answers, roster, machine, quieting):
            by_silence[reason.silence].append(reason)
        for silence, reasons in by_silence.items():
            first, *rest = sorted(reasons, key=lambda one: (-one.severity, -one.weight))
            line = Attention(machine, first.severity, first.said, tuple(one.said for one in rest), silence)
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


def _reasons(
    scope: ReportScope, answers: Answers, roster: Fleet, machine: Machine, quieting: SilenceMatcher
) -> Iterator[Reason]:
    arns = {scheduler.arn for scheduler in machine.schedulers}
    events: dict[SilencedTarget | None, list[Row]] = defaultdict(list)
    for row in answers.rows("events").values():
        if row["scheduler_arn"] in arns:
            events[quieting.of_event(row, machine)].append(row)
    for silence, some in events.items():
        for reason in _anomalous(scope, answers, roster, machine, some, is_all=len(events) == 1):
            yield replace(reason, silence=silence)
    for scheduler in machine.schedulers:
        silence = quieting.of_scheduler(scheduler, machine)
        for ask in (_blind, _badly_watched, _unreadable, _new_model):
            for reason in ask(answers, scheduler.arn):
                yield replace(reason, silence=silence)


def _anomalous(
    scope: ReportScope,
    answers: Answers,
    roster: Fleet,
    machine: Machine,
    events: Sequence[Row],
    *,
    is_all: bool,
) -> Iterator[Reason]:
    """Tell of an event that is not over, else of those of the last day, and of all if there are more.

    Sums of the lake are told only where the events are all that the machine had.
    """
    lasting = [row for row in events if row["state"] == "open" or row["end_time"] >= scope.end]
    if lasting:
        event = max(lasting, key=_size)
        since, lasted = answers.figures("events", event["event_id"], "start_time", "duration_seconds")
        said: StatementValue = (
            "anomalous since ",
            since,
            ", for ",
            lasted,
            " so far",
            *_peak(answers, event),
        )
        yield Reason(Severity.ACT, 1e9 + _size(event), said + _leader(answers, roster, machine, event))
        return
    recent = [row for row in events if row["end_time"] > scope.last_day]
    told = max(recent or events, key=_size)
    question, severity = ("last_day", Severity.LOOK) if recent else ("equipment", Severity.KNOW)
    many = _sums(answers, machine, question, recent or events) if is_all else ()
    said = (*many, *_longest(answers, told, has_more=bool(many)))
    led_by = _leader(answers, roster, machine, told)
    yield Reason(severity, sum(map(_size, recent or events)), (*said, *led_by))
    if recent and len(events) > len(recent):
        many = _sums(answers, machine, "equipment", events) if is_all else ()
        longest = max(events, key=_size)
        more = () if longest is told else _longest(answers, longest, has_more=bool(many))
        if many or more:
            yield Reason(Severity.KNOW, 0, ("in these days ", *many, *more))


def _sums(answers: Answers, machine: Machine, question: str, events: Sequence[Row]) -> StatementValue:
    """Tell of several events at once, where the lake counts them as they are counted here."""
    count, anomalous, share = answers.figures(
        question, machine.key, "events", "anomalous_minutes", "anomalous_share"
    )
    if len(events) == 1 or not anomalous or count.value != len(events):
        return ()
    when = " on the last day" if question == "last_day" else ""
    return (count, f" events{when}, ", anomalous, " anomalous, ", share, " of its running time")


def _longest(answers: Answers, event: Row, *, has_more: bool) -> StatementValue:
    lasted, began = answers.figures("events", event["event_id"], "duration_seconds", "start_time")
    return (
        "; the longest " if has_more else "anomalous for ",
        lasted,
        " from ",
        began,
        *_peak(answers, event),
    )


def _size(event: Row) -> float:
    return float(event["duration_seconds"] or 0)


def _peak(answers: Answers, event: Row) -> StatementValue:
    peak = answers["events", event["event_id"], "peak_score"]
    return (", peak ", peak) if peak else ()


def _leader(answers: Answers, roster: Fleet, machine: Machine, event: Row) -> StatementValue:
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
        why: StatementValue = ("; ", without_input, " executions got no data") if without_input else ()
        yield Reason(
            severity,
            (1 - row["watched"]) * 1e4,
            ("watched for only ", watched, " of the time", *why, "; longest silence within a day ", silence),
        )
    for column, words in (
        ("stuck", "never ended"),
        ("missing", "never came"),
        ("failed_other", "failed for another reason than missing input"),
        ("not_extracted", "{were} never asked for"),
    ):
        figure = answers["schedulers", arn, column]
        if figure:
            yield Reason(Severity.LOOK, float(figure.value), _counted(figure, "execution", words))


def _unreadable(answers: Answers, arn: str) -> Iterator[Reason]:
    for state, words, severity in (
        ("forbidden", "may not be read", Severity.ACT),
        ("wrong_owner", "{are} in a bucket of another account than expected", Severity.ACT),
        ("key_missing", "{are} encrypted with a key that may not be used", Severity.ACT),
        ("archived", "{are} archived, and {have} to be restored first", Severity.LOOK),
        ("unreachable", "could not be reached", Severity.LOOK),
        ("missing", "{are} gone", Severity.LOOK),
    ):
        figure = answers["objects", f"{arn} {state}", "objects"]
        if figure:
            yield Reason(severity, float(figure.value), _counted(figure, "result object", words))


def _counted(figure: Figure, what: str, words: str) -> StatementValue:
    one, many = ("is", "was", "has"), ("are", "were", "have")
    forms = dict(zip(many, one if figure.value == 1 else many, strict=True))
    return (figure, f" {pluralize(figure.value, what)} {words.format_map(forms)}")


def _new_model(answers: Answers, arn: str) -> Iterator[Reason]:
    rows = [row for row in answers.rows("models").values() if row["scheduler_arn"] == arn]
    for row in rows[1:]:
        version, since = answers.figures("models", row["row"], "model_version", "since")
        said: StatementValue = (
            "model ",
            version,
            " since ",
            since,
            ": scores before and after do not compare",
        )
        yield Reason(Severity.KNOW, 0, said)
