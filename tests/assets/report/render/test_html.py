"""The HTML page: valid and safe for any lake, and every number equals the cell of its SQL query."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from assets.report.formatting import format_value
from assets.report.model.page import Page, build_page
from assets.report.query import daily
from assets.report.query.data import ReportData, read_report_data
from assets.report.query.scope import ReportScope
from assets.report.render.html import render_html, render_thumbnail
from assets.tables import ARCHIVE_FILES, EXECUTION_HEALTH
from pipelines.operations.query import connect, execute, open_query
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry, Sensor
from resources.lake.lake import Lake
from tests.support.machine_lake import (
    FIRST,
    LAST,
    NOW,
    REASONS,
    BuildPage,
    Machine,
    write_machines,
    write_rows,
)
from tests.support.machine_worlds import HOSTILE, WORLDS

MOST_BYTES = 2_000_000
UTC = ZoneInfo("UTC")
VOID = {"meta", "br", "img", "input", "link", "hr"}


@dataclass
class ParsedPage(HTMLParser):
    """The parsed HTML: tags with their attributes, text, and figures; fails on an unclosed tag."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    numbers: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    _number: dict[str, str | None] | None = None

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        self._number = dict(attrs) if tag == "a" and dict(attrs).get("class") == "n" else None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._number is not None:
            self.numbers.append((data, self._number))
            self._number = None

    @property
    def text(self) -> str:
        return "".join(self.texts)


def parse(text: str) -> ParsedPage:
    page = ParsedPage()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def assert_safe(text: str) -> ParsedPage:
    """Assert: no script, no event handler, no external address, only the style that the policy names."""
    page = parse(text)
    names = {tag for tag, _ in page.tags}
    assert names & {"script", "iframe", "object", "embed", "form", "link", "base", "img"} == set()
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (
            tag,
            attributes,
        )
        for name in ("href", "src", "fill", "xlink:href", "action"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "url(#")), (tag, attributes)
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert len(text.encode()) < MOST_BYTES
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {a["href"] for t, a in page.tags if t == "a"}
    assert {target for target in targets if target and target[1:] not in identifiers} == set()
    return page


@dataclass(frozen=True)
class World:
    """A lake with its page, and the rows that each statement of the report returned."""

    lake: Lake
    data: ReportData
    page: Page
    rows: Mapping[str, list[dict[str, Any]]]


def read_world(lake: Lake, zone: ZoneInfo = UTC, rows_at_once: int = 1) -> World:
    """Read a lake; the results that queries share are computed day by day, or some days at a time."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with open_query(lake) as run_query, pytest.MonkeyPatch.context() as patch:
        patch.setattr(daily, "_ROWS_AT_ONCE", rows_at_once)

        def run_and_record(statement: str) -> pa.Table:
            result = run_query(statement)
            rows[statement] = result.to_pylist()
            return result

        data = read_report_data(ReportScope(FIRST, LAST, zone), run_and_record)
    return World(lake, data, build_page(data, EquipmentRegistry(), [], NOW), rows)


def assert_numbers_match_the_sql(world: World) -> int:
    """Compare every number with its cell in the result of the statement that the page prints."""
    page, text = world.page, render_html(world.page)
    queries = {f"#sql-{query.name}": query for query in page.queries}
    printed = dict(re.findall(r'id="(sql-\w+)">\n<h3>.*?</h3>\n<pre>(.*?)</pre>', text, re.DOTALL))
    statements = {f"#{name}": parse(f"<pre>{sql}</pre>").text for name, sql in printed.items()}
    assert statements.keys() == queries.keys()
    with connect(world.lake) as connection:  # a statement that ran as it is printed needs no second run
        results = {
            name: world.rows[sql] if sql in world.rows else execute(connection, sql).to_pylist()
            for name, sql in statements.items()
        }
    numbers = parse(text).numbers
    for printed_number, attributes in numbers:
        name, cell = attributes["href"] or "", attributes["data-cell"] or ""
        row, column = cell.split(" ")
        value = results[name][int(row) - 1][column] if int(row) else None
        kind = queries[name].kinds[column]
        assert kind is not None
        assert printed_number == format_value(value, kind, page.scope.zone), (name, cell)
    return len(numbers)


def test_a_cause_is_new_only_if_the_previous_days_are_computed(lake: Lake) -> None:
    write_machines(lake, Machine("pump-1", step_minutes=60, gaps=[(20, 30)]))
    (unknown,) = read_world(lake).page.causes
    counts = dict.fromkeys(REASONS, 0) | {"expected": 24, "missing": 24, "failures_by_cause": "[]"}
    rows = [
        {"data_date": FIRST - timedelta(days=number), "scheduler_arn": Machine("pump-1").arn} | counts
        for number in range(1, 8)
    ]
    write_rows(lake, EXECUTION_HEALTH, rows[1:])
    (incomplete,) = read_world(lake).page.causes
    write_rows(lake, EXECUTION_HEALTH, rows)
    world = read_world(lake)
    (known,) = world.page.causes

    assert (unknown.is_new, unknown.row.executions_before.value) == (False, None)
    assert (incomplete.is_new, incomplete.row.executions_before.value) == (False, 0)
    assert (known.is_new, known.row.executions_before.value) == (True, 0)
    assert_numbers_match_the_sql(world)


def test_saved_responses_that_were_not_read_completely_are_counted(lake: Lake) -> None:
    write_machines(lake, Machine("pump-1", step_minutes=60))
    counts = {"size_bytes": 1, "executions": 1, "rejected": 0, "reader_version": 1}
    files = [counts | {"uri": f"{number}.json"} for number in range(3)]
    write_rows(lake, ARCHIVE_FILES, files)
    assert "Saved responses" not in dict(read_world(lake).page.data_quality.facts)

    write_rows(lake, ARCHIVE_FILES, [files[0], *(file | {"error": "truncated"} for file in files[1:])])

    world = read_world(lake)
    assert "2 of 3 not read completely (of all days)" in parse(render_html(world.page)).text
    assert_numbers_match_the_sql(world)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in {"all machines off", "one execution"} else [])
        for name in WORLDS
    ],
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Each lake, read once for all tests."""
    lake = Lake(str(tmp_path_factory.mktemp("world") / "lake"))
    if machines := WORLDS[request.param]:
        write_machines(lake, *machines)
    return read_world(lake, ZoneInfo("Europe/Berlin"))


