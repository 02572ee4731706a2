"""The benchmarks run, and the figures that do not depend on the machine meet their targets: never times."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree as ET

import pytest

from benchmarks import executions, results
from benchmarks.__main__ import CASES, compute_figures, run_case
from benchmarks.cases import OURS, Case, Contender, Environment, Target, limit_memory, limit_result
from benchmarks.table import Figure, build_chart, build_table

BY_NAME = {case.name: case for case in CASES}


def shrink(name: str, serve: Callable[[], AbstractContextManager[Environment]]) -> Case:
    """Return a small case, with the contenders that need no packages of their own."""
    contenders = [
        contender
        for contender in BY_NAME[name].contenders
        if not contender.packages and contender.name != results.THREADED
    ]
    return replace(BY_NAME[name], contenders=contenders, serve=serve)


SMALL = [
    executions.SMOKE,
    replace(BY_NAME["refresh"], contenders=BY_NAME["refresh"].contenders[:1]),
    replace(
        shrink("results", partial(results.serve, schedulers=1)),
        targets=[limit_memory(400), limit_result("lines", 288 * 5, "lines")],
    ),
    shrink("results-unchanged", partial(results.serve, schedulers=1)),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_calls_rows_files_and_memory_meet_their_targets(case: Case) -> None:
    measured, problems = run_case(case, rounds=1)

    assert problems == []
    stable = {target.figure for target in case.targets if target.is_stable}
    figures = [figure for figure in compute_figures(case, measured) if figure.figure in stable]
    assert len(figures) == len(stable) > 0
    for figure in figures:
        assert figure.is_met, f"{figure.figure} is {figure.value}, not {figure.bound}"


def test_a_contender_that_fails_is_reported_and_the_others_are_measured() -> None:
    case = Case(
        "case",
        "a case",
        [
            Contender("broken", "benchmarks.startup:prepare_nothing"),
            Contender(OURS, "tests.support.benchmark_work:prepare"),
        ],
        [
            limit_memory(400),
            executions.require_ratio("broken", 10),
            Target("size", lambda costs: costs["broken"].result["size"], 1),
        ],
    )

    measured, problems = run_case(case, rounds=1)

    assert list(measured[0]) == [OURS]
    assert len(problems) == 1
    assert problems[0].startswith("case: broken: benchmarks.startup:prepare_nothing failed: AttributeError")
    memory, ratio, size = compute_figures(case, measured)
    assert memory.is_met
    assert ratio.value is size.value is None
    assert "| CPU, broken / ours | not measured | ≥ 10 |" in build_table([memory, ratio], "", problems)


def test_results_that_differ_are_reported() -> None:
    contenders = [
        Contender(name, f"tests.support.benchmark_work:prepare{end}")
        for name, end in (("ours", ""), ("b", "_other"))
    ]

    _, problems = run_case(Case("case", "a case", contenders, [limit_memory(400)]), rounds=1)

    assert problems == ["case: BenchmarkError: the results differ: rows is 1 or 2"]


def test_each_case_has_a_name_of_its_own_and_a_target() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.targets and case.contenders[0].name == "ours" for case in CASES)


TARGET = executions.require_ratio(executions.SCRIPT, 10).missed_because("It compares rows.")
CASE = Case("executions", "executions", [], [TARGET])


def test_a_figure_below_its_target_is_not_met() -> None:
    table = build_table([Figure.from_values(CASE, TARGET, [9.5, 9.96, 10.5], load=0.2)], "")

    assert "| executions | CPU, script / ours | 9.96 (9.5 to 10.5) | ≥ 10 | no | 0.2 |" in table
    assert "0 of 1 targets are met." in table
    assert "- executions: CPU, script / ours. It compares rows." in table


def test_the_chart_has_a_longer_bar_for_a_more_expensive_contender() -> None:
    chart = ET.fromstring(build_chart({"rows & files": {"ours": 1.0, "floor": 0.5, "script": 8.0}}))  # noqa: S314 (our own)

    bars = [bar for bar in chart.iter("{http://www.w3.org/2000/svg}rect") if "y" in bar.attrib]
    ours, floor, script = (float(bar.attrib["width"]) for bar in bars)
    assert 0 < floor < ours < script
