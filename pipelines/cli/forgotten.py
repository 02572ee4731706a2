"""Uses of `ledger forget`, as `ledger forget` and `ledger status` print them in JSON."""

from collections.abc import Sequence

from assets.executions.tombstones import ForgetOperation
from pipelines.cli.json_output import ForgetOperationItem


def list_operations(operations: Sequence[ForgetOperation]) -> list[ForgetOperationItem]:
    """Describe recorded operations."""
    return [
        ForgetOperationItem(
            operation.operation_id,
            operation.describe(),
            operation.state,
            operation.started_at,
            operation.executions_removed,
            operation.executions_reread,
            operation.executions_kept,
        )
        for operation in operations
    ]
