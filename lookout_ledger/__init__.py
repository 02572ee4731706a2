"""The lake from Python: `lookout_ledger.read("inference_executions", "2026-10-01", "2026-10-08")`.

What other programs and notebooks import; everything else of this project is its own affair.
"""

from lookout_ledger.reading import Frame, read, sql, tables

__all__ = ["Frame", "read", "sql", "tables"]
