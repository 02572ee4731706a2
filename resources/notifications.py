"""Notification targets: the log, and a webhook that receives JSON by POST.

The JSON is a public interface (docs/how-to/alerts.md): new members can be added, but no member changes its
name or type within one `version`. The URL is usually a secret, so messages contain only its host. Credentials
in notices are redacted.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from http.client import HTTPException
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from resources.address_guard import guard_addresses
from resources.clock import monotonic, sleep
from resources.errors import ConfigurationError, DataError, LedgerError, RetryLaterError
from resources.redaction import redact, redact_values

VERSION = 1
MAX_SECONDS_PER_TICK = 40
"""Dagster stops a tick after 60 seconds. Apprise waits up to 5.5 seconds between two notices to a service."""

MAX_PENDING = 50
"""The most notices that wait for a target. They are in the cursor of a sensor."""

Severity = Literal["info", "warning", "critical"]

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|])")


@dataclass(frozen=True)
class Notice:
    """One notification.

    Attributes:
        kind: what happened; docs/how-to/alerts.md lists all kinds.
        severity: how urgent it is.
        title: one line.
        text: Markdown below the title.
        cause: an identifier that all notices of one incident share, to open and close a ticket.
        facts: JSON values for programs.
        link: a URL with details.
    """

    kind: str
    severity: Severity
    title: str
    text: str
    cause: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    link: str | None = None


def escape_markdown(text: str) -> str:
    """Escape text so that Markdown shows it literally."""
    return _MARKDOWN.sub(r"\\\1", text)


def format_markdown(notice: Notice) -> str:
    """Format a notice for a chat or a mail: title, text and link."""
    link = f"<{notice.link}>" if notice.link else ""
    return "\n\n".join(
        part for part in (f"**{escape_markdown(notice.title)}**", notice.text.strip(), link) if part
    )


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


class Target(Protocol):
    """A receiver of notices outside of this machine."""

    @property
    def location(self) -> str:
        """The name for messages, without secrets."""

    def post(self, notice: Notice, at: datetime) -> None:
        """Send one notice.

        Raises:
            DataError: the receiver rejects this notice, and a retry cannot help.
            LedgerError: the notice was not sent.
        """


def build_refused_address_error(address: str, location: str) -> ConfigurationError:
    """Build the error of a target whose address is not public."""
    return ConfigurationError(
        f"Cannot send a notification: {address} is a private, link-local or loopback address",
        where=location,
        next_step="use a public address; if the receiver or a proxy is in your own network, set"
        " alerts.allow_private_addresses = true",
    )


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


@dataclass
class Notifier:
    """Sends the notices of one tick to the log and to all targets.

    Attributes:
        log: Takes a line.
        targets: The receivers.
        pending: Notices that some targets have and others not, by the location of the targets that lack them.
        problems: Why a target failed, by its position; a failed target is not used again.
        deadline: When the tick has no time left, on the clock of `monotonic`.
    """

    log: Callable[[str], None]
    targets: Sequence[Target] = ()
    pending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    deadline: float = field(default_factory=lambda: monotonic() + MAX_SECONDS_PER_TICK)

    def send(self, notices: Sequence[Notice], at: datetime) -> list[Notice]:
        """Send notices and return those that need no retry by the caller.

        Errors of targets are logged, not raised. After a failure a target is skipped, so that a tick stays
        within Dagster's timeout. If some targets accept a notice, it is pending for the others; if none does,
        the caller retries it. A notice that a receiver rejects counts as sent: it is in the log, and a retry
        would only block other notices.
        """
        sent = []
        for notice in notices:
            failed = [number for number in range(len(self.targets)) if not self._post(number, notice, at)]
            is_accepted = len(failed) < len(self.targets)
            self.log(_format_log_entry(notice, self._describe_problems(is_accepted)))
            if is_accepted:
                for number in failed:
                    self._add_pending(self.targets[number].location, notice, at)
            if is_accepted or not self.targets:
                sent.append(notice)
        return sent

    def send_pending(self) -> None:
        """Send the pending notices of earlier ticks, in their order, to the targets that lack them."""
        for number, target in enumerate(self.targets):
            waiting = self.pending.pop(target.location, [])
            for position, entry in enumerate(waiting):
                notice, at = Notice(**entry["notice"]), datetime.fromisoformat(entry["at"])
                if not self._post(number, notice, at):
                    self.pending[target.location] = waiting[position:]
                    break
                self.log(f"Sent to {target.location} after a retry: {redact(notice.title)}")
        locations = {target.location for target in self.targets}
        for location in self.pending.keys() - locations:  # the target was removed from the settings
            del self.pending[location]

    def _add_pending(self, location: str, notice: Notice, at: datetime) -> None:
        waiting = self.pending.setdefault(location, [])
        waiting.append({"notice": {**redact_values(asdict(notice))}, "at": at.isoformat()})
        for entry in waiting[:-MAX_PENDING]:
            self.log(f"Not sent to {location}, too many are waiting: {entry['notice']['title']}")
        del waiting[:-MAX_PENDING]

    def _post(self, number: int, notice: Notice, at: datetime) -> bool:
        target = self.targets[number]
        if number in self.problems:
            return False
        if monotonic() > self.deadline:
            self.problems[number] = f"No time is left in this tick\n  where: {target.location}"
            return False
        try:
            target.post(notice, at)
        except DataError as problem:
            self.log(f"{problem}")
        except LedgerError as problem:
            self.problems[number] = str(problem)
            return False
        return True

    def _describe_problems(self, is_accepted: bool) -> str:
        problems = "\n".join(self.problems.values())
        extent = "to all targets yet" if is_accepted else "yet"
        return f"\n\nNot posted {extent}, will be retried: {problems}" if problems else ""


def _format_log_entry(notice: Notice, suffix: str) -> str:
    return redact(f"[{notice.severity}] {notice.kind}\n{format_markdown(notice)}{suffix}")
