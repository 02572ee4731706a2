"""Opens the sources that the settings name."""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from resources.aws.session import AwsAccess
from resources.config.settings import ApiSettings, ArchiveSettings, Settings
from resources.read_limits import ReadLimits
from resources.sources import api, archive
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource
from resources.sources.base import Source


def open_sources(settings: Settings) -> list[Source]:
    """Open every source of the settings; no connection is made yet.

    Raises:
        ConfigurationError: the settings have no source, or one whose location is not supported.
    """
    settings.require_sources()
    limits = settings.limits.read_limits
    return [_OPEN_BY_KIND[source.kind](source, limits) for source in settings.sources]


def _open_archive(settings: ArchiveSettings, limits: ReadLimits) -> Source:
    return ArchiveSource(settings.uri, zone=parse_zone(settings.time_zone), limits=limits)


def _open_api(settings: ApiSettings, limits: ReadLimits) -> Source:
    access = AwsAccess(settings.region, settings.profile, settings.role_arn, settings.endpoint_url)
    return ApiSource(access, settings.schedulers, service_end=settings.service_end, limits=limits)


_OPEN_BY_KIND: Mapping[str, Callable[[Any, ReadLimits], Source]] = {
    archive.KIND: _open_archive,
    api.KIND: _open_api,
}
"""One entry for each kind of source in the settings."""


def parse_zone(name: str | None) -> tzinfo | None:
    """Return the zone of an IANA name or of an offset such as +02:00."""
    if name is None:
        return None
    return datetime.strptime(name, "%z").tzinfo if name[0] in "+-" else ZoneInfo(name)
