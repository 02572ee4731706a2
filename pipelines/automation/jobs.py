"""The jobs that schedules start."""

from typing import TYPE_CHECKING

import dagster as dg

from assets.tables import INFERENCE_EXECUTIONS

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

REFRESH = "refresh"
MAX_RUNTIME, MAX_RUNTIME_SECONDS = "dagster/max_runtime", 2 * 3600
"""A run whose process died is declared failed after this: until then it would keep others from starting."""


def refresh() -> "UnresolvedAssetJobDefinition":
    """Declare the job that asks the services again; what depends on it follows by itself, if it changed."""
    return dg.define_asset_job(
        REFRESH,
        selection=dg.AssetSelection.assets(INFERENCE_EXECUTIONS.name),
        tags={MAX_RUNTIME: str(MAX_RUNTIME_SECONDS)},
        description="Ask the services for the days that are not settled, as the schedule of this name does.",
    )
