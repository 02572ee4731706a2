"""Python imports this module at its start in every process whose PYTHONPATH has this folder.

It makes each `except` of the product append its place to the file that `ENTERED_HANDLERS` names. Only the
source of the product is changed while it is compiled, and its bytecode is cached apart.
"""

import ast
import builtins
import importlib._bootstrap_external as machinery  # imports of all modules pass through it
import os
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PREFIX = f"{ROOT}{os.sep}"
FOLDERS = tuple(f"{name}{os.sep}" for name in ("lookout_ledger", "pipelines", "assets", "resources"))
NAME = "__handler_entered__"


class Marker(ast.NodeTransformer):
    """Adds a call to the start of each `except`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        mark = ast.parse(f"{NAME}({f'{self.path}:{node.lineno}'!r})").body[0]
        for part in ast.walk(mark):
            ast.copy_location(part, node.body[0])
        node.body.insert(0, mark)
        return node


def product_path(path: str) -> str | None:
    """Return the path below the checkout of a module of the product; None for other files.

    It is called for each import of thousands of modules, so it compares texts.
    """
    relative = path.removeprefix(PREFIX)
    return relative if relative != path and relative.startswith(FOLDERS) and path.endswith(".py") else None


def install(record: str) -> None:
    """Append the places of entered handlers to a file, also from processes that are killed."""
    entered: set[str] = set()
    output = os.open(record, os.O_CREAT | os.O_APPEND | os.O_WRONLY)  # tests change the user of the process
    compile_source = machinery.SourceLoader.source_to_code
    cached_path = machinery.cache_from_source

    def mark(place: str) -> None:
        if place not in entered:
            entered.add(place)
            with suppress(OSError):  # tests fill disks
                os.write(output, f"{place}\n".encode())

    def compile_marked(loader, data, path, **options):  # noqa: ANN001, ANN003, ANN202 (the signature is importlib's)
        relative = product_path(os.fspath(path))
        if relative is None or not isinstance(data, bytes):
            return compile_source(loader, data, path, **options)
        tree = Marker(relative).visit(ast.parse(data, os.fspath(path)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=options.get("_optimization", -1))

    def cache_apart(path, *arguments, **options):  # noqa: ANN001, ANN002, ANN003, ANN202 (the same)
        cached = cached_path(path, *arguments, **options)
        return cached if product_path(os.fspath(path)) is None else f"{cached[: -len('.pyc')]}.marked.pyc"

    setattr(builtins, NAME, mark)
    machinery.SourceLoader.source_to_code = compile_marked
    machinery.cache_from_source = cache_apart


if os.environ.get("ENTERED_HANDLERS") and not hasattr(builtins, NAME):
    install(os.environ["ENTERED_HANDLERS"])
