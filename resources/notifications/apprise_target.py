"""A notification target that Apprise sends to: a chat, mail, a pager or another service, named by a URL."""

import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from resources.config.apprise_url import collect_log, describe_url, open_plugin
from resources.errors import ConfigurationError, RetryLaterError
from resources.notifications.address_guard import guard_addresses
from resources.notifications.base import Notice, build_refused_address_error
from resources.redaction import redact

if TYPE_CHECKING:
    from apprise import NotifyBase, NotifyType

_SEPARATORS = re.compile(r"[/:@?&=#,;+\s]+")
_MIN_SECRET_LENGTH = 3
_RESOLVED_KINDS = {"run_recovered", "check_recovered", "event_over"}


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
        self._plugin = self._plugin or open_plugin(self._url)
        if self._plugin is None:
            raise ConfigurationError(
                "Cannot send a notification: the URL is not valid",
                where=self.location,
                next_step="correct it; https://github.com/caronc/apprise/wiki lists the URL of each service",
            )
        link = f"\n\n<{notice.link}>" if notice.link else ""
        guard = guard_addresses(allow_private=self._allow_private)
        with guard as refused, collect_log() as messages:
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
            raise build_refused_address_error(refused[0], self.location)
        reason = "; ".join(dict.fromkeys(messages)) or "the service did not accept it"
        raise RetryLaterError(
            f"Cannot send a notification: {_hide_parts(reason, self._url)}",
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


def _hide_parts(text: str, url: str) -> str:
    """Replace every part of the URL but its scheme."""
    scheme, _, rest = url.partition("://")
    parts = {part for form in (rest, unquote(rest)) for part in _SEPARATORS.split(form)}
    secrets = {part for part in parts if len(part) >= _MIN_SECRET_LENGTH and part.lower() != scheme.lower()}
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(re.escape(secret), "[hidden]", text, flags=re.IGNORECASE)
    return text
