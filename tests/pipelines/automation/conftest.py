"""Fixtures of the schedules."""

from tests.support.scheduled_location import ticking  # noqa: F401 (a fixture)
