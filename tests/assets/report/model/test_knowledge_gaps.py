"""How much of the results is known, and what qualifies a statement about them."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from assets.report.model.knowledge import (
    Extent,
    describe_execution_gaps,
    describe_result_gaps,
    describe_running_gaps,
    find_result_extent,
)
from assets.report.query.knowledge import Knowledge
from assets.report.query.result import Figure, Statement

ALL = {"days": 7, "days_recorded": 7, "executions": 9, "results": 9, "results_read": 9}
ALL |= {"points": 90, "points_computed": 90}


def build_knowledge(**values: int) -> Knowledge:
    """Build knowledge of seven days; counts that are not given are 0."""
    names = [field.name for field in fields(Knowledge) if field.name not in {"level", "scheduler_arn"}]
    counts = {name: values.get(name, ALL.get(name, 0)) for name in names}
    figures = {name: Figure(str(count), "knowledge", 1, name, count) for name, count in counts.items()}
    return Knowledge("total", None, **figures)


def to_text(statement: Statement) -> str:
    return "".join(part.text if isinstance(part, Figure) else part for part in statement)


@pytest.mark.parametrize(
    ("values", "extent"),
    [
        ({}, Extent.KNOWN),
        ({"results_unread": 1, "results_read": 8}, Extent.PARTLY),
        ({"event_days_not_computed": 1}, Extent.PARTLY),
        ({"days_not_recorded": 1}, Extent.PARTLY),
        ({"results_unread": 9, "results_read": 0, "points": 0, "points_computed": 0}, Extent.NOT_READ),
        ({"points_computed": 0}, Extent.NOT_COMPUTED),
        (dict.fromkeys(ALL, 0), Extent.NOT_RECORDED),
        (dict.fromkeys(ALL, 0) | {"days_recorded": 1}, Extent.PARTLY),
    ],
    ids=str,
)
def test_not_recorded_not_read_and_not_computed_are_distinguished(
    values: dict[str, int], extent: Extent
) -> None:
    assert find_result_extent(build_knowledge(**values)) is extent


@pytest.mark.parametrize(
    ("describe", "gaps"),
    [
        (
            describe_result_gaps,
            {
                "results_unread": "2 of 9 result objects not read",
                "event_days_not_computed": "2 of 7 days without computed events",
                "days_not_recorded": "2 of 7 days not recorded",
            },
        ),
        (
            describe_running_gaps,
            {
                "results_unread": "2 of 9 result objects not read",
                "running_days_not_computed": "2 of 7 days without computed running time",
                "days_not_recorded": "2 of 7 days not recorded",
            },
        ),
        (
            describe_execution_gaps,
            {
                "executions_not_computed": "2 of 9 recorded executions not computed",
                "health_days_not_computed": "2 of 7 days not computed completely",
                "days_not_recorded": "2 of 7 days not recorded",
            },
        ),
    ],
)
def test_a_statement_names_each_gap_with_its_number(
    describe: Callable[[Knowledge], Statement], gaps: dict[str, str]
) -> None:
    assert describe(build_knowledge()) == ()
    for name, text in gaps.items():
        assert to_text(describe(build_knowledge(**{name: 2}))) == text
    assert to_text(describe(build_knowledge(**dict.fromkeys(gaps, 2)))) == ", ".join(gaps.values())
