"""Results of assets: data versions, row counts, previews and further metadata of each materialization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.framework.metadata import build_metadata
from assets.framework.row_content import compute_content_version
from assets.tables import Table
from resources.lake.lake import WriteResult
from resources.markdown import escape_markdown

PREVIEW_ROWS, PREVIEW_COLUMNS, PREVIEW_CHARACTERS = 10, 16, 32
"""Every materialization has a preview, so it must stay small: about 3 kB."""

# Dagster's daemon and its staleness rules read these tags; the constants are private in Dagster 1.13.
_DATA_VERSION = "dagster/data_version"
_ROW_COUNT = "dagster/partition_row_count"
_IS_USER_PROVIDED = "dagster/data_version_is_user_provided"


@dataclass(frozen=True)
class PartitionResult:
    """The content of one partition of one asset after a run.

    Attributes:
        asset: the name of the asset.
        data_version: depends on the content only.
        metadata: by name without the prefix.
        summary: the log line about this partition; empty: none.
    """

    asset: str
    data_version: str
    metadata: Mapping[str, Any]
    summary: str = ""

    def materialization(self, partition: str, key_prefix: Sequence[str]) -> dg.AssetMaterialization:
        """The event that records it."""
        return dg.AssetMaterialization(
            dg.AssetKey([*key_prefix, self.asset]),
            partition=partition,
            metadata=build_metadata(self.metadata),
            tags={_DATA_VERSION: self.data_version, _IS_USER_PROVIDED: "true"},
        )

    def observation(self, partition: str, key_prefix: Sequence[str]) -> dg.AssetObservation:
        """The event that records a part of the partition, without a data version."""
        return dg.AssetObservation(
            dg.AssetKey([*key_prefix, self.asset]),
            partition=partition,
            metadata=build_metadata(self.metadata),
        )


def partition_result(
    table: Table, written: WriteResult, metadata: Mapping[str, Any], summary: str = ""
) -> PartitionResult:
    """Return the result of one partition of a table."""
    return PartitionResult(
        table.name,
        compute_content_version(table, written.rows),
        {
            _ROW_COUNT: written.rows.num_rows,
            **metadata,
            **_common_metadata(table, written),
        },
        summary,
    )


def combine_results(
    parts: Sequence[PartitionResult], metadata: Mapping[str, Any], summary: str = ""
) -> PartitionResult:
    """Return the result of a partition that was recorded in parts, with metadata of the whole.

    The data version is that of the only part, or a hash of all.
    """
    first = max(parts, key=lambda part: bool(part.metadata[_ROW_COUNT]))  # its preview has rows
    version = first.data_version
    if len(parts) > 1:
        version = blake2b("".join(part.data_version for part in parts).encode(), digest_size=16).hexdigest()
    sums = {
        _ROW_COUNT: sum(part.metadata[_ROW_COUNT] for part in parts),
        "changed": any(part.metadata["changed"] for part in parts),
    }
    return PartitionResult(first.asset, version, {**first.metadata, **sums, **metadata}, summary)


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
    }


def format_preview(table: Table, rows: pa.Table) -> str:
    """Format rows that are evenly spread over the table as Markdown.

    If there are too many columns, it prefers the key, then columns with few nulls and short values.
    """
    count = min(PREVIEW_ROWS, rows.num_rows)
    if not count:
        return "No rows."
    sample = rows.take([at * rows.num_rows // count for at in range(count)]).to_pydict()
    texts = {name: [_format_value(value) for value in values] for name, values in sample.items()}
    ranked = sorted(
        (name for name in texts if any(texts[name])),
        key=lambda name: (
            name not in table.key,
            sum(map(bool, texts[name])) <= count / 2,
            max(map(len, texts[name])) > PREVIEW_CHARACTERS,
        ),
    )
    selected = set(ranked[:PREVIEW_COLUMNS])
    names = [name for name in texts if name in selected]
    cells = zip(*(map(_format_cell, texts[name]) for name in names), strict=True)
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["---"] * len(names), *cells])


def _format_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")[: len("YYYY-MM-DD hh:mm:ss")]
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return " ".join(str(value).split())


@lru_cache(maxsize=4096)  # most values repeat in the rows and days of a run
def _format_cell(text: str) -> str:
    """Shorten long values in the middle, because ARNs and object keys differ at the end."""
    if len(text) > PREVIEW_CHARACTERS:
        half = PREVIEW_CHARACTERS // 2
        text = f"{text[: half - 1]}…{text[-half:]}"
    return escape_markdown(text)
