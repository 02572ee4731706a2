"""`ledger sql` and `ledger views`."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from assets.tables import INFERENCE_EXECUTIONS, TABLES
from pipelines.cli import sql_shell
from pipelines.cli.query_output import Shape
from pipelines.cli.sql_shell import Shell
from resources.lake.lake import Lake
from tests.support.command_line import CommandResult, RunLedger
from tests.support.engine_world import DAYS, build_rows, write_rows
from tests.support.engine_world import World as Made

LEDGER = str(Path(sys.executable).with_name("ledger"))
COUNT = "SELECT data_date, count(*) AS n FROM inference_executions GROUP BY 1 ORDER BY 1"

Run = Callable[..., CommandResult]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    world = Made(Lake(str(tmp_path / "lake")))
    for day in DAYS:
        write_rows(world, INFERENCE_EXECUTIONS, day, build_rows(INFERENCE_EXECUTIONS, day))
    return world.lake


@pytest.fixture
def environment(tmp_path: Path, lake: Lake) -> dict[str, str]:
    config = tmp_path / "ledger.toml"
    config.write_text(f'[lake]\nuri = "{lake.uri}"\n[history]\nstart_date = "2026-03-01"\n')
    return os.environ | {"LEDGER_CONFIG": str(config), "DAGSTER_HOME": str(tmp_path), "HOME": str(tmp_path)}


@pytest.fixture
def run(
    environment: dict[str, str], tmp_path: Path, ledger: RunLedger, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run `ledger` in this process with standard input."""
    monkeypatch.setenv("LEDGER_CONFIG", environment["LEDGER_CONFIG"])
    monkeypatch.chdir(tmp_path)

    def command(*words: str, typed: str = "") -> CommandResult:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return ledger(*words)

    return command


