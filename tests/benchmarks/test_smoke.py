"""The benchmarks run, and the figures that do not depend on the machine meet their targets: never times."""

from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest

from benchmarks import executions, operations
from benchmarks.__main__ import CASES, compute_figures, run_case
from benchmarks.cases import Case
from benchmarks.table import build_chart, build_table

REFRESH = next(case for case in operations.CASES if case.name == "refresh")


@pytest.mark.slow
@pytest.mark.parametrize("case", [executions.SMOKE, REFRESH], ids=lambda case: case.name)
def test_calls_rows_files_and_memory_meet_their_targets(case: Case) -> None:
    measured = run_case(case, rounds=1)

    stable = {target.figure for target in case.targets if target.is_stable}
    figures = [figure for figure in compute_figures(case, measured) if figure.figure in stable]
    assert len(figures) == len(stable) > 0
    for figure in figures:
        assert figure.is_met, f"{figure.figure} is {figure.value}, not {figure.bound}"


def test_each_case_has_a_name_of_its_own_and_a_target() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.targets and case.contenders[0].name == "ours" for case in CASES)


@dataclass
class _Figure:
    title: str = "executions"
    figure: str = "CPU, script / ours"
    value: float = 9.96
    lowest: float = 9.5
    highest: float = 10.5
    bound: float = 10
    is_upper: bool = False
    is_met: bool = False


def test_a_figure_below_its_target_is_not_met() -> None:
    table = build_table([_Figure()], "")

    assert "| executions | CPU, script / ours | 9.96 (9.5 to 10.5) | ≥ 10 | no |" in table


def test_the_longest_bar_of_the_chart_belongs_to_the_most_expensive_contender() -> None:
    chart = ET.fromstring(build_chart({"rows & files": {"ours": 1.0, "script": 8.0}}))  # noqa: S314 (our own)

    bars = [bar for bar in chart.iter("{http://www.w3.org/2000/svg}rect") if "y" in bar.attrib]
    ours, script = (float(bar.attrib["width"]) for bar in bars)
    assert script == 8 * ours
