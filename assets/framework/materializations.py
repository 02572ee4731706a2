"""Results of assets: data versions, row counts, previews and further metadata of each materialization."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.framework.asset_specs import column_schema
from assets.framework.metadata import build_metadata
from assets.framework.row_content import compute_content_version
from assets.tables import Table
from resources.lake.lake import WriteResult
from resources.notifications import escape_markdown

PREVIEW_ROWS, PREVIEW_COLUMNS, PREVIEW_CHARACTERS = 10, 12, 32
"""Every materialization has a preview, so it must stay small: about 3 kB."""

# Dagster's daemon and its staleness rules read these tags; the constants are private in Dagster 1.13.
_DATA_VERSION = "dagster/data_version"
_IS_USER_PROVIDED = "dagster/data_version_is_user_provided"


@dataclass(frozen=True)
class PartitionResult:
    """The content of one partition of one asset after a run.

    Attributes:
        asset: the asset.
        data_version: depends on the content only.
        metadata: by name without the prefix.
        summary: the log line about this partition; empty: none.
    """

    asset: dg.AssetKey
    data_version: str
    metadata: Mapping[str, Any]
    summary: str = ""

    def materialization(self, partition: str) -> dg.AssetMaterialization:
        """The event that records it."""
        return dg.AssetMaterialization(
            self.asset,
            partition=partition,
            metadata=build_metadata(self.metadata),
            tags={_DATA_VERSION: self.data_version, _IS_USER_PROVIDED: "true"},
        )


def partition_result(
    table: Table, written: WriteResult, metadata: Mapping[str, Any], summary: str = ""
) -> PartitionResult:
    """Return the result of one partition of a table."""
    return PartitionResult(
        dg.AssetKey(table.name),
        compute_content_version(table, written.rows),
        {
            "dagster/partition_row_count": written.rows.num_rows,
            **metadata,
            **_common_metadata(table, written),
        },
        summary,
    )


def unpartitioned_result(
    table: Table, written: WriteResult, metadata: Mapping[str, Any]
) -> dg.MaterializeResult[Any]:
    """Return the result of a table that has no partitions."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(compute_content_version(table, written.rows)),
        metadata=build_metadata(
            {"dagster/row_count": written.rows.num_rows, **metadata, **_common_metadata(table, written)}
        ),
    )


def _common_metadata(table: Table, written: WriteResult) -> dict[str, Any]:
    return {
        "changed": written.changed,
        "path": dg.MetadataValue.path(str(written.path)),
        "preview": dg.MetadataValue.md(format_preview(table, written.rows)),
        "dagster/column_schema": column_schema(table),
    }


def format_preview(table: Table, rows: pa.Table) -> str:
    """Format the first rows as a Markdown table: the key, then columns whose values differ."""
    sample = rows.slice(0, PREVIEW_ROWS)
    if not sample.num_rows:
        return "No rows."
    values = sample.to_pydict()
    ranked = sorted(
        (name for name in values if sample[name].null_count < sample.num_rows),
        key=lambda name: (name not in table.key, len(set(map(str, values[name]))) == 1),
    )
    shown = set(ranked[:PREVIEW_COLUMNS])
    names = [name for name in values if name in shown]
    lines = [
        names,
        ["---"] * len(names),
        *zip(*(map(_format_cell, values[name]) for name in names), strict=True),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _format_cell(value: object) -> str:
    """Long values lose their middle: ARNs and keys of objects differ at the end."""
    if value is None:
        return ""
    text = " ".join(str(value).split())
    if len(text) > PREVIEW_CHARACTERS:
        half = PREVIEW_CHARACTERS // 2
        text = f"{text[: half - 1]}…{text[-half:]}"
    return escape_markdown(text)
