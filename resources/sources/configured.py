"""From settings to sources.

Belongs here: which class serves which kind.
Does not belong here: anything that a source does.
"""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from resources.settings import Settings
from resources.sources.archive import Archive


def configured(settings: Settings) -> list[Archive]:
    """Open every source that the settings name.

    Raises:
        ConfigurationError: they name none, or one whose place is not supported.
    """
    settings.require_sources()
    return [Archive(source.uri, zone=_zone(source.time_zone)) for source in settings.sources]


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    return datetime.strptime(name, "%z").tzinfo if name[0] in "+-" else ZoneInfo(name)
