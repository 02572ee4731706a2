"""`ledger alerts test`: sends one notification to each target and reports each result."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.command_line import RunLedger
from tests.support.receiver import Receiver


def write_settings(folder: Path, receiver: Receiver, *, allow_private: bool = True) -> None:
    port = urlsplit(receiver.url).port
    (folder / "ledger.toml").write_text(
        f"""\
[alerts]
webhook_url = "{receiver.url}"
urls = ["json://127.0.0.1:{port}/t0ken", "xml://127.0.0.1:1/t0ken"]
allow_private_addresses = {str(allow_private).lower()}
"""
    )


def test_each_target_is_tested_and_one_failure_is_exit_code_1(
    ledger: RunLedger, tmp_path: Path, receiver: Receiver
) -> None:
    write_settings(tmp_path, receiver)

    done = ledger("alerts", "test", "--json")

    assert done.code == 1
    results = [(target["target"], target["delivered"]) for target in done.json["targets"]]
    assert results == [
        ("webhook at 127.0.0.1", True),
        ("alerts.urls[0] (json)", True),
        ("alerts.urls[1] (xml)", False),
    ]
    assert not done.json["delivered"]
    assert [body["title"] for body in receiver.bodies] == ["Test notification of lookout-ledger"] * 2
    assert "t0ken" not in done.out and "s3cr3t" not in done.out


def test_all_delivered_is_exit_code_0(ledger: RunLedger, tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "ledger.toml").write_text(
        f'[alerts]\nwebhook_url = "{receiver.url}"\nallow_private_addresses = true\n'
    )

    done = ledger("alerts", "test")

    assert (done.code, done.text) == (0, "ok webhook at 127.0.0.1")
    assert receiver.kinds() == ["test"]


def test_private_addresses_are_refused_by_default(
    ledger: RunLedger, tmp_path: Path, receiver: Receiver
) -> None:
    write_settings(tmp_path, receiver, allow_private=False)

    done = ledger("alerts", "test")

    assert done.code == 1
    assert done.text.count("alerts.allow_private_addresses = true") == 3
    assert receiver.methods == []


def test_without_targets_nothing_is_tested(ledger: RunLedger, tmp_path: Path) -> None:
    (tmp_path / "ledger.toml").write_text("")

    done = ledger("alerts", "test")

    assert done.code == 1
    assert "No target is set" in done.text


@pytest.mark.parametrize("value", ["slack://", "https://s3cr3t.example.com"])
def test_an_invalid_url_is_a_settings_error(ledger: RunLedger, tmp_path: Path, value: str) -> None:
    (tmp_path / "ledger.toml").write_text(f'[alerts]\nurls = ["{value}"]\n')

    done = ledger("alerts", "test")

    assert done.code == 2
    assert "alerts.urls[0]" in done.err and "s3cr3t" not in done.err
