"""Two small tables that the tests of the lake write, on disk and in S3."""

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
