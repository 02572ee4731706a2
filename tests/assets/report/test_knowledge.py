"""No statement of the page claims more than a recomputation in plain Python from what was recorded and read.

A world is a grid of hourly windows in blocks of six hours. Each block is read, unread, failed or missing, and
the tables of each day are computed, outdated or missing. The recomputation does not use the report.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

from assets.anomalies.events import EventRule, join_events
from assets.anomalies.fragments import PREDICTION_COLUMNS, build_fragments
from assets.anomalies.top_sensors import CONTRIBUTION_COLUMNS
from assets.executions.day_status import read_coverage
from assets.framework.row_content import stamp_changes
from assets.health.equipment_health import build_equipment_health
from assets.health.execution_health import (
    COVERAGE_COLUMNS,
    EXECUTION_COLUMNS,
    RESULT_COLUMNS,
    SCHEDULER_COLUMNS,
    DayTables,
    HealthPolicy,
    SchedulerHistory,
    build_execution_health,
)
from assets.report.model.page import Page, build_page
from assets.report.query.data import ReportData, read_report_data
from assets.report.query.scope import ReportScope
from assets.report.render.html import render_html
from assets.report.render.markdown import render_markdown
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    PARTITION,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
)
from pipelines.operations import lake_knowledge
from pipelines.operations.lake_knowledge import UnknownDays, find_unknown_days
from pipelines.operations.query import open_query
from resources.config.equipment import EquipmentRegistry
from resources.lake.lake import Lake
from tests.support.machine_lake import write_rows

DAYS = [date(2026, 10, 1), date(2026, 10, 2)]
START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)
NOW = END + timedelta(days=1)
HOUR = timedelta(hours=1)
NAMES = ("pump-1", "pump-2")
BLOCKS_A_DAY, HOURS_A_BLOCK = 4, 6
RULE = EventRule(2.0, timedelta())
POLICY = HealthPolicy(3 * HOUR, NOW)

BLOCKS = ("normal", "anomalous", "unread", "forbidden", "failed", "missing")
COMPUTED, OUTDATED, NOT_COMPUTED = "computed", "outdated", "not computed"


@dataclass(frozen=True)
class Window:
    """An hour of a scheduler; `block` is one of `BLOCKS`."""

    name: str
    start: datetime
    block: str
    is_last_block: bool

    @property
    def arn(self) -> str:
        return f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/{self.name}/id"

    @property
    def day(self) -> date:
        return self.start.date()

    @property
    def is_recorded(self) -> bool:
        return self.block != "missing"

    @property
    def is_read(self) -> bool:
        return self.block in {"normal", "anomalous"}

    @property
    def has_result(self) -> bool:
        return self.is_recorded and self.block != "failed"


@dataclass(frozen=True)
class World:
    """The windows, and which tables are computed.

    Attributes:
        blocks: for each scheduler, the state of each block of six hours.
        days: for each day, whether its tables are computed, outdated (its last block came later) or not.
        has_running_time: for each day, whether `equipment_health` is computed.
        has_events: whether `anomaly_events` is computed.
    """

    blocks: Sequence[Sequence[str]]
    days: Sequence[str]
    has_running_time: Sequence[bool]
    has_events: bool

    @property
    def windows(self) -> list[Window]:
        return [
            Window(name, START + hour * HOUR, blocks[hour // HOURS_A_BLOCK], hour % 24 >= 24 - HOURS_A_BLOCK)
            for name, blocks in zip(NAMES, self.blocks, strict=True)
            for hour in range(24 * len(DAYS))
        ]

    def is_computed(self, window: Window) -> bool:
        """Whether the tables of the window's day have seen the window."""
        state = self.days[DAYS.index(window.day)]
        return state == COMPUTED or (state == OUTDATED and not window.is_last_block)

    def has_running_time_of(self, window: Window) -> bool:
        return self.has_running_time[DAYS.index(window.day)] and self.is_computed(window)


