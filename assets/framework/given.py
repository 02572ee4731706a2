"""What assets and sensors are given to work with, by type."""

from collections.abc import Callable, Sequence
from datetime import datetime

from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource

Clock = Callable[[], datetime]
"""Tells the time, in UTC."""

OpenSources = Callable[[], Sequence[ArchiveSource | ApiSource]]
"""Opens what the extraction asks."""
