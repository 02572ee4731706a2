"""Prefixes of asset keys and groups: everything that names an asset has them, and nothing else changes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.framework.asset_names import KEY_PREFIX_TAG
from assets.tables import EQUIPMENT_HEALTH, INFERENCE_EXECUTIONS
from pipelines.automation import event_alerts
from pipelines.automation.schedules import REFRESH
from pipelines.definitions import FULL_PIPELINE, build_defs
from resources.config.sections import AlertSettings, DagsterSettings
from resources.config.settings import ApiSettings, HistorySettings, LakeSettings, Settings

PREFIX = ("plant_a", "ledger")
NOW = datetime(2026, 10, 6, 12, tzinfo=UTC)


def build(folder: Path, **names: Any) -> dg.Definitions:
    settings = Settings(
        lake=LakeSettings(uri=str(folder / "lake")),
        history=HistorySettings(start_date=NOW.date()),
        sources=(ApiSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:1"),),
        dagster=DagsterSettings(**names),
    )
    return build_defs({"clock": lambda: NOW}, settings=settings)


@pytest.fixture
def plain(tmp_path: Path) -> dg.Definitions:
    return build(tmp_path)


@pytest.fixture
def prefixed(tmp_path: Path) -> dg.Definitions:
    return build(tmp_path, key_prefix="plant_a/ledger", group_prefix="plant_a")


def add_prefix(key: dg.AssetKey) -> dg.AssetKey:
    return dg.AssetKey([*PREFIX, *key.path])


def test_keys_dependencies_groups_and_checks_have_the_prefixes(
    plain: dg.Definitions, prefixed: dg.Definitions
) -> None:
    before, after = plain.resolve_asset_graph(), prefixed.resolve_asset_graph()

    assert set(after.get_all_asset_keys()) == {add_prefix(key) for key in before.get_all_asset_keys()}
    for key in before.get_all_asset_keys():
        node, named = before.get(key), after.get(add_prefix(key))
        assert named.parent_keys == {add_prefix(parent) for parent in node.parent_keys}
        assert named.group_name == f"plant_a_{node.group_name}"
        assert named.partitions_def == node.partitions_def
        assert named.partition_mappings == {
            add_prefix(parent): mapping for parent, mapping in node.partition_mappings.items()
        }
        assert named.automation_condition == node.automation_condition
    assert {(check.asset_key, check.name) for check in after.asset_check_keys} == {
        (add_prefix(check.asset_key), check.name) for check in before.asset_check_keys
    }


def test_the_column_lineage_has_the_prefix(prefixed: dg.Definitions) -> None:
    (spec,) = [
        spec for spec in prefixed.resolve_all_asset_specs() if spec.key.path[-1] == EQUIPMENT_HEALTH.name
    ]

    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    assert {tuple(dep.asset_key.path[:-1]) for deps in lineage.values() for dep in deps} == {PREFIX}


def test_steps_keep_their_names_so_that_run_config_does_not_depend_on_the_prefix(
    plain: dg.Definitions, prefixed: dg.Definitions
) -> None:
    for job in (FULL_PIPELINE, REFRESH):
        names = [defs.resolve_job_def(job).graph.node_names() for defs in (plain, prefixed)]
        assert sorted(names[0]) == sorted(names[1])


def test_without_settings_names_and_jobs_are_as_before(plain: dg.Definitions) -> None:
    graph = plain.resolve_asset_graph()

    assert graph.get(dg.AssetKey(INFERENCE_EXECUTIONS.name)).group_name == "executions"
    assert KEY_PREFIX_TAG not in plain.resolve_job_def(REFRESH).tags


@pytest.mark.parametrize(("runs_of", "is_skipped"), [(PREFIX, True), (("plant_b",), False), ((), False)])
def test_the_schedule_waits_only_for_runs_of_its_own_location(
    prefixed: dg.Definitions, tmp_path: Path, runs_of: tuple[str, ...], *, is_skipped: bool
) -> None:
    repository = prefixed.get_repository_def()
    job, tags = prefixed.resolve_job_def(REFRESH), {KEY_PREFIX_TAG: "/".join(runs_of)} if runs_of else {}
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        context = dg.build_schedule_context(
            instance, NOW, repository_def=repository, resources=dict(prefixed.resources or {})
        )
        context._instance = instance  # otherwise the context opens the same instance again
        result = repository.get_schedule_def(REFRESH).evaluate_tick(context)

    assert ("already covers all due days" in (result.skip_message or "")) is is_skipped


def test_notifications_link_to_the_asset_with_its_prefix() -> None:
    settings = Settings(
        alerts=AlertSettings(dagster_url="https://dagster.example.com"),
        dagster=DagsterSettings(key_prefix="plant_a"),
    )

    assert event_alerts._get_link(settings) == "https://dagster.example.com/assets/plant_a/anomaly_events"


@pytest.mark.parametrize("prefix", ["plant a", "", "a//b", "a/"])
def test_a_prefix_that_dagster_would_refuse_is_rejected(prefix: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        DagsterSettings(key_prefix=prefix)
