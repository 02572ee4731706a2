"""From settings to sources."""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from resources.aws.session import AwsAccess
from resources.config.settings import ApiSettings, ArchiveSettings, Settings
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource


def open_sources(settings: Settings) -> list[ArchiveSource | ApiSource]:
    """Open every source that the settings name.

    Raises:
        ConfigurationError: they name none, or one whose place is not supported.
    """
    settings.require_sources()
    return [_opened(source) for source in settings.sources]


def _opened(source: ArchiveSettings | ApiSettings) -> ArchiveSource | ApiSource:
    if isinstance(source, ArchiveSettings):
        return ArchiveSource(source.uri, zone=_zone(source.time_zone))
    access = AwsAccess(source.region, source.profile, source.role_arn, source.endpoint_url)
    return ApiSource(access, source.schedulers, service_end=source.service_end)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    return datetime.strptime(name, "%z").tzinfo if name[0] in "+-" else ZoneInfo(name)
