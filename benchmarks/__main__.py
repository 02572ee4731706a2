"""`python -m benchmarks` measures all cases, and prints a table of ratios and targets.

Options: `--case NAME` (repeatable), `--rounds N`, `--json` for machines, and `--write` for the table and the
chart in `docs/benchmarks`. Each round runs every contender of a case once, one after the other, so that other
load on the machine affects all of them. A figure compares runs of the same round; the table has its median.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from tempfile import gettempdir

from benchmarks import executions, operations, results
from benchmarks.cases import OURS, Case
from benchmarks.environments import build_environment, get_python
from benchmarks.measure import ROOT, Cost, check_equal_results, measure
from benchmarks.table import Figure, build_chart, build_table

CASES = [*executions.CASES, *results.CASES, *operations.CASES]
FOLDER = ROOT / "docs" / "benchmarks"


def run_case(case: Case, rounds: int) -> list[dict[str, Cost]]:
    """Measure the contenders of a case; one whose environment cannot be built is left out.

    Raises:
        SystemExit: A contender failed, or the results differ.
    """
    contenders = [contender for contender in case.contenders if build_environment(contender.packages)]
    measured = []
    with case.serve() as environment:
        for _ in range(rounds):
            costs = {}
            for contender in contenders:
                costs[contender.name] = measure(
                    get_python(contender.packages), contender.prepare, environment
                )
                print(f"{case.name}: {contender.name} {costs[contender.name]}", file=sys.stderr, flush=True)
            check_equal_results(costs.values())
            measured.append(costs)
    return measured


def compute_figures(case: Case, measured: Sequence[dict[str, Cost]]) -> list[Figure]:
    """Compute the figure of each target; without a contender there is none."""
    figures = []
    for target in case.targets:
        values = [value for costs in measured if (value := target.compute(costs)) is not None]
        if values:
            value = median(values)
            bounds = (min(values), max(values), target.bound, target.is_upper, target.is_met(value))
            figures.append(Figure(case.name, case.title, target.figure, value, *bounds))
    return figures


def main() -> None:
    """Measure, and print or write the results."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    options.add_argument("--case", action="append", choices=[case.name for case in CASES])
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--json", action="store_true")
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    figures, costs = list[Figure](), dict[str, dict[str, float]]()
    note = ""
    for case in CASES:
        if not chosen.case or case.name in chosen.case:
            measured = run_case(case, chosen.rounds)
            figures += compute_figures(case, measured)
            costs[case.title] = compare_cpu(measured)
            loads = f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after"
            note = f"{os.cpu_count()} cores, {loads}, files in {gettempdir()}, rounds: {chosen.rounds}"
            if chosen.write:  # after each case, so that an interrupted run leaves what it measured
                write_results(figures, costs, note)
    if chosen.json:
        print(json.dumps({"machine": note, "figures": [asdict(figure) for figure in figures], "cpu": costs}))
    else:
        print(build_table(figures, note))


def compare_cpu(measured: Sequence[dict[str, Cost]]) -> dict[str, float]:
    """Return the median CPU time of each contender as a multiple of ours."""
    return {
        name: median(costs[name].cpu_seconds / costs[OURS].cpu_seconds for costs in measured)
        for name in measured[0]
    }


def write_results(figures: Sequence[Figure], costs: Mapping[str, Mapping[str, float]], note: str) -> None:
    """Write the table and the chart."""
    FOLDER.mkdir(exist_ok=True)
    chart = "![CPU time of each contender, as a multiple of ours](results.svg)"
    text = (
        f"# Benchmark results\n\n`make bench` writes this page.\n\n{build_table(figures, note)}\n\n{chart}\n"
    )
    (FOLDER / "results.md").write_text(text)
    (FOLDER / "results.svg").write_text(build_chart(costs))


if __name__ == "__main__":
    main()
