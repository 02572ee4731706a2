"""A webhook that receives notices as JSON by POST.

The JSON is a public interface (docs/how-to/alerts.md): new members can be added, but no member changes its
name or type within one `version`. The URL is usually a secret, so messages contain only its host. Credentials
in notices are redacted.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from resources.clock import sleep
from resources.errors import ConfigurationError, DataError, LedgerError, RetryLaterError
from resources.notifications.address_guard import guard_addresses
from resources.notifications.base import Notice, build_refused_address_error, format_markdown
from resources.redaction import redact_values

VERSION = 1


def build_payload(notice: Notice, at: datetime) -> dict[str, Any]:
    """Build the JSON of a notice; `at` is the time of the notification."""
    payload = {
        "version": VERSION,
        "source": "lookout-ledger",
        "kind": notice.kind,
        "severity": notice.severity,
        "title": notice.title,
        "text": format_markdown(notice),
        "cause": notice.cause,
        "at": at.isoformat(),
        "link": notice.link,
        "facts": dict(notice.facts),
    }
    return {name: redact_values(value) for name, value in payload.items()}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Rejects redirects: urllib would turn the POST into a GET, whose success proves nothing."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 (the signature of the base)
        return None


class Webhook:
    """A URL that receives JSON by POST."""

    def __init__(
        self,
        url: str,
        *,
        allow_private: bool = False,
        timeout_seconds: float = 5,
        tries: int = 3,
        pause_seconds: float = 0.5,
    ) -> None:
        """Set the URL; nothing is sent yet.

        Args:
            url: https:// or http://.
            allow_private: whether connections to addresses that are not public are allowed.
            timeout_seconds: the timeout of one attempt.
            tries: the maximum number of attempts while the receiver is unreachable or busy.
            pause_seconds: the pause before the second attempt; it doubles for each further one.
        """
        self._url, self._allow_private = url, allow_private
        self._timeout, self._tries, self._pause = timeout_seconds, tries, pause_seconds
        self._opener = urllib.request.build_opener(_NoRedirects)

    @property
    def location(self) -> str:
        """The name for messages, with only the host of the URL."""
        return f"webhook at {urlsplit(self._url).hostname}"

    def post(self, notice: Notice, at: datetime) -> None:
        """Post one notice.

        Raises:
            RetryLaterError: the receiver was unreachable or busy at every attempt.
            ConfigurationError: the URL does not accept notices, or its address is not allowed.
            DataError: the receiver rejects this notice.
        """
        body = json.dumps(build_payload(notice, at), default=str, allow_nan=False).encode()
        for attempt in range(1, self._tries + 1):
            try:
                with guard_addresses(allow_private=self._allow_private) as refused:
                    self._send(body, refused)
            except RetryLaterError:
                if attempt == self._tries:
                    raise
                sleep(self._pause * 2 ** (attempt - 1))
            else:
                return

    def _send(self, body: bytes, refused: Sequence[str]) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "lookout-ledger"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 (settings check)
        try:
            with self._opener.open(request, timeout=self._timeout):
                return
        except urllib.error.HTTPError as response:
            response.close()
            raise self._translate_status(response.code) from None
        except (OSError, HTTPException) as problem:
            if refused:
                raise build_refused_address_error(refused[0], self.location) from None
            reason = getattr(problem, "reason", problem)
            raise RetryLaterError(
                f"Cannot send a notification: {type(reason).__name__}: {reason}".replace(
                    self._url, "the URL"
                ),
                where=self.location,
                next_step="wait for the next attempt; if this continues, check the receiver",
            ) from None

    def _translate_status(self, status: int) -> LedgerError:
        message = f"Cannot send a notification: HTTP {status}"
        if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004 (HTTP)
            return RetryLaterError(message, where=self.location, next_step="wait for the next attempt")
        if status in {401, 403, 404, 405, 407, 410} or status < 400:  # noqa: PLR2004 (HTTP)
            return ConfigurationError(
                message,
                where=self.location,
                next_step="set alerts.webhook_url to a URL that accepts JSON by POST",
            )
        return DataError(
            message,
            where=self.location,
            next_step="find the reason in the log of the receiver; the notification is in that of its sensor",
        )
