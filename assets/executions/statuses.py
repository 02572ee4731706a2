"""Statuses of executions and schedulers: which are final, how they rank in the merge, which mean stopped."""

import pyarrow as pa
import pyarrow.compute as pc

IN_PROGRESS = "IN_PROGRESS"
FINAL_STATUSES = ("SUCCESS", "FAILED")
"""Execution statuses that the service never changes again."""

STOPPED_STATUSES = ("STOPPED", "STOPPING")
"""Scheduler statuses in which no executions run."""

_RANKED = ["", IN_PROGRESS, "any other status", *FINAL_STATUSES]
_OTHER_RANK, _FINAL_RANK = 2, 3


def rank_statuses(statuses: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the rank of each status: 0 for null, 1 for IN_PROGRESS, 2 for any other, 3 for a final one."""
    position = pc.fill_null(pc.index_in(pc.fill_null(statuses, ""), pa.array(_RANKED)), _OTHER_RANK)
    return pc.min_element_wise(position, _FINAL_RANK)
