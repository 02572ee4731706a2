"""Reads the coverage of the lake for schedules, plans and the status."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from assets.executions.day_status import COLUMNS
from assets.tables import EXTRACTION_COVERAGE, PARTITION
from resources.lake.lake import Lake


def read_coverage(lake: Lake, first: date | None = None, last: date | None = None) -> pa.Table:
    """Read `COLUMNS` and the day of the coverage of some days (default: all) in one scan."""
    columns = [*COLUMNS, PARTITION]
    if not lake.days(EXTRACTION_COVERAGE):
        schema = EXTRACTION_COVERAGE.schema.append(pa.field(PARTITION, pa.date32()))
        return pa.schema([schema.field(name) for name in columns]).empty_table()
    day_filter = None
    if first is not None and last is not None:
        day_filter = (pc.field(PARTITION) >= first) & (pc.field(PARTITION) <= last)
    return lake.dataset(EXTRACTION_COVERAGE).to_table(columns=columns, filter=day_filter)
