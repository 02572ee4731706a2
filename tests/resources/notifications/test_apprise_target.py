"""Notifications through Apprise, with a real HTTP server."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from apprise import Apprise

from resources.config.apprise_url import describe_url, is_apprise_url
from resources.errors import ConfigurationError, LedgerError, RetryLaterError
from resources.notifications.apprise_target import AppriseTarget
from resources.notifications.base import Notice
from tests.support.receiver import Receiver

AT = datetime(2026, 10, 6, 3, 26, tzinfo=UTC)
NOTICE = Notice(
    "event_new",
    "critical",
    "Feed pump 7: anomaly since 02:40",
    "- Equipment: Feed pump 7\n- key AKIAHUNTER2HUNTER2AA is wrong",
    "event:0f3a",
    link="https://reports.example.com/latest.html",
)


@pytest.fixture
def root_log() -> Iterator[list[str]]:
    """The messages of Apprise that reach the root logger; pytest's own fixture bypasses `propagate`."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(f"{record.name}: {record.getMessage()}")  # type: ignore[method-assign]
    handler.addFilter(logging.Filter("apprise"))
    logging.getLogger().addHandler(handler)
    yield messages
    logging.getLogger().removeHandler(handler)


def build_url(receiver: Receiver, user: str = "") -> str:
    """An Apprise URL of the receiver, with a secret in each part."""
    return f"json://{user}127.0.0.1:{urlsplit(receiver.url).port}/hooks/p4thS3cret?+X-Key=h34derS3cret"


def test_a_notice_is_sent_with_title_text_and_link(receiver: Receiver) -> None:
    AppriseTarget(build_url(receiver), 0, allow_private=True).post(NOTICE, AT)

    (body,) = receiver.bodies
    assert body["title"] == NOTICE.title
    assert body["type"] == "failure"
    assert "Equipment: Feed pump 7" in body["message"] and "latest.html" in body["message"]
    assert "HUNTER2" not in body["message"]
    assert receiver.headers[0]["X-Key"] == "h34derS3cret"


@pytest.mark.parametrize(
    ("kind", "severity", "expected"),
    [
        ("check_failed", "warning", "warning"),
        ("test", "info", "info"),
        ("run_recovered", "info", "success"),
        ("event_over", "info", "success"),
    ],
)
def test_the_type_follows_from_kind_and_severity(
    receiver: Receiver, kind: str, severity: str, expected: str
) -> None:
    notice = Notice(kind, severity, "t", "", "c")  # type: ignore[arg-type]

    AppriseTarget(build_url(receiver), 0, allow_private=True).post(notice, AT)

    assert receiver.bodies[0]["type"] == expected


def test_a_private_address_is_refused_before_anything_is_sent(receiver: Receiver) -> None:
    with pytest.raises(ConfigurationError, match="allow_private_addresses"):
        AppriseTarget(build_url(receiver), 0).post(NOTICE, AT)

    assert receiver.methods == []


@pytest.mark.parametrize("status", [404, 500])
def test_no_part_of_the_url_is_shown(
    receiver: Receiver, status: int, root_log: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.statuses = [status]
    target = AppriseTarget(build_url(receiver, "me:us3rS3cret@"), 2, allow_private=True)

    with pytest.raises(RetryLaterError) as caught:
        target.post(NOTICE, AT)

    shown = f"{caught.value}{root_log}{''.join(capfd.readouterr())}"
    assert "alerts.urls[2] (json)" in shown and "error=" in shown
    assert not [secret for secret in ("S3cret", "127.0.0.1", "hooks") if secret.lower() in shown.lower()]


def test_an_unreachable_service_is_an_error_without_its_address(receiver: Receiver) -> None:
    with pytest.raises(LedgerError) as caught:
        AppriseTarget("json://127.0.0.1:1/p4thS3cret", 0, allow_private=True).post(NOTICE, AT)

    assert "[hidden]" in str(caught.value) and "127.0.0.1" not in str(caught.value)
    assert receiver.methods == []


@pytest.mark.parametrize(
    "url",
    [
        "slack://TokenA/TokenB/TokenC/#plant",
        "mailto://user:password@example.com",
        "json://example.com/hook",
        "workflows://example.com:443/WorkflowID/Signature/",
        "https://discord.com/api/webhooks/123456/abcdefg",
    ],
)
def test_urls_of_known_services_are_valid(url: str) -> None:
    assert is_apprise_url(url)


@pytest.mark.parametrize("url", ["", "slack://", "unknown://host", "https://hooks.example.com/x", "no url"])
def test_other_urls_are_not(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert not is_apprise_url(url)
    assert capfd.readouterr() == ("", "")


def test_a_name_has_the_position_and_the_scheme_only() -> None:
    assert describe_url("Slack://TokenA/TokenB/TokenC", 1) == "alerts.urls[1] (slack)"
    assert describe_url("s3cr3t", 0) == "alerts.urls[0]"


@dataclass
class BrokenPlugin:
    """A plugin of Apprise that raises what its library raises."""

    def notify(self, **_: object) -> bool:
        raise KeyError("a field that the service left out")


def test_an_exception_of_a_plugin_is_an_error_that_can_be_retried() -> None:
    target = AppriseTarget("json://127.0.0.1:9", 1, allow_private=True)
    target._plugin = BrokenPlugin()
    with pytest.raises(RetryLaterError, match="KeyError: 'a field that the service left out'"):
        target.post(NOTICE, AT)


def test_an_exception_of_a_parser_rejects_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError

    monkeypatch.setattr(Apprise, "instantiate", fail)
    assert not is_apprise_url("json://127.0.0.1:9")
