"""Runs a test once with each query engine."""

import pytest

from tests.support.engine_questions import Open
from tests.support.engines import ENGINES, Spark


@pytest.fixture(
    scope="module", params=[*ENGINES, pytest.param("Spark", marks=pytest.mark.spark)], ids=lambda name: name
)
def engine(request: pytest.FixtureRequest) -> Open:
    """A function that opens a lake in one of the engines."""
    if request.param == "Spark":
        session = request.getfixturevalue("spark")
        names = iter(range(100))
        return lambda lake, tables: Spark(lake, tables, session, f"engines_{next(names)}")
    opened: Open = ENGINES[request.param]
    return opened
