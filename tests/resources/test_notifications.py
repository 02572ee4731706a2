"""Telling people: real posts to a real server, and what happens where nobody takes them."""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from resources.errors import ConfigurationError, DataError, RetryLaterError
from resources.notifications import Notice, Notifier, Webhook, build_payload, escape_markdown, format_markdown
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
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/s3cr3t"


Hook = Callable[[str], Webhook]


@pytest.fixture
def hook() -> Hook:
    return lambda url: Webhook(url, timeout_seconds=20, pause_seconds=0.001)


def test_the_json_is_this_and_stays_this() -> None:
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
def test_a_busy_receiver_is_asked_again_a_little(receiver: Receiver, hook: Hook, busy: int) -> None:
    receiver.statuses = [busy, busy]

    hook(receiver.url).post(NOTICE, AT)

    assert len(receiver.bodies) == 3


def test_a_receiver_that_stays_busy_is_left_alone_after_three_tries(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [503] * 10

    with pytest.raises(RetryLaterError, match="HTTP 503"):
        hook(receiver.url).post(NOTICE, AT)

    assert len(receiver.bodies) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_wrong_address_is_not_tried_twice(receiver: Receiver, hook: Hook, status: int) -> None:
    receiver.statuses = [status] * 10

    with pytest.raises(ConfigurationError, match=r"alerts\.webhook_url"):
        hook(receiver.url).post(NOTICE, AT)

    assert len(receiver.bodies) == 1


def test_a_redirect_does_not_count_as_told(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [302]

    with pytest.raises(ConfigurationError, match="HTTP 302"):
        hook(receiver.url).post(NOTICE, AT)

    assert receiver.methods == ["POST"]


def test_a_notice_that_the_other_side_refuses_is_the_notices_fault(receiver: Receiver, hook: Hook) -> None:
    receiver.statuses = [422]

    with pytest.raises(DataError, match="HTTP 422"):
        hook(receiver.url).post(NOTICE, AT)


def test_no_message_names_more_of_the_address_than_its_host(
    receiver: Receiver, nobody: str, hook: Hook
) -> None:
    for url, statuses in ((nobody, []), (receiver.url, [404]), (receiver.url, [500] * 3)):
        receiver.statuses = list(statuses)
        with pytest.raises((RetryLaterError, ConfigurationError)) as refused:
            hook(url).post(NOTICE, AT)
        assert "s3cr3t" not in str(refused.value)
        assert "127.0.0.1" in str(refused.value)


def test_a_receiver_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RetryLaterError, match="not posted"):
            Webhook(url, timeout_seconds=0.05, tries=2, pause_seconds=0).post(NOTICE, AT)


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
def test_credentials_are_struck_out_wherever_they_stand(receiver: Receiver, hook: Hook, secret: str) -> None:
    logged: list[str] = []
    notice = Notice("run_failed", "warning", secret, secret, secret, {"a": [{"b": secret}]}, secret)

    assert Notifier(logged.append, hook(receiver.url)).send([notice], AT) == [notice]

    for told in (json.dumps(receiver.bodies), *logged):
        assert "hunter2" not in told.lower()
        assert "struck out" in told


def test_without_a_webhook_the_log_is_enough() -> None:
    logged: list[str] = []

    assert Notifier(logged.append).send([NOTICE], AT) == [NOTICE]

    assert logged == [f"[critical] event_new\n{format_markdown(NOTICE)}"]


def test_an_unreachable_webhook_fails_nothing_and_is_said(nobody: str, hook: Hook) -> None:
    logged: list[str] = []

    assert Notifier(logged.append, hook(nobody)).send([NOTICE, NOTICE], AT) == []

    assert [("Not posted yet" in text, NOTICE.title in text) for text in logged] == [(True, True)] * 2
    assert "s3cr3t" not in "".join(logged)


def test_where_the_webhook_is_away_the_notices_that_follow_do_not_wait_for_it(
    receiver: Receiver, hook: Hook
) -> None:
    receiver.statuses = [200, 503, 503, 503]

    assert Notifier(lambda _: None, hook(receiver.url)).send([NOTICE] * 4, AT) == [NOTICE]

    assert len(receiver.bodies) == 4, "one that came through, and three tries of the second"


def test_a_refused_notice_does_not_keep_back_the_others(receiver: Receiver, hook: Hook) -> None:
    logged: list[str] = []
    receiver.statuses = [413]

    assert Notifier(logged.append, hook(receiver.url)).send([NOTICE, NOTICE], AT) == [NOTICE, NOTICE]

    assert len(receiver.bodies) == 2
    assert "HTTP 413" in logged[0]


def test_a_number_that_json_has_no_word_for_is_null() -> None:
    odd = Notice("event_new", "info", "t", "", "c", {"peak_score": float("nan")})

    assert build_payload(odd, AT)["facts"] == {"peak_score": None}


def test_names_are_shown_as_they_are_and_never_as_markup() -> None:
    assert escape_markdown("*pump*_[7](x) <!channel> `a` | b\\") == (
        r"\*pump\*\_\[7\](x) \<!channel\> \`a\` \| b" + "\\\\"
    )
