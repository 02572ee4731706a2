"""Archives in the benchmark: memory, reads and files meet their targets. No test asserts times."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import archives
from benchmarks.measure import measure


@pytest.mark.slow
def test_each_file_is_read_once_within_the_memory_limit() -> None:
    case = archives.SMOKE
    with case.serve() as environment:
        cost = measure(sys.executable, case.contenders[0].prepare, environment)
    assert cost.result["executions"] == 4 * 35 * 288
    stable = [target for target in case.targets if target.is_stable]
    assert len(stable) == 3
    for target in stable:
        value = target.compute({"ours": cost})
        assert value is not None
        assert target.is_met(value), f"{target.figure} is {value}, not {target.bound}"


@pytest.mark.parametrize(
    ("write", "files"),
    [(archives.write_cli_dumps, 2), (archives.write_json_lines, 1), (archives.write_small_files, 48)],
)
def test_each_kind_of_archive_has_the_same_executions(
    write: Callable[[Path, int, int], None], files: int, tmp_path: Path
) -> None:
    write(tmp_path, 2, 1)

    paths = [*tmp_path.iterdir()]
    texts = [
        path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()] for path in paths
    ]
    documents = [json.loads(text) for lines in texts for text in lines]
    rows = [row for document in documents for row in document.get("InferenceExecutionSummaries", [document])]
    assert len(paths) == files
    assert len({(row["InferenceSchedulerArn"], row["DataStartTime"]) for row in rows}) == len(rows) == 2 * 288
