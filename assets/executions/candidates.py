"""Candidates on their way into the lake, kept small while they come together."""

from datetime import date

import pyarrow as pa

from assets.executions.flatten import FlattenedPages
from assets.executions.merge import reduce_candidates
from assets.framework.time_windows import Window, filter_window, get_day_window, split_by_day

PENDING_ROWS = 250_000
"""Candidates are reduced to one a key whenever this many have come together: memory follows the range, not
the number of overlapping responses."""


class CandidateBuffer:
    """Candidates of the wanted days, kept small, and what had to be rejected."""

    def __init__(self, days: frozenset[date]) -> None:
        """Begin with nothing, for some days."""
        self.rejected: list[pa.Table] = []
        self._days = days
        self._window = (
            Window(get_day_window(min(days)).start, get_day_window(max(days)).end) if days else None
        )
        self._tables: list[pa.Table] = []
        self._fresh_rows = 0

    @property
    def has_rows(self) -> bool:
        """Tell whether anything has come for the wanted days."""
        return any(rows.num_rows for rows in self._tables)

    def add(self, page: FlattenedPages) -> None:
        """Take in a page; what does not start within the wanted days is left out."""
        if page.rejected.num_rows:
            self.rejected.append(page.rejected)
        if self._window is None:
            return
        wanted = filter_window(page.rows, self._window)
        self._tables.append(wanted)
        self._fresh_rows += wanted.num_rows
        if self._fresh_rows > PENDING_ROWS:
            self._tables, self._fresh_rows = [reduce_candidates(pa.concat_tables(self._tables))], 0

    def in_days(self) -> dict[date, pa.Table]:
        """Return what has come, one row a key, by day."""
        if not self._tables:
            return {}
        return {
            day: rows
            for day, rows in split_by_day(reduce_candidates(pa.concat_tables(self._tables)))
            if day in self._days
        }
