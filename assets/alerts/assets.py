"""The table of sent notifications as a Dagster asset; a sensor writes it, not a run."""

import dagster as dg

from assets.framework.asset_specs import asset_spec_kwargs
from assets.tables import ANOMALY_EVENTS, EVENT_NOTIFICATIONS

GROUP = "alerts"


def build(sensor: str) -> list[dg.AssetSpec]:
    """Declare the asset that a sensor writes."""
    return [
        dg.AssetSpec(
            EVENT_NOTIFICATIONS.name,
            deps=[ANOMALY_EVENTS.name],
            **asset_spec_kwargs(EVENT_NOTIFICATIONS, GROUP, "derived", written_by=sensor),
        )
    ]
