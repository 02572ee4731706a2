"""Measuring contenders: each in a process of its own, CPU without imports, time, and peak of memory.

They run in rounds, all of them in each: what else the machine does falls on all alike, and a ratio is one of
two that ran right after each other.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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


Round = Mapping[str, Cost]
"""What each contender cost in one round."""


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


def compared(module: str, names: Sequence[str], environment: Mapping[str, str], rounds: int) -> list[Round]:
    """Run all contenders so many times, in turn, each in a process of its own.

    Raises:
        SystemExit: one failed, or they did not make the same.
    """
    found = [{name: _cost(module, name, environment) for name in names} for _ in range(rounds)]
    made = {json.dumps(one.made, sort_keys=True) for each in found for one in each.values()}
    if len(made) > 1:
        raise SystemExit(f"they did not make the same: {made}")
    return found


def _cost(module: str, name: str, environment: Mapping[str, str]) -> Cost:
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
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


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


def table(rounds: Sequence[Round], ours: str, columns: Mapping[str, Callable[[Cost], float]]) -> str:
    """Lay rounds out as a Markdown table: medians, and how many times ours each costs, lowest to highest."""
    lines = [
        f"| contender | {' | '.join(columns)} | peak RSS, MB | CPU, times ours | time, times ours |",
        f"| --- |{' ---: |' * (len(columns) + 3)}",
    ]
    for name in rounds[0]:
        costs, own = [each[name] for each in rounds], [each[ours] for each in rounds]
        figures = [f"{median(map(figure, costs)):,.3g}" for figure in columns.values()]
        figures.append(f"{median(one.peak_megabytes for one in costs):,.0f}")
        figures += [
            _times(of(one) / of(us) for one, us in zip(costs, own, strict=True)) for of in (_cpu, _time)
        ]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _cpu(of: Cost) -> float:
    return of.cpu_seconds


def _time(of: Cost) -> float:
    return of.seconds


def _times(ratios: Iterable[float]) -> str:
    lowest, *_, highest = sorted([*ratios] * 2)
    said = [f"{ratio:.1f}" for ratio in (lowest, highest)]
    return said[0] if said[0] == said[1] else " to ".join(said)
