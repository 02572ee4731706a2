"""Statuses of executions and schedulers: their ranks, and which are final, have a result or mean stopped."""

import pyarrow as pa
import pyarrow.compute as pc

IN_PROGRESS = "IN_PROGRESS"
FINAL_STATUSES = ("SUCCESS", "FAILED")
"""Execution statuses that the service never changes again."""

STOPPED_STATUSES = ("STOPPED", "STOPPING")
"""Scheduler statuses in which no executions run."""

_SUCCESS = "SUCCESS"
_RANKED = ["", IN_PROGRESS, "any other status", *FINAL_STATUSES]
_OTHER_RANK, _FINAL_RANK = 2, 3


def rank_statuses(statuses: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the rank of each status: 0 for null, 1 for IN_PROGRESS, 2 for any other, 3 for a final one."""
    position = pc.fill_null(pc.index_in(pc.fill_null(statuses, ""), pa.array(_RANKED)), _OTHER_RANK)
    return pc.min_element_wise(position, _FINAL_RANK)


def have_results(executions: pa.Table) -> pa.ChunkedArray:
    """Return for each execution whether it succeeded and names a result object.

    A null status counts as success: such an execution is known only by its result object.

    Args:
        executions: `inference_executions` (`status`, `result_s3_bucket`, `result_s3_key`).
    """
    is_success = pc.equal(pc.fill_null(executions["status"], _SUCCESS), _SUCCESS)
    has_location = pc.and_(
        pc.is_valid(executions["result_s3_bucket"]), pc.is_valid(executions["result_s3_key"])
    )
    return pc.and_(is_success, has_location)
