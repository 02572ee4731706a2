"""`ledger migrate`: lists and rewrites files of older table versions."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import assets.tables
from assets.tables import (
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    INSTANT,
    RESULT_OBJECTS,
    TABLES,
    Column,
    Table,
)
from resources.lake.lake import Lake
from tests.support.command_line import RunLedger

FIRST = date(2026, 10, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
GROWN = replace(
    EXTRACTION_COVERAGE,
    version=2,
    columns=(
        *EXTRACTION_COVERAGE.columns,
        Column("asked_at", INSTANT, "since version 2", "UTC", encoding="delta"),
    ),
)
ROW = {
    "scheduler_arn": "arn",
    "executions": 1,
    "in_progress": 0,
    "failed": 0,
    "recorded_at": datetime(2026, 10, 9, tzinfo=UTC),
}


@pytest.fixture(autouse=True)
def _a_column_that_came_later(
    settings: Callable[..., Path], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write three days with version 1, and the last day with version 2, which has one more column."""
    settings()
    for day in DAYS:
        table: Any = GROWN if day == DAYS[-1] else EXTRACTION_COVERAGE
        row = table.schema.empty_table().from_pylist([ROW], schema=table.schema)
        lake.update(table, day, lambda _, row=row: row)
    grown = tuple(GROWN if table.name == GROWN.name else table for table in TABLES)
    monkeypatch.setattr(assets.tables, "TABLES", grown)


def versions(lake: Lake) -> list[int | None]:
    return [lake.read_version(GROWN, day) for day in DAYS]


def test_a_dry_run_lists_old_files_and_writes_nothing(ledger: RunLedger, lake: Lake) -> None:
    done = ledger("migrate", "--dry-run")

    assert done.code == 0, done.err
    assert (
        "extraction_coverage: 3 files of version 1, current version 2, 2026-10-01 to 2026-10-03" in done.text
    )
    assert "3 to rewrite, 1 up to date. Nothing was changed." in done.text
    assert versions(lake) == [1, 1, 1, 2]


def test_old_files_are_rewritten_with_the_same_rows(ledger: RunLedger, lake: Lake) -> None:
    before = [lake.read(GROWN, day) for day in DAYS]

    done = ledger("migrate")

    assert done.code == 0, done.err
    assert "3 rewritten, 1 were up to date." in done.text
    assert versions(lake) == [2, 2, 2, 2]
    assert [lake.read(GROWN, day) for day in DAYS] == before
    assert "0 rewritten, 4 were up to date." in ledger("migrate").text


def test_only_the_selected_days_are_rewritten(ledger: RunLedger, lake: Lake) -> None:
    ledger("migrate", "extraction_coverage", "--from", "2026-10-02", "--to", "2026-10-02")

    assert versions(lake) == [1, 2, 1, 2]


def test_json_lists_the_old_files(ledger: RunLedger, lake: Lake) -> None:
    output = ledger("migrate", "--dry-run", "--json", "--to", "2026-10-01").json

    assert output == {
        "dry_run": True,
        "files": 1,
        "outdated_files": [
            {"table": "extraction_coverage", "day": "2026-10-01", "version": 1, "current_version": 2}
        ],
        "files_written": 0,
        "shards": None,
        "days_with_other_shards": [],
        "days_changed": 0,
        "days_with_credentials": [],
        "errors": [],
    }
    assert ledger("migrate", "--json").json["files_written"] == 3
    assert versions(lake) == [2, 2, 2, 2]


def test_an_unreadable_file_is_reported_and_the_others_are_rewritten(ledger: RunLedger, lake: Lake) -> None:
    Path(lake.path(GROWN, DAYS[1])).write_bytes(b"torn")

    done = ledger("migrate")

    assert done.code == 1
    assert "! Cannot read a file of the lake" in done.text
    assert "data_date=2026-10-02" in done.text
    assert "2 rewritten" in done.text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["extraction_coverag"], 'did you mean "extraction_coverage"?'),
        (["--from", "2026-13-01"], "as a day"),
        (["--from", "2026-10-03", "--to", "2026-10-01"], "swap them"),
    ],
    ids=["a slip", "no day", "the wrong order"],
)
def test_an_invalid_argument_exits_with_code_2(ledger: RunLedger, words: list[str], expected: str) -> None:
    done = ledger("migrate", *words)

    assert done.code == 2
    assert expected in done.err


