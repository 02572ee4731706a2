"""`python -m benchmarks` measures all cases, and prints a table of ratios and targets.

Options: `--case NAME` (repeatable), `--rounds N`, `--json` for machines, and `--write` for the table and the
chart in `docs/benchmarks`. Each round runs every contender of a case once, one after the other, so that other
load on the machine affects all of them. A figure compares runs of the same round; the table has its median.

A contender that fails is reported, and the others continue; the exit code is then 1.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from statistics import median
from tempfile import gettempdir

from benchmarks import archives, bucket, engines, executions, operations, reports, results, startup
from benchmarks.cases import OURS, Case, Costs
from benchmarks.environments import build_environment, get_python
from benchmarks.measure import ROOT, BenchmarkError, Cost, check_equal_results, measure
from benchmarks.table import Figure, build_chart, build_table

_MODULES = (startup, executions, archives, results, bucket, operations, reports, engines)
CASES = [case for module in _MODULES for case in module.CASES]
FOLDER = ROOT / "docs" / "benchmarks"


def run_case(case: Case, rounds: int) -> tuple[list[dict[str, Cost]], list[str]]:
    """Measure the contenders of a case.

    Returns:
        The cost of each contender that succeeded, by round, and what failed.
    """
    measured: list[dict[str, Cost]] = []
    problems: dict[str, None] = {}
    try:
        contenders = []
        for contender in case.contenders:
            if build_environment(contender.packages):
                contenders.append(contender)
            else:
                problems[f"{contender.name}: its packages cannot be installed"] = None
        with case.serve() as environment:
            for _ in range(rounds):
                costs = {}
                for contender in contenders:
                    try:
                        costs[contender.name] = measure(
                            get_python(contender.packages), contender.prepare, environment
                        )
                    except BenchmarkError as error:
                        problems[f"{contender.name}: {error}"] = None
                    else:
                        _report_progress(f"{case.name}: {contender.name}: {costs[contender.name]}")
                check_equal_results(costs.values())
                measured.append(costs)
    except Exception as error:  # noqa: BLE001 (one case does not stop the others)
        problems[f"{type(error).__name__}: {error}"] = None
    return measured, [f"{case.name}: {problem}" for problem in problems]


def compute_figures(case: Case, measured: Sequence[dict[str, Cost]], load: float = 0) -> list[Figure]:
    """Compute the figure of each target; `load` is the load average before the case."""
    figures = []
    for target in case.targets:
        values, floors = _compute_values(target.compute, measured), _compute_values(target.floor, measured)
        figures.append(Figure.from_values(case, target, values, load, floors))
    return figures


def _compute_values(
    compute: Callable[[Costs], float | None], measured: Sequence[dict[str, Cost]]
) -> list[float]:
    values = []
    for costs in measured:
        with suppress(KeyError):  # a contender failed
            value = compute(costs)
            values += [] if value is None else [value]
    return values


def compare_cpu(measured: Sequence[dict[str, Cost]]) -> dict[str, float]:
    """Return the median CPU time of each contender as a multiple of ours."""
    rounds = [costs for costs in measured if OURS in costs]
    names = dict.fromkeys(name for costs in rounds for name in costs)
    return {
        name: median(costs[name].cpu_seconds / costs[OURS].cpu_seconds for costs in rounds if name in costs)
        for name in names
    }


def main() -> int:
    """Measure, and print or write the results; return the exit code."""
    chosen = _parse_options()
    cases = [case for case in CASES if not chosen.case or case.name in chosen.case]
    started, first_load = time.monotonic(), os.getloadavg()[0]
    figures, costs, problems = list[Figure](), dict[str, dict[str, float]](), list[str]()
    note = ""
    for number, case in enumerate(cases, 1):
        load = os.getloadavg()[0]
        _report_progress(f"[{number}/{len(cases)}] {case.name}: {case.title} (load {load:.1f})")
        measured, failed = run_case(case, chosen.rounds)
        for problem in failed:
            _report_progress(f"failed: {problem}")
        figures += compute_figures(case, measured, load)
        costs[case.title] = compare_cpu(measured)
        problems += failed
        minutes = (time.monotonic() - started) / 60
        note = (
            f"{number} of {len(CASES)} cases, {os.cpu_count()} cores,"
            f" load {first_load:.1f} before and {os.getloadavg()[0]:.1f} after,"
            f" {minutes:.0f} minutes, files in {gettempdir()}, rounds: {chosen.rounds}"
        )
        if chosen.write:  # after each case, so that an interrupted run leaves what it measured
            write_results(figures, costs, note, problems)
    if chosen.json:
        content = {"machine": note, "figures": [*map(asdict, figures)], "cpu": costs, "problems": problems}
        print(json.dumps(content))
    else:
        print(build_table(figures, note, problems))
    return 1 if problems else 0


def write_results(
    figures: Sequence[Figure], costs: Mapping[str, Mapping[str, float]], note: str, problems: Iterable[str]
) -> None:
    """Write the table and the chart."""
    FOLDER.mkdir(exist_ok=True)
    table = build_table(figures, note, problems)
    (FOLDER / "results.md").write_text(
        "# Benchmark results\n\n`make bench` writes this page."
        " [Performance](../explanation/performance.md) explains how to read it.\n\n"
        f"{table}\n\n![CPU time of each contender, as a multiple of ours](results.svg)\n"
    )
    (FOLDER / "results.svg").write_text(build_chart(costs))


def _parse_options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    options.add_argument("--case", action="append", choices=[case.name for case in CASES])
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--json", action="store_true")
    options.add_argument("--write", action="store_true")
    return options.parse_args()


def _report_progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