def test_every_number_is_a_cell_of_its_sql_query(world: World) -> None:
    assert assert_numbers_match_the_sql(world) >= (30 if world.page.cards else 5)


def test_a_page_is_safe_for_any_lake(world: World) -> None:
    assert_safe(render_html(world.page))


@pytest.mark.parametrize("world", ["hostile names"], indirect=True)
def test_names_are_escaped_and_never_read_as_markup(world: World) -> None:
    registry = EquipmentRegistry(
        [EquipmentEntry(Equipment(HOSTILE[0], HOSTILE[1], "high"), ("*1*",))],
        {HOSTILE[0]: Sensor(HOSTILE[4])},
    )

    text = render_html(build_page(world.data, registry, [], NOW))

    page = assert_safe(text)
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[4]):
        assert name in page.text
    assert "\u202e" not in text and "\x00" not in text and "\x07" not in text
    assert "мотор \ufffdאבג" in page.text


@pytest.mark.slow
def test_a_page_with_200_schedulers_is_small(build_report: BuildPage) -> None:
    machines = [
        Machine(
            f"pump-{number}",
            step_minutes=60,
            events=[(hour, hour + 2) for hour in range(number % 40, 160, 40)],
            gaps=[(number % 100, number % 100 + 5)],
        )
        for number in range(200)
    ]

    text = render_html(build_report(*machines))

    page = assert_safe(text)
    assert sum(attributes.get("class") == "strip" for _, attributes in page.tags) == 200
    assert "pump-199" in page.text


@pytest.mark.parametrize("world", ["an empty lake"], indirect=True)
def test_an_empty_lake_has_a_page_without_healthy_machines(world: World) -> None:
    page = assert_safe(render_html(world.page))

    assert "The lake has no data for these days" in page.text
    assert "No data." in page.text
    assert "100" not in {number for number, _ in page.numbers}


def test_the_thumbnail_is_small_enough_for_the_event_log(world: World) -> None:
    uri = render_thumbnail(world.page)

    assert uri.startswith("data:image/svg+xml;base64,")
    assert len(uri) < 50_000


@pytest.mark.parametrize("world", ["a busy week"], indirect=True)
def test_the_page_is_identical_when_rebuilt(world: World) -> None:
    again = read_world(world.lake, world.page.scope.zone, rows_at_once=1_000_000)

    assert render_html(again.page) == render_html(world.page)
