"""Runs cases within a time limit, and computes their figures."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from benchmarks.cases import OURS, Case, Contender, Costs
from benchmarks.environments import build_environment, get_python
from benchmarks.measure import LIMIT_SECONDS, BenchmarkError, Cost, check_equal_results, measure
from benchmarks.table import Figure

_STEADY_SECONDS = 60


@dataclass
class TimeLimit:
    """The time that is left, from the expected time of each case and the pace so far.

    Attributes:
        seconds: The limit of the run.
        taken: The time so far, in seconds.
        expected: The time that the cases so far take on an idle machine, in seconds.
    """

    seconds: float
    taken: float = 0.0
    expected: float = 0.0

    def add(self, expected: float, taken: float) -> None:
        """Add a case that ended."""
        self.taken += taken
        self.expected += expected

    def estimate(self, expected: float) -> float:
        """Return the seconds that cases take at the pace so far; the first cases hardly change the pace."""
        return expected * (self.taken + _STEADY_SECONDS) / (self.expected + _STEADY_SECONDS)

    def fits(self, expected: float) -> bool:
        """Return whether a case ends before the limit."""
        return self.taken + self.estimate(expected) <= self.seconds


def run_case(
    case: Case, rounds: int, seconds_left: float = LIMIT_SECONDS
) -> tuple[list[dict[str, Cost]], list[str]]:
    """Measure the contenders of a case; those that start after `seconds_left` are not measured.

    Returns:
        The cost of each contender that succeeded, by round, and what failed.
    """
    deadline = time.monotonic() + seconds_left
    measured: list[dict[str, Cost]] = []
    problems: dict[str, None] = {}
    try:
        contenders = list_usable_contenders(case, problems)
        with case.serve() as environment:
            for _ in range(rounds):
                costs: dict[str, Cost] = {}
                measured.append(costs)
                for contender in contenders:
                    limit = min(LIMIT_SECONDS, deadline - time.monotonic())
                    try:
                        python = get_python(contender.packages)
                        costs[contender.name] = measure(python, contender.prepare, environment, limit)
                    except BenchmarkError as error:
                        problems[f"{contender.name}: {error}"] = None
                    else:
                        report_progress(f"  {contender.name}: {costs[contender.name]}")
                check_equal_results(costs.values())
    except BenchmarkError as error:
        problems[str(error)] = None
        measured.clear()
    except Exception as error:  # noqa: BLE001 (one case does not stop the others)
        problems[f"{type(error).__name__}: {error}"] = None
    return measured, [f"{case.name}: {problem}" for problem in problems]


def list_usable_contenders(case: Case, problems: dict[str, None]) -> list[Contender]:
    """Return the contenders whose packages are installed; the others are problems."""
    usable = []
    for contender in case.contenders:
        if build_environment(contender.packages):
            usable.append(contender)
        else:
            problems[f"{contender.name}: its packages cannot be installed"] = None
    return usable


def compute_figures(case: Case, measured: Sequence[Costs], load: float = 0) -> list[Figure]:
    """Compute the figure of each target; `load` is the load average before the case."""
    figures = []
    for target in case.targets:
        values, floors = _compute_values(target.compute, measured), _compute_values(target.floor, measured)
        figures.append(Figure.from_values(case, target, values, load, floors))
    return figures


def _compute_values(compute: Callable[[Costs], float | None], measured: Iterable[Costs]) -> list[float]:
    values = []
    for costs in measured:
        with suppress(KeyError):  # a contender failed
            value = compute(costs)
            values += [] if value is None else [value]
    return values


def compare_cpu(case: Case, measured: Sequence[Costs]) -> dict[str, float]:
    """Return the median CPU time of each contender that does our work, as a multiple of ours."""
    names = [contender.name for contender in case.contenders if contender.does_our_work]
    rounds = [costs for costs in measured if OURS in costs]
    ratios = {
        name: [costs[name].cpu_seconds / costs[OURS].cpu_seconds for costs in rounds if name in costs]
        for name in names
    }
    return {name: median(values) for name, values in ratios.items() if values}


def report_progress(message: str) -> None:
    """Print a line on standard error."""
    print(message, file=sys.stderr, flush=True)
