"""Settings of all tests, and their fixtures in `support/fixtures.py`."""

import atexit
import gc
import os
import shutil
import sys
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 (each run has its own folder below it)
MEMORY_BYTES = 4_000_000_000


def pytest_configure() -> None:
    """Keep temporary files in memory: most of the time of the tests is otherwise spent in flushes to disk."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Load the fixtures, except in the process that only distributes tests: they import large libraries.

    Property tests draw fewer examples than usual; those that need more say so. CI does not shrink an example
    that fails, which can take minutes, but prints the decorator that repeats it.
    """
    if session.config.pluginmanager.hasplugin("dsession"):
        return
    from hypothesis import Phase, settings  # noqa: PLC0415 (see above)

    settings.register_profile("default", max_examples=25, deadline=None)  # a busy machine is slow
    phases = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target)
    settings.register_profile(
        "without-shrinking", settings.get_profile("default"), phases=phases, print_blob=True
    )
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
    session.config.pluginmanager.import_plugin("tests.support.fixtures")


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collections, and collect less often."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep the result of the tests for the end of the process."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        _results.append(session)


_results: list[pytest.Session] = []


@atexit.register  # before the libraries, so it is called after them
def _end_at_once() -> None:
    """Skip the end of the interpreter, which frees each object: that takes two seconds after all imports.

    After a failed test or an error, `sys.last_value` is set, and the process ends as usual.
    """
    if _results and not hasattr(sys, "last_value"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_results[0].exitstatus)
