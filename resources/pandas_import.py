"""Keeps pandas out of processes that do not use it: its import takes a quarter of a second and 40 MB."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002 (of the interface)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> None:
        """Find nothing, and let no other finder find pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def convert_lists_without_pandas() -> None:
    """Let pyarrow convert lists without pandas, which it would import to recognize a Series.

    pyarrow tries the import once. Conversions of tables from and to pandas import it later.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
