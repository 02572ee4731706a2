"""A lake of its own for each test, and the page of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from assets.report.model.page import Page, page_of
from assets.report.query.scope import Scope
from pipelines.operations.asking import asking
from resources.config.equipment import Registry
from resources.config.silences import Silence
from resources.lake.lake import Lake
from tests.support.health_worlds import FIRST, LAST, NOW, Machine, write

Paged = Callable[..., Page]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def paged(lake: Lake) -> Paged:
    """Write the week of some machines, and make its page."""

    def make(
        *machines: Machine,
        registry: Registry | None = None,
        silences: Sequence[Silence] = (),
        **scope: Any,
    ) -> Page:
        if machines:
            write(lake, *machines)
        shown = Scope(**({"first": FIRST, "last": LAST} | scope))
        with asking(lake) as ask:
            return page_of(shown, ask, registry or Registry(), silences, NOW)

    return make
