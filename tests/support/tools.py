"""Programs of the extra `deploy-check`."""

import subprocess
import sys
from pathlib import Path

import pytest


def run_tool(program: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a program of this environment; a missing one skips the test."""
    path = Path(sys.executable).with_name(program)
    if not path.exists():
        pytest.skip(f"{program} is missing: pip install -e '.[deploy-check]'")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
