"""Contenders of a benchmark for its tests, which run them in processes of their own."""

import time
from collections.abc import Callable


def prepare() -> Callable[[], dict[str, int]]:
    """Return work with one row."""
    return lambda: {"rows": 1}


def prepare_other() -> Callable[[], dict[str, int]]:
    """Return work with other rows."""
    return lambda: {"rows": 2}


def prepare_sleep() -> Callable[[], dict[str, int]]:
    """Return work that takes a minute."""
    time.sleep(60)
    return prepare()
