"""The report page in Chromium: layout, isolation, links, accessibility and keyboard."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from assets.report.model.page import build_page
from assets.report.query.data import read_report_data
from assets.report.query.scope import ReportScope
from assets.report.render.html import render_html
from pipelines.operations.query import open_query
from resources.config.equipment import Equipment, EquipmentEntry, EquipmentRegistry, Sensor
from resources.lake.lake import Lake
from tests.support.browser import NARROW, WIDE, Recorder, find_violations, run_chromium
from tests.support.machine_lake import FIRST, LAST, NOW, Machine, write_machines
from tests.support.machine_worlds import HOSTILE, WORLDS, list_busy_machines, list_many_machines

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

A4 = 703
"""The width of the printed area of A4 paper, in CSS pixels."""

STATES = ("a busy week", "hostile names", "an empty lake", "everything failed")
PAGES: dict[str, list[Machine]] = {
    **{name: WORLDS[name] for name in STATES},
    "twenty machines with long names": list(list_many_machines()),
    "unread results": [Machine("pump-1", step_minutes=60, is_read=False), *list_busy_machines()],
    "no result read": [Machine("pump-1", step_minutes=60, is_read=False)],
}
LIGHT = {"media": "screen", "color_scheme": "light"}
DARK = {"media": "screen", "color_scheme": "dark"}
PRINT = {"media": "print", "color_scheme": "light"}
REGISTRY = EquipmentRegistry(
    [EquipmentEntry(Equipment(HOSTILE[0], HOSTILE[1], "high"), ("*1*",))], {HOSTILE[0]: Sensor(HOSTILE[4])}
)

FIND_OVERFLOW = """() => {
  const root = document.documentElement, isHtml = element => !(element instanceof SVGElement);
  const found = [...document.querySelectorAll("body, body *")].filter(isHtml).filter(element => {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!box.width || style.position === "absolute") return false;
    const clips = style.overflowX !== "visible" || style.display === "inline";
    return box.right > root.clientWidth + 1 || (!clips && element.scrollWidth > element.clientWidth + 1);
  });
  const names = found.map(element => `${element.className}: ${element.textContent.slice(0, 60)}`);
  return root.scrollWidth > root.clientWidth ? [`page: ${root.scrollWidth}`, ...names] : names;
}"""
FIND_BROKEN_LINKS = """() => [...document.querySelectorAll("a")].map(link => link.getAttribute("href"))
  .filter(href => !href.startsWith("#") || !document.getElementById(decodeURIComponent(href.slice(1))))"""
DESCRIBE_FOCUS = """() => {
  const element = document.activeElement;
  const box = element.getBoundingClientRect(), style = getComputedStyle(element);
  return {
    position: [...document.links].indexOf(element),
    isVisible: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right <= innerWidth,
    hasOutline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}"""


@dataclass(frozen=True)
class OpenPage:
    """A report in a tab of the browser."""

    tab: "Page"
    recorder: Recorder
    url: str

    def show(self, width: int, view: dict[str, Any]) -> None:
        self.tab.set_viewport_size({"width": width, "height": 900})
        self.tab.emulate_media(**view)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    with run_chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=PAGES.keys())
def report(
    request: pytest.FixtureRequest, chromium: "Browser", tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenPage]:
    """Each page in its own tab, rendered once for all tests."""
    folder = tmp_path_factory.mktemp("report")
    file = folder / "page.html"
    file.write_text(build_html(folder, PAGES[request.param]), "utf-8")
    context = chromium.new_context(viewport={"width": WIDE, "height": 900}, reduced_motion="reduce")
    tab, recorder = context.new_page(), Recorder()
    recorder.attach(tab)
    tab.goto(file.as_uri())
    yield OpenPage(tab, recorder, file.as_uri())
    context.close()


def build_html(folder: Path, machines: list[Machine]) -> str:
    lake = Lake(str(folder / "lake"))
    if machines:
        write_machines(lake, *machines)
    with open_query(lake) as run_query:
        data = read_report_data(ReportScope(FIRST, LAST, ZoneInfo("Europe/Berlin")), run_query)
    return render_html(build_page(data, REGISTRY, [], NOW))


@pytest.mark.parametrize("view", [LIGHT, DARK, PRINT], ids=lambda view: "-".join(view.values()))
def test_nothing_overflows_at_any_width(report: OpenPage, view: dict[str, Any]) -> None:
    for width in (NARROW, A4, WIDE):
        report.show(width, view)

        assert report.tab.evaluate(FIND_OVERFLOW) == [], width


def test_axe_finds_no_serious_violation(report: OpenPage) -> None:
    for width in (NARROW, WIDE):
        report.show(width, LIGHT)

        assert find_violations(report.tab) == [], width


def test_axe_finds_enough_contrast_in_the_dark(report: OpenPage) -> None:
    """The dark scheme changes only colors, and the wide page has all elements of the narrow one."""
    report.show(WIDE, DARK)

    assert find_violations(report.tab, "color-contrast", "link-in-text-block") == []


def test_every_link_leads_to_a_place_on_the_page(report: OpenPage) -> None:
    report.show(WIDE, LIGHT)

    assert report.tab.evaluate(FIND_BROKEN_LINKS) == []
    report.tab.locator("nav a", has_text="SQL").click()
    report.tab.wait_for_function("() => document.querySelector('#sql h2').getBoundingClientRect().top < 900")


def test_a_number_leads_to_its_sql(report: OpenPage) -> None:
    report.show(WIDE, LIGHT)
    for number in report.tab.locator("main a.n").all()[:1]:
        number.click()

        target = report.tab.locator(":target")
        assert target.locator("pre").inner_text().startswith(("SELECT", "WITH", "FROM"))


def test_the_keyboard_reaches_every_link_in_order_and_shows_the_focus(report: OpenPage) -> None:
    report.show(WIDE, LIGHT)
    report.tab.goto(report.url)
    count = min(report.tab.locator("a").count(), 30)
    for position in range(count):
        report.tab.keyboard.press("Tab")

        assert report.tab.evaluate(DESCRIBE_FOCUS) == {
            "position": position,
            "isVisible": True,
            "hasOutline": True,
        }


def test_the_first_key_skips_to_the_findings(report: OpenPage) -> None:
    report.show(NARROW, LIGHT)
    report.tab.goto(report.url)
    report.tab.keyboard.press("Tab")
    report.tab.keyboard.press("Enter")

    assert report.tab.locator("main:target").count() == 1
    report.tab.keyboard.press("Tab")
    assert report.tab.evaluate("() => document.activeElement.closest('main') !== null")


def test_names_are_text(report: OpenPage) -> None:
    text = report.tab.locator("body").inner_text()

    assert report.tab.locator("script, img, iframe, object, form, input").count() == 0
    if "Pumpe" in text:
        assert all(name in text for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[4]))


def test_the_page_requests_only_itself_and_reports_no_error(report: OpenPage) -> None:
    """Last, because it covers all that the other tests did with the page."""
    report.tab.goto(report.url)

    assert {url.partition("#")[0] for url in report.recorder.requests} == {report.url}
    assert report.recorder.messages == []
