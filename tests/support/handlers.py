"""Which `except` of the product no test enters: `python -m tests.support.handlers FILE`.

As a plugin of pytest (`-p tests.support.handlers`), it records the entered ones in the file that the variable
`ENTERED_HANDLERS` names, also those of child processes.
"""

import ast
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

INSTRUMENTED = Path(__file__).parent / "instrumented"
ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("lookout_ledger", "pipelines", "assets", "resources")


def pytest_load_initial_conftests() -> None:
    """Record from now on, before any module of the product is imported."""
    runpy.run_path(str(INSTRUMENTED / "sitecustomize.py"))
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if str(INSTRUMENTED) not in others:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(INSTRUMENTED), *others])


def list_handlers() -> Iterator[tuple[str, str]]:
    """Yield the place, as "path:line", and the first line of each handler."""
    for folder in PRODUCT:
        for file in sorted((ROOT / folder).rglob("*.py")):
            text = file.read_text()
            lines = text.splitlines()
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ExceptHandler):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", lines[node.lineno - 1].strip()


def main(record: str) -> int:
    """Print the handlers that are not in the record; return 1 if there are any."""
    entered = set(Path(record).read_text().splitlines())
    handlers = list(list_handlers())
    missing = [(place, line) for place, line in handlers if place not in entered]
    for place, line in missing:
        print(f"{place}: {line}")
    print(f"{len(missing)} of {len(handlers)} handlers were not entered by a test")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
