"""Saved responses to Parquet files by day: a script with `json` and `json_normalize`, and ours.

`CASES` are for the table, `SMOKE` is for a test.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cases import (
    OURS,
    Case,
    Contender,
    Environment,
    limit_memory,
    limit_result,
    require_ratio,
)
from benchmarks.service import STEP_SECONDS, build_template

FIRST = date(2025, 10, 1)
NOW = datetime(2026, 10, 8, 6, tzinfo=UTC)
SCRIPT = "script"
Counts = Mapping[str, Any]
_DAYS, _FOLDER = "BENCHMARK_DAYS", "BENCHMARK_FOLDER"
_START = int(datetime.combine(FIRST, datetime.min.time(), UTC).timestamp())
_A_DAY = 86_400
_LIMIT_BYTES, _LIMIT_ROWS = 4_000_000_000, 10_000_000


def prepare_script() -> Callable[[], Counts]:
    """Return the work of a short script with json, json_normalize and to_parquet."""
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    pd.json_normalize([{"a": {"b": 1}}])

    def work() -> Counts:
        rows: list[dict[str, Any]] = []
        for path in sorted(Path(os.environ[_FOLDER]).iterdir()):
            with path.open(encoding="utf-8") as file:
                if path.suffix == ".jsonl":
                    rows += map(json.loads, file)
                else:
                    rows += json.load(file)["InferenceExecutionSummaries"]
        frame = pd.json_normalize(rows)
        for name in ("ScheduledStartTime", "DataStartTime", "DataEndTime"):
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        frame["data_date"] = frame["DataStartTime"].dt.strftime("%Y-%m-%d")
        with tempfile.TemporaryDirectory() as folder:
            frame.to_parquet(folder, partition_cols=["data_date"], index=False)
            return {"executions": len(frame)}

    return work


def prepare_ours() -> Callable[[], Counts]:
    """Return the work of the asset: read, merge, record coverage, write, and compute data versions."""
    import pandas as pd  # noqa: F401 (pyarrow imports it with its first array)

    from assets.executions import assets
    from assets.executions.extraction import Extraction
    from assets.framework.partitioned_run import batches
    from assets.framework.time_windows import Days
    from resources.lake.lake import Lake
    from resources.read_limits import ReadLimits
    from resources.sources.archive import ArchiveSource
    from resources.sources.call_budget import CallBudget

    days = [FIRST + timedelta(days=number) for number in range(int(os.environ[_DAYS]))]
    history = Days(FIRST, days[-1] + timedelta(days=1))
    file_count = len([*Path(os.environ[_FOLDER]).iterdir()])

    def work() -> Counts:
        source = ArchiveSource(os.environ[_FOLDER], limits=ReadLimits(_LIMIT_BYTES, _LIMIT_ROWS))
        executions = files_read = 0
        with tempfile.TemporaryDirectory() as folder:
            for batch in batches(days, assets.FILE_DAYS_PER_BATCH):
                extraction = Extraction(Lake(folder), history, timedelta(hours=3), NOW, lambda _: None)
                for day in extraction.gather([source], batch):
                    results = assets._record_day(extraction, CallBudget(None), day.isoformat())  # noqa: SLF001
                    executions += results[0].metadata["dagster/partition_row_count"]
                    del results
                extraction.save_file_index()
                files_read += len(extraction.files_read)
            files = _count_files(f"{folder}/inference_executions")
        return {
            "executions": executions,
            "_files_of_day": files / len(days),
            "_reads_of_file": files_read / file_count,
        }

    return work


def _count_files(folder: str) -> int:
    return len([*Path(folder).rglob("*.parquet")])


def _render(template: str, at: int) -> str:
    times = (
        datetime.fromtimestamp(second, UTC) for second in (at + STEP_SECONDS + 37, at, at + STEP_SECONDS)
    )
    quoted = (f'"{moment.isoformat()}"' for moment in times)
    return template % (*quoted, datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _list_starts(days: int) -> range:
    return range(_START, _START + days * _A_DAY, STEP_SECONDS)


def write_cli_dumps(folder: Path, schedulers: int, days: int) -> None:
    """Write the output of AWS CLI v2 for each scheduler: one document of all pages, newest first."""
    for number in range(schedulers):
        template = build_template(number)
        rows = [json.loads(_render(template, at)) for at in reversed(_list_starts(days))]
        text = json.dumps({"InferenceExecutionSummaries": rows}, indent=4)
        (folder / f"scheduler-{number}.json").write_text(text + "\n")


def write_json_lines(folder: Path, schedulers: int, days: int) -> None:
    """Write one file with a summary per line, scheduler by scheduler."""
    with (folder / "executions.jsonl").open("w") as file:
        for number in range(schedulers):
            template = build_template(number)
            file.writelines(f"{_render(template, at)}\n" for at in _list_starts(days))


def write_small_files(folder: Path, schedulers: int, days: int) -> None:
    """Write the response of each hour and scheduler, compact as in an HTTP body."""
    for number in range(schedulers):
        template = build_template(number)
        for hour in range(_START, _START + days * _A_DAY, 3600):
            rows = ",".join(_render(template, at) for at in range(hour, hour + 3600, STEP_SECONDS))
            (folder / f"{number}-{hour}.json").write_text(f'{{"InferenceExecutionSummaries":[{rows}]}}')


@contextmanager
def _serve(write: Callable[[Path, int, int], None], schedulers: int, days: int) -> Iterator[Environment]:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), schedulers, days)
        yield {_FOLDER: folder, _DAYS: str(days)}


def build_case(
    name: str,
    files: str,
    fleet: tuple[int, int],
    write: Callable[[Path, int, int], None],
    *,
    seconds: float,
    reason: str = "",
) -> Case:
    """Build a case of a fleet with one execution every five minutes.

    Args:
        name: the name for `--case`.
        files: what the archive has.
        fleet: the numbers of schedulers and of days.
        write: writes the files.
        seconds: about how long the case takes.
        reason: why the target for the CPU time of the script is missed.
    """
    schedulers, days = fleet
    return Case(
        name,
        f"{files}: {schedulers * days * _A_DAY // STEP_SECONDS:,} executions",
        [
            Contender(OURS, f"{__name__}:prepare_ours"),
            Contender(SCRIPT, f"{__name__}:prepare_script", SCRIPT),
        ],
        [
            require_ratio(SCRIPT, 8).missed_because(reason),
            limit_memory(400),
            limit_result("_reads_of_file", 1, "times that each file is read"),
            limit_result("_files_of_day", 1, "files / days"),
        ],
        partial(_serve, write, schedulers, days),
        seconds,
    )


_DAYS_AND_HASH = (
    "In a profile of 14 days of 8 schedulers, recording the days takes 47 % (dumps) and 53 % (lines) of our"
    " CPU time: merge, data version, preview, coverage, and two files with locks and flushes. Reading and"
    " hashing the file takes 20 % and 16 %, most of it the hash. Fewer files a day and a faster hash would be"
    " necessary. SHA-256 takes half the time on this processor, which has instructions for it."
)
_SMALL = (
    "In a profile of 7 days, recording the days takes 29 % of our CPU time; opening, reading and hashing each"
    " file 19 %; comparing the rows of all files 16 %; and the rows of each file in archive_files and"
    " execution_sources 11 %. Fewer records of each file would be necessary."
)
CASES = [
    build_case(
        "archives-cli",
        "20 dumps of AWS CLI",
        (20, 35),
        write_cli_dumps,
        seconds=25,
        reason=_DAYS_AND_HASH,
    ),
    build_case(
        "archives-small", "10,080 files of an hour", (12, 35), write_small_files, seconds=15, reason=_SMALL
    ),
    build_case(
        "archives-gigabyte",
        "1 GB of JSON lines in one file",
        (20, 134),
        write_json_lines,
        seconds=55,
        reason=_DAYS_AND_HASH,
    ),
]
SMOKE = build_case("archives-smoke", "JSON lines", (4, 35), write_json_lines, seconds=5)
