"""What all tests share: a small fleet with its saved responses; captured responses where there are any."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.dumps import Manifest, write_history
from sandbox.fleet import Fleet, History, fleet
from tests.support.receiver import Receiver, run_receiver
from tests.support.spark import hive, spark

__all__ = ["hive", "spark"]  # fixtures like those below

ROOT = Path(__file__).resolve().parents[1]
UNTIL = datetime(2026, 10, 8, tzinfo=UTC)


@pytest.fixture(scope="session")
def small_fleet() -> Fleet:
    """Two days of the fleet: 2026-10-06 and 2026-10-07."""
    return fleet(seed=1, history=History(datetime(2026, 10, 6, tzinfo=UTC), UNTIL))


@pytest.fixture(scope="session")
def dumps(small_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Its saved responses; read them, do not change them."""
    folder = tmp_path_factory.mktemp("dumps")
    return folder, write_history(small_fleet, folder, UNTIL)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of captured real responses that LEDGER_CAPTURES names, one subfolder per form."""
    folder = os.environ.get("LEDGER_CAPTURES")
    if not folder:
        pytest.skip("LEDGER_CAPTURES names no folder of captured responses")
    return Path(folder)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web address that takes notices."""
    with run_receiver() as kept:
        yield kept


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LEDGER_") and name != "LEDGER_CAPTURES":
            monkeypatch.delenv(name)
