"""Measures contenders in separate processes: CPU time without imports, elapsed time and peak memory.

`python -m benchmarks.measure MODULE:FUNCTION` measures one contender and prints its cost as JSON. This module
needs only the standard library, because competitors have environments of their own.
"""

import gc
import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

LIMIT_SECONDS = 300
"""A contender that takes longer failed."""

_MANY_MODULES = 20

Work = Callable[[], Mapping[str, Any]]
"""Does the work once, and returns its result for the comparison."""


class BenchmarkError(Exception):
    """A contender failed, or the results of contenders differ."""


@dataclass(frozen=True)
class Cost:
    """The cost of one run: CPU time with child processes, elapsed time, and peak resident memory.

    `imports` are the packages of which the work imported modules; preparation should import them.
    """

    cpu_seconds: float
    seconds: float
    peak_megabytes: float
    result: Mapping[str, Any]
    imports: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the cost as one line."""
        return (
            f"CPU {self.cpu_seconds:.2f} s, {self.seconds:.1f} s, {self.peak_megabytes:.0f} MB,"
            f" {json.dumps(self.result)}{f', imported {dict(self.imports)}' if self.imports else ''}"
        )


def run_alone(work: Work) -> None:
    """Do the work in this process, and print its cost. Imports happen before and are not measured."""
    gc.freeze()  # collections do not look at the imports, as in a process with our definitions
    modules = set(sys.modules)
    began, cpu = time.perf_counter(), read_cpu_seconds()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - began, read_cpu_seconds() - cpu
    gc.unfreeze()  # at the exit, DuckDB reports its objects that were not collected
    packages = Counter(name.partition(".")[0] for name in sys.modules.keys() - modules)
    imports = {name: count for name, count in packages.items() if count >= _MANY_MODULES}
    print(f"\n{json.dumps(vars(Cost(cpu_seconds, seconds, read_peak_megabytes(), result, imports)))}")


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


def measure(
    python: str, prepare: str, environment: Mapping[str, str], limit_seconds: float = LIMIT_SECONDS
) -> Cost:
    """Measure one contender in a process of its own.

    Args:
        python: The interpreter of its environment.
        prepare: `module:function`, which returns the work.
        environment: Variables in addition to those of this process.
        limit_seconds: After this time it is stopped, with its child processes.

    Raises:
        BenchmarkError: It failed.
    """
    if limit_seconds <= 0:
        raise BenchmarkError("the time limit of the run had passed")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(  # noqa: S603
        [python, "-m", "benchmarks.measure", prepare],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), "TZ": "UTC", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{prepare} took longer than {limit_seconds:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):  # its child processes may be alive
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = errors.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        raise BenchmarkError(f"{prepare} failed: {reason}\n{errors[-4000:]}")
    return Cost(**json.loads(output.splitlines()[-1]))


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
