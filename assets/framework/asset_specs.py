"""Asset specs: what the Dagster UI shows of each table, derived from the table declarations."""

import warnings
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

import dagster as dg

from assets.framework.automation import TABLE_TAG
from assets.framework.metadata import build_metadata
from assets.tables import TABLES, Column, Table
from assets.tables.docs import PAGE
from resources.lake.lake import Lake

OWNERS = ["team:machine-monitoring"]
"""Owner of every asset in the Dagster UI."""

Layer = Literal["raw", "derived", "report"]
"""`raw`: what a source returned; `derived`: computed from tables of the lake; `report`: made for people."""

_CHECKOUT = Path(__file__).resolve().parents[2]


class AssetSpecKwargs(TypedDict):
    """The arguments that `dg.asset` and `dg.AssetSpec` share."""

    group_name: str
    owners: list[str]
    tags: dict[str, str]
    kinds: set[str]
    description: str
    metadata: dict[str, Any]


def asset_spec_kwargs(
    table: Table,
    group: str,
    layer: Layer,
    *,
    kinds: Collection[str] = (),
    written_by: str | None = None,
) -> AssetSpecKwargs:
    """Describe the asset of a table.

    Args:
        table: the table that the asset writes.
        group: the asset group, which is also the domain.
        layer: where the table is between source and report.
        kinds: technologies besides Parquet; Dagster shows at most three.
        written_by: the asset or sensor that writes this table together with its own.
    """
    docs = f"{PAGE.relative_to(_CHECKOUT).as_posix()}#{table.name}"
    paragraphs = [
        table.description,
        *([f"Written by `{written_by}`."] if written_by else []),
        f"Primary key: {', '.join(f'`{name}`' for name in table.key)}.",
        f"Documentation: `{docs}`.",
    ]
    return {
        "group_name": group,
        "owners": OWNERS,
        "tags": {"domain": group, "layer": layer, TABLE_TAG: table.name},
        "kinds": {"parquet", *kinds},
        "description": "\n\n".join(paragraphs),
        "metadata": build_metadata(
            {
                "dagster/table_name": table.name,
                "dagster/column_schema": column_schema(table),
                "dagster/column_lineage": column_lineage(table),
                "docs": docs,
                "schema_version": table.version,
            }
        ),
    }


@cache
def column_schema(table: Table) -> dg.TableSchema:
    """Return a table's columns for the Dagster UI."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                str(column.type),
                description=_describe_column(column),
                constraints=dg.TableColumnConstraints(
                    nullable=not column.required,
                    unique=table.key == (column.name,),
                    other=["primary key"] if column.name in table.key else [],
                ),
            )
            for column in table.columns
        ]
    )


def _describe_column(column: Column) -> str:
    """Add the upstream to the comment, because the open-source UI has no view of column lineage."""
    names = [f"{table}.{name}" for table, name in column.lineage]
    if len(names) > 1:
        names = list(dict.fromkeys(table for table, _ in column.lineage))
    return f"{column.comment}. From {', '.join(names)}." if names else column.comment


@cache
def column_lineage(table: Table) -> dg.TableColumnLineage:
    """Return the upstream columns of each column that is derived from another table."""
    return dg.TableColumnLineage(
        {
            column.name: [
                dg.TableColumnDep(dg.AssetKey(upstream), upstream_column)
                for upstream, upstream_column in column.lineage
            ]
            for column in table.columns
            if column.lineage
        }
    )


def add_locations(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec], lake: Lake
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Add what only a deployment knows: each table's place in the lake, and where its source code is."""
    tables = {table.name: table for table in TABLES}

    def add_location(spec: dg.AssetSpec) -> dg.AssetSpec:
        table = tables.get(spec.key.path[-1])
        if table is None:
            return spec
        uri = (
            (lake.root.absolute() / table.name).as_uri()
            if lake.is_local
            else f"{lake.uri.rstrip('/')}/{table.name}"
        )
        return spec.merge_attributes(
            metadata=build_metadata({"dagster/uri": uri, "files": lake.files(table)}),
            kinds=set() if lake.is_local else {"s3"},
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references are beta in Dagster 1.13
        located = dg.with_source_code_references(dg.map_asset_specs(add_location, assets))
    return [asset for asset in located if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec)]
