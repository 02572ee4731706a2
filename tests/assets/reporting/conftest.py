"""A lake of its own for each test, and the page of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from assets.reporting.page import Page, page_of
from assets.reporting.scope import Scope
from pipelines.asking import asking
from resources.lake import Lake
from resources.registry import Registry
from resources.silences import Silence
from tests.assets.reporting.worlds import FIRST, LAST, NOW, Machine, write

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
