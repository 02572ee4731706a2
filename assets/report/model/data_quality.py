"""Can the data be trusted: what became of every expected execution, how new all is, and whence it comes."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.report.formatting import pluralize
from assets.report.model.attention import HARDLY_WATCHED, WELL_WATCHED
from assets.report.model.fleet import Fleet, Machine
from assets.report.query.answers import Answers, Figure, StatementValue

REASONS = {
    "succeeded": ("gave a result", "good"),
    "failed_missing_input": ("failed: no input", "blind"),
    "failed_other": ("failed otherwise", "bad"),
    "in_progress": ("still running", "open"),
    "stuck": ("never ended", "bad"),
    "missing": ("never came", "bad"),
    "not_running": ("scheduler stood still", "still"),
    "not_extracted": ("never asked for", "open"),
    "after_service_end": ("after the service's end", "still"),
    "unknown": ("unknown", "open"),
}
"""The reasons of `execution_health` in words, and the tone that each is drawn in."""

SHOWN_SCHEDULERS = 30


@dataclass(frozen=True)
class Slice:
    """Part of the bar of all expected executions; `start` and `width` in thousandths of it."""

    words: str
    tone: str
    figure: Figure
    start: float
    width: float


@dataclass(frozen=True)
class SchedulerQuality:
    """How well one machine is watched by one scheduler."""

    machine: Machine
    scheduler: str
    watched: Figure
    silence: Figure
    newest: Figure
    troubles: tuple[tuple[Figure, str], ...]


@dataclass(frozen=True)
class DataQuality:
    """The section."""

    verdict: str
    said: StatementValue
    slices: tuple[Slice, ...]
    day_columns: tuple[str, ...]
    days: tuple[tuple[Figure, ...], ...]
    facts: tuple[tuple[str, StatementValue], ...]
    worst: tuple[SchedulerQuality, ...]
    perfect: int
    left_out: int


DAY_COLUMNS = {
    "expected": "expected",
    "watched": "with result",
    "failed_missing_input": "no input",
    "failed_other": "other failures",
    "stuck": "never ended",
    "missing": "never came",
    "not_running": "stood still",
    "not_extracted": "not asked",
    "unknown": "unknown",
}


def assess_data_quality(answers: Answers, roster: Fleet) -> DataQuality:
    """Judge the data."""
    verdict, said = _judged(answers)
    watching = [_watching(answers, roster, arn) for arn in answers.rows("schedulers")]
    worse = [one for one in watching if one.troubles]
    worse.sort(
        key=lambda one: (one.watched.value if one.watched.value is not None else 1.0, one.machine.label)
    )
    columns = _columns(answers)
    return DataQuality(
        verdict=verdict,
        said=said,
        slices=tuple(_slices(answers)),
        day_columns=tuple(DAY_COLUMNS[column] for column in columns),
        days=tuple(
            tuple(answers.figures("days", day, "data_date", *columns)) for day in answers.rows("days")
        ),
        facts=tuple(_facts(answers)),
        worst=tuple(worse[:SHOWN_SCHEDULERS]),
        perfect=len(watching) - len(worse),
        left_out=max(0, len(worse) - SHOWN_SCHEDULERS),
    )


def _columns(answers: Answers) -> list[str]:
    """Columns of the days: those that always count, and those that are not zero all through."""
    return [
        column
        for column in DAY_COLUMNS
        if column in {"expected", "watched"} or any(row[column] for row in answers.rows("days").values())
    ]


def _judged(answers: Answers) -> tuple[str, StatementValue]:
    watched, expected = answers.figures("slots", "all", "watched", "expected")
    if not expected:
        return "Nothing is known", ("No execution was expected, or none is recorded, of these days",)
    never = answers["slots", "all", "not_extracted"]
    said: StatementValue = (watched, " of the executions that were due gave a result")
    if never:
        return "Not yet", (*said, "; ", never, " were never asked for")
    if watched.value is None:
        return "Nothing was due", ("Every scheduler stood still",)
    if watched.value >= WELL_WATCHED:
        return "Yes", said
    return "With care" if watched.value >= HARDLY_WATCHED else "No", said


def _slices(answers: Answers) -> list[Slice]:
    expected = answers["slots", "all", "expected"].value or 0
    slices, start = [], 0.0
    for reason, (words, tone) in REASONS.items():
        figure = answers["slots", "all", reason]
        if not figure:
            continue
        width = round(1000 * figure.value / expected, 2)
        slices.append(Slice(words, tone, figure, round(start, 2), width))
        start += width
    return slices


def _facts(answers: Answers) -> list[tuple[str, StatementValue]]:
    rows = answers.rows("recorded")
    facts: list[tuple[str, StatementValue]] = []
    newest = max(
        (arn for arn in rows if rows[arn]["newest_result"]),
        key=lambda arn: rows[arn]["newest_result"],
        default=None,
    )
    if newest:
        facts.append(("Newest result", (answers["recorded", newest, "newest_result"],)))
    median, most = answers.figures("slots", "all", "lateness_median_minutes", "lateness_max_minutes")
    if median.value is not None:
        facts.append(("Results come", (median, " after their window, at most ", most)))
    facts.append(("Sources", (", ".join(_sources(answers)) or "none",)))
    objects = answers.rows("objects")
    if objects:
        facts.append(("Result objects", tuple(_objects(answers))))
    lines, summaries = answers.figures("put_aside", "all", "lines", "summaries")
    said = (lines, f" result {pluralize(lines.value, 'line')}, ", summaries)
    summary = "summary" if summaries.value == 1 else "summaries"
    facts.append(("Put aside as unusable", (*said, f" {summary} of executions")))
    return facts


def _sources(answers: Answers) -> Sequence[str]:
    words = {"api": "the service", "archive": "saved responses", "bucket": "result objects"}
    kinds = {kind for row in answers.rows("recorded").values() for kind in (row["sources"] or "").split(", ")}
    return [words.get(kind, kind) for kind in sorted(kinds) if kind]


def _objects(answers: Answers) -> StatementValue:
    parts: list[str | Figure] = []
    for state, words in (
        ("read", "read"),
        ("missing", "missing"),
        ("forbidden", "forbidden"),
        ("key_missing", "without their key"),
        ("wrong_owner", "in a bucket of somebody else"),
        ("archived", "in Glacier"),
        ("unreachable", "out of reach"),
    ):
        figure = answers["object_states", state, "objects"]
        if figure:
            parts += [", " if parts else "", figure, f" {words}"]
    return tuple(parts)


def _watching(answers: Answers, roster: Fleet, arn: str) -> SchedulerQuality:
    row = answers.rows("schedulers")[arn]
    machine = roster.of(arn)
    return SchedulerQuality(
        machine=machine,
        scheduler=next(one.name for one in machine.schedulers if one.arn == arn),
        watched=answers["schedulers", arn, "watched"],
        silence=answers["schedulers", arn, "longest_silence_minutes"],
        newest=answers["recorded", arn, "newest_result"],
        troubles=tuple(
            (answers["schedulers", arn, reason], words)
            for reason, (words, _) in REASONS.items()
            if reason not in {"succeeded", "after_service_end"} and row[reason]
        ),
    )