WORLDS = st.builds(
    World,
    st.tuples(
        *[st.lists(st.sampled_from(BLOCKS), min_size=8, max_size=8) | st.just(["normal"] * 8) for _ in NAMES]
    ),
    st.lists(st.sampled_from([COMPUTED, COMPUTED, OUTDATED, NOT_COMPUTED]), min_size=2, max_size=2),
    st.lists(st.sampled_from([True, True, False]), min_size=2, max_size=2),
    st.sampled_from([True, True, False]),
)

NORMAL = ["normal"] * 8


def _build_computed_world(second: Sequence[str], *, has_events: bool = True) -> World:
    return World((NORMAL, second), (COMPUTED, COMPUTED), (True, True), has_events)


ONLY_RECORDED = World((["unread"] * 8,) * 2, (NOT_COMPUTED,) * 2, (False, False), has_events=False)
NO_RESULT_READ = World((["unread"] * 8,) * 2, (COMPUTED,) * 2, (True, True), has_events=True)
ALL_READ = _build_computed_world(NORMAL)
NEW_FAILURES = World(([*NORMAL[:7], "failed"],) * 2, (COMPUTED, OUTDATED), (True, True), has_events=True)
A_BLOCK_NOT_RECORDED = _build_computed_world([*NORMAL[:3], "missing", *NORMAL[4:]])
EVENTS_NOT_JOINED = _build_computed_world([*NORMAL[:3], "anomalous", *NORMAL[4:]], has_events=False)


def write_world(lake: Lake, world: World) -> None:
    windows = [window for window in world.windows if window.is_recorded]
    write_rows(lake, INFERENCE_EXECUTIONS, [_build_execution(window) for window in windows])
    write_rows(lake, RESULT_OBJECTS, [_build_object(window) for window in windows if _has_record(window)])
    write_rows(lake, ANOMALY_PREDICTIONS, [_build_line(window) for window in windows if window.is_read])
    first = {window.arn: window for window in reversed(windows)}
    write_rows(lake, INFERENCE_SCHEDULERS, [_build_scheduler(window) for window in first.values()])
    computed = Lake(f"{lake.uri}-computed")
    seen = [window for window in windows if world.is_computed(window)]
    write_rows(computed, INFERENCE_EXECUTIONS, [_build_execution(window) for window in seen])
    write_rows(computed, ANOMALY_PREDICTIONS, [_build_line(window) for window in seen if window.is_read])
    _compute(lake, computed, world)


def _compute(lake: Lake, source: Lake, world: World) -> None:
    """Fill the derived tables with the real rules, from what the source has."""
    schedulers = SchedulerHistory(lake.read(INFERENCE_SCHEDULERS, columns=SCHEDULER_COLUMNS))
    expected: dict[date, dict[str, str | None]] = {}
    for day, state in zip(DAYS, world.days, strict=True):
        if state == NOT_COMPUTED:
            continue
        tables = DayTables(
            source.read(INFERENCE_EXECUTIONS, day, EXECUTION_COLUMNS),
            source.read(EXTRACTION_COVERAGE, day, COVERAGE_COLUMNS),
            schedulers,
            source.read(RESULT_OBJECTS, day, RESULT_COLUMNS),
        )
        rows = build_execution_health(day, tables, POLICY)
        health = lake.update(
            EXECUTION_HEALTH,
            day,
            lambda existing, rows=rows: stamp_changes(EXECUTION_HEALTH, rows, existing, POLICY.now),
        ).rows
        expected[day] = dict(
            zip(health["scheduler_arn"].to_pylist(), health["scheduler_name"].to_pylist(), strict=True)
        )
        fragments = build_fragments(
            source.read(ANOMALY_PREDICTIONS, day, PREDICTION_COLUMNS),
            [source.read(SENSOR_CONTRIBUTIONS, day, CONTRIBUTION_COLUMNS)],
        ).drop_columns([PARTITION])
        lake.update(
            ANOMALY_FRAGMENTS,
            day,
            lambda existing, rows=fragments: stamp_changes(ANOMALY_FRAGMENTS, rows, existing, NOW),
        )
    all_fragments = lake.scan(ANOMALY_FRAGMENTS)
    if world.has_events:
        lake.update(ANOMALY_EVENTS, None, lambda existing: join_events(all_fragments, RULE, existing, NOW))
    running = build_equipment_health(DAYS, all_fragments, expected, EquipmentRegistry(), RULE, NOW)
    rows = running.to_pylist()
    for day, state, has_running_time in zip(DAYS, world.days, world.has_running_time, strict=True):
        if has_running_time and state != NOT_COMPUTED:
            write_rows(lake, EQUIPMENT_HEALTH, [row for row in rows if row[PARTITION] == day])


