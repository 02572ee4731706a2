"""The interactive shell of `ledger sql`."""

import atexit
import readline
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb
from rich.console import Console

from assets.tables import PARTITION, TABLES
from pipelines.cli.query_output import Shape, show
from pipelines.cli.sql_splitter import is_blank, split
from pipelines.operations.query import explain_quotes, run_statement
from resources.errors import suggest
from resources.storage.local import write_atomically

HISTORY = Path("~/.ledger_sql_history")
_MAX_HISTORY = 10_000

_PROMPT, _CONTINUATION = "ledger> ", "   ...> "

_HELP = """\
End each statement with a semicolon; it may span several lines. The dialect is DuckDB's, each table is a view.
Filter on data_date where you can: only the files of those days are read.

  .tables          list the tables with their meaning
  .schema TABLE    list the columns of a table: type, unit, meaning
  .format SHAPE    print results as table, csv, spreadsheet, json or jsonl
  .help            show this help
  .quit            leave the shell (also Ctrl-D)

Ctrl-C clears the input or stops the running statement."""


class Shell:
    """One session on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, shape: Shape, console: Console) -> None:
        """Use a connection with views; messages go to `console`, results to standard output."""
        self._connection = connection
        self._shape = shape
        self._console = console
        self._commands: dict[str, Callable[[str], None]] = {
            ".tables": self._tables,
            ".schema": self._schema,
            ".format": self._format,
            ".help": lambda _: self._print(_HELP),
        }

    def run(self) -> None:
        """Read and run statements until the user leaves; print errors and continue."""
        self._print("End each statement with a semicolon. Type .help for help, Ctrl-D to leave.")
        _set_up_readline()
        typed = ""
        while True:
            try:
                typed += input(_CONTINUATION if typed else _PROMPT) + "\n"
            except KeyboardInterrupt:
                typed = ""
                print()  # noqa: T201 (keeps the typed line visible)
                continue
            except EOFError:
                print()  # noqa: T201
                return
            if typed.startswith("."):
                command, _, argument = typed.strip().partition(" ")
                typed = ""
                if command in (".quit", ".exit"):
                    return
                self._run_command(command, argument.strip())
                continue
            statements, typed = split(typed)
            for statement in statements:
                self._execute(statement.text)
            typed = "" if is_blank(typed) else typed.lstrip()

    def _execute(self, statement: str) -> None:
        try:
            relation = run_statement(self._connection, statement)
            if relation is not None:
                show(relation, self._shape)
        except duckdb.Error as error:
            rule = explain_quotes(str(error), statement)
            self._print(f"{error}\n{rule}" if rule else str(error))
        except KeyboardInterrupt:
            self._print("stopped")

    def _run_command(self, command: str, argument: str) -> None:
        if command in self._commands:
            self._commands[command](argument)
        else:
            self._print(f"Unknown command {command}{suggest(command, self._commands)}; see .help")

    def _tables(self, _: str) -> None:
        width = max(len(table.name) for table in TABLES)
        for table in TABLES:
            self._print(f"{table.name:<{width}}  {table.meaning}")

    def _schema(self, name: str) -> None:
        tables = {table.name: table for table in TABLES}
        if not name:
            self._print("Name a table: .schema inference_executions")
            return
        if name not in tables:
            self._print(f"Unknown table {name}{suggest(name, tables) or '; see .tables'}")
            return
        table = tables[name]
        key = ", ".join(table.key)
        self._print(f"{table.description} Primary key: {key}.")
        rows = [
            (column.name, str(column.type), column.unit or "", column.meaning) for column in table.columns
        ]
        if table.partitioned:
            rows.append((PARTITION, "date32[day]", "UTC", "the partition, from the path; filter on it"))
        widths = [max(len(row[index]) for row in rows) for index in range(3)]
        for row in rows:
            cells = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False))
            self._print(f"  {cells}  {row[3]}")

    def _format(self, name: str) -> None:
        if name in list(Shape):
            self._shape = Shape(name)
        else:
            self._print(f"The formats are {', '.join(Shape)}; the current format is {self._shape}.")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _set_up_readline() -> None:
    """Load and save the history, and complete table and column names with Tab."""
    file = HISTORY.expanduser()
    with suppress(OSError):  # a missing or unreadable history must not prevent the session
        readline.read_history_file(file)
    readline.set_history_length(_MAX_HISTORY)
    atexit.register(_save_history, file)
    words = sorted({PARTITION, *(word for table in TABLES for word in (table.name, *table.schema.names))})

    def complete(text: str, index: int) -> str | None:
        matches = [word for word in words if word.startswith(text)]
        return matches[index] if index < len(matches) else None

    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


def _save_history(file: Path) -> None:
    with suppress(OSError), write_atomically(file) as temporary:
        readline.write_history_file(temporary)
