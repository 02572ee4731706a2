"""Buffer of candidate rows between the sources and the lake, with bounded memory."""

from datetime import date

import pyarrow as pa

from assets.executions.flatten import FlattenedPages
from assets.executions.merge import reduce_candidates
from assets.framework.time_windows import Window, filter_window, get_day_window, split_by_day

PENDING_ROWS = 250_000
"""Number of added rows after which candidates with the same key are merged. Memory then depends on the range
of days and not on the number of overlapping responses."""


class CandidateBuffer:
    """Candidates of the requested days, and the rejected summaries."""

    def __init__(self, days: frozenset[date]) -> None:
        """Create an empty buffer for some days."""
        self.rejected: list[pa.Table] = []
        self._days = days
        self._window = (
            Window(get_day_window(min(days)).start, get_day_window(max(days)).end) if days else None
        )
        self._tables: list[pa.Table] = []
        self._rows_since_merge = 0

    @property
    def has_rows(self) -> bool:
        """Whether there is any candidate."""
        return any(rows.num_rows for rows in self._tables)

    def add(self, page: FlattenedPages) -> None:
        """Add a page; rows outside the range of requested days are dropped."""
        if page.rejected.num_rows:
            self.rejected.append(page.rejected)
        if self._window is None:
            return
        rows = filter_window(page.rows, self._window)
        self._tables.append(rows)
        self._rows_since_merge += rows.num_rows
        if self._rows_since_merge > PENDING_ROWS:
            self._tables, self._rows_since_merge = [reduce_candidates(pa.concat_tables(self._tables))], 0

    def merge_by_day(self) -> dict[date, pa.Table]:
        """Return the candidates by requested day, with one row per key."""
        if not self._tables:
            return {}
        return {
            day: rows
            for day, rows in split_by_day(reduce_candidates(pa.concat_tables(self._tables)))
            if day in self._days
        }
