"""Secrets of the settings and the environment appear in no output of a command."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import RunLedger

SECRETS = ["Hunter2xPass", "Tok3nHunterQ", "H00kHunterPath", "Ch4nnelHunter"]
ALERTS = f"""
[alerts]
webhook_url = "http://127.0.0.1:9/in/{SECRETS[2]}"
urls = ["slack://{SECRETS[3]}A/{SECRETS[3]}B/{SECRETS[3]}C"]
"""
SOURCE = 'kind = "api"\nregion = "eu-west-1"\nendpoint_url = "http://{}@127.0.0.1:9"'
COMMANDS = [
    ["doctor"],
    ["doctor", "--json"],
    ["status"],
    ["status", "--json"],
    ["plan", "--from", "2026-10-05", "--to", "2026-10-05"],
    ["sql", "SELEKT"],
    ["report", "--out", "-"],
    ["alerts", "test"],
    ["alerts", "test", "--json"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("login", [f"me:{SECRETS[0]}", SECRETS[1]], ids=["user and password", "token"])
@pytest.mark.usefixtures("accounts")
def test_no_command_shows_a_secret_of_the_settings(
    ledger: RunLedger, settings: Callable[..., Path], words: list[str], login: str, tmp_path: Path
) -> None:
    settings(SOURCE.format(login), more=ALERTS)

    done = ledger(*words)

    assert "Traceback" not in done.err
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "ledger.toml"]
    for secret in SECRETS:
        assert secret not in done.out and secret not in done.err, done
        assert not [file for file in files if secret.encode() in file.read_bytes()]


@pytest.mark.parametrize("key", ["webhook_url", "urls", "endpoint", "lake.uri"])
def test_invalid_settings_are_reported_without_their_secrets(
    ledger: RunLedger, tmp_path: Path, key: str
) -> None:
    lines = {
        "webhook_url": f'[alerts]\nwebhook_url = "htp://x/{SECRETS[2]}"',
        "urls": f'[alerts]\nurls = ["slak://{SECRETS[3]}/x"]',
        "endpoint": f"[[sources]]\n{SOURCE.format(SECRETS[1])}\nretries = 3",
        "lake.uri": f'[lake]\nuri = "http://me:{SECRETS[0]}@host/lake"',
    }
    (tmp_path / "ledger.toml").write_text(lines[key])

    done = ledger("status")

    assert done.code == 2
    assert not [secret for secret in SECRETS if secret in done.out + done.err]
