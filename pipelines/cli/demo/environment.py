"""The generated fleet of the demo and `ledger dev`: its folder, settings and running service."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

from pipelines.runs.instance import CHECKOUT
from resources.clock import monotonic, sleep
from resources.errors import DataError

FIRST, LAST = date(2026, 9, 10), date(2026, 10, 7)
"""The last four weeks of the service."""

FOLDER = CHECKOUT / "data" / "demo"
CONFIG = FOLDER / "ledger.toml"
EXPORTS = FOLDER / "env"
_CREDENTIALS = FOLDER / "credentials"
_DUMPS = FOLDER / "dumps"
_PLACES = (
    ("111122223333", "us-east-1"),
    ("111122223333", "eu-west-1"),
    ("123456789012", "eu-west-1"),
    ("123456789012", "ap-northeast-2"),
)
_START_SECONDS = 60
_CLOCK = f"{LAST + timedelta(days=1)}T02:00:00Z"  # it stands: by then all has ended that the dumps tell of

_SETTINGS = f"""\
# written by `ledger demo`; your own settings stand in ledger.toml beside workspace.yaml
[lake]
uri = "lake"

[report]
folder = "reports"

[history]
start_date = "{FIRST}"
end_date = "{LAST + timedelta(days=1)}"

# what was saved while there was time: it also tells of schedulers that were deleted since
[[sources]]
kind = "archive"
uri = "dumps/"
"""
_EQUIPMENT = r"""# what people call some of these machines; the others have the names of their schedulers
[[equipment]]
name = "Feed pump 2"
site = "Virginia"
criticality = "high"
schedulers = ["pump-2"]
[equipment.sensors]
'pump-sensors\Sensor7' = { name = "Bearing temperature", unit = "°C" }
'pump-sensors\Sensor8' = { name = "Vibration, drive end", unit = "mm/s" }

[[equipment]]
name = "Air compressor 1"
site = "Ireland"
criticality = "medium"
schedulers = ["compressor-1"]

[[equipment]]
name = "Cooling fan"
site = "Seoul"
criticality = "low"
schedulers = ["fan-2"]  # by name: deleted and created again, it is the same machine
"""
_SILENCES = """\
[[silences]]
equipment = "Cooling fan"
from = 2026-10-07T00:00:00Z
until = 2026-10-07T04:00:00Z
who = "shift lead"
why = "bearing is replaced"
"""
_API = """
[[sources]]
kind = "api"
profile = "{account}"
region = "{region}"
"""


def prepare() -> str:
    """Write the fleet's saved responses, settings and credentials; return what is odd about them.

    Raises:
        DataError: the folder cannot be written to.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)  # what an earlier demo left; nothing else lies there
    FOLDER.mkdir(parents=True)
    CONFIG.write_text(
        _SETTINGS + "".join(_API.format(account=account, region=region) for account, region in _PLACES)
    )
    (FOLDER / "equipment.toml").write_text(_EQUIPMENT)
    (FOLDER / "silences.toml").write_text(_SILENCES)
    keys = "[{0}]\naws_access_key_id = {0}\naws_secret_access_key = sandbox\n"
    _CREDENTIALS.write_text("".join(keys.format(account) for account in dict(_PLACES)))
    done = subprocess.run(  # noqa: S603
        _sandbox("dump", "--to", str(_DUMPS)), cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise _failed("could not write its fleet", done.stderr)
    return done.stdout.strip()


@contextmanager
def service() -> Iterator[dict[str, str]]:
    """Run the sandbox's service; what it gives is the environment of a process that shall find it.

    Raises:
        DataError: it does not start.
    """
    EXPORTS.unlink(missing_ok=True)
    command = _sandbox("serve", "--clock", _CLOCK, "--exports", str(EXPORTS), "--stop-with-stdin")
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _wait(process)
            with EXPORTS.open("a") as file:
                file.write(
                    f"export LEDGER_CONFIG={CONFIG}\nexport AWS_SHARED_CREDENTIALS_FILE={_CREDENTIALS}\n"
                )
            yield os.environ | _exports()
        finally:
            process.terminate()


def _sandbox(command: str, *words: str) -> list[str]:
    history = ["--until", f"{LAST + timedelta(days=1)}T00:00:00Z", "--days", str((LAST - FIRST).days + 1)]
    return [sys.executable, "-m", "sandbox", command, *words, *history]


def _wait(process: subprocess.Popen[str]) -> None:
    deadline = monotonic() + _START_SECONDS
    while not EXPORTS.exists():
        if process.poll() is not None or monotonic() > deadline:
            process.terminate()
            raise _failed("did not start", process.stderr.read() if process.stderr else "")
        sleep(0.1)


def _exports() -> dict[str, str]:
    lines = (
        line.removeprefix("export ")
        for line in EXPORTS.read_text().splitlines()
        if line.startswith("export ")
    )
    return dict(line.split("=", 1) for line in lines)


def _failed(what: str, said: str) -> DataError:
    return DataError(
        f"the sandbox {what}: {said.strip() or 'it said nothing'}",
        where=str(FOLDER),
        next_step="see what it says with: python -m sandbox serve",
    )
