"""Sinks: where people are told, be it a log or a web address that JSON is posted to.

The JSON is an interface that others build on (docs/how-to/alerts.md): members may be added, none is
renamed or retyped while `version` stays. The address is a secret as a rule, so no message names
more of it than its host; what looks like a credential is struck out of every notice.
"""

import json
import math
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from typing import Any, Literal
from urllib.parse import urlsplit

from resources.clock import sleep
from resources.errors import ConfigurationError, DataError, LedgerError, RetryLaterError

VERSION = 1
Severity = Literal["info", "warning", "critical"]

_STRUCK = "[struck out]"
_SECRETS = [
    re.compile(r"(?<=://)[^/\s@:]+:[^/\s@]+(?=@)"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"),
    re.compile(r"(?i)x-amz-(?:signature|credential|security-token)=[^&\s\"']+"),
    re.compile(r"(?i)(?<=authorization: )[^\n]+"),
    re.compile(r"(?i)(?:secret\\?_access\\?_key|session\\?_token)[\"']?\s*[:=]\s*[\"']?[^\s\"',}]+"),
]
_ESCAPED = re.compile(r"([\\`*_\[\]<>|])")


@dataclass(frozen=True)
class Notice:
    """Something that people shall know.

    `kind` says what happened (docs/how-to/alerts.md lists them all), `text` is Markdown below the `title`,
    `facts` are JSON values for machines. `cause` is the same as long as the matter is: it opens and
    closes a ticket.
    """

    kind: str
    severity: Severity
    title: str
    text: str
    cause: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    link: str | None = None


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, whatever it contains."""
    return _ESCAPED.sub(r"\\\1", text)


def format_markdown(notice: Notice) -> str:
    """Write a notice for a chat or a mail: title, text, link."""
    link = f"<{notice.link}>" if notice.link else ""
    return "\n\n".join(
        part for part in (f"**{escape_markdown(notice.title)}**", notice.text.strip(), link) if part
    )


def build_payload(notice: Notice, at: datetime) -> dict[str, Any]:
    """Return the members that are posted; `at` is when it is told."""
    said = {
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
    return {name: _cleared(value) for name, value in said.items()}


def _cleared(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Strike credentials out of a JSON value; a number that JSON has no word for is null."""
    if isinstance(value, str):
        for secret in _SECRETS:
            value = secret.sub(_STRUCK, value)
        return value
    if isinstance(value, Mapping):
        return {name: _cleared(held) for name, held in value.items()}
    if isinstance(value, Sequence):
        return [_cleared(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET that anyone answers: it would count as told."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 (its own signature)
        return None


class Webhook:
    """A web address that takes JSON by POST."""

    def __init__(
        self, url: str, *, timeout_seconds: float = 5, tries: int = 3, pause_seconds: float = 0.5
    ) -> None:
        """Name the address; nothing is sent yet.

        Args:
            url: https:// or http://.
            timeout_seconds: how long one try may wait for the other side.
            tries: how often one notice is posted at most, where the other side is away or busy.
            pause_seconds: how long to wait before the second try; twice that before the third.
        """
        self._url = url
        self._timeout, self._tries, self._pause = timeout_seconds, tries, pause_seconds
        self._opener = urllib.request.build_opener(_NoRedirects)

    @property
    def location(self) -> str:
        """What to call it in messages: its host, which is no secret."""
        return f"webhook at {urlsplit(self._url).hostname}"

    def post(self, notice: Notice, at: datetime) -> None:
        """Post one notice.

        Raises:
            RetryLaterError: nobody was there, or too busy, at every try.
            ConfigurationError: the address takes no notices.
            DataError: it takes others, and not this one.
        """
        body = json.dumps(build_payload(notice, at), default=str, allow_nan=False).encode()
        for attempt in range(1, self._tries + 1):
            try:
                self._send(body)
            except RetryLaterError:
                if attempt == self._tries:
                    raise
                sleep(self._pause * 2 ** (attempt - 1))
            else:
                return

    def _send(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "lookout-ledger"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 (settings check)
        try:
            with self._opener.open(request, timeout=self._timeout):
                return
        except urllib.error.HTTPError as answer:
            answer.close()
            raise self._refusal(answer.code) from None
        except (OSError, HTTPException) as problem:
            reason = getattr(problem, "reason", problem)
            raise RetryLaterError(
                f"not posted: {type(reason).__name__}: {reason}".replace(self._url, "the address"),
                where=self.location,
                next_step="nothing; it is tried again. If this stays, see that the address is up",
            ) from None

    def _refusal(self, status: int) -> LedgerError:
        said = f"not posted: the answer was HTTP {status}"
        if status in {408, 425, 429} or status >= 500:  # noqa: PLR2004 (HTTP)
            return RetryLaterError(said, where=self.location, next_step="nothing; it is tried again")
        if status in {401, 403, 404, 405, 407, 410} or status < 400:  # noqa: PLR2004 (HTTP)
            return ConfigurationError(
                said,
                where=self.location,
                next_step="set alerts.webhook_url to an address that takes JSON by POST",
            )
        return DataError(
            said,
            where=self.location,
            next_step="see what the other side has against it; it is in the log here",
        )


@dataclass
class Notifier:
    """All places at once. `log` takes one text a notice; a webhook may be there or not."""

    log: Callable[[str], None]
    webhook: Webhook | None = None
    away: str = ""
    """Why the webhook took nothing; from then on it is not tried, as long as this object lives: a tick."""

    def send(self, notices: Sequence[Notice], at: datetime) -> list[Notice]:
        """Tell everyone, and return what was told; the rest is worth another try later.

        Nothing that goes wrong with the webhook is raised; it is said in the log. Where it is away, the
        notices that follow are not tried: a tick may not last longer than Dagster waits for it. One that the
        other side will never take counts as told: it stands in the log, and must not keep back the others.
        """
        told = []
        for notice in notices:
            if self.webhook and not self.away:
                try:
                    self.webhook.post(notice, at)
                except DataError as problem:
                    self.log(f"{problem}")
                except LedgerError as problem:
                    self.away = str(problem)
            self.log(_line(notice, self.away))
            if not self.away:
                told.append(notice)
        return told


def _line(notice: Notice, trouble: str) -> str:
    later = f"\n\nNot posted yet, and tried again later: {trouble}" if trouble else ""
    return str(_cleared(f"[{notice.severity}] {notice.kind}\n{format_markdown(notice)}{later}"))
