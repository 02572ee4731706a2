"""The rows and the records of saved files, without a lake."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.executions.archive_index import ArchiveRecord
from assets.executions.file_extraction import read_files
from assets.executions.flatten import FlattenedPages
from resources.sources.archive import ArchiveSource

END = datetime(2026, 10, 8, tzinfo=UTC)


def test_small_files_are_flattened_together_and_recorded_one_by_one(tmp_path: Path) -> None:
    def summary(hour: int) -> dict[str, Any]:
        arn = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/0a1b"
        return {"InferenceSchedulerArn": arn, "DataStartTime": f"2026-03-01T{hour:02}:00:00Z"}

    contents = [[summary(1), summary(3)], [summary(2)], [summary(4) | {"New": 1}, {}], [], [summary(5)]]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.json").write_text(json.dumps({"InferenceExecutionSummaries": content}))
    source = ArchiveSource(str(tmp_path))
    records: dict[str, ArchiveRecord] = {}
    groups: list[FlattenedPages] = []
    read_files(source, source.list_files(), END, records, groups.append)
    hours = [
        (record.executions, record.rejected, record.first_data_start_time, record.last_data_start_time)
        for record in records.values()
    ]

    def at(hour: int) -> datetime:
        return datetime(2026, 3, 1, hour, tzinfo=UTC)

    assert hours == [
        (2, 0, at(1), at(3)),
        (1, 0, at(2), at(2)),
        (1, 1, at(4), at(4)),
        (0, 0, None, None),
        (1, 0, at(5), at(5)),
    ]
    assert [group.rows.num_rows for group in groups] == [3, 1, 1]
    assert [group.rejected["position"].to_pylist() for group in groups] == [[], [1], []]
