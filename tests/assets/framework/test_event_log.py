import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest

from assets.framework.event_log import keep_connections_open
from assets.framework.executor import connected_executor

ASSET = dg.AssetKey("a")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@dg.op(config_schema=int)
def record(context: dg.OpExecutionContext) -> None:
    for number in range(context.op_config):
        context.log_event(dg.AssetMaterialization(ASSET, partition=str(number)))


@dg.job(executor_def=connected_executor)
def record_all() -> None:
    record()


def _materialize(instance: dg.DagsterInstance, count: int) -> bool:
    config = {"ops": {"record": {"config": count}}}
    with dg.execute_job(dg.reconstructable(record_all), instance, run_config=config) as result:
        return result.success


def _count_connections(instance: dg.DagsterInstance, count: int) -> int:
    with patch("sqlite3.dbapi2.connect", wraps=sqlite3.connect) as connect:
        assert _materialize(instance, count)
    return connect.call_count


def test_connections_of_a_run_do_not_grow_with_its_events(local: dg.DagsterInstance) -> None:
    _materialize(local, 1)

    assert _count_connections(local, 40) == _count_connections(local, 2) > 0


def test_other_processes_see_each_event_at_once(local: dg.DagsterInstance) -> None:
    def count_events() -> int:
        with dg.DagsterInstance.from_ref(local.get_ref()) as other:
            return len(other.fetch_materializations(ASSET, limit=9).records)

    with keep_connections_open(local):
        for number in range(3):
            local.report_runless_asset_event(dg.AssetMaterialization(ASSET))
            assert count_events() == number + 1


def test_a_process_that_watches_a_run_is_called_for_each_event(local: dg.DagsterInstance) -> None:
    seen = queue.Queue[str]()

    @dg.op
    def record(context: dg.OpExecutionContext) -> None:
        with keep_connections_open(context.instance):
            context.log_event(dg.AssetMaterialization(ASSET))  # opens the connections
            with dg.DagsterInstance.from_ref(local.get_ref()) as other:
                other.watch_event_logs(context.run_id, None, lambda event, _: seen.put(event.user_message))
                context.log.info("the connections are open")
                while seen.get(timeout=20) != "the connections are open":
                    pass

    @dg.job
    def record_all() -> None:
        record()

    assert record_all.execute_in_process(instance=local).success


def test_the_storage_is_as_before_after_the_context(local: dg.DagsterInstance) -> None:
    before = dict(vars(local.event_log_storage))

    with keep_connections_open(local), keep_connections_open(local):
        local.report_runless_asset_event(dg.AssetMaterialization(ASSET))

    assert vars(local.event_log_storage).keys() == before.keys()
    assert len(local.fetch_materializations(ASSET, limit=9).records) == 1


def test_a_failed_transaction_leaves_the_connection_usable(local: dg.DagsterInstance) -> None:
    with keep_connections_open(local):
        with pytest.raises(ZeroDivisionError), local.event_log_storage.index_connection():  # type: ignore[attr-defined]
            raise ZeroDivisionError
        local.report_runless_asset_event(dg.AssetMaterialization(ASSET))

    assert len(local.fetch_materializations(ASSET, limit=9).records) == 1


def test_a_storage_in_memory_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance, keep_connections_open(instance):
        assert record_all.execute_in_process({"ops": {"record": {"config": 2}}}, instance).success
