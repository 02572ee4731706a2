"""Notices, and the protocol of the targets that receive them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from resources.errors import ConfigurationError
from resources.markdown import escape_markdown

Severity = Literal["info", "warning", "critical"]


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


def format_markdown(notice: Notice) -> str:
    """Format a notice for a chat or a mail: title, text and link."""
    link = f"<{notice.link}>" if notice.link else ""
    return "\n\n".join(
        part for part in (f"**{escape_markdown(notice.title)}**", notice.text.strip(), link) if part
    )


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
