"""Apprise URLs: their names in messages, their validation, and the plugins that send.

Nearly every part of such a URL can be a secret: host, path and query. Messages therefore contain only its
scheme and its position in `alerts.urls`. Apprise takes a second to import, so it is imported only for a URL.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprise import NotifyBase

SETTING = "alerts.urls"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19})://")


def describe_url(url: str, number: int) -> str:
    """Return the name of a URL for messages: its position in the settings and its scheme."""
    scheme = _SCHEME.match(url)
    return f"{SETTING}[{number}]" + (f" ({scheme[1].lower()})" if scheme else "")


def is_apprise_url(url: str) -> bool:
    """Whether Apprise knows the service and finds all its required parts; nothing is sent."""
    return open_plugin(url) is not None


def open_plugin(url: str) -> "NotifyBase | None":
    """Return the plugin that sends to a URL; None if the URL is not valid."""
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 (slow to import)

    asset = AppriseAsset(app_id="lookout-ledger", app_desc="lookout-ledger", async_mode=False)
    with collect_log():
        try:
            plugin = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # from the parsers of services
            return None
    return plugin


class _LogCollector(logging.Handler):
    """Collects the warnings of the thread that created it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.messages.append(record.getMessage())


@contextmanager
def collect_log() -> Iterator[list[str]]:
    """Collect what Apprise logs, which can contain the whole URL, and show it nowhere."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    collector = _LogCollector()
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
