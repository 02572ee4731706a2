"""The page: everything that it says, in reading order, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from assets.report.formatting import format_days, format_timestamp
from assets.report.model.attention import Attention, Severity, rank_machines
from assets.report.model.data_quality import DataQuality, assess_data_quality
from assets.report.model.fleet import build_fleet
from assets.report.model.incidents import Cause, Changes, Event, list_causes, list_changes, list_events
from assets.report.model.machine_cards import Card, Tick, build_cards, choose_bins, ticks
from assets.report.model.silencing import SilencedTarget, SilenceMatcher
from assets.report.query import Question
from assets.report.query.answers import Answers, Figure, RunQuery, run_questions
from assets.report.query.scope import ReportScope
from resources.config.equipment import EquipmentRegistry
from resources.config.silences import Silence


@dataclass(frozen=True)
class Page:
    """All that a page says."""

    scope: ReportScope
    title: str
    zone: str
    made_at: str
    as_of: str
    attention: tuple[Attention, ...]
    silenced: tuple[Attention, ...]
    other_silences: tuple[SilencedTarget, ...]
    calm: int
    urgent: int
    fleet_share: Figure
    watched: Figure
    event_figures: tuple[Figure, Figure, Figure]
    trust: DataQuality
    cards: tuple[Card, ...]
    ticks: tuple[Tick, ...]
    events: tuple[Event, ...]
    events_left_out: int
    causes: tuple[Cause, ...]
    causes_left_out: int
    changes: Changes
    questions: tuple[Question, ...]


def build_page(
    scope: ReportScope, ask: RunQuery, registry: EquipmentRegistry, silences: Sequence[Silence], now: datetime
) -> Page:
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
    scope = replace(scope, bins=choose_bins(schedulers["n"][0].as_py()))
    return _page(scope, run_questions(scope, ask), registry, silences, now)


def _page(
    scope: ReportScope,
    answers: Answers,
    registry: EquipmentRegistry,
    silences: Sequence[Silence],
    now: datetime,
) -> Page:
    roster = build_fleet(answers, registry)
    as_of = min(now, scope.end)
    quieting = SilenceMatcher(silences, scope, as_of)
    attention = rank_machines(scope, answers, roster, quieting)
    loud = tuple(line for line in attention if line.silence is None)
    silenced = tuple(line for line in attention if line.silence is not None)
    events, events_left_out = list_events(answers, roster, quieting)
    causes, causes_left_out = list_causes(answers)
    return Page(
        scope=scope,
        title=format_days(scope.first, scope.last),
        zone=str(scope.zone),
        made_at=format_timestamp(now, scope.zone),
        as_of=format_timestamp(as_of, scope.zone),
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
        trust=assess_data_quality(answers, roster),
        cards=tuple(build_cards(scope, answers, roster, (*loud, *silenced))),
        ticks=tuple(ticks(scope)),
        events=tuple(events),
        events_left_out=events_left_out,
        causes=tuple(causes),
        causes_left_out=causes_left_out,
        changes=list_changes(answers, roster),
        questions=tuple(answers.asked.values()),
    )
