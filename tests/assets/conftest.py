"""An empty lake for each test, and the report page of what a test writes to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assets.report.model.page import Page, build_page
from assets.report.query.data import read_report_data
from assets.report.query.scope import ReportScope
from pipelines.operations.query import open_query
from resources.config.equipment import EquipmentRegistry
from resources.config.silences import Silence
from resources.lake.lake import Lake
from tests.support.machine_lake import FIRST, LAST, NOW, BuildPage, Machine, write_machines


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def build_report(lake: Lake) -> BuildPage:
    """Write the week of some machines to the lake and build its page."""

    def build(
        *machines: Machine,
        registry: EquipmentRegistry | None = None,
        silences: Sequence[Silence] = (),
        **scope: Any,
    ) -> Page:
        if machines:
            write_machines(lake, *machines)
        with open_query(lake) as run_query:
            data = read_report_data(ReportScope(**({"first": FIRST, "last": LAST} | scope)), run_query)
        return build_page(data, registry or EquipmentRegistry(), silences, NOW)

    return build