def test_a_file_that_cannot_be_rewritten_is_reported_and_the_others_are_rewritten(
    ledger: RunLedger, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite = Lake.rewrite

    def damage(self: Lake, table: Table, day: date | None) -> bool:
        if day == DAYS[1]:  # between the survey and the rewrite
            Path(lake.path(table, day)).write_bytes(b"torn")
        return rewrite(self, table, day)

    monkeypatch.setattr(Lake, "rewrite", damage)

    done = ledger("migrate")

    assert done.code == 1
    assert "! Cannot read a file of the lake" in done.text


# --- Credentials in stored errors --------------------------------------------------------------------------

LOGIN = "Hunter2xPass"
ERROR = f"Could not connect to http://operator:{LOGIN}@127.0.0.1:9/a"


def store_error(lake: Lake, day: date, error: str | None = ERROR) -> None:
    """Store the objects of two executions as an early version did, the first with an error."""
    required = {field.name: 1 if field.type == pa.int64() else "x" for field in RESULT_OBJECTS.schema}
    at = datetime(2026, 10, 1, tzinfo=UTC)
    row = required | {"data_start_time": at, "last_modified": at, "recorded_at": at}
    rows = [row | {"scheduler_arn": "a", "error": error}, row | {"scheduler_arn": "b", "error": None}]
    lake.update(RESULT_OBJECTS, day, lambda _: pa.Table.from_pylist(rows, schema=RESULT_OBJECTS.schema))


def find_login(lake: Lake) -> list[date]:
    errors = {day: lake.read(RESULT_OBJECTS, day)["error"].to_pylist() for day in lake.days(RESULT_OBJECTS)}
    return [day for day, texts in errors.items() if LOGIN in str(texts)]


def test_credentials_in_stored_errors_are_redacted(ledger: RunLedger, lake: Lake) -> None:
    store_error(lake, DAYS[0])
    store_error(Lake(lake.uri, shards=2), DAYS[1])
    store_error(lake, DAYS[2], "no such key")
    unchanged = Path(lake.path(RESULT_OBJECTS, DAYS[2])).stat().st_mtime_ns

    listed = ledger("migrate", "result_objects", "--dry-run")
    assert (
        "result_objects: 2 days with credentials in error messages, 2026-10-01 to 2026-10-02" in listed.text
    )
    assert "redacted now" not in listed.text
    assert find_login(lake) == DAYS[:2]

    done = ledger("migrate", "--json", "--to", "2026-10-01")
    assert done.json["days_with_credentials"] == ["2026-10-01"]
    assert find_login(lake) == [DAYS[1]]

    assert "1 day with credentials in error messages, 2026-10-02 to 2026-10-02; they are redacted now" in (
        ledger("migrate").text
    )
    assert find_login(lake) == []
    errors = lake.read(RESULT_OBJECTS, DAYS[0])["error"].to_pylist()
    assert errors == ["Could not connect to http://[redacted]@127.0.0.1:9/a", None]
    assert Path(lake.path(RESULT_OBJECTS, DAYS[2])).stat().st_mtime_ns == unchanged


def test_a_day_that_cannot_be_redacted_is_reported_and_the_others_are_redacted(
    ledger: RunLedger, lake: Lake
) -> None:
    for day in DAYS[:2]:
        store_error(lake, day)
    damaged = Path(lake.path(RESULT_OBJECTS, DAYS[0]))
    content = damaged.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    damaged.write_bytes(content[:4] + bytes(len(content) - footer - 4) + content[-footer:])

    done = ledger("migrate", "result_objects")

    assert done.code == 1
    assert "! Cannot read a file of the lake" in done.text
    assert lake.read(RESULT_OBJECTS, DAYS[1])["error"].to_pylist()[0].count("[redacted]") == 1


# --- The number of files of a day --------------------------------------------------------------------------

ARNS = [f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/s-{n}" for n in range(8)]


@pytest.fixture
def executions(lake: Lake) -> list[dict[str, Any]]:
    """Rows of two days, the second with two files."""
    required = {field.name: "x" for field in INFERENCE_EXECUTIONS.schema if not field.nullable}
    start = datetime(2026, 10, 1, tzinfo=UTC)
    rows = [required | {"scheduler_arn": arn, "data_start_time": start, "recorded_at": start} for arn in ARNS]
    table = pa.Table.from_pylist(rows, schema=INFERENCE_EXECUTIONS.schema)
    lake.update(INFERENCE_EXECUTIONS, DAYS[0], lambda _: table)
    Lake(lake.uri, shards=2).update(INFERENCE_EXECUTIONS, DAYS[1], lambda _: table)
    return table.to_pylist()


def shards(lake: Lake) -> list[int]:
    return [lake.shards(INFERENCE_EXECUTIONS, day) for day in DAYS[:2]]


def test_days_get_the_number_of_files(
    ledger: RunLedger, lake: Lake, executions: list[dict[str, Any]]
) -> None:
    listed = ledger("migrate", "--shards", "4", "--dry-run")
    assert "inference_executions: 1 day of 1 file, 2026-10-01 to 2026-10-01" in listed.text
    assert "2 to change to 4 files, 0 have it already." in listed.text
    assert shards(lake) == [1, 2]

    done = ledger("migrate", "--shards", "4", "--to", "2026-10-01")

    assert done.code == 0, done.err
    assert "1 changed, 0 were as requested." in done.text
    assert shards(lake) == [4, 2]
    assert [lake.read(INFERENCE_EXECUTIONS, day).to_pylist() for day in DAYS[:2]] == [executions] * 2
    assert versions(lake) == [1, 1, 1, 2]
    output = json.loads(ledger("migrate", "--shards", "4", "--json").out)
    assert output["days_with_other_shards"] == [
        {"table": "inference_executions", "day": "2026-10-02", "shards": 2}
    ]
    assert output["days_changed"] == 1
    assert "0 changed, 2 were as requested." in ledger("migrate", "--shards", "4").text


@pytest.mark.usefixtures("executions")
def test_a_file_that_cannot_be_read_does_not_stop_the_others(ledger: RunLedger, lake: Lake) -> None:
    lake.root.joinpath("inference_executions/data_date=2026-10-02/part-1.parquet").write_bytes(b"damaged")

    done = ledger("migrate", "--shards", "4")

    assert done.code == 1
    assert "! Cannot read a file of the lake" in done.text
    assert shards(lake)[0] == 4


def test_a_table_with_one_file_per_day_is_refused_by_name(ledger: RunLedger) -> None:
    done = ledger("migrate", "--shards", "4", "extraction_coverage")

    assert done.code != 0
    assert "Cannot change the number of files of extraction_coverage" in done.err
