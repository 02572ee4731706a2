"""What the settings say of pages, for all who make them."""

from assets.report.assets import Shown
from resources.config.settings import Settings


def shown_by(settings: Settings) -> Shown:
    """Return what the settings say of pages."""
    return Shown(
        folder=settings.report.folder,
        time_zone=settings.report.time_zone,
        registry=settings.equipment.registry,
        silences=settings.alerts.silences,
        gap_steps=settings.events.gap_steps,
    )
