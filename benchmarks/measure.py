"""Measures contenders in separate processes: CPU time without imports, elapsed time and peak memory.

Each round runs every contender once, so other load on the machine affects all of them. A ratio compares two
runs of the same round.
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
"""Does the work once, and returns its result for the comparison."""


@dataclass(frozen=True)
class Cost:
    """The cost of one run: CPU time, elapsed time and peak resident memory."""

    cpu_seconds: float
    seconds: float
    peak_megabytes: float
    result: Mapping[str, Any]


Round = Mapping[str, Cost]
"""The cost of each contender in one round."""


def run_alone(work: Work) -> None:
    """Do the work in this process, and print its cost. Imports happen before and are not measured."""
    began, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(
        json.dumps(
            {
                "cpu_seconds": time.process_time() - cpu,
                "seconds": time.perf_counter() - began,
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "result": result,
            }
        )
    )


def compare(module: str, names: Sequence[str], environment: Mapping[str, str], rounds: int) -> list[Round]:
    """Run all contenders in several rounds, each in a separate process.

    Raises:
        SystemExit: A contender failed, or the results differ.
    """
    measured = [{name: _measure(module, name, environment) for name in names} for _ in range(rounds)]
    results = {json.dumps(cost.result, sort_keys=True) for round_ in measured for cost in round_.values()}
    if len(results) > 1:
        raise SystemExit(f"the results differ: {results}")
    return measured


def _measure(module: str, name: str, environment: Mapping[str, str]) -> Cost:
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
def start_process(command: Sequence[str]) -> Any:  # noqa: ANN401 (a generator of the process)
    """Start a process and terminate it at the end. It can print its address on the first line."""
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def build_table(rounds: Sequence[Round], ours: str, columns: Mapping[str, Callable[[Cost], float]]) -> str:
    """Build a Markdown table of medians, and of the lowest and highest ratio to `ours`."""
    lines = [
        f"| contender | {' | '.join(columns)} | peak RSS, MB | CPU, times ours | time, times ours |",
        f"| --- |{' ---: |' * (len(columns) + 3)}",
    ]
    for name in rounds[0]:
        costs, own = [round_[name] for round_ in rounds], [round_[ours] for round_ in rounds]
        figures = [f"{median(map(figure, costs)):,.3g}" for figure in columns.values()]
        figures.append(f"{median(cost.peak_megabytes for cost in costs):,.0f}")
        figures += [
            _format_ratios(of(cost) / of(us) for cost, us in zip(costs, own, strict=True))
            for of in (_get_cpu, _get_time)
        ]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _get_cpu(cost: Cost) -> float:
    return cost.cpu_seconds


def _get_time(cost: Cost) -> float:
    return cost.seconds


def _format_ratios(ratios: Iterable[float]) -> str:
    lowest, *_, highest = sorted([*ratios] * 2)
    texts = [f"{ratio:.1f}" for ratio in (lowest, highest)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)
