"""The questions that a page asks the lake, in SQL: every number on it is a cell of one of the answers.

The page prints them as they are, so that a reader can ask the same again. They filter on `data_date` wherever
there is one: only the days that are shown are read.
"""

from assets.report.query import executions, machines
from assets.report.query.question import Question
from assets.report.query.scope import ReportScope

__all__ = ["Question", "questions"]


def questions(scope: ReportScope) -> dict[str, Question]:
    """Return all questions about a scope, by name."""
    made = (
        executions.slots(scope),
        executions.by_day(scope),
        executions.by_scheduler(scope),
        executions.recorded(scope),
        executions.objects(scope),
        executions.object_states(scope),
        executions.put_aside(scope),
        machines.by_equipment(scope),
        machines.last_day(scope),
        machines.strips(scope),
        machines.models(scope),
        machines.event_counts(scope),
        machines.events(scope),
        machines.sensors(scope),
        executions.causes(scope),
        machines.changes(scope),
        executions.settings(scope),
    )
    return {question.name: question for question in made}
