"""Measuring one contender: a process of its own, its CPU without imports, its time and its peak of memory.

Belongs here: starting contenders one after the other, and the table that compares them.
Does not belong here: what they do (see `results` and `executions`).
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

Work = Callable[[], Mapping[str, Any]]
"""Does the work once; returns what it made, to be compared."""


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds of CPU and of time, and the peak of resident memory."""

    cpu_seconds: float
    seconds: float
    peak_megabytes: float
    made: Mapping[str, Any]


def alone(work: Work) -> None:
    """Do the work in this process, and print what it cost; imports are done before, and are not counted."""
    began, cpu = time.perf_counter(), time.process_time()
    made = work()
    print(
        json.dumps(
            {
                "cpu_seconds": time.process_time() - cpu,
                "seconds": time.perf_counter() - began,
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "made": made,
            }
        )
    )


def cost(module: str, name: str, environment: Mapping[str, str], repeats: int) -> Cost:
    """Run a contender so many times, each in a process of its own, and return the medians.

    Raises:
        SystemExit: it failed, or made something else each time.
    """
    runs = []
    for _ in range(repeats):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", module, "--alone", name],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        runs.append(Cost(**json.loads(done.stdout.splitlines()[-1])))
    if any(run.made != runs[0].made for run in runs):
        raise SystemExit(f"{name} does not make the same each time")
    figures = ("cpu_seconds", "seconds", "peak_megabytes")
    return Cost(*(median(getattr(run, figure) for run in runs) for figure in figures), runs[0].made)


@contextmanager
def started(command: Sequence[str]) -> Any:  # noqa: ANN401 (a generator of the process)
    """A process that says where it is on its first line, and stops when its stdin ends."""
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def table(costs: Mapping[str, Cost], columns: Mapping[str, Callable[[Cost], float]]) -> str:
    """Lay costs out as a Markdown table; the ratio is that of CPU to the last contender's.

    Raises:
        SystemExit: the contenders did not make the same.
    """
    made = {json.dumps(one.made, sort_keys=True) for one in costs.values()}
    if len(made) > 1:
        raise SystemExit(f"they did not make the same: {made}")
    least = list(costs.values())[-1].cpu_seconds
    lines = [
        f"| contender | {' | '.join(columns)} | peak RSS, MB | CPU, times ours |",
        f"| --- |{' ---: |' * (len(columns) + 2)}",
    ]
    for name, one in costs.items():
        figures = [f"{figure(one):,.3g}" for figure in columns.values()]
        ratio = f"{one.cpu_seconds / least:.1f}"
        lines.append(f"| {name} | {' | '.join(figures)} | {one.peak_megabytes:,.0f} | {ratio} |")
    return "\n".join(lines)
