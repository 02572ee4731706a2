"""`python -m benchmarks` measures all cases, and prints a table of ratios and targets.

Options: `--case NAME` (repeatable), `--rounds N`, `--minutes N` (the limit of a round), `--json` for
machines, and `--write` for the table and the chart in `docs/benchmarks`. Each round runs every contender of a
case once, one after the other, so that other load on the machine affects all of them. A figure compares runs
of the same round; the table has its median.

Short cases run first. A case that would end after the limit is not measured. A contender that fails is
reported, and the others continue. The exit code is 1 if a case or a contender was not measured.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from tempfile import gettempdir
from typing import Any

from benchmarks import (
    archives,
    bucket,
    engines,
    executions,
    growth,
    operations,
    reports,
    results,
    startup,
)
from benchmarks.cases import Case, Costs
from benchmarks.environments import build_environment
from benchmarks.measure import ROOT
from benchmarks.run import TimeLimit, compare_cpu, compute_figures, report_progress, run_case
from benchmarks.table import Figure, build_chart, build_table

_MODULES = (startup, executions, archives, results, operations, engines, reports, bucket, growth)
CASES = [case for module in _MODULES for case in module.CASES]
FOLDER = ROOT / "docs" / "benchmarks"
MINUTES = 15
"""The limit of a round."""


@dataclass
class Run:
    """What a run measured so far.

    Attributes:
        cases: The cases to measure, in the order of the table.
        rounds: The number of rounds.
        limit: The time limit.
        first_load: The load average before the run.
        measured: The costs by name of a case and by round.
        loads: The load average before each case.
        seconds: How long each case took, with what its contenders need.
        problems: What failed.
    """

    cases: Sequence[Case]
    rounds: int
    limit: TimeLimit
    first_load: float
    measured: dict[str, Sequence[Costs]] = field(default_factory=dict)
    loads: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def measure_all(self, after_each: Callable[[], None]) -> None:
        """Measure the cases, the short ones first, so that the limit costs few figures."""
        order = sorted(self.cases, key=lambda case: case.seconds)
        for number, case in enumerate(order):
            left = self.limit.estimate(sum(later.seconds for later in order[number:]) * self.rounds)
            report_progress(
                f"[{number + 1}/{len(order)}] {case.name}: {case.title}"
                f" ({self.limit.taken / 60:.1f} minutes, about {left / 60:.1f} left)"
            )
            self._measure(case)
            after_each()

    def _measure(self, case: Case) -> None:
        """Measure a case, if it ends before the limit."""
        expected, load = case.seconds * self.rounds, os.getloadavg()[0]
        started, problems = time.monotonic(), list[str]()
        if self.limit.fits(expected):
            seconds_left = self.limit.seconds - self.limit.taken
            self.measured[case.name], problems = run_case(case, self.rounds, seconds_left)
            self.loads[case.name] = load
            self.seconds[case.name] = time.monotonic() - started
            self.limit.add(expected, self.seconds[case.name])
        else:
            minutes = self.limit.seconds / 60
            problems.append(
                f"{case.name}: it takes about {self.limit.estimate(expected):.0f} s, and"
                f" {self.limit.taken / 60:.1f} of {minutes:g} minutes have passed"
            )
        for problem in problems:
            report_progress(f"  not measured: {problem}")
        self.problems += problems

    def compute_figures(self) -> list[Figure]:
        """Compute the figures of all cases; those of a case that was not measured have no value."""
        return [
            figure
            for case in self.cases
            for figure in compute_figures(case, self.measured.get(case.name, ()), self.loads.get(case.name))
        ]

    def list_problems(self) -> list[str]:
        """Return what failed, what the run did not reach, and what no run measures."""
        tried = {problem.partition(":")[0] for problem in self.problems} | set(self.measured)
        missing = [f"{case.name}: the run did not reach it" for case in self.cases if case.name not in tried]
        return [*self.problems, *missing, *(case.omits for case in self.cases if case.omits)]

    def describe(self) -> str:
        """Return where and how long this was measured."""
        return (
            f"{len(self.measured)} of {len(CASES)} cases, {os.cpu_count()} cores, Python"
            f" {platform.python_version()}, load {self.first_load:.1f} before and {os.getloadavg()[0]:.1f}"
            f" after, {self.limit.taken / 60:.1f} minutes, files in {gettempdir()}, rounds: {self.rounds}"
        )

    def build_table(self) -> str:
        """Build the table, the reasons of missed targets, and what was not measured."""
        return build_table(self.compute_figures(), self.describe(), self.list_problems())

    def to_json(self) -> dict[str, Any]:
        """Return all that was measured, for machines."""
        return {
            "machine": self.describe(),
            "figures": [*map(asdict, self.compute_figures())],
            "seconds": self.seconds,
            "costs": {
                name: [{contender: vars(cost) for contender, cost in costs.items()} for costs in rounds]
                for name, rounds in self.measured.items()
            },
            "problems": self.list_problems(),
        }

    def write(self) -> None:
        """Write the table and the chart."""
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / "results.md").write_text(
            "# Benchmark results\n\n`make bench` writes this page."
            " [Performance](../explanation/performance.md) explains how to read it.\n\n"
            f"{self.build_table()}\n\n![CPU time of each contender, as a multiple of ours](results.svg)\n"
        )
        ratios = {case.title: compare_cpu(case, self.measured.get(case.name, ())) for case in self.cases}
        (FOLDER / "results.svg").write_text(build_chart(ratios))


def main() -> int:
    """Measure, and print or write the results; return the exit code."""
    chosen = _parse_options()
    cases = [case for case in CASES if not chosen.case or case.name in chosen.case]
    for packages in dict.fromkeys(contender.packages for case in cases for contender in case.contenders):
        build_environment(packages)  # before the first case, because an installation loads the machine
    limit = TimeLimit(chosen.minutes * 60 * chosen.rounds)
    run = Run(cases, chosen.rounds, limit, first_load=os.getloadavg()[0])
    # after each case, so that an interrupted run leaves what it measured
    run.measure_all(run.write if chosen.write else lambda: None)
    print(json.dumps(run.to_json()) if chosen.json else run.build_table())
    return 1 if run.problems else 0


def _parse_options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    options.add_argument("--case", action="append", choices=[case.name for case in CASES])
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--minutes", type=float, default=MINUTES, help="the limit of a round")
    options.add_argument("--json", action="store_true")
    options.add_argument("--write", action="store_true")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
