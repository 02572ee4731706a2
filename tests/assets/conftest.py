"""A lake of its own for each test, and the page of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from assets.report.model.page import Page, build_page
from assets.report.query.scope import ReportScope
from pipelines.operations.query import open_query
from resources.config.equipment import EquipmentRegistry
from resources.config.silences import Silence
from resources.lake.lake import Lake
from tests.support.machine_lake import FIRST, LAST, NOW, Machine, write_machines

Paged = Callable[..., Page]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def paged(lake: Lake) -> Paged:
    """Write the week of some machines, and make its page."""

    def make(
        *machines: Machine,
        registry: EquipmentRegistry | None = None,
        silences: Sequence[Silence] = (),
        **scope: Any,
    ) -> Page:
        if machines:
            write_machines(lake, *machines)
        shown = ReportScope(**({"first": FIRST, "last": LAST} | scope))
        with open_query(lake) as ask:
            return build_page(shown, ask, registry or EquipmentRegistry(), silences, NOW)

    return make