def test_a_piped_statement_is_run_by_the_installed_program(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [LEDGER, "sql", "--format", "csv"],
        input=f"{COUNT};",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[1:] == [f"{day},18" for day in DAYS]


def test_piped_statements_are_run_in_order(run: Run) -> None:
    done = run("sql", "--format", "jsonl", typed=f"-- two;\n{COUNT};\nSELECT ';' AS mark")

    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert rows == [{"data_date": str(day), "n": 18} for day in DAYS] + [{"mark": ";"}]


def test_an_error_in_a_script_names_its_line_after_the_earlier_results(run: Run) -> None:
    done = run("sql", "--format", "csv", typed="SELECT 1 AS one;\n\nSELEKT 2;")

    assert done.code == 2
    assert "one" in done.out
    assert "the statement on line 3" in done.err and "SELEKT" in done.err and "^" in done.err
    assert "Traceback" not in done.err


def test_explain_output_is_unwrapped_and_a_day_filter_scans_one_file(run: Run) -> None:
    done = run(
        "sql", "EXPLAIN ANALYZE SELECT count(*) FROM inference_executions WHERE data_date = '2026-03-29'"
    )

    assert done.code == 0, done.err
    assert f"Scanning Files: 1/{len(DAYS)} " in done.out
    assert "explain_key" not in done.out
    assert {len(line) for line in done.out.splitlines() if line.startswith("│ Function")} == {
        len(line) for line in done.out.splitlines() if line.startswith("│ Scanning Files")
    }


def test_nested_values_are_converted_for_csv_and_json(run: Run) -> None:
    statement = "SELECT sum(1) AS s, [1, 2] AS l, {'a': 1.5} AS r, INTERVAL 1 DAY AS i FROM range(3)"

    assert json.loads(run("sql", "--format", "jsonl", statement).out) == {
        "s": 3,
        "l": [1, 2],
        "r": {"a": 1.5},
        "i": "1 day",
    }
    assert run("sql", "--format", "csv", statement).out.splitlines()[1].startswith('3,"[1,2]",')


def test_a_result_is_written_to_a_file(run: Run, tmp_path: Path) -> None:
    assert run("sql", "--out", "a.parquet", "FROM inference_executions").code == 0
    assert run("sql", "--out", "a.csv", COUNT).code == 0

    assert pq.read_table(tmp_path / "a.parquet").num_rows == len(DAYS) * 18
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == f"{DAYS[0]},18"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--out", "a.xlsx", "SELECT 1"], ".parquet or .csv"),
        (["--out", "nowhere/a.csv", "SELECT 1"], "Cannot write the result"),
        (["--out", "a.csv"], "add a statement"),
        (["--out", "a.csv", "SELEKT"], "syntax error"),
        (["--out", "a.csv", "SET threads = 1"], ""),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_unwritable_file_is_an_error_and_leaves_no_file(
    run: Run, tmp_path: Path, words: list[str], expected: str
) -> None:
    before = set(tmp_path.iterdir())

    done = run("sql", *words)

    assert "Traceback" not in done.err
    if expected:
        assert done.code == 2 and expected in done.err
        assert {file.name for file in set(tmp_path.iterdir()) - before} <= {"storage", "logs", "dagster.yaml"}


def test_a_terminal_gets_a_shell(environment: dict[str, str], tmp_path: Path) -> None:
    screen = _type_in_shell(
        environment,
        "SELECT count(*) AS\nexecutions FROM inference_executions;\n",
        "SELEKT 1;\n",
        ".tables\n.schema inference_executionz\n.schema inference_executions\n.format jsonl\n.nonsense\n",
        "SELECT 'still' || ' here' AS words;\n",
        "\x04",
    )

    assert "executions" in screen and str(len(DAYS) * 18) in screen
    assert "syntax error" in screen and "Traceback" not in screen
    assert INFERENCE_EXECUTIONS.description in screen
    assert 'did you mean "inference_executions"' in screen
    assert "the partition, from the path" in screen
    assert "Unknown command .nonsense" in screen
    assert '{"words":"still here"}' in screen
    assert "SELEKT 1" in (tmp_path / ".ledger_sql_history").read_text()


def _type_in_shell(environment: dict[str, str], *keys: str) -> str:
    """Type text in a shell on a terminal and return the screen; the shell must exit."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [LEDGER, "sql"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "dumb"}
    )
    os.close(theirs)
    shown = b""
    try:
        waiting = list(keys)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the shell has exited
                break
            if waiting and shown.rstrip(b" \x1b[?2004h\r").endswith(b"ledger>"):
                os.write(ours, waiting.pop(0).encode())
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(ours)
    assert waiting == []
    return shown.decode()


def test_views_work_in_any_duckdb(run: Run, tmp_path: Path) -> None:
    assert run("views", "--out", "views.sql", "--database", "ledger.duckdb").code == 0

    with duckdb.connect() as connection:
        connection.execute((tmp_path / "views.sql").read_text())
        actual = [row[1] for row in connection.execute(COUNT).fetchall()]
        assert actual == [18] * len(DAYS)
        for table in TABLES:
            assert connection.execute(f"DESCRIBE {table.name}").fetchall()
    with duckdb.connect(str(tmp_path / "ledger.duckdb"), read_only=True) as connection:
        assert [row[1] for row in connection.execute(COUNT).fetchall()] == actual


def test_the_oldest_supported_duckdb_opens_the_database(run: Run, tmp_path: Path) -> None:
    assert run("views", "--out", "views.sql", "--database", "ledger.duckdb").code == 0

    storage_version = int.from_bytes((tmp_path / "ledger.duckdb").read_bytes()[12:20], "little")
    assert storage_version <= 68  # DuckDB 1.5 reads versions 64 to 68
    assert " if(" not in (tmp_path / "views.sql").read_text()  # a function of DuckDB 2.0


def test_a_database_of_a_newer_format_is_an_error(run: Run, tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "new.duckdb")).close()

    done = run("views", "--database", "new.duckdb")

    assert done.code == 2 and "name a new file" in done.err


def test_text_in_double_quotes_is_answered_with_the_quoting_rule(run: Run) -> None:
    done = run("sql", 'SELECT * FROM inference_executions WHERE status = "FAILED"')

    assert done.code == 2
    assert "write 'FAILED': double quotes name columns, single quotes enclose text" in done.err


def test_columns_of_the_same_name_keep_their_values(run: Run) -> None:
    statement = (
        "SELECT s.scheduler_arn, e.scheduler_arn, e.status FROM inference_executions e"
        " JOIN (SELECT 'OTHER' AS scheduler_arn) s ON true LIMIT 1"
    )

    header, row = run("sql", statement).out.splitlines()

    assert header.split() == ["scheduler_arn", "scheduler_arn", "status"]
    assert row.split()[0] == "OTHER" and row.split()[1].startswith("arn:aws:")


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{ledger} sql <&-", 2),
        slow("{ledger} backfill --from 2026-03-29 --to 2026-03-29 <&-", 2),
        slow("{ledger} sql 'SELECT 1' >&-", 2),
        slow("{ledger} sql 'CREATE TEMP TABLE a (b INT)' >&-", 0),
        slow("{ledger} sql 'SELEKT 1' 2>&-", 2),
        ("{ledger} sql 'SELECT 1' <&- >&- 2>&-", 2),
        ("{ledger} sql 'FROM range(1000000)' | head -1; exit ${{PIPESTATUS[0]}}", 141),
        slow("{ledger} sql --format json 'FROM range(1000000)' | head -1; exit ${{PIPESTATUS[0]}}", 141),
        slow("{ledger} doctor | true; exit ${{PIPESTATUS[0]}}", 141),
        slow("{ledger} --help | true; exit ${{PIPESTATUS[0]}}", 141),
        ("{ledger} sql 'SELECT 1' > /dev/full", 2),
        slow("{ledger} --version > /dev/full", 2),
        slow("{ledger} status > /dev/full", 2),
        slow("{ledger} sql < /dev/zero", 2),
        slow("PYTHONIOENCODING=ascii {ledger} sql 'SELECT chr(128167)'", 0),
    ],
)
def test_closed_streams_cause_no_traceback(environment: dict[str, str], command: str, code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", command.format(ledger=LEDGER)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_views_can_be_rewritten(run: Run) -> None:
    for _ in range(2):
        assert run("views", "--database", "ledger.duckdb").code == 0


def test_relative_views_move_with_their_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run("views", "--relative").out
    assert str(tmp_path) not in text

    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        connection.execute(text)
        assert connection.execute(COUNT).fetchall()


def test_existing_views_read_the_first_file_of_a_table(run: Run, lake: Lake) -> None:
    coverage = next(table for table in TABLES if table.name == "extraction_coverage")
    text = run("views").out

    with duckdb.connect() as connection:
        connection.execute(text)
        assert connection.execute("FROM extraction_coverage").fetchall() == []
        write_rows(Made(lake), coverage, DAYS[0], build_rows(coverage, DAYS[0]))
        actual = connection.execute("SELECT DISTINCT data_date FROM extraction_coverage").fetchall()

    assert actual == [(DAYS[0],)]


def test_a_file_that_is_not_a_database_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 1000)

    done = run("views", "--database", "notes.txt")

    assert done.code == 2
    assert "Cannot write the database" in done.err and "Traceback" not in done.err


def test_a_day_filter_on_a_view_scans_one_file(run: Run) -> None:
    with duckdb.connect() as connection:
        connection.execute(run("views").out)
        plan = connection.execute(
            "EXPLAIN ANALYZE SELECT status FROM inference_executions WHERE data_date = '2026-10-25'"
        ).fetchall()

    assert f"Scanning Files: 1/{len(DAYS)}" in plan[0][1]


@pytest.mark.parametrize("shape", ["table", "csv", "json", "jsonl"])
def test_a_query_on_an_empty_lake_returns_no_rows(
    ledger: RunLedger, settings: Callable[..., Path], shape: str
) -> None:
    settings()

    done = ledger("sql", "--format", shape, "SELECT scheduler_name, status FROM inference_executions")

    assert done.code == 0, done.err
    assert "SUCCESS" not in done.out
    assert ("scheduler_name" in done.out) == (shape in ("table", "csv"))


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["sql", "SELEKT 1"], {}, ["syntax error", "next:"]),
        (["sql", "FROM executions"], {}, ["executions", "the tables are inference_schedulers"]),
        (["sql", "FROM 'none.parquet'"], {}, ["none.parquet", "check that the file exists"]),
        (["sql", "SELECT CAST('x' AS INTEGER)"], {}, ["Could not convert", "cast the value"]),
        (
            ["sql", "SHOW TABLES"],
            {"LEDGER_CONFIG": "/nowhere/ledger.toml"},
            ["/nowhere/ledger.toml", "LEDGER_CONFIG"],
        ),
        (["sql", "SHOW TABLES"], {"LEDGER_LAKE__URI": "gs://lake"}, ["LEDGER_LAKE__URI"]),
        (["sql", "SHOW TABLES"], {"LEDGER_SOURCES": "archive"}, ["LEDGER_SOURCES", "JSON"]),
    ],
    ids=[
        "invalid SQL",
        "unknown table",
        "missing file",
        "wrong type",
        "no settings file",
        "unsupported lake location",
        "sources that are not JSON",
    ],
)
def test_a_user_error_prints_a_message_and_exits_with_code_2(
    ledger: RunLedger,
    settings: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    expected: list[str],
) -> None:
    settings()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    done = ledger(*words)

    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    for part in expected:
        assert part in done.err


def test_text_from_the_lake_is_not_parsed_as_markup(ledger: RunLedger, settings: Callable[..., Path]) -> None:
    settings()

    done = ledger("sql", "SELECT '[red]stop[/red] [/]' AS name")

    assert done.code == 0, done.err
    assert "[red]stop[/red] [/]" in done.out


def test_views_cannot_be_written_into_a_missing_folder(
    ledger: RunLedger, settings: Callable[..., Path]
) -> None:
    settings()
    done = ledger("views", "--out", "missing/views.sql")
    assert done.code == 2 and "Cannot write the views" in done.err


def type_into_shell(monkeypatch: pytest.MonkeyPatch, *lines: str | type[BaseException]) -> str:
    """Run a shell with these inputs, each a line or the exception of a key; return its messages."""
    pending = iter(lines)

    def read_line(_prompt: str) -> str:
        line = next(pending, EOFError)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", read_line)
    console = Console(file=io.StringIO())
    with duckdb.connect() as connection:
        Shell(connection, Shape.csv, console).run()
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_ctrl_c_clears_the_input_of_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_into_shell(monkeypatch, "SELEKT", KeyboardInterrupt, "SELECT 1 AS n;")
    assert capsys.readouterr().out.split() == ["n", "1"]


def test_ctrl_c_stops_the_statement_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sql_shell, "run_statement", interrupt)
    assert "stopped" in type_into_shell(monkeypatch, "SELECT 1;")
