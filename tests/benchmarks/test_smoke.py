"""The benchmarks run, and the figures that do not depend on the machine meet their targets: never times."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree as ET

import pytest

from benchmarks import executions, results
from benchmarks.__main__ import CASES, Run
from benchmarks.cases import OURS, Case, Contender, Environment, Target, limit_memory, limit_result
from benchmarks.measure import Cost
from benchmarks.run import TimeLimit, compare_cpu, compute_figures, run_case
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
    assert {contender: cost.imports for contender, cost in measured[0].items() if cost.imports} == {}
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

    assert problems == ["case: the results differ: rows is 1 or 2"]


WORK = Contender(OURS, "tests.support.benchmark_work:prepare")


def test_a_case_that_would_end_after_the_limit_is_not_measured_and_the_table_is_complete() -> None:
    short, long = (
        Case(name, f"a {name} case", [WORK], [limit_memory(400)], seconds=seconds)
        for name, seconds in (("short", 1), ("long", 90))
    )
    run, tables = Run([long, short], rounds=1, limit=TimeLimit(60), first_load=0), list[str]()

    run.measure_all(lambda: tables.append(run.build_table()))

    assert "- long: the run did not reach it" in tables[0]
    assert "| a long case | peak memory, MB | not measured | ≤ 400 |  |  |" in tables[1]
    assert "- long: it takes about" in tables[1]
    assert "1 of 1 measured targets are met" in tables[1]
    assert [figure["case"] for figure in run.to_json()["figures"]] == ["long", "short"]
    assert list(run.to_json()["costs"]) == ["short"]


def test_a_contender_that_takes_longer_than_the_time_left_is_stopped() -> None:
    case = Case("case", "a case", [Contender(OURS, "tests.support.benchmark_work:prepare_sleep")], [])

    measured, problems = run_case(case, rounds=1, seconds_left=0.2)

    assert measured == [{}]
    assert problems == ["case: ours: tests.support.benchmark_work:prepare_sleep took longer than 0 s"]


def test_the_time_left_follows_the_pace_of_the_cases_so_far() -> None:
    limit = TimeLimit(900)
    assert limit.estimate(100) == 100

    limit.add(expected=120, taken=300)

    assert limit.estimate(100) == 200
    assert limit.fits(300)
    assert not limit.fits(301)


def test_each_case_has_a_name_of_its_own_and_a_target() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.targets and case.contenders[0].name == "ours" for case in CASES)


TARGET = executions.require_ratio(executions.SCRIPT, 10).missed_because("It compares rows.")
CASE = Case("executions", "executions", [], [TARGET])


def test_a_figure_below_its_target_is_not_met() -> None:
    table = build_table([Figure.from_values(CASE, TARGET, [9.5, 9.96, 10.5], load=0.2)], "")

    assert "| executions | CPU, script / ours | 9.96 (9.5 to 10.5) | ≥ 10 | no | 0.2 |" in table
    assert "0 of 1 measured targets are met." in table
    assert "- **executions: CPU, script / ours.** It compares rows." in table


def test_targets_that_are_missed_for_the_same_reason_are_stated_together() -> None:
    other = replace(TARGET, figure="CPU, dlt / ours")
    figures = [Figure.from_values(CASE, target, [9.0], load=0.2, floors=[9.5]) for target in (TARGET, other)]

    floor = "(the floor of this design: 9.5)"
    names = f"CPU, script / ours {floor}, CPU, dlt / ours {floor}"
    assert f"- **executions: {names}.** It compares rows." in build_table(figures, "")


def test_the_chart_compares_only_contenders_that_do_our_work() -> None:
    helper = Contender("ledger --help", "", does_our_work=False)
    case = replace(CASE, contenders=[WORK, Contender("script", ""), helper])
    seconds = {OURS: 2.0, "script": 8.0, "ledger --help": 1.0}
    costs = {name: Cost(taken, taken, 1, {}) for name, taken in seconds.items()}

    assert compare_cpu(case, [costs]) == {OURS: 1, "script": 4}


def test_the_chart_has_a_longer_bar_for_a_more_expensive_contender() -> None:
    chart = ET.fromstring(build_chart({"rows & files": {"ours": 1.0, "floor": 0.5, "script": 8.0}}))  # noqa: S314 (our own)

    bars = [bar for bar in chart.iter("{http://www.w3.org/2000/svg}rect") if "y" in bar.attrib]
    ours, floor, script = (float(bar.attrib["width"]) for bar in bars)
    assert 0 < floor < ours < script
