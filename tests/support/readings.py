"""Small tables that the tests of the lake write, on disk and in S3."""

from dataclasses import replace

import pyarrow as pa

from assets.tables import INSTANT, Column, Table

READINGS = Table(
    name="readings",
    meaning="What the tests write.",
    grain="one reading",
    key=("name",),
    partitioned=True,
    columns=(
        Column("name", pa.string(), "who", required=True),
        Column("number", pa.int64(), "how much", unit="pieces"),
        Column("at", INSTANT, "when", "UTC", encoding="delta"),
    ),
)
SETTINGS = replace(READINGS, name="settings", partitioned=False)
SAMPLES = replace(
    READINGS,
    name="samples",
    key=("scheduler_arn", "data_start_time"),
    columns=(
        Column("number", pa.int64(), "how much"),
        Column("scheduler_arn", pa.string(), "which", required=True),
        Column("data_start_time", INSTANT, "when", "UTC", required=True, encoding="delta"),
    ),
)
"""A table with shards."""
