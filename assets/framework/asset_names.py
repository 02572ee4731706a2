"""Names in the Dagster instance: asset keys and groups, with the prefixes of the settings.

Assets are declared without prefixes. Steps keep their names, so the config of runs does not depend on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from assets.framework.metadata import PREFIX

_LINEAGE = "dagster/column_lineage"

KEY_PREFIX_TAG = f"{PREFIX}key_prefix"
"""Tag of the jobs of a location with a key prefix, which distinguishes them from those of other locations."""


@dataclass(frozen=True)
class AssetNames:
    """The prefixes of asset keys and of groups.

    Attributes:
        key_prefix: the first parts of each key.
        group_prefix: None: groups keep their names.
    """

    key_prefix: tuple[str, ...] = ()
    group_prefix: str | None = None

    def build_key(self, name: str) -> dg.AssetKey:
        """Return the key of the asset of a table, or of the report."""
        return dg.AssetKey([*self.key_prefix, name])

    def build_keys(self, names: Sequence[str]) -> list[dg.AssetKey]:
        """Return the keys of some assets."""
        return [self.build_key(name) for name in names]

    @property
    def job_tags(self) -> dict[str, str]:
        """Tags of jobs whose name another location may have too."""
        return {KEY_PREFIX_TAG: "/".join(self.key_prefix)} if self.key_prefix else {}

    def has_run(self, run: dg.DagsterRun) -> bool:
        """Return whether the run of a job is of this location, or of one with the same prefix."""
        return run.tags.get(KEY_PREFIX_TAG) == self.job_tags.get(KEY_PREFIX_TAG)

    def add_prefixes(
        self, assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]
    ) -> list[dg.AssetsDefinition | dg.AssetSpec]:
        """Add the prefixes to declared assets, their dependencies and their column lineage."""
        if not (self.key_prefix or self.group_prefix):
            return list(assets)
        keys = {
            spec.key: self.build_key(spec.key.path[-1])
            for asset in assets
            for spec in (asset.specs if isinstance(asset, dg.AssetsDefinition) else [asset])
        }
        named = dg.map_asset_specs(self._rename_group_and_lineage, assets)
        return [
            # as Dagster's load_assets_from_modules does with its key_prefix
            asset.with_attributes(asset_key_replacements=keys)
            if isinstance(asset, dg.AssetsDefinition)
            else asset.replace_attributes(
                key=keys[asset.key],
                deps=[dep._replace(asset_key=self.build_key(dep.asset_key.path[-1])) for dep in asset.deps],
            )
            for asset in named
            if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec)
        ]

    def _rename_group_and_lineage(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        lineage = spec.metadata.get(_LINEAGE)
        if isinstance(lineage, dg.TableColumnLineage):
            columns = {
                column: [
                    dg.TableColumnDep(self.build_key(dep.asset_key.path[-1]), dep.column_name) for dep in deps
                ]
                for column, deps in lineage.deps_by_column.items()
            }
            spec = spec.merge_attributes(metadata={_LINEAGE: dg.TableColumnLineage(columns)})
        return spec.replace_attributes(group_name=self.build_group(spec.group_name))

    def build_group(self, name: str | None) -> str | None:
        """Return the name of a group."""
        return f"{self.group_prefix}_{name}" if self.group_prefix and name else name
