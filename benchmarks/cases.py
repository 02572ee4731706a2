"""The form of a benchmark: contenders that do the same work, and targets for figures of their costs.

A module of benchmarks has a list `CASES`; `benchmarks/__main__.py` lists the modules.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from benchmarks.measure import Cost

OURS = "ours"
Environment = Mapping[str, str]
Costs = Mapping[str, Cost]
"""The cost of each contender in one round."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: Its name in the table.
        prepare: `module:function`; the function imports everything and returns the work.
        packages: The environment of `benchmarks.environments`; empty: that of this project.
        does_our_work: Whether it does the same work as ours; only then the chart compares its CPU time.
    """

    name: str
    prepare: str
    packages: str = ""
    does_our_work: bool = True


@dataclass(frozen=True)
class Target:
    """A bound for a figure.

    Attributes:
        figure: What is measured, such as `CPU, script / ours`.
        compute: Computes it from the costs of a round; None if a contender did not run.
        bound: The bound.
        is_upper: Whether the figure must be at most the bound; otherwise at least.
        is_stable: Whether the figure does not depend on the machine, so that a test can assert it.
        reason: Why the target is missed, and what it would take to meet it.
        floor: Computes the least figure that is possible without another design; it is stated with the
            reason.
    """

    figure: str
    compute: Callable[[Costs], float | None]
    bound: float
    is_upper: bool = True
    is_stable: bool = False
    reason: str = ""
    floor: Callable[[Costs], float | None] = lambda _: None

    def is_met(self, value: float) -> bool:
        """Return whether a value meets the target."""
        return value <= self.bound if self.is_upper else value >= self.bound

    def missed_because(self, reason: str) -> "Target":
        """Return the target with the reason that the table states if the target is missed."""
        return replace(self, reason=reason)

    def with_floor(self, contender: str, reference: str) -> "Target":
        """Return the target with a floor: the CPU time of a contender as a multiple of a reference."""
        return replace(self, floor=lambda costs: _divide(costs, contender, reference))


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: The name for `--case`.
        title: What is done.
        contenders: Ours and others. All return a mapping; values with the same name must be equal, except
            those whose name begins with an underscore.
        targets: The targets.
        serve: Starts what the contenders need, and yields their environment variables.
        seconds: About how long one round takes on an idle machine with two cores, with what `serve` does.
        omits: What the case does not measure, and why.
    """

    name: str
    title: str
    contenders: Sequence[Contender]
    targets: Sequence[Target]
    serve: Callable[[], AbstractContextManager[Environment]] = lambda: nullcontext({})
    seconds: float = 10
    omits: str = ""


def require_ratio(contender: str, bound: float) -> Target:
    """Require that a contender uses `bound` times our CPU time."""
    return Target(f"CPU, {contender} / ours", lambda costs: _divide(costs, contender, OURS), bound, False)


def limit_ratio(contender: str, bound: float) -> Target:
    """Limit our CPU time to `bound` times that of a contender."""
    return Target(f"CPU, ours / {contender}", lambda costs: _divide(costs, OURS, contender), bound)


def limit_memory(megabytes: float, contender: str = OURS) -> Target:
    """Limit the peak memory of a contender, including imports."""
    figure = "peak memory, MB" if contender == OURS else f"peak memory, {contender}, MB"
    return Target(
        figure,
        lambda costs: costs[contender].peak_megabytes if contender in costs else None,
        megabytes,
        is_stable=True,
    )


def limit_cpu(figure: str, bound: float, units: float = 1, contender: str = OURS) -> Target:
    """Limit the CPU seconds of a contender per unit of work."""
    return Target(
        figure, lambda costs: costs[contender].cpu_seconds / units if contender in costs else None, bound
    )


def limit_result(name: str, bound: float, figure: str) -> Target:
    """Limit a number of our result."""
    return Target(
        figure,
        lambda costs: float(costs[OURS].result[name]) if OURS in costs else None,
        bound,
        is_stable=True,
    )


def _divide(costs: Costs, above: str, below: str) -> float | None:
    if above not in costs or below not in costs:
        return None
    return costs[above].cpu_seconds / costs[below].cpu_seconds
