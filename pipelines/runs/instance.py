"""The local Dagster instance of a project: the folder in DAGSTER_HOME, or `.dagster` next to the settings."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from resources.config.loader import CHECKOUT, CONFIG_VARIABLE, HOME_NAME, find_config_file
from resources.errors import ConfigurationError, LedgerError
from resources.storage.permissions import restrict_new_files

if TYPE_CHECKING:
    import dagster as dg

HOME_VARIABLE = "DAGSTER_HOME"
_PROBE_BYTES = 65_536

INSTANCE = """\
# the local instance of this project; its SQLite files are in this folder
telemetry:
  enabled: false
nux: # no newsletter dialog
  enabled: false
concurrency:
  runs:
    tag_concurrency_limits:
      - { key: dagster/from_automation_condition, limit: 2 } # leave processors to the runs of people
  pools: # runs that call the API wait in the queue for their turn
    default_limit: 1
    granularity: run
run_launcher: # recognizes runs whose process ended with the machine or the code server
  module: pipelines.runs.local_launcher
  class: LocalRunLauncher
run_retries: # only for runs whose process died; assets retry their own steps
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
run_monitoring: # detects runs whose process died, within a minute
  enabled: true
  poll_interval_seconds: 30
  start_timeout_seconds: 300
  cancel_timeout_seconds: 180
  max_runtime_seconds: 86400
  max_resume_run_attempts: 0 # run_retries starts a new run, which skips recorded days
  free_slots_after_run_end_seconds: 300
"""
"""The settings of dagster.yaml that all instances share."""

STORAGE = """\
storage: # Dagster's SQLite files in this folder; a run over many days starts sooner
  custom:
    module: pipelines.runs.local_storage
    class: LocalStorage
    config:
      base_dir: { env: DAGSTER_HOME }
"""
"""The rest of dagster.yaml."""

TUNING = {
    # Dagster passes the planned events of a run to its storage in batches
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
    # An evaluation of the automation sensor waits so long for events that are being stored. Without it, the
    # evaluation can miss a change; with it, it also ignores later events, which the next one sees.
    "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "1",
}
"""Environment variables of Dagster's processes."""

ENVIRONMENT = "\n".join(["DAGSTER_HOME=${{DAGSTER_HOME:-{home}}}", *map("=".join, TUNING.items()), ""])
"""The content of .env. Dagster prefers .env to the environment, so the value refers back to it."""


def find_home(environ: Mapping[str, str] | None = None) -> Path:
    """Return the absolute path of the instance, which may not exist.

    It is DAGSTER_HOME, where ~ and relative paths are expanded. If that is unset or empty, it is the folder
    `.dagster` next to the settings file, or in the checkout if there are no settings.

    Raises:
        ConfigurationError: a path begins with ~ and an unknown user.
    """
    environ = os.environ if environ is None else environ
    path = environ.get(HOME_VARIABLE, "").strip()
    try:
        if path:
            return Path(path).expanduser().absolute()
        return find_config_file(environ).parent / HOME_NAME
    except RuntimeError as error:
        name = HOME_VARIABLE if path else CONFIG_VARIABLE
        raise ConfigurationError(
            f"Cannot use {name}: {error}",
            where=f"environment variable {name}",
            next_step=f"set {name} to an absolute path",
        ) from None


def select_home() -> None:
    """Set DAGSTER_HOME of this process to the absolute path, if there is one; create nothing."""
    with suppress(ConfigurationError):  # a command that needs the instance raises it
        os.environ[HOME_VARIABLE] = str(find_home())


def build_environment() -> dict[str, str]:
    """Return the environment for a process of the same project that runs in another folder.

    Raises:
        ConfigurationError: the variables hold an invalid path.
    """
    environment = TUNING | os.environ | {HOME_VARIABLE: str(find_home())}
    config = find_config_file()
    if CONFIG_VARIABLE in environment or config.parent != CHECKOUT:
        environment[CONFIG_VARIABLE] = str(config)
    return environment


