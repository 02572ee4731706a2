"""Notifications: posts to a real server, retries, rejections and redaction."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from resources.clock import monotonic
from resources.errors import ConfigurationError, DataError, RetryLaterError
from resources.notifications.base import Notice, format_markdown
from resources.notifications.notifier import Notifier
from resources.notifications.webhook import Webhook, build_payload
from tests.support.receiver import Receiver

AT = datetime(2026, 10, 6, 3, 0, tzinfo=UTC)
NOTICE = Notice(
    kind="event_new",
    severity="critical",
    title="Pump 7: anomaly since 02:40",
    text="Peak **0.93**.",
    cause="event:0f3a",
    facts={"equipment": "Pump 7", "peak_score": 0.93, "sensors": ["a", "b"], "end": None},
    link="https://reports.example.com/2026-10-06.html",
)


@pytest.fixture
def unreachable() -> str:
    """A URL on which no server listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/s3cr3t"


Hook = Callable[[str], Webhook]


@pytest.fixture
def hook() -> Hook:
    return lambda url: Webhook(url, allow_private=True, timeout_seconds=20, pause_seconds=0.001)


def test_the_json_payload_is_stable() -> None:
    assert build_payload(NOTICE, AT) == {
        "version": 1,
        "source": "lookout-ledger",
        "kind": "event_new",
        "severity": "critical",
        "title": "Pump 7: anomaly since 02:40",
        "text": "**Pump 7: anomaly since 02:40**\n\nPeak **0.93**.\n\n"
        "<https://reports.example.com/2026-10-06.html>",
        "cause": "event:0f3a",
        "at": "2026-10-06T03:00:00+00:00",
        "link": "https://reports.example.com/2026-10-06.html",
        "facts": {"equipment": "Pump 7", "peak_score": 0.93, "sensors": ["a", "b"], "end": None},
    }


def test_a_notice_is_posted_as_json(receiver: Receiver, hook: Hook) -> None:
    hook(receiver.url).post(NOTICE, AT)

    assert receiver.bodies == [build_payload(NOTICE, AT)]
    assert receiver.methods == ["POST"]
    assert receiver.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("busy", [500, 502, 503, 429])
def test_a_busy_receiver_is_retried(receiver: Receiver, hook: Hook, busy: int) -> None:
    receiver.statuses = [busy, busy]

    hook(receiver.url).post(NOTICE, AT)

    assert len(receiver.bodies) == 3


