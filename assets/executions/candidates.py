"""Buffer of candidate rows between the sources and the lake, by day, with bounded memory."""

from collections.abc import Set as AbstractSet
from datetime import date

import pyarrow as pa

from assets.executions.flatten import ROWS, FlattenedPages
from assets.executions.merge import reduce_candidates
from assets.executions.provenance import ReturnedKeysBuffer
from assets.framework.time_windows import split_by_day
from assets.tables import INFERENCE_EXECUTIONS
from resources.encoded_texts import combine_chunks, decode_texts

PENDING_ROWS = 500_000
"""Number of added rows after which candidates with the same key are merged. Memory then depends on the range
of days and not on the number of overlapping responses."""


class CandidateBuffer:
    """Candidates of the requested days, and the rejected summaries."""

    def __init__(self, days: frozenset[date]) -> None:
        """Create an empty buffer for some days."""
        self.rejected: list[pa.Table] = []
        self._days = days
        self.returned_keys = ReturnedKeysBuffer(days)
        self._tables: dict[date, list[pa.Table]] = {}
        self._rows_since_merge = 0

    @property
    def days(self) -> AbstractSet[date]:
        """The days with candidates."""
        return self._tables.keys()

    def add(self, page: FlattenedPages, source: str | None = None) -> None:
        """Add pages that a source returned; rows of other days are dropped.

        Args:
            page: the pages.
            source: the URI of the source; None: the origin of each page.
        """
        keys, start = page.rows.select(INFERENCE_EXECUTIONS.key), 0
        for origin, count in page.origins if source is None else [(source, page.rows.num_rows)]:
            self.returned_keys.add(origin, keys.slice(start, count))
            start += count
        if page.rejected.num_rows:
            self.rejected.append(page.rejected)
        for day, rows in split_by_day(page.rows):
            if day in self._days:
                self._tables.setdefault(day, []).append(rows)
                self._rows_since_merge += rows.num_rows
        if self._rows_since_merge > PENDING_ROWS:
            for day in [*self._tables]:  # one by one, so that the memory of a merged day is free for the next
                self._tables[day] = [reduce_candidates(self.take(day))]
            self.returned_keys.compact()
            self._rows_since_merge = 0

    def take(self, day: date) -> pa.Table:
        """Remove the candidates of a day and return them, in any number and order."""
        if day not in self._tables:
            return ROWS.empty_table()
        # rows of different schedulers are then already sorted, and the merge need not copy them
        tables = sorted(self._tables.pop(day), key=lambda rows: str(rows["scheduler_arn"][0]))
        return combine_chunks(pa.concat_tables([ROWS.empty_table(), *tables]))

    def get_names(self) -> dict[str, str | None]:
        """Return the names of the schedulers of all candidates, by ARN."""
        columns = ["scheduler_arn", "scheduler_name"]
        tables = self.get_identities(columns)
        distinct = pa.concat_tables(tables).group_by(columns).aggregate([]) if tables else None
        return (
            dict(zip(*(column.to_pylist() for column in distinct.columns), strict=True)) if distinct else {}
        )

    def get_identities(self, columns: list[str]) -> list[pa.Table]:
        """Return some columns of all candidates, with plain texts."""
        return [decode_texts(rows.select(columns)) for tables in self._tables.values() for rows in tables]
