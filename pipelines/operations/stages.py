"""The stages of the pipeline, in the order in which they depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.report.assets import NAME as ANOMALY_REPORT
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    EQUIPMENT_HEALTH,
    EXECUTION_HEALTH,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
)
from resources.errors import ConfigurationError, suggest


@dataclass(frozen=True)
class Stage:
    """A part of the pipeline that one run materializes.

    Attributes:
        name: as in `ledger backfill --only`.
        daily_assets: the assets with a partition for each day.
        other_assets: the assets without partitions.
    """

    name: str
    daily_assets: tuple[str, ...]
    other_assets: tuple[str, ...] = ()

    @property
    def assets(self) -> tuple[str, ...]:
        """The names of all assets."""
        return self.daily_assets + self.other_assets


EXECUTIONS = Stage("executions", (INFERENCE_EXECUTIONS.name,), (INFERENCE_SCHEDULERS.name,))
RESULTS = Stage("results", (ANOMALY_PREDICTIONS.name,))
ANOMALIES = Stage("anomalies", (ANOMALY_FRAGMENTS.name,), (ANOMALY_EVENTS.name,))
HEALTH = Stage("health", (EXECUTION_HEALTH.name, EQUIPMENT_HEALTH.name))
REPORT = Stage("report", (ANOMALY_REPORT,))
STAGES = (EXECUTIONS, RESULTS, ANOMALIES, HEALTH, REPORT)


def select_stages(names: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages with some names, in their order; without names, all stages.

    Args:
        names: each is a name, or several with commas between them.

    Raises:
        ConfigurationError: there is no such stage.
    """
    selected = [name.strip() for text in names for name in text.split(",") if name.strip()]
    known = [stage.name for stage in STAGES]
    for name in selected:
        if name not in known:
            raise ConfigurationError(
                f"Cannot select the stage {name!r}: it does not exist{suggest(name, known)}",
                where="--only",
                next_step=f"use some of: {', '.join(known)}",
            )
    return tuple(stage for stage in STAGES if stage.name in selected) if selected else STAGES
