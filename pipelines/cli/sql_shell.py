"""The SQL shell: `ledger sql` without a statement, on a terminal."""

import readline
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb
from rich.console import Console

from assets.tables import PARTITION, TABLES
from pipelines.cli.output import Shape, show
from pipelines.cli.sql_splitter import is_blank, split
from pipelines.operations.query import execute
from resources.config.validation_errors import suggest
from resources.storage.local import write_atomically

HISTORY = Path("~/.ledger_sql_history")
_MOST_HISTORY = 10_000

_PROMPT, _GOES_ON = "ledger> ", "   ...> "

_HELP = """\
A statement in DuckDB's SQL ends with a semicolon and may go over many lines. Every table is a view;
filter on data_date wherever there is one: only those days are then read.

  .tables          the tables, and what they hold
  .schema TABLE    the columns of a table: type, unit, meaning
  .format SHAPE    how answers are printed: table, csv or json
  .help            this
  .quit            leave; so does Ctrl-D

Ctrl-C takes back what is typed, or stops a statement that runs."""


class Shell:
    """One session over one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, shape: Shape, console: Console) -> None:
        """Take a connection that has the views; messages go to `console`, answers to standard output."""
        self._connection = connection
        self._shape = shape
        self._console = console
        self._commands: dict[str, Callable[[str], None]] = {
            ".tables": self._tables,
            ".schema": self._schema,
            ".format": self._format,
            ".help": lambda _: self._say(_HELP),
        }

    def run(self) -> None:
        """Answer until the user leaves; a mistake is told, and the next statement waited for."""
        self._say("A statement ends with a semicolon; .help says more, Ctrl-D leaves.")
        _remember()
        typed = ""
        while True:
            try:
                typed += input(_GOES_ON if typed else _PROMPT) + "\n"
            except KeyboardInterrupt:
                typed = ""
                print()  # noqa: T201 (the line that was typed stays above)
                continue
            except EOFError:
                print()  # noqa: T201
                return
            if typed.startswith("."):
                command, _, argument = typed.strip().partition(" ")
                typed = ""
                if command in (".quit", ".exit"):
                    return
                self._obey(command, argument.strip())
                continue
            statements, typed = split(typed)
            for statement in statements:
                self._answer(statement.text)
            typed = "" if is_blank(typed) else typed.lstrip()

    def _answer(self, statement: str) -> None:
        try:
            rows = execute(self._connection, statement)
        except duckdb.Error as problem:
            self._say(str(problem))
        except KeyboardInterrupt:
            self._say("stopped")
        else:
            if rows.num_columns:
                show(rows, self._shape)
                sys.stdout.flush()

    def _obey(self, command: str, argument: str) -> None:
        if command in self._commands:
            self._commands[command](argument)
        else:
            self._say(f"{command} is not known{suggest(command, self._commands)}; .help lists what is")

    def _tables(self, _: str) -> None:
        width = max(len(table.name) for table in TABLES)
        for table in TABLES:
            self._say(f"{table.name:<{width}}  {table.meaning}")

    def _schema(self, name: str) -> None:
        known = {table.name: table for table in TABLES}
        if not name:
            self._say("name a table: .schema inference_executions")
            return
        if name not in known:
            self._say(f"there is no table {name}{suggest(name, known) or '; .tables lists them'}")
            return
        table = known[name]
        key = ", ".join(table.key)
        self._say(f"{table.description} Key: {key}.")
        rows = [(one.name, str(one.type), one.unit or "", one.meaning) for one in table.columns]
        if table.partitioned:
            rows.append((PARTITION, "date32[day]", "UTC", "the day, from the path: filter on it"))
        widths = [max(len(row[place]) for row in rows) for place in range(3)]
        for row in rows:
            told = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False))
            self._say(f"  {told}  {row[3]}")

    def _format(self, name: str) -> None:
        if name in list(Shape):
            self._shape = Shape(name)
        else:
            self._say(f"answers are printed as {', '.join(Shape)}; now as {self._shape}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _remember() -> None:
    """Take up the history of earlier sessions, add this one's, and complete names with Tab."""
    import atexit  # noqa: PLC0415

    file = HISTORY.expanduser()
    with suppress(OSError):  # none yet, or not ours to read: a shell without history is one still
        readline.read_history_file(file)
    readline.set_history_length(_MOST_HISTORY)
    atexit.register(_save, file)
    words = sorted({PARTITION, *(word for table in TABLES for word in (table.name, *table.schema.names))})
    readline.set_completer(lambda text, state: _nth([word for word in words if word.startswith(text)], state))
    readline.parse_and_bind("tab: complete")


def _save(file: Path) -> None:
    with suppress(OSError), write_atomically(file) as temporary:
        readline.write_history_file(temporary)


def _nth(found: list[str], state: int) -> str | None:
    return found[state] if state < len(found) else None
