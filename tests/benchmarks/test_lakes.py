"""Lakes of benchmarks equal those of the product: their rows are sorted by key and follow the contract."""

from pathlib import Path

import pytest

from assets.framework.row_content import sort_by_key
from assets.tables import (
    ANOMALY_PREDICTIONS,
    EXTRACTION_COVERAGE,
    INFERENCE_EXECUTIONS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from benchmarks import lakes
from resources.lake.lake import Lake

ROWS = {
    EXTRACTION_COVERAGE: 2,
    INFERENCE_EXECUTIONS: 2 * 288,
    RESULT_OBJECTS: 2 * 288,
    ANOMALY_PREDICTIONS: 2 * 288 * 5,
    SENSOR_CONTRIBUTIONS: 2 * 288 * 5 * 30,
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder: Path = tmp_path_factory.mktemp("lake")
    lake, days = Lake(str(folder)), lakes.list_days(1)
    lakes.write_coverage(lake, 2, days)
    lakes.write_executions(lake, 2, days)
    lakes.write_results(lake, 2, days, days_with_sensors=1)
    return lake


@pytest.mark.parametrize("table", ROWS, ids=lambda table: table.name)
def test_rows_are_sorted_by_key_and_unique(lake: Lake, table: Table) -> None:
    (footer,) = lake.footers(table, lakes.LAST)
    rows = lake.read(table, lakes.LAST)

    assert footer.problem == ""
    assert rows.num_rows == ROWS[table]
    assert rows.equals(sort_by_key(table, rows))
    assert rows.group_by(list(table.key)).aggregate([]).num_rows == rows.num_rows
