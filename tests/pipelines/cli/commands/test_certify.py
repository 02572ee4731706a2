"""`ledger certify`: the range, the files, the exit codes and the JSON output."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.certificate.verifier import find_problems
from pipelines.operations.certification import load_certificate
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from tests.support.certificate_lake import write_lake
from tests.support.command_line import RunLedger, build_api_toml

HOURS = {(day, hour): "SUCCESS" for day in range(2) for hour in range(24)}


@pytest.fixture
def recorded(lake: Lake, settings: Callable[..., Path]) -> None:
    settings(build_api_toml("http://127.0.0.1:9"), start="2026-09-01", end="2026-09-04")
    write_lake(lake.uri, {"pump-1": HOURS}, 2)


@pytest.mark.usefixtures("recorded")
def test_without_a_file_it_prints_markdown(ledger: RunLedger) -> None:
    done = ledger("certify", "--from", "2026-09-01", "--to", "2026-09-02")

    assert done.code == 0, done.err
    assert done.out.startswith("# Completeness certificate, 2026-09-01 to 2026-09-02\n")
    assert "| pump-1 |" in done.out


@pytest.mark.usefixtures("recorded")
def test_it_writes_each_format_and_the_verifier_and_finds_a_change(
    ledger: RunLedger, lake: Lake, tmp_path: Path
) -> None:
    names = ("c.json", "c.html", "c.md")
    outputs = [argument for name in names for argument in ("--out", str(tmp_path / name))]
    done = ledger("certify", *outputs, "--json")
    written = json.loads(done.out)

    assert done.code == 0, done.err
    assert written["files"] == [str(tmp_path / name) for name in (*names, "verify_certificate.py")]
    assert len(written["digest"]) == 64
    assert (written["totals"]["not_known"], written["totals"]["periods_not_known"]) == (0, 1)
    assert ledger("certify", "--verify", str(tmp_path / "c.json")).code == 0

    write_lake(lake.uri, {"pump-1": {**HOURS, (2, 0): "FAILED"}}, 3)
    done = ledger("certify", "--verify", str(tmp_path / "c.json"), "--json")
    assert done.code == 1
    assert any("2026-09-03" in change for change in json.loads(done.out)["changes"])


@pytest.mark.usefixtures("recorded")
def test_a_scheduler_that_does_not_exist_is_an_error(ledger: RunLedger) -> None:
    done = ledger("certify", "--scheduler", "pomp-1")

    assert done.code == 2
    assert "pump-1" in done.err


@pytest.mark.usefixtures("recorded")
def test_verify_takes_no_selection(ledger: RunLedger, tmp_path: Path) -> None:
    done = ledger("certify", "--verify", str(tmp_path / "c.json"), "--from", "2026-09-01")

    assert done.code == 2
    assert "--verify" in done.err


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "missing"])
def test_a_certificate_that_is_no_file_is_rejected(tmp_path: Path, kind: str) -> None:
    """A pipe would be waited for, and a device never ends."""
    path = tmp_path / "c.json" if kind != "device" else Path("/dev/zero")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(
        ConfigurationError, match=r"Cannot read the certificate: (it is not a file|No such file)"
    ):
        load_certificate(path)
    assert list(find_problems(path, None)) == [f"{path} is not a file"]