def test_three_failed_attempts_raise_an_error(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [503] * 10

    with pytest.raises(RetryLaterError, match="HTTP 503"):
        hook(receiver.url).post(NOTICE, AT)

    assert len(receiver.bodies) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_wrong_url_is_not_retried(receiver: Receiver, hook: Hook, status: int) -> None:
    receiver.statuses = [status] * 10

    with pytest.raises(ConfigurationError, match=r"alerts\.webhook_url"):
        hook(receiver.url).post(NOTICE, AT)

    assert len(receiver.bodies) == 1


def test_a_redirect_is_an_error(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [302]

    with pytest.raises(ConfigurationError, match="HTTP 302"):
        hook(receiver.url).post(NOTICE, AT)

    assert receiver.methods == ["POST"]


def test_a_rejected_notice_is_a_data_error(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [422]

    with pytest.raises(DataError, match="HTTP 422"):
        hook(receiver.url).post(NOTICE, AT)


def test_messages_contain_only_the_host_of_the_url(receiver: Receiver, unreachable: str, hook: Hook) -> None:
    for url, statuses in ((unreachable, []), (receiver.url, [404]), (receiver.url, [500] * 3)):
        receiver.statuses = list(statuses)
        with pytest.raises((RetryLaterError, ConfigurationError)) as caught:
            hook(url).post(NOTICE, AT)
        assert "s3cr3t" not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)


def test_a_receiver_without_response_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RetryLaterError, match="Cannot send a notification"):
            Webhook(url, allow_private=True, timeout_seconds=0.05, tries=2, pause_seconds=0).post(NOTICE, AT)


@pytest.mark.parametrize(
    "secret",
    [
        "https://me:hunter2@plant.example.com/x",
        "key AKIAHUNTER2HUNTER2AA is wrong",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=hunter2%2F2026&X-Amz-Signature=hunter2",
        "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=hunter2",
        "aws_secret_access_key = hunter2",
        '{"aws_session_token": "hunter2"}',
        "Authorization: Bearer hunter2",
    ],
)
def test_credentials_are_redacted_everywhere(receiver: Receiver, hook: Hook, secret: str) -> None:
    logged: list[str] = []
    notice = Notice("run_failed", "warning", secret, secret, secret, {"a": [{"b": secret}]}, secret)

    assert Notifier(logged.append, [hook(receiver.url)]).send([notice], AT) == [notice]

    for text in (json.dumps(receiver.bodies), *logged):
        assert "hunter2" not in text.lower()
        assert "[redacted]" in text


def test_without_a_webhook_notices_are_logged() -> None:
    logged: list[str] = []

    assert Notifier(logged.append).send([NOTICE], AT) == [NOTICE]

    assert logged == [f"[critical] event_new\n{format_markdown(NOTICE)}"]


def test_an_unreachable_webhook_is_logged_without_an_error(unreachable: str, hook: Hook) -> None:
    logged: list[str] = []

    assert Notifier(logged.append, [hook(unreachable)]).send([NOTICE, NOTICE], AT) == []

    assert [("Not posted yet" in text, NOTICE.title in text) for text in logged] == [(True, True)] * 2
    assert "s3cr3t" not in "".join(logged)


def test_after_a_webhook_failure_further_notices_are_not_posted(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [200, 503, 503, 503]

    assert Notifier(lambda _: None, [hook(receiver.url)]).send([NOTICE] * 4, AT) == [NOTICE]

    assert len(receiver.bodies) == 4, "one success, and three attempts of the second notice"


def test_a_rejected_notice_does_not_block_the_others(receiver: Receiver, hook: Hook) -> None:
    logged: list[str] = []
    receiver.statuses = [413]

    assert Notifier(logged.append, [hook(receiver.url)]).send([NOTICE, NOTICE], AT) == [NOTICE, NOTICE]

    assert len(receiver.bodies) == 2
    assert "HTTP 413" in logged[0]


def test_a_private_address_is_refused_before_anything_is_sent(receiver: Receiver) -> None:
    with pytest.raises(ConfigurationError, match="is a private, link-local or loopback address"):
        Webhook(receiver.url, pause_seconds=0).post(NOTICE, AT)

    assert receiver.methods == []


def test_a_notice_is_sent_if_one_of_several_targets_has_it(
    receiver: Receiver, unreachable: str, hook: Hook
) -> None:
    logged: list[str] = []
    targets = [hook(unreachable), hook(receiver.url)]

    assert Notifier(logged.append, targets).send([NOTICE, NOTICE], AT) == [NOTICE, NOTICE]

    assert len(receiver.bodies) == 2
    assert "Not posted to all targets yet, will be retried" in logged[0]


def test_a_failing_target_is_retried_alone(
    receiver: Receiver, unreachable: str, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook, "location", property(lambda self: self._url))  # both are on one host
    pending: dict[str, list[dict[str, object]]] = {}
    for title in ("first", "second"):
        notifier = Notifier(lambda _: None, [hook(unreachable), hook(receiver.url)], pending)
        notifier.send_pending()
        assert notifier.send([replace(NOTICE, title=title)], AT)
    assert [body["title"] for body in receiver.bodies] == ["first", "second"]
    waiting = json.loads(json.dumps(pending))
    receiver.bodies.clear()

    again = Notifier(lambda _: None, [hook(receiver.url)], {receiver.url: waiting[unreachable]})
    again.send_pending()

    assert [body["title"] for body in receiver.bodies] == ["first", "second"]
    assert receiver.bodies[0]["at"] == AT.isoformat()
    assert again.pending == {}


def test_no_target_is_used_after_the_deadline_of_the_tick(receiver: Receiver, hook: Hook) -> None:
    logged: list[str] = []
    notifier = Notifier(logged.append, [hook(receiver.url)], deadline=monotonic() - 1)

    assert notifier.send([NOTICE], AT) == []

    assert receiver.bodies == []
    assert "Not posted yet, will be retried: No time is left" in logged[0]


def test_a_number_that_json_cannot_represent_is_null() -> None:
    notice = Notice("event_new", "info", "t", "", "c", {"peak_score": float("nan")})

    assert build_payload(notice, AT)["facts"] == {"peak_score": None}
