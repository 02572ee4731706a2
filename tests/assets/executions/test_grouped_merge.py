"""The merge of a day with shards whose rows can move between them."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from assets.executions.bucket_identity import KnownScheduler, KnownSchedulers, merge_with_bucket_rows
from assets.executions.candidates import CandidateBuffer
from assets.executions.grouped_merge import GroupedMerge, group_schedulers, retry_changed_rows
from assets.framework.row_content import conform
from assets.tables import INFERENCE_EXECUTIONS
from resources.errors import RetryLaterError
from resources.lake.lake import Lake
from resources.lake.shards import hash_scheduler
from resources.scheduler_arns import PLACEHOLDER
from tests.support.killed_writers import Dying, KilledError

DAY, START = date(2026, 10, 7), datetime(2026, 10, 7, tzinfo=UTC)
NOW = datetime(2026, 10, 8, tzinfo=UTC)
SHARDS = 5
PREFIX = f"{PLACEHOLDER}plant/pump/"
ARNS = [f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-{n}/0" for n in range(6)]


def build_rows(arn: str, hours: range, prefix: str = "pump/") -> pa.Table:
    """Build results of a bucket."""
    rows = [
        {
            "scheduler_arn": arn,
            "data_start_time": START + timedelta(hours=hour),
            "output_s3_bucket": "plant",
            "output_s3_prefix": prefix,
            "status": "SUCCESS",
            "result_s3_bucket": "plant",
            "result_s3_key": f"{prefix}{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}/results.jsonl",
            "source": "bucket",
            "outcome_source": "bucket",
            "recorded_at": NOW,
        }
        for hour in hours
    ]
    nullable = pa.schema([field.with_nullable(True) for field in INFERENCE_EXECUTIONS.schema])
    return conform(INFERENCE_EXECUTIONS, pa.Table.from_pylist(rows, schema=nullable))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path), shards=SHARDS)
    lake.update(INFERENCE_EXECUTIONS, DAY, lambda _: build_rows(PREFIX, range(3)))
    return lake


def find_shard(arn: str) -> int:
    return hash_scheduler(arn) % SHARDS


def build_placeholder(prefix: str) -> str:
    return f"{PLACEHOLDER}plant/{prefix}"


def find_prefix(arn: str) -> str:
    """Return an output prefix whose placeholder is in the shard of a scheduler."""
    prefixes = (f"pump-{number}/" for number in count())
    return next(prefix for prefix in prefixes if find_shard(build_placeholder(prefix)) == find_shard(arn))


def update(lake: Lake, interfere: Iterator[pa.Table], known: KnownSchedulers | None = None) -> None:
    """Assign the rows of prefixes to schedulers; other rows are written before the first shard is."""
    schedulers = known or {PREFIX: KnownScheduler(ARNS[0], None)}

    def write_others() -> None:
        if (rows := next(interfere, None)) is not None:
            lake.update(
                INFERENCE_EXECUTIONS,
                DAY,
                lambda existing: conform(INFERENCE_EXECUTIONS, pa.concat_tables([existing, rows])),
            )

    def merge(existing: pa.Table, candidates: pa.Table) -> pa.Table:
        write_others()
        return merge_with_bucket_rows(existing, candidates, lambda: schedulers, NOW)

    def attempt() -> None:
        buffer = CandidateBuffer(frozenset([DAY]))
        list(GroupedMerge(lake, DAY, SHARDS, buffer, lambda: schedulers, merge).update())

    retry_changed_rows(attempt, "here")


def test_schedulers_of_connected_prefixes_are_in_one_group() -> None:
    links = [(ARNS[0], "a"), (ARNS[1], "b"), (ARNS[2], None), (ARNS[1], "a"), ("b", "b")]

    groups = group_schedulers(links, 1_000_000)

    assert groups[ARNS[0]] == groups[ARNS[1]] == groups["a"] == groups["b"]
    assert groups[ARNS[2]] == hash_scheduler(ARNS[2]) % 1_000_000


def test_rows_move_to_the_shard_of_their_scheduler(lake: Lake) -> None:
    assert hash_scheduler(PREFIX) % SHARDS != hash_scheduler(ARNS[0]) % SHARDS

    update(lake, iter(()))

    assert lake.read(INFERENCE_EXECUTIONS, DAY)["scheduler_arn"].to_pylist() == [ARNS[0]] * 3


def test_a_stop_before_any_write_loses_no_row(tmp_path: Path) -> None:
    """The rows of two prefixes change places, so both files lose rows and get rows."""
    arns = [ARNS[0], next(arn for arn in ARNS if find_shard(arn) != find_shard(ARNS[0]))]
    others = [find_prefix(arn) for arn in reversed(arns)]
    known = {
        build_placeholder(prefix): KnownScheduler(arn, None) for prefix, arn in zip(others, arns, strict=True)
    }
    rows = [build_rows(build_placeholder(prefix), range(3), prefix) for prefix in others]
    expected = {key for part in rows for key in part["result_s3_key"].to_pylist()}
    for writes in range(10):
        lake = Lake(str(tmp_path / str(writes)), shards=SHARDS)
        lake.update(
            INFERENCE_EXECUTIONS, DAY, lambda _: conform(INFERENCE_EXECUTIONS, pa.concat_tables(rows))
        )
        dying = Lake(lake.uri)
        dying._storage = Dying(dying._storage, writes)

        with suppress(KilledError):
            update(dying, iter(()), known)
            break

        assert set(lake.read(INFERENCE_EXECUTIONS, DAY)["result_s3_key"].to_pylist()) == expected
        update(lake, iter(()), known)
        assert sorted(lake.read(INFERENCE_EXECUTIONS, DAY)["scheduler_arn"].to_pylist()) == sorted(arns * 3)
    assert writes >= 4  # two files, first with the rows that leave them, then without


def test_rows_that_others_write_meanwhile_are_kept(lake: Lake) -> None:
    update(lake, iter([build_rows(PREFIX, range(3, 5))]))

    assert lake.read(INFERENCE_EXECUTIONS, DAY)["scheduler_arn"].to_pylist() == [ARNS[0]] * 5


def test_a_day_that_changes_all_the_time_is_left_for_later(lake: Lake) -> None:
    changes = (build_rows(PREFIX, range(hour, hour + 1)) for hour in range(3, 24))

    with pytest.raises(RetryLaterError, match="no rows were lost"):
        update(lake, changes)
