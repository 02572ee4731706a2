"""Writes a small lake of the current release for later versions: `python -m tests.support.release_lake`.

Run it once for each release and commit the folder. Never write the folder of an earlier release again.
"""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from assets.tables import TABLES
from resources.lake.lake import Lake
from tests.support.engine_world import DAYS, EMPTY_DAY, World, build_rows, write_rows

RELEASES = Path(__file__).parents[1] / "fixtures" / "lakes"
ROWS = "rows.json"
"""The expected rows by table, as JSON; times are ISO 8601."""


def write_release(folder: Path) -> None:
    """Write every table with one day of rows and, if it has partitions, a day without rows."""
    world = World(Lake(str(folder)))
    for table in TABLES:
        if table.partitioned:
            write_rows(world, table, DAYS[0], build_rows(table, DAYS[0]))
            write_rows(world, table, EMPTY_DAY, [])
        else:
            write_rows(world, table, None, build_rows(table, DAYS[0]))
    for lock in folder.rglob(".lock"):
        lock.unlink()
    text = json.dumps(world.truth, default=lambda value: value.isoformat(), ensure_ascii=False)
    (folder / ROWS).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    target = RELEASES / version("lookout-ledger")
    if target.exists() and "--again" not in sys.argv:
        sys.exit(f"{target} exists: a release is written once; add --again before it is published")
    shutil.rmtree(target, ignore_errors=True)
    write_release(target)
