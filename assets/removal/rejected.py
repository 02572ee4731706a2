"""Rejected summaries after forgetting: without those of forgotten files, and with current claimants."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from assets.executions.bucket_identity import describe_claimants, find_claimants, find_claimed_result
from assets.executions.flatten import REJECTED
from assets.executions.tombstones import ForgetOperation
from assets.framework.row_content import stamp_changes
from assets.removal.claims import Claims
from assets.tables import EXECUTION_SOURCES, INFERENCE_EXECUTIONS, REJECTED_EXECUTIONS
from resources.lake.lake import Lake
from resources.scheduler_arns import build_placeholder_arn
from resources.sources.bucket_keys import parse_folder_time, split_result_key

_COLUMNS = [
    "scheduler_arn",
    "data_start_time",
    "output_s3_bucket",
    "output_s3_prefix",
    "result_s3_bucket",
    "result_s3_key",
    "source",
]


def update_rejected(lake: Lake, existing: pa.Table, operation: ForgetOperation, now: datetime) -> pa.Table:
    """Build the rows of `rejected_executions` after the executions and the claims were updated."""
    rows = pa.Table.from_pylist(list(_select_rows(lake, existing, operation)), schema=REJECTED)
    return stamp_changes(REJECTED_EXECUTIONS, rows, existing, now)


def _select_rows(lake: Lake, existing: pa.Table, operation: ForgetOperation) -> Iterator[dict[str, Any]]:
    for row in existing.to_pylist():
        row["recorded_at"] = None
        result = find_claimed_result(row["reason"], row["raw"])
        if result:
            claimants = _find_claimants(lake, *result)
            if len(claimants) > 1:
                yield row | {"reason": describe_claimants(claimants)}
        elif not (operation.selects_whole_sources and operation.selects_source(row["source"])):
            yield row


def _find_claimants(lake: Lake, bucket: str, key: str) -> list[str]:
    """Return the executions that claim a result, if a bucket still shows it."""
    prefix, folder, _ = split_result_key(key)
    start = parse_folder_time(folder, UTC)
    if start is None:
        return []
    claims = Claims.from_rows(lake.read(EXECUTION_SOURCES), start.date())
    returned = claims.get_keys(claims.start == round(start.timestamp() * 1000))
    if build_placeholder_arn(bucket, prefix) not in {arn for _, arn in returned}:
        return []
    return find_claimants(lake.read(INFERENCE_EXECUTIONS, start.date(), _COLUMNS), bucket, key)
