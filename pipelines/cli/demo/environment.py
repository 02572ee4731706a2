"""The generated fleet of `ledger demo` and `ledger dev`: its folder, settings and simulated service."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

from pipelines.runs.instance import HOME_VARIABLE, create_home
from resources.clock import monotonic, sleep
from resources.config.loader import CHECKOUT, CONFIG_VARIABLE, HOME_NAME
from resources.errors import DataError

FIRST, LAST = date(2026, 9, 10), date(2026, 10, 7)
"""The last four weeks of the service."""

FOLDER = CHECKOUT / "data" / "demo"
CONFIG = FOLDER / "ledger.toml"
HOME = FOLDER / HOME_NAME
EXPORTS = FOLDER / "env"
_CREDENTIALS = FOLDER / "credentials"
_DUMPS = FOLDER / "dumps"
_ACCOUNTS_AND_REGIONS = (
    ("111122223333", "us-east-1"),
    ("111122223333", "eu-west-1"),
    ("123456789012", "eu-west-1"),
    ("123456789012", "ap-northeast-2"),
)
_VARIABLES = {CONFIG_VARIABLE: CONFIG, HOME_VARIABLE: HOME, "AWS_SHARED_CREDENTIALS_FILE": _CREDENTIALS}
_START_SECONDS = 60
_CLOCK = f"{LAST + timedelta(days=1)}T02:00:00Z"  # fixed; all executions of the dumps have ended by then

_SETTINGS = f"""\
# written by `ledger demo`; a project of your own is another folder: ledger init FOLDER
[lake]
uri = "lake"

[report]
folder = "reports"

[history]
start_date = "{FIRST}"
end_date = "{LAST + timedelta(days=1)}"

# saved API responses, which include schedulers that were deleted later
[[sources]]
kind = "archive"
uri = "dumps/"
"""
_EQUIPMENT = r"""# names of some machines; the others use the names of their schedulers
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
schedulers = ["fan-2"]  # by name, so a recreated scheduler is the same machine
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
    """Write the saved responses, settings and credentials of the fleet; return a summary of its faults.

    Raises:
        DataError: the sandbox cannot write the responses.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():  # the files of an earlier demo; `make dev` may be using the Dagster home
        if path.is_dir() and path != HOME:
            shutil.rmtree(path)
        elif path != HOME:
            path.unlink()
    create_home(HOME)
    CONFIG.write_text(
        _SETTINGS
        + "".join(_API.format(account=account, region=region) for account, region in _ACCOUNTS_AND_REGIONS)
    )
    (FOLDER / "equipment.toml").write_text(_EQUIPMENT)
    (FOLDER / "silences.toml").write_text(_SILENCES)
    keys = "[{0}]\naws_access_key_id = {0}\naws_secret_access_key = sandbox\n"
    _CREDENTIALS.write_text("".join(keys.format(account) for account in dict(_ACCOUNTS_AND_REGIONS)))
    result = subprocess.run(  # noqa: S603
        _build_sandbox_command("dump", "--to", str(_DUMPS)),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise _build_error("cannot write its fleet", result.stderr)
    return result.stdout.strip()


@contextmanager
def run_service() -> Iterator[dict[str, str]]:
    """Run the simulated service; yields the environment for processes that use it.

    Raises:
        DataError: the service does not start.
    """
    EXPORTS.unlink(missing_ok=True)
    create_home(HOME)
    command = _build_sandbox_command(
        "serve", "--clock", _CLOCK, "--exports", str(EXPORTS), "--stop-with-stdin"
    )
    with subprocess.Popen(  # noqa: S603
        command,
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _wait_for_start(process)
            with EXPORTS.open("a") as file:
                file.writelines(f"export {name}={path}\n" for name, path in _VARIABLES.items())
            yield os.environ | _read_exports()
        finally:
            process.terminate()


def _build_sandbox_command(command: str, *arguments: str) -> list[str]:
    history = ["--until", f"{LAST + timedelta(days=1)}T00:00:00Z", "--days", str((LAST - FIRST).days + 1)]
    return [sys.executable, "-m", "sandbox", command, *arguments, *history]


def _wait_for_start(process: subprocess.Popen[str]) -> None:
    deadline = monotonic() + _START_SECONDS
    while not EXPORTS.exists():
        if process.poll() is not None or monotonic() > deadline:
            process.terminate()
            raise _build_error("does not start", process.stderr.read() if process.stderr else "")
        sleep(0.1)


def _read_exports() -> dict[str, str]:
    lines = (
        line.removeprefix("export ")
        for line in EXPORTS.read_text().splitlines()
        if line.startswith("export ")
    )
    return dict(line.split("=", 1) for line in lines)


def _build_error(problem: str, output: str) -> DataError:
    return DataError(
        f"Cannot run the demo: the sandbox {problem}: {output.strip() or 'no output'}",
        where=str(FOLDER),
        next_step="run it alone to see its output: python -m sandbox serve",
    )
