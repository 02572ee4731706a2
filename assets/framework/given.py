"""What assets and sensors are given to work with, by type."""

from collections.abc import Callable, Sequence
from datetime import datetime

from resources.sources.api import Api
from resources.sources.archive import Archive

Clock = Callable[[], datetime]
"""Tells the time, in UTC."""

Sources = Callable[[], Sequence[Archive | Api]]
"""Opens what the extraction asks."""
