"""What assets and sensors are given to work with, by type.

Belongs here: the resources that several of them share, as their parameters name them.
Does not belong here: what is bound to them (see `pipelines.definitions`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from resources.sources.api import Api
from resources.sources.archive import Archive

Clock = Callable[[], datetime]
"""Tells the time, in UTC."""

Sources = Callable[[], Sequence[Archive | Api]]
"""Opens what the extraction asks."""
