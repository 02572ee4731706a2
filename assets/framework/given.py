"""What assets and sensors are given to work with, by type."""

from collections.abc import Callable, Sequence
from datetime import datetime

from resources.sources.base import Source

Clock = Callable[[], datetime]
"""Tells the time, in UTC."""

OpenSources = Callable[[], Sequence[Source]]
"""Opens what the extraction asks."""
