"""What the settings say of pages, for all who make them.

Belongs here: picking it out.
Does not belong here: what a page is (see `assets.reporting`).
"""

from assets.reporting.report_asset import Shown
from resources.settings import Settings


def shown_by(settings: Settings) -> Shown:
    """Return what the settings say of pages."""
    return Shown(
        folder=settings.report.folder,
        time_zone=settings.report.time_zone,
        registry=settings.equipment.registry,
        silences=settings.alerts.silences,
        gap_steps=settings.events.gap_steps,
    )