def _build_coverage(world: World) -> Iterator[dict[str, Any]]:
    recorded = [window for window in world.windows if window.is_recorded]
    for day, arn in sorted({(window.day, window.arn) for window in recorded}):
        windows = [window for window in recorded if (window.day, window.arn) == (day, arn)]
        yield {
            "data_date": day,
            "scheduler_arn": arn,
            "scheduler_name": windows[0].name,
            "executions": len(windows),
            "in_progress": 0,
            "failed": sum(not window.has_result for window in windows),
            "sources": "archive",
        }


def _has_record(window: Window) -> bool:
    return window.is_read or window.block == "forbidden"


def _build_key(window: Window) -> dict[str, Any]:
    return {
        "data_date": window.day,
        "scheduler_arn": window.arn,
        "scheduler_name": window.name,
        "data_start_time": window.start,
    }


def _build_location(window: Window) -> dict[str, Any]:
    return {"result_s3_bucket": "plant", "result_s3_key": f"{window.name}/{window.start:%Y%m%d%H}"}


def _build_execution(window: Window) -> dict[str, Any]:
    return {
        **_build_key(window),
        **(_build_location(window) if window.has_result else {}),
        "data_end_time": window.start + HOUR,
        "status": "SUCCESS" if window.has_result else "FAILED",
        "failed_reason": None if window.has_result else "some other reason",
        "source": "archive",
        "outcome_source": "archive",
    }


def _build_object(window: Window) -> dict[str, Any]:
    state = "read" if window.is_read else "forbidden"
    counts = {"rows": int(window.is_read), "rejected": 0, "reader_version": 1}
    return {**_build_key(window), **_build_location(window), "state": state, **counts}


def _build_line(window: Window) -> dict[str, Any]:
    is_anomalous = window.block == "anomalous"
    return {
        **_build_key(window),
        "timestamp": window.start,
        "prediction": int(is_anomalous),
        "prediction_reason": "ANOMALY_DETECTED" if is_anomalous else "NO_ANOMALY_DETECTED",
        "anomaly_score": 0.9 if is_anomalous else 0.1,
    }


def _build_scheduler(window: Window) -> dict[str, Any]:
    return {
        "scheduler_arn": window.arn,
        "scheduler_name": window.name,
        "valid_from": window.start,
        "data_upload_frequency": "PT1H",
        "data_delay_offset_minutes": 0,
        "source": "archive",
    }


