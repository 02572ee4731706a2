"""The time axis of the score charts."""

from datetime import date
from zoneinfo import ZoneInfo

from assets.report.model.machine_cards import list_ticks
from assets.report.query.scope import ReportScope


def test_midnights_of_the_readers_time_zone_are_labelled_within_the_chart() -> None:
    scope = ReportScope(date(2026, 10, 1), date(2026, 10, 7), ZoneInfo("Europe/Berlin"))

    ticks = list_ticks(scope)

    assert [tick.label for tick in ticks] == ["Fri 2", "Sat 3", "Sun 4", "Mon 5", "Tue 6", "Wed 7", ""]
    assert ticks[-1].position > 98, "its label would leave the chart"
