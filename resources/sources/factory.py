"""From settings to sources."""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from resources.aws.session import Access
from resources.config.settings import ApiSource, ArchiveSource, Settings
from resources.sources.api import Api
from resources.sources.archive import Archive


def configured(settings: Settings) -> list[Archive | Api]:
    """Open every source that the settings name.

    Raises:
        ConfigurationError: they name none, or one whose place is not supported.
    """
    settings.require_sources()
    return [_opened(source) for source in settings.sources]


def _opened(source: ArchiveSource | ApiSource) -> Archive | Api:
    if isinstance(source, ArchiveSource):
        return Archive(source.uri, zone=_zone(source.time_zone))
    access = Access(source.region, source.profile, source.role_arn, source.endpoint_url)
    return Api(access, source.schedulers, service_end=source.service_end)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    return datetime.strptime(name, "%z").tzinfo if name[0] in "+-" else ZoneInfo(name)
