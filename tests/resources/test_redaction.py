"""Redaction: no planted secret remains, other text stays as it is."""

import string
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources import redaction
from resources.errors import ConfigurationError
from resources.redaction import protect, redact, redact_values

FORMS = [
    "https://me:{}@plant.example.com:8443/x",
    "https://{}@plant.example.com/x",
    "s3+http://me:{}@127.0.0.1:9000",
    "postgresql://dagster:{}@db/dagster",
    "slack://T0/{}/B0",
    "https://hooks.slack.com/services/T000/B000/{}",
    "https://discord.com/api/webhooks/12345/{}",
    "https://acme.webhook.office.com/webhookb2/{}/IncomingWebhook/1",
    "https://b.s3.amazonaws.com/k?X-Amz-Credential={}%2F2026&X-Amz-Signature={}",
    "https://b.s3.amazonaws.com/k?X-Amz-Security-Token={}",
    "https://example.com/post?a=1&token={}&b=2",
    "aws_secret_access_key = {}",
    'aws_secret_access_key = "{}"',
    '{{"aws_session_token": "{}"}}',
    "password: {}",
    "x-api-key: {}",
    "'token': '{}'",
    "api-key={}",
    "Authorization: Bearer {}",
    "the header was Bearer {}",
    "LEDGER_ALERTS__WEBHOOK_URL={}",
]
secrets = st.text(string.ascii_letters + string.digits + "-_", min_size=8, max_size=40)
around = st.text(string.ascii_letters + " .,\n()", max_size=20)


@given(form=st.sampled_from(FORMS), secret=secrets, before=around, after=around)
def test_a_planted_secret_is_redacted_in_every_form(form: str, secret: str, before: str, after: str) -> None:
    secret = f"Zq7{secret}"
    text = f"{before} {form.replace('{}', secret).replace('{{', '{').replace('}}', '}')} {after}"

    error = ConfigurationError(text, where=text, next_step=text)

    for shown in (redact(text), str(error), error.what, *redact_values([text, {"a": text}])[1].values()):
        assert secret not in shown and redaction.REDACTED in shown
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/x@y",
        "http://localhost:3000/runs/06608ff5-84d3-4643-abcb-c9f52e037a0c",
        "s3://plant-a/lake/inference_executions/data_date=2026-10-01/part-0.parquet",
        "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/a1b2",
        "Cannot open gs://lake: gs:// is not supported",
        "credentials of api (region eu-west-1): the caller is x",
        "grant kms:Decrypt on the key; basic permissions are missing",
        "C://data/dumps, /srv/plant/ledger.toml: sources",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


MACHINES = st.from_regex(
    r"[a-z]{2,9}([-_][a-z]{2,9})?[-_](token|sig|signature|api-key|access_key|private-key|bearer)",
    fullmatch=True,
)


@given(name=MACHINES, other=MACHINES)
def test_the_message_about_a_machine_stays_whatever_its_name(name: str, other: str) -> None:
    text = f"""{name}: cannot be read, {name}: 3 of 5 days, {name}: 12.5% of 2026-10-05
scheduler {name}: AccessDeniedException: not authorized, {name}: ACTIVE, {other}: {name}, {name}: pump-12
{name}: s3://plant/results, {name} (bearer temperature), {name}: 2026-10-05T10:00:00Z."""
    assert redact(text) == text


def test_a_long_hostile_text_is_redacted_in_linear_time() -> None:
    parts = ("a-b_token-", "a.b-", "://a:b", "-eyJabcdefghij", "bearer ", "token: ", "webhook", "basic a")
    begin = time.process_time()
    for part in parts:
        redact(part * 2_000)
    assert time.process_time() - begin < 2, "a quadratic pattern needs minutes"


@pytest.fixture
def protected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_protected", set())
    yield
    redaction._protected.clear()


@pytest.mark.usefixtures("protected")
def test_a_protected_value_and_the_path_of_its_url_are_redacted_alone() -> None:
    protect("http://plant.example.com/notify/hunter2hunter2?x=hunter3hunter3", None, "short")

    assert "hunter" not in redact("POST /notify/hunter2hunter2 and hunter2hunter2, x=hunter3hunter3")
    assert redact("a short text") == "a short text"


@pytest.mark.usefixtures("protected")
def test_a_decoded_part_and_the_longest_value_are_redacted_and_no_address() -> None:
    protect("json://192.168.100.200/hunter%2F2hunter2", "hunter3hunter3", "hunter3hunter3-hunter4")

    assert redact("POST hunter/2hunter2 to 192.168.100.200") == "POST [redacted] to 192.168.100.200"
    assert redact("token hunter3hunter3-hunter4 is invalid") == "token [redacted] is invalid"