@dataclass(frozen=True)
class Truth:
    """What is known of a world, recomputed from its windows alone."""

    world: World

    @property
    def recorded(self) -> list[Window]:
        return [window for window in self.world.windows if window.is_recorded]

    @property
    def unread(self) -> list[Window]:
        return [window for window in self.recorded if window.has_result and not window.is_read]

    @property
    def not_computed(self) -> list[Window]:
        return [window for window in self.recorded if not self.world.is_computed(window)]

    @property
    def days_not_recorded(self) -> int:
        """A day that is computed has rows, even if no execution is recorded on it."""
        days = {window.day for window in self.recorded}
        first = min((window.start for window in self.recorded), default=END)
        states = dict(zip(DAYS, self.world.days, strict=True))
        return sum(day not in days and not self._has_rows(day, states[day], first) for day in DAYS)

    @staticmethod
    def _has_rows(day: date, state: str, first: datetime) -> bool:
        return state != NOT_COMPUTED and first.date() <= day

    @property
    def read(self) -> list[Window]:
        return [window for window in self.recorded if window.is_read]

    @property
    def events_are_complete(self) -> bool:
        """Whether the number of events says all about what was read, and everything was read."""
        is_joined = self.world.has_events or not any(window.block == "anomalous" for window in self.read)
        is_cut = any(not self.world.is_computed(window) for window in self.read)
        return is_joined and not is_cut and not self.unread and not self.days_not_recorded

    @property
    def executions_are_complete(self) -> bool:
        return not self.not_computed and not self.days_not_recorded

    @property
    def running_time_is_complete(self) -> bool:
        has_all = all(self.world.has_running_time_of(window) for window in self.read)
        return has_all and not self.unread and not self.days_not_recorded

    def count_events(self) -> int:
        """Count the runs of anomalous windows that were read and computed."""
        if not self.world.has_events:
            return 0
        return sum(self._count_events(name) for name in NAMES)

    def _count_events(self, name: str) -> int:
        points = [window for window in self.read if window.name == name and self.world.is_computed(window)]
        count, previous = 0, None
        for window in points:
            continues = (
                previous is not None
                and previous.block == "anomalous"
                and window.start - previous.start <= RULE.gap_steps * HOUR
            )
            count += window.block == "anomalous" and not continues
            previous = window
        return count

    def count_blind_hours(self, name: str) -> int:
        """Count the hours without a read result since the first recorded window."""
        mine = [window for window in self.world.windows if window.name == name]
        first = min((window.start for window in mine if window.is_recorded), default=END)
        return sum(window.start >= first and not window.is_read for window in mine)

    def list_machines(self) -> list[str]:
        return [name for name in NAMES if any(window.name == name for window in self.recorded)]

    def is_fully_known(self, name: str) -> bool:
        mine = [window for window in self.recorded if window.name == name]
        is_computed = all(self.world.has_running_time_of(window) for window in mine)
        is_joined = self.world.has_events or not any(window.block == "anomalous" for window in mine)
        return is_computed and is_joined and not self.count_blind_hours(name)


