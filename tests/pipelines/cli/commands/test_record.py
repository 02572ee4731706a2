"""`ledger record`: a killed command continues, and its recording replays to the lake of a live extraction."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.aws.session import AwsAccess
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource
from resources.storage.recording_store import open_recording_store
from sandbox.service import Handle
from tests.support.command_line import RunLedger, build_api_toml
from tests.support.live_service import PLACES
from tests.support.paths import ROOT
from tests.support.replay import DAYS, extract, hash_lake

LIST = "ListInferenceExecutions"
RANGE = ("--from", "2026-10-05", "--through", "2026-10-07")

_ACCEPT_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""Background processes, such as those of CI, ignore it."""


def list_parts(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.glob("_unfinished/*/*/*.warc.gz") if not path.name.startswith(".")]
    except FileNotFoundError:  # the command removes the folders of a completed query meanwhile
        return []


def start_recording(folder: Path, parts: int) -> subprocess.Popen[str]:
    """Start the command, and wait until it has stored some pages of unfinished queries."""
    command = [
        sys.executable,
        "-c",
        _ACCEPT_CTRL_C + "from pipelines.cli.app import main; main()",
        "record",
        "--to",
        str(folder),
        *RANGE,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list_parts(folder)) < parts:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    return process


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=lambda kind: kind.name)
def test_a_stopped_recording_continues_and_replays_to_the_same_lake(
    ledger: RunLedger,
    settings: Callable[..., Path],
    service: Handle,
    tmp_path: Path,
    kind: signal.Signals,
) -> None:
    settings(build_api_toml(service.url))
    folder = tmp_path / "recording"
    service.inject(f"slow:{LIST}:seconds=0.3", f"throttle:{LIST}:count=1", f"hangup:{LIST}:after=1:count=1")
    process = start_recording(folder, 2)
    process.send_signal(kind)
    output, _ = process.communicate(timeout=60)
    if kind is signal.SIGINT:
        assert process.returncode == 130
        assert "ledger record --to" in output
    stored = len(list_parts(folder)) + sum(1 for path in folder.glob("*/*.warc.gz"))
    time.sleep(0.5)  # requests on their way are counted late
    service.reset()

    resumed = ledger("record", "--to", str(folder), *RANGE, "--json")
    assert resumed.code == 0, resumed
    requested = service.count(operation=LIST, outcome="ok")

    service.reset()
    whole = ledger("record", "--to", str(tmp_path / "whole"), *RANGE, "--json").json
    assert requested <= whole["pages"] - stored
    assert resumed.json["pages"] == requested
    source = ApiSource(AwsAccess(profile=PLACES[0][0], region=PLACES[0][1], endpoint_url=service.url))
    direct = hash_lake(extract(tmp_path / "direct", [source], DAYS[:3]))
    replayed = hash_lake(extract(tmp_path / "replayed", [ArchiveSource(str(folder))], DAYS[:3]))
    for hashes in (direct, replayed):
        del hashes["inference_schedulers"]  # `valid_from` is the time of the list
    assert replayed == direct


def test_the_recording_becomes_a_source_of_the_project(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, tmp_path: Path
) -> None:
    settings(build_api_toml(service.url))
    done = ledger("record", "--to", str(tmp_path / "recording"), *RANGE, "--scheduler", "pump-*")
    assert done.code == 0
    command = f"ledger import {tmp_path / 'recording'} --register"
    assert command in done.out
    imported = ledger(*command.split()[1:], "--yes", "--json")
    assert imported.code == 0
    assert (imported.json["from"], imported.json["to"]) == ("2026-10-05", "2026-10-07")
    again = ledger("record", "--to", str(tmp_path / "recording"), *RANGE, "--scheduler", "pump-*", "--json")
    assert (again.json["queries"], again.json["already_recorded_days"]) == (0, 3 * again.json["schedulers"])


def test_a_spent_budget_names_the_command_that_continues(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle, tmp_path: Path
) -> None:
    settings(build_api_toml(service.url))
    done = ledger("record", "--to", str(tmp_path / "recording"), *RANGE, "--max-calls", "2")
    assert done.code == 1
    assert "the budget of 2 calls is spent" in done.text
    assert f"ledger record --to {tmp_path / 'recording'} --from 2026-10-05 --through 2026-10-07" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "2026-10-07", "--through", "2026-10-05"), "is later than 2026-10-05"),
        (("--through", "2099-01-01"), "is after today"),
        (("--from", "tomorrow"), "Cannot read --from"),
    ],
)
def test_invalid_days_are_rejected_before_any_request(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    settings(build_api_toml("http://127.0.0.1:9"))
    done = ledger("record", "--to", str(tmp_path / "recording"), *arguments)
    assert done.code == 2
    assert message in done.err


def test_without_a_live_source_it_says_what_to_add(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "dumps"')
    done = ledger("record", "--to", str(tmp_path / "recording"))
    assert done.code == 2
    assert 'kind = "api"' in done.err


def test_a_place_that_is_not_supported_is_rejected(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url))
    done = ledger("record", "--to", "gs://bucket/recording", *RANGE)
    assert done.code == 2
    assert "gs:// is not supported" in done.err
    assert open_recording_store("recording").uri.endswith("recording")
