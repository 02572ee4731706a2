"""What the settings say of pages, for all who make them."""

from assets.report.assets import ReportSettings
from resources.config.settings import Settings


def report_settings(settings: Settings) -> ReportSettings:
    """Return what the settings say of pages."""
    return ReportSettings(
        folder=settings.report.folder,
        time_zone=settings.report.time_zone,
        registry=settings.equipment.registry,
        silences=settings.alerts.silences,
        gap_steps=settings.events.gap_steps,
    )
