"""Limits of every reader: bytes, rows, pages and seconds.

They bound memory and time if a file, an object or a service returns more than any real one does. An example
is a small gzip file that unpacks to gigabytes. A message names the setting of the exceeded limit.
"""

from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ReadLimits:
    """Limits of one reader; the default of each is the default of its setting.

    Attributes:
        size_bytes: the unpacked size of a file, an object or a response.
        rows: the executions or lines of a file or object.
        pages: the pages of one query.
        entries: the entries of a listing: files, objects or schedulers.
        seconds: the duration of one request.
    """

    size_bytes: int = 200 * MEGABYTE
    rows: int = 500_000
    pages: int = 10_000
    entries: int = 2_000_000
    seconds: float = 600

    @property
    def too_large(self) -> str:
        """The reason for a rejection by size."""
        size = self.size_bytes / MEGABYTE
        return f"larger than {size:,.0f} MB unpacked (limits.max_megabytes_per_file)"

    @property
    def too_many_rows(self) -> str:
        """The reason for a rejection by the number of rows."""
        return f"more than {self.rows:,} rows (limits.max_rows_per_file)"

    @property
    def too_many_pages(self) -> str:
        """The reason for the end of a query by the number of pages."""
        return f"more than {self.pages:,} pages (limits.max_pages_per_query)"

    @property
    def too_many_entries(self) -> str:
        """The reason for the end of a listing by the number of entries."""
        return f"more than {self.entries:,} entries (limits.max_entries_per_listing)"

    @property
    def too_slow(self) -> str:
        """The reason for the end of a request by time."""
        return f"no complete response within {self.seconds:,.0f} s (limits.max_seconds_per_request)"


DEFAULT_LIMITS = ReadLimits()
