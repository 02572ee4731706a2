"""Measures contenders in separate processes: CPU time without imports, elapsed time and peak memory.

`python -m benchmarks.measure MODULE:FUNCTION` measures one contender and prints its cost as JSON. This module
needs only the standard library, because competitors have environments of their own.
"""

import importlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

LIMIT_SECONDS = 900
"""A contender that takes longer failed."""

Work = Callable[[], Mapping[str, Any]]
"""Does the work once, and returns its result for the comparison."""


class BenchmarkError(Exception):
    """A contender failed, or the results of contenders differ."""


@dataclass(frozen=True)
class Cost:
    """The cost of one run: CPU time with child processes, elapsed time, and peak resident memory."""

    cpu_seconds: float
    seconds: float
    peak_megabytes: float
    result: Mapping[str, Any]

    def __str__(self) -> str:
        """Return the cost as one line."""
        return (
            f"CPU {self.cpu_seconds:.2f} s, {self.seconds:.1f} s, {self.peak_megabytes:.0f} MB,"
            f" {json.dumps(self.result)}"
        )


def run_alone(work: Work) -> None:
    """Do the work in this process, and print its cost. Imports happen before and are not measured."""
    began, cpu = time.perf_counter(), read_cpu_seconds()
    result = work()
    cost = Cost(read_cpu_seconds() - cpu, time.perf_counter() - began, read_peak_megabytes(), result)
    print(f"\n{json.dumps(vars(cost))}")


def read_cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that ended."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def read_peak_megabytes() -> float:
    """Return the peak memory of this process; `ru_maxrss` includes that of the process that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = re.search(r"VmHWM:\s*(\d+)", status)
    return int(peak[1]) / 1024 if peak else 0.0


def measure(python: str, prepare: str, environment: Mapping[str, str]) -> Cost:
    """Measure one contender in a process of its own.

    Args:
        python: The interpreter of its environment.
        prepare: `module:function`, which returns the work.
        environment: Variables in addition to those of this process.

    Raises:
        BenchmarkError: It failed.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(  # noqa: S603
            [python, "-m", "benchmarks.measure", prepare],
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT), "TZ": "UTC", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{prepare} took longer than {LIMIT_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise BenchmarkError(f"{prepare} failed: {reason}\n{done.stderr[-4000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def check_equal_results(costs: Iterable[Cost]) -> None:
    """Check that the results agree in every value whose name does not begin with an underscore.

    Raises:
        BenchmarkError: They differ.
    """
    values: dict[str, set[str]] = {}
    for cost in costs:
        for name, value in cost.result.items():
            values.setdefault(name, set()).add(json.dumps(value))
    for name, distinct in values.items():
        if len(distinct) > 1 and not name.startswith("_"):
            raise BenchmarkError(f"the results differ: {name} is {' or '.join(sorted(distinct))}")


@contextmanager
def start_process(command: Sequence[str]) -> Iterator[str]:
    """Start a server, yield the address that it prints first, and terminate it at the end.

    Raises:
        BenchmarkError: It printed nothing.
    """
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            if not address:
                raise BenchmarkError(f"{' '.join(command)} did not start")
            yield address
        finally:
            process.terminate()


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    run_alone(getattr(importlib.import_module(module), function)())
