"""The Python API of the lake: `lookout_ledger.read("inference_executions", "2026-10-01", "2026-10-08")`.

This package is the public API for programs and notebooks; all other packages are internal.
"""

from lookout_ledger.reading import Frame, read, sql, tables

__all__ = ["Frame", "read", "sql", "tables"]
