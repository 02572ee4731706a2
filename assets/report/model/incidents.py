"""What happened: anomaly events with their sensors, failures by cause, and what is different from before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.report.model.fleet import Fleet, Machine
from assets.report.model.silencing import SilencedTarget, SilenceMatcher
from assets.report.query.answers import Answers, Figure, Row, StatementValue

SHOWN_EVENTS = 60
SHOWN_CAUSES = 20
SHOWN_CHANGES = 8
SHOWN_SENSORS = 5
"""How many of each a page shows; the SQL gives all. Sensors with no more than an even share tell nothing."""

_EVENT_FIGURES = {
    "start": "start_time",
    "end": "end_time",
    "duration": "duration_seconds",
    "peak": "peak_score",
    "mean": "mean_score",
    "model": "model_version",
    "even_share": "even_share",
}
_NEWS = {
    "data_upload_frequency": ("runs every ", " instead of every "),
    "data_delay_offset_minutes": ("waits for ", " minutes instead of "),
    "status": ("is ", ", was "),
}


@dataclass(frozen=True)
class Contributor:
    """A sensor's part in an event; `width` and `even` in percent of the widest bar of the page."""

    name: str
    raw: str
    share: Figure
    width: float
    even: float | None


@dataclass(frozen=True)
class Event:
    """An anomaly event."""

    machine: Machine
    event_id: str
    state: str
    start: Figure
    end: Figure
    duration: Figure
    peak: Figure
    mean: Figure
    model: Figure
    even_share: Figure
    sensors: tuple[Contributor, ...]
    silence: SilencedTarget | None


@dataclass(frozen=True)
class Cause:
    """A cause of failed executions."""

    words: str
    schedulers: str
    is_new: bool
    executions: Figure
    before: Figure
    count: Figure
    first: Figure
    last: Figure


@dataclass(frozen=True)
class Change:
    """A machine that does worse or better than before."""

    machine: Machine
    is_worse: bool
    share: Figure
    share_before: Figure
    events: Figure
    events_before: Figure


@dataclass(frozen=True)
class Changes:
    """These days against as many before."""

    fleet: Change | None
    machines: tuple[Change, ...]
    news: tuple[tuple[Machine, StatementValue], ...]


def list_events(answers: Answers, roster: Fleet, quieting: SilenceMatcher) -> tuple[list[Event], int]:
    """Return the events to show, those that last first, then the newest; and how many are left out."""
    rows = list(answers.rows("events").values())
    rows.sort(key=lambda row: row["state"] != "open")  # stable: the newest first among each
    shown = rows[:SHOWN_EVENTS]
    sensors: dict[str, list[Row]] = {}
    for row in answers.rows("sensors").values():
        sensors.setdefault(row["event_id"], []).append(row)
    ids = {row["event_id"] for row in shown}
    widest = max((row["contribution"] or 0 for one in ids for row in sensors.get(one, [])), default=0) or 1
    made = [_event(answers, roster, quieting, row, sensors.get(row["event_id"], []), widest) for row in shown]
    return made, len(rows) - len(shown)


def list_causes(answers: Answers) -> tuple[list[Cause], int]:
    """Return the causes to show, the most frequent first, and how many are left out."""
    rows = [row for row in answers.rows("causes").values() if row["executions"]]
    made = [
        Cause(
            row["cause"],
            row["scheduler_names"] or "",
            row["executions_before"] == 0,
            *answers.figures(
                "causes",
                row["cause"],
                "executions",
                "executions_before",
                "schedulers",
                "first_day",
                "last_day",
            ),
        )
        for row in rows[:SHOWN_CAUSES]
    ]
    return made, len(rows) - len(made)


def list_changes(answers: Answers, roster: Fleet) -> Changes:
    """Return what is different from before, the largest difference first."""
    machines = {machine.key: machine for machine in roster.machines}
    rows = answers.rows("changes")
    compared = [
        row
        for key, row in rows.items()
        if key in machines
        and row["anomalous_share"] is not None
        and row["anomalous_share_before"] is not None
        if row["anomalous_share"] != row["anomalous_share_before"]
    ]
    compared.sort(key=lambda row: -abs(row["anomalous_share"] - row["anomalous_share_before"]))
    total = rows.get("")
    anybody = Machine("", "All machines", "", None, (), "machines")
    return Changes(
        fleet=_change(answers, anybody, total) if total and total["running_minutes"] is not None else None,
        machines=tuple(_change(answers, machines[row["equipment"]], row) for row in compared[:SHOWN_CHANGES]),
        news=tuple(_news(answers, roster)),
    )


def _event(
    answers: Answers, roster: Fleet, quieting: SilenceMatcher, row: Row, sensors: Sequence[Row], widest: float
) -> Event:
    machine, key = roster.of(row["scheduler_arn"]), row["event_id"]
    even = row["even_share"]
    figures = {name: answers["events", key, column] for name, column in _EVENT_FIGURES.items()}
    shown = tuple(
        _contributor(answers, roster, machine, one, widest, even)
        for number, one in enumerate(sensors[:SHOWN_SENSORS])
        if number == 0 or even is None or (one["contribution"] or 0) > even
    )
    return Event(
        machine=machine,
        event_id=key,
        state=row["state"],
        sensors=shown,
        silence=quieting.of_event(row, machine),
        **figures,
    )


def _contributor(
    answers: Answers, roster: Fleet, machine: Machine, row: Row, widest: float, even: float | None
) -> Contributor:
    sensor = roster.sensor(row["component"], row["sensor"], machine)
    raw = f"{row['component']}\\{row['sensor']}" if row["component"] else row["sensor"]
    return Contributor(
        name=sensor.name,
        raw=raw,
        share=answers["sensors", row["row"], "contribution"],
        width=round(100 * (row["contribution"] or 0) / widest, 1),
        even=None if even is None else round(min(100, 100 * even / widest), 1),
    )


def _change(answers: Answers, machine: Machine, row: Mapping[str, object]) -> Change:
    now, before = row["anomalous_share"], row["anomalous_share_before"]
    worse = isinstance(now, float) and isinstance(before, float) and now > before
    return Change(
        machine,
        worse,
        *answers.figures(
            "changes", machine.key, "anomalous_share", "anomalous_share_before", "events", "events_before"
        ),
    )


def _news(answers: Answers, roster: Fleet) -> list[tuple[Machine, StatementValue]]:
    news: list[tuple[Machine, StatementValue]] = []
    for row in answers.rows("settings").values():
        if row["scheduler_arn"] not in {
            scheduler.arn for machine in roster.machines for scheduler in machine.schedulers
        }:
            continue
        machine = roster.of(row["scheduler_arn"])
        at, model, before = answers.figures(
            "settings", row["row"], "valid_from", "model_version", "model_version_before"
        )
        if row["number"] == 1:
            news.append((machine, ("scheduler first seen on ", at)))
            continue
        if model.value != before.value:
            news.append((machine, ("model ", model, " instead of ", before, " since ", at)))
        for column, (words, instead) in _NEWS.items():
            now, then = row[column], row[f"{column}_before"]
            if now != then and now is not None and then is not None:
                news.append((machine, (f"{words}{now}{instead}{then} since ", at)))
    return news
