"""Notifications through Apprise: chats, mail, pagers and other services, each named by a URL.

Nearly every part of such a URL can be a secret: host, path and query. Messages therefore contain only its
scheme and its position in `alerts.urls`. Apprise takes a second to import, so it is imported only if a URL is
set.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from resources.address_guard import guard_addresses
from resources.errors import ConfigurationError, RetryLaterError
from resources.notifications import Notice, redact, refused_address_error

if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyType

SETTING = "alerts.urls"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19})://")
_SEPARATORS = re.compile(r"[/:@?&=#,;+\s]+")
_MIN_SECRET_LENGTH = 3
_RESOLVED_KINDS = {"run_recovered", "check_recovered", "event_over"}


def describe_url(url: str, number: int) -> str:
    """Return the name of a URL for messages: its position in the settings and its scheme."""
    scheme = _SCHEME.match(url)
    return f"{SETTING}[{number}]" + (f" ({scheme[1].lower()})" if scheme else "")


def is_apprise_url(url: str) -> bool:
    """Whether Apprise knows the service and finds all its required parts; nothing is sent."""
    return _open_plugin(url) is not None


class AppriseTarget:
    """A service that Apprise notifies."""

    def __init__(self, url: str, number: int, *, allow_private: bool = False) -> None:
        """Set the URL; nothing is sent yet.

        Args:
            url: an Apprise URL.
            number: its position in `alerts.urls`.
            allow_private: whether connections to addresses that are not public are allowed.
        """
        self._url, self._allow_private = url, allow_private
        self._plugin: NotifyBase | None = None
        self.location = describe_url(url, number)

    def post(self, notice: Notice, at: datetime) -> None:  # noqa: ARG002 (services add the time)
        """Send one notice.

        Raises:
            RetryLaterError: the service did not accept it; Apprise does not say whether a retry can help.
            ConfigurationError: the URL is not valid, or its address is not allowed.
        """
        self._plugin = self._plugin or _open_plugin(self._url)
        if self._plugin is None:
            raise ConfigurationError(
                "Cannot send a notice: the URL is not valid",
                where=self.location,
                next_step="correct it; https://github.com/caronc/apprise/wiki lists the URL of each service",
            )
        link = f"\n\n<{notice.link}>" if notice.link else ""
        guard = guard_addresses(allow_private=self._allow_private)
        with guard as refused, _collect_log() as messages:
            try:
                accepted = self._plugin.notify(
                    body=redact(f"{notice.text.strip()}{link}") or notice.title,
                    title=redact(notice.title),
                    notify_type=_get_type(notice),
                    body_format="markdown",
                )
            except Exception as problem:  # noqa: BLE001 (plugins raise what their libraries raise)
                accepted = False
                messages.append(f"{type(problem).__name__}: {problem}")
        if accepted:
            return
        if refused:
            raise refused_address_error(refused[0], self.location)
        reason = "; ".join(dict.fromkeys(messages)) or "the service did not accept it"
        raise RetryLaterError(
            f"Cannot send a notice: {_hide_parts(reason, self._url)}",
            where=self.location,
            next_step="check the URL and the service, then run: ledger alerts test",
        )


def _get_type(notice: Notice) -> "NotifyType":
    from apprise import NotifyType  # noqa: PLC0415 (slow to import)

    if notice.kind in _RESOLVED_KINDS:
        return NotifyType.SUCCESS
    return {
        "info": NotifyType.INFO,
        "warning": NotifyType.WARNING,
        "critical": NotifyType.FAILURE,
    }[notice.severity]


def _open_plugin(url: str) -> "NotifyBase | None":
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 (slow to import)

    asset = AppriseAsset(app_id="lookout-ledger", app_desc="lookout-ledger", async_mode=False)
    with _collect_log():
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
def _collect_log() -> Iterator[list[str]]:
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


def _hide_parts(text: str, url: str) -> str:
    """Replace every part of the URL but its scheme."""
    scheme, _, rest = url.partition("://")
    parts = {part for form in (rest, unquote(rest)) for part in _SEPARATORS.split(form)}
    secrets = {part for part in parts if len(part) >= _MIN_SECRET_LENGTH and part.lower() != scheme.lower()}
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(re.escape(secret), "[hidden]", text, flags=re.IGNORECASE)
    return text
