"""The page: everything that it says, in reading order, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from assets.report.formatting import days, moment
from assets.report.model.attention import Attention, Severity, ranked
from assets.report.model.data_quality import Trust, trust_of
from assets.report.model.fleet import roster_of
from assets.report.model.incidents import Cause, Changes, Event, causes_of, changes_of, events_of
from assets.report.model.machine_cards import Card, Tick, bins_for, cards, ticks
from assets.report.model.silencing import Quiet, Quieting
from assets.report.query import Question
from assets.report.query.answers import Answers, Ask, Figure, asked_of
from assets.report.query.scope import Scope
from resources.config.equipment import Registry
from resources.config.silences import Silence


@dataclass(frozen=True)
class Page:
    """All that a page says."""

    scope: Scope
    title: str
    zone: str
    made_at: str
    as_of: str
    attention: tuple[Attention, ...]
    silenced: tuple[Attention, ...]
    other_silences: tuple[Quiet, ...]
    calm: int
    urgent: int
    fleet_share: Figure
    watched: Figure
    event_figures: tuple[Figure, Figure, Figure]
    trust: Trust
    cards: tuple[Card, ...]
    ticks: tuple[Tick, ...]
    events: tuple[Event, ...]
    events_left_out: int
    causes: tuple[Cause, ...]
    causes_left_out: int
    changes: Changes
    questions: tuple[Question, ...]


def page_of(scope: Scope, ask: Ask, registry: Registry, silences: Sequence[Silence], now: datetime) -> Page:
    """Ask the lake, and put a page together.

    Args:
        scope: the days and machines to show.
        ask: answers a statement in SQL over the lake's tables.
        registry: names machines and sensors.
        silences: those that reach into the days are shown, with what they silence.
        now: the time of the page.
    """
    schedulers = ask(
        f"SELECT count(DISTINCT scheduler_arn) AS n FROM anomaly_predictions WHERE {scope.in_days}"
    )
    scope = replace(scope, bins=bins_for(schedulers["n"][0].as_py()))
    return _page(scope, asked_of(scope, ask), registry, silences, now)


def _page(
    scope: Scope, answers: Answers, registry: Registry, silences: Sequence[Silence], now: datetime
) -> Page:
    roster = roster_of(answers, registry)
    as_of = min(now, scope.end)
    quieting = Quieting(silences, scope, as_of)
    attention = ranked(scope, answers, roster, quieting)
    loud = tuple(line for line in attention if line.silence is None)
    silenced = tuple(line for line in attention if line.silence is not None)
    events, events_left_out = events_of(answers, roster, quieting)
    causes, causes_left_out = causes_of(answers)
    return Page(
        scope=scope,
        title=days(scope.first, scope.last),
        zone=str(scope.zone),
        made_at=moment(now, scope.zone),
        as_of=moment(as_of, scope.zone),
        attention=loud,
        silenced=silenced,
        other_silences=tuple(quieting.others({line.silence for line in silenced if line.silence})),
        calm=len(roster.machines) - len({line.machine.key for line in attention}),
        urgent=sum(line.severity >= Severity.LOOK for line in loud),
        fleet_share=answers["changes", "", "anomalous_share"],
        watched=answers["slots", "all", "watched"],
        event_figures=(
            answers["event_counts", "all", "events"],
            answers["event_counts", "all", "open"],
            answers["event_counts", "all", "schedulers"],
        ),
        trust=trust_of(answers, roster),
        cards=tuple(cards(scope, answers, roster, (*loud, *silenced))),
        ticks=tuple(ticks(scope)),
        events=tuple(events),
        events_left_out=events_left_out,
        causes=tuple(causes),
        causes_left_out=causes_left_out,
        changes=changes_of(answers, roster),
        questions=tuple(answers.asked.values()),
    )
