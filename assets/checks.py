"""Asset checks: what a person should look at though the run succeeded.

Belongs here: questions to the lake with a yes or a no.
Does not belong here: what makes a run fail.
"""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
import pyarrow.compute as pc

from assets.batched import told_to_people
from assets.executions import archives
from assets.tables import ARCHIVE_FILES, INFERENCE_EXECUTIONS, REJECTED_EXECUTIONS
from resources.lake import Lake
from resources.sources.api import Api
from resources.sources.archive import Archive

EXAMPLES = 5


def build() -> list[dg.AssetChecksDefinition]:
    """Declare the checks; their resources are `lake` and `sources`."""

    @dg.asset_check(
        asset=INFERENCE_EXECUTIONS.name,
        description="Every saved response is readable to its end and complete.",
    )
    def saved_responses_whole(
        lake: dg.ResourceParam[Lake], sources: dg.ResourceParam[Callable[[], Sequence[Archive | Api]]]
    ) -> dg.AssetCheckResult:
        with told_to_people():
            there = {
                file.uri for source in sources() if isinstance(source, Archive) for file in source.files()
            }
            files = [file for uri, file in archives.known(lake.read(ARCHIVE_FILES)).items() if uri in there]
        broken = [file.uri for file in files if file.error]
        incomplete = archives.open_ended(files)
        return dg.AssetCheckResult(
            passed=not broken and not incomplete,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(archives.oddities(files)) or f"{len(files)} saved responses are whole.",
            metadata={"files": len(files), "unreadable": len(broken), "incomplete": len(incomplete)},
        )

    @dg.asset_check(
        asset=INFERENCE_EXECUTIONS.name,
        description="No summary had to be put aside in rejected_executions.",
    )
    def summaries_usable(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        with told_to_people():
            rejected = lake.read(REJECTED_EXECUTIONS)
        reasons: dict[str, Any] = {
            entry["values"]: entry["counts"]
            for entry in pc.value_counts(rejected["reason"]).to_pylist()[:EXAMPLES]
        }
        return dg.AssetCheckResult(
            passed=rejected.num_rows == 0,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{rejected.num_rows} summaries stand in rejected_executions.",
            metadata={"rejected": rejected.num_rows, "reasons": reasons},
        )

    return [saved_responses_whole, summaries_usable]
