"""The executor of all runs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.executor.in_process import InProcessExecutor

from assets.framework.event_log import keep_connections_open

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

_DEFAULT: Any = dg.in_process_executor  # its types are not those that ExecutorDefinition accepts


class _ConnectedExecutor(InProcessExecutor):
    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        with keep_connections_open(plan_context.instance):
            yield from super().execute(plan_context, execution_plan)


def _create_executor(context: dg.InitExecutorContext) -> _ConnectedExecutor:
    default: InProcessExecutor = _DEFAULT.executor_creation_fn(context)
    return _ConnectedExecutor(default.retries, default.step_dependency_config)


connected_executor = dg.ExecutorDefinition(
    name=_DEFAULT.name,
    config_schema=_DEFAULT.config_schema,
    executor_creation_fn=_create_executor,
    description=_DEFAULT.description,
)
"""Executes steps in the process of the run, as Dagster's `in_process_executor`, with open connections.

The steps are short, and a process for each would take seconds to start.
"""
