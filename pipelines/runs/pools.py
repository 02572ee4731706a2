"""The pools of the assets in the Dagster instance."""

import dagster as dg

from assets.executions.assets import POOL


def create_pools_of_home() -> None:
    """Create the pools of the instance in DAGSTER_HOME."""
    with dg.DagsterInstance.get() as instance:
        create_pools(instance)


def create_pools(instance: dg.DagsterInstance) -> None:
    """Create the row of each pool with the default limit, if it does not exist.

    Dagster reads the limits before it creates the rows of new pools, so without this the first runs of a new
    instance would start at once.
    """
    storage = instance.event_log_storage
    if POOL not in {pool.name for pool in storage.get_pool_limits()}:
        storage.initialize_concurrency_limit_to_default(POOL)