class _Text(HTMLParser):
    """The text of a page without its SQL, styles and definitions."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipped = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "style" or dict(attrs).get("id") in {"sql", "definitions"}:
            self._skipped = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self._skipped = False

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.parts.append(data)


def read_text(page: Page) -> str:
    text = _Text()
    text.feed(render_html(page))
    return re.sub(r"\s+", " ", "".join(text.parts))


def build(world: World) -> tuple[ReportData, Page, list[UnknownDays]]:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"{folder}/lake")
        write_world(lake, world)
        with open_query(lake) as run_query:
            data = read_report_data(ReportScope(DAYS[0], DAYS[-1], as_of=NOW), run_query)
        write_rows(lake, EXTRACTION_COVERAGE, list(_build_coverage(world)))
        unknown = find_unknown_days(lake, read_coverage(lake, columns=lake_knowledge.COVERAGE_COLUMNS), DAYS)
    return data, build_page(data, EquipmentRegistry(), [], NOW), unknown


@settings(phases=[Phase.explicit], deadline=None)
@given(WORLDS)
@example(ALL_READ)
@example(ONLY_RECORDED)
@example(NO_RESULT_READ)
@example(NEW_FAILURES)
@example(A_BLOCK_NOT_RECORDED)
@example(EVENTS_NOT_JOINED)
def test_no_statement_claims_more_than_was_recorded_read_and_computed(world: World) -> None:
    assert_statements(world)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(WORLDS)
def test_no_statement_claims_more_in_many_worlds(world: World) -> None:
    assert_statements(world)


def assert_statements(world: World) -> None:
    truth = Truth(world)
    data, page, unknown = build(world)
    html, markdown = read_text(page), render_markdown(page)

    assert_counts(truth, data)
    assert_gaps(truth, page, html, markdown)
    assert_executions(truth, data, page, html, markdown)
    assert_events(truth, data, page, html, markdown)
    assert_machines(truth, data, page, html, markdown)
    assert_status(truth, page, unknown)


def assert_status(truth: Truth, page: Page, unknown: list[UnknownDays]) -> None:
    """`ledger status` names the same gaps with the same numbers and commands."""
    gaps = {gap.title: gap for gap in page.gaps}
    states = {item.state.capitalize(): item for item in unknown}
    assert states.keys() == gaps.keys() & {"Not read", "Not computed"}
    if truth.unread:
        item, results = states["Not read"], sum(window.has_result for window in truth.recorded)
        assert item.text.startswith(f"{len(truth.unread)} of {results} result objects (")
        blocks = {window.block for window in truth.unread}
        assert ("not read yet" in item.text, "access denied" in item.text) == (
            "unread" in blocks,
            "forbidden" in blocks,
        )
        assert (item.command,) == gaps["Not read"].commands


def assert_counts(truth: Truth, data: ReportData) -> None:
    knowledge = data.knowledge
    results = [window for window in truth.recorded if window.has_result]
    assert knowledge.executions.value == len(truth.recorded)
    assert knowledge.results.value == len(results)
    assert knowledge.results_read.value == len(truth.read)
    assert knowledge.results_unread.value == len(truth.unread)
    assert knowledge.days_not_recorded.value == truth.days_not_recorded
    assert bool(knowledge.executions_not_computed) == bool(truth.not_computed)
    if truth.unread:
        assert knowledge.first_unread.value == min(window.start for window in truth.unread)
        assert knowledge.last_unread.value == max(window.start for window in truth.unread) + HOUR
    states = {state: row.objects.value for state, row in data.object_states.items()}
    for state, block in (("not_read", "unread"), ("forbidden", "forbidden")):
        assert states.get(state, 0) == sum(window.block == block for window in truth.recorded)


def assert_gaps(truth: Truth, page: Page, html: str, markdown: str) -> None:
    has_uncomputed = (
        bool(truth.not_computed)
        or not (truth.world.has_events or not any(window.block == "anomalous" for window in truth.read))
        or not all(truth.world.has_running_time_of(window) for window in truth.recorded)
    )
    gaps = {gap.title: gap for gap in page.gaps}
    assert ("Not recorded" in gaps) == bool(truth.days_not_recorded)
    if truth.days_not_recorded and gaps["Not recorded"].commands:  # a run may have found nothing
        assert "If this command changes nothing, the sources have none" in " ".join(html.split())
    assert ("Not read" in gaps) == bool(truth.unread)
    assert ("Not computed" in gaps) >= has_uncomputed
    for text in (html, markdown):
        for title in gaps:
            assert title in text
        if truth.unread:
            results = sum(window.has_result for window in truth.recorded)
            assert f"{len(truth.unread)} of {results} result object" in text
    for gap in page.gaps:
        for command in gap.commands:
            assert command in markdown and re.sub(r"\s+", " ", command) in html


def assert_executions(truth: Truth, data: ReportData, page: Page, html: str, markdown: str) -> None:
    computed = [window for window in truth.recorded if truth.world.is_computed(window)]
    assert (data.slots.succeeded.value or 0) == sum(window.has_result for window in computed)
    failed = sum(not window.has_result for window in computed)
    assert sum(cause.row.executions.value or 0 for cause in page.causes) == failed
    if not truth.executions_are_complete or truth.unread:
        assert page.data_quality.verdict in {"Incomplete", "No data"}
        assert "Every execution due" not in html or truth.executions_are_complete
    if not truth.executions_are_complete:
        assert "No failed executions." not in html
        assert "executions due returned a result ·" not in markdown
        if page.causes:
            assert "Not included: " in html and "Not included: " in markdown
    if page.data_quality.verdict in {"Good", "Degraded", "Poor"}:
        due = {window.start for window in truth.world.windows}
        assert due and not truth.unread
        assert_verdict(truth, page.data_quality.verdict)


def assert_verdict(truth: Truth, verdict: str) -> None:
    """The verdict must hold whether the hours that are not recorded had results or not."""
    firsts = {
        name: min(window.start for window in truth.recorded if window.name == name)
        for name in truth.list_machines()
    }
    due = [window for window in truth.world.windows if window.start >= firsts.get(window.name, END)]
    worst = sum(window.has_result for window in due) / len(due)
    best = sum(window.has_result or not window.is_recorded for window in due) / len(due)
    for share in (worst, best):
        assert verdict == ("Good" if share >= 0.95 else "Degraded" if share >= 0.5 else "Poor")


def assert_events(truth: Truth, data: ReportData, page: Page, html: str, markdown: str) -> None:
    count = truth.count_events()
    assert data.event_totals.events.value == count
    if not truth.read:
        assert page.changes.fleet is None or not truth.unread
        assert "No events in" not in html or not truth.unread
    summary = markdown.split("\n\n")[1]
    plain = re.search(r"· (\d+) anomaly events", summary)
    qualified = re.search(r"· (\d+) known anomaly events", summary)
    for number in (plain, qualified):
        if number:
            assert int(number[1]) == count
    if not truth.events_are_complete:
        assert plain is None
        assert not re.search(r"No events in \d+ result objects read\.", html)
        assert not re.search(r"No events in \d+ result objects read\.", markdown)
    if truth.unread and not truth.read:
        assert qualified is None and "anomaly events not read" in summary
    if truth.read and not truth.unread and not truth.not_computed and truth.world.has_events:
        assert plain or qualified


def assert_machines(truth: Truth, data: ReportData, page: Page, html: str, markdown: str) -> None:
    names = truth.list_machines()
    labels = {card.machine.schedulers[0].name: card for card in page.cards}
    assert labels.keys() == set(names)
    attention = {item.machine.schedulers[0].name: item for item in page.attention}
    for name in names:
        card, blind = labels[name], data.blind_time.get(card_arn(labels[name]))
        assert (blind.minutes.value if blind else 0) == 60 * truth.count_blind_hours(name)
        if not truth.is_fully_known(name):
            assert name in attention and card.severity in {"warning", "alert"}
            assert card.extent
        mine = [window for window in truth.recorded if window.name == name]
        figures = dict(card.figures)
        if not any(window.is_read for window in mine):
            assert not figures.keys() & {"running", "anomalous", "event", "events"}
        elif "running" in figures:
            hours = sum(window.is_read and truth.world.has_running_time_of(window) for window in mine)
            assert figures["running"].value == 60 * hours
    unknown = sum(not truth.is_fully_known(name) for name in names)
    if names:
        summary = f"{page.urgent} of {len(names)} machines need attention"
        assert summary + (f", {unknown} not fully known" if unknown else " ·") in markdown
        assert page.urgent >= unknown
    rest = re.search(r"No findings about (?:the other (\d+)|any) machines?([^.]*)\.", html)
    if rest and (truth.days_not_recorded or truth.unread or truth.not_computed):
        assert "in what is known" in rest[2]
    if page.gaps:
        assert "No findings." not in html and "No findings." not in markdown
    if not truth.running_time_is_complete and page.fleet_share.value is not None:
        assert "of known" in html


def card_arn(card: Any) -> str:
    return str(card.machine.schedulers[0].arn)
