"""Days on the command line that default to the history of the settings."""

from datetime import date

import pytest

from pipelines.cli.arguments import parse_range_of_history
from resources.config.sections import HistorySettings
from resources.errors import ConfigurationError

TODAY = date(2026, 10, 6)
HISTORY = HistorySettings.model_validate({"start_date": "2026-10-01", "end_date": "2026-10-09"})


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, ("2026-10-01", "2026-10-06")),
        ("2026-10-05", None, ("2026-10-05", "2026-10-06")),
        (None, "yesterday", ("2026-10-01", "2026-10-05")),
    ],
)
def test_a_missing_end_is_that_of_the_history_and_at_most_today(
    first: str | None, last: str | None, expected: tuple[str, str]
) -> None:
    days = parse_range_of_history(first, last, HISTORY, TODAY)

    assert (str(days[0]), str(days[-1])) == expected


@pytest.mark.parametrize(
    ("first", "history", "message"),
    [
        (None, HistorySettings(), r"add --from DAY, or set \[history\] start_date"),
        ("2026-10-07", HISTORY, "use --from 2026-10-06"),
    ],
    ids=["no start in the settings", "starts after the last day"],
)
def test_a_range_without_an_end_that_cannot_be_completed_is_rejected(
    first: str | None, history: HistorySettings, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_range_of_history(first, None, history, TODAY)