def prepare_home() -> Path:
    """Create the instance of this process and set DAGSTER_HOME; return its folder.

    Raises:
        ConfigurationError: the folder cannot be created or written.
    """
    home = find_home()
    create_home(home)
    os.environ[HOME_VARIABLE] = str(home)
    return home


def create_home(home: Path) -> None:
    """Create the folder and its dagster.yaml, if they do not exist, and write a file to it.

    Raises:
        ConfigurationError: the folder cannot be created or written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        _write_missing(home / "dagster.yaml", INSTANCE + STORAGE)
        if os.access(home, os.W_OK | os.X_OK):
            _write_probe(home)
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "it is not a folder" if is_file else error.strerror or str(error)
        raise _build_error(reason, home) from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise _build_error("the folder is read-only", home)


def set_up() -> None:
    """Create the instance of the checkout, and `.env`, which names it to `dg` and `dagster`.

    Raises:
        ConfigurationError: the checkout or DAGSTER_HOME cannot be written.
    """
    prepare_home()
    home = CHECKOUT / HOME_NAME
    create_home(home)
    file = CHECKOUT / ".env"
    try:
        _write_missing(file, ENVIRONMENT.format(home=home))
    except OSError as error:
        raise ConfigurationError(
            f"Cannot write .env: {error.strerror}",
            where=str(file),
            next_step=f"make the folder writable, or set {HOME_VARIABLE} before you start dg or dagster",
        ) from None


def _write_missing(file: Path, text: str) -> None:
    if file.exists():
        return
    try:
        file.write_text(text)
    except OSError:  # a part of it would count as the user's own file
        file.unlink(missing_ok=True)
        raise


def _write_probe(home: Path) -> None:
    """Find out whether the disk is full; a database reports that only with its first change."""
    probe = home / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    finally:
        probe.unlink(missing_ok=True)


def is_database_error(error: Exception) -> bool:
    """Return whether the database of the instance cannot be reached, read or written."""
    sqlalchemy = sys.modules.get("sqlalchemy")  # without it, nothing has opened a database
    postgres = sys.modules.get("dagster_postgres.utils")
    if sqlalchemy is not None and isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        return True
    return postgres is not None and isinstance(error, postgres.DagsterPostgresException)


@contextmanager
def open_instance() -> "Iterator[dg.DagsterInstance]":
    """Open the instance in DAGSTER_HOME, and translate the errors of its database.

    Raises:
        ConfigurationError: dagster.yaml is invalid, or the database cannot be read or written.
    """
    import dagster as dg  # noqa: PLC0415 (takes half a second, which other commands do without)

    with translate_storage_errors(), ExitStack() as stack:
        try:
            instance = stack.enter_context(dg.DagsterInstance.get())
        except Exception as error:
            if is_database_error(error):
                raise
            reason = str(error).strip().partition("\n")[0] or repr(error)
            raise ConfigurationError(
                f"Cannot open the Dagster instance: {reason}",
                where=str(find_home() / "dagster.yaml"),
                next_step="correct that file; `ledger doctor` opens the instance too",
            ) from error
        yield instance


@contextmanager
def translate_storage_errors() -> Iterator[None]:
    """Translate the errors of the database of the instance.

    Raises:
        ConfigurationError: the database cannot be read or written, for example because the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_database_error(error):
            raise
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise ConfigurationError(
            f"Cannot use the storage of the Dagster instance: {reason}",
            where=str(find_home()),
            next_step="free disk space if the disk is full, check that the database can be written, and run"
            " again; recorded days stay in the lake",
        ) from error


def _build_error(reason: str, home: Path) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot use the Dagster home: {reason}",
        where=str(home),
        next_step=f"free disk space there, or set {HOME_VARIABLE} to a folder that you can write, or unset it"
        f" to use {HOME_NAME} next to your settings",
    )


if __name__ == "__main__":
    from pipelines.runs.pools import create_pools_of_home

    restrict_new_files()
    try:
        set_up()
        create_pools_of_home()
    except LedgerError as problem:
        sys.exit(str(problem))
