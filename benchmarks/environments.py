"""Python environments of the competitors, each with its own packages, in a folder of the user's cache.

The competitors need other versions of the same packages, so they cannot share one environment.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = {
    "script": ("boto3==1.44.5", "pandas==3.1.1", "pyarrow==26.0.1"),
    "dlt": ("dlt[filesystem,parquet]==1.31.0", "boto3"),
    "awswrangler": ("awswrangler==3.17.1", "boto3"),
    "sdk": (
        "lookoutequipment==0.1.5",
        "s3fs",
        "scipy",
        "matplotlib",
        "pytz",
    ),  # needs four without declaring them
}
"""The packages of each environment."""


def get_python(name: str) -> str:
    """Return the interpreter of an environment; "" is the environment of this process."""
    return sys.executable if not name else str(_get_folder(name) / "bin" / "python")


def build_environment(name: str) -> bool:
    """Install an environment, if it is not installed yet; return whether it can be used."""
    if not name or Path(get_python(name)).exists():
        return True
    try:
        _install(name)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"without {name}, because it cannot be installed: {error}", file=sys.stderr)
        return False
    return True


def _install(name: str) -> None:
    folder = _get_folder(name)
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"installing {', '.join(REQUIREMENTS[name])}", file=sys.stderr)
    _run(sys.executable, "-m", "venv", *(["--without-pip"] if _find_uv() else []), str(unfinished))
    python = str(unfinished / "bin" / "python")
    installer = [*_find_uv(), "--python", python] if _find_uv() else [python, "-m", "pip", "install"]
    _run(*installer, "--quiet", *REQUIREMENTS[name])
    shutil.rmtree(folder, ignore_errors=True)  # its interpreter no longer exists
    unfinished.rename(folder)  # the interpreter finds its packages relative to its own path


def _get_folder(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"{sys.version_info[:2]} {REQUIREMENTS[name]}"
    folder = cache / "lookout-ledger" / f"{name}-{hashlib.sha256(version.encode()).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _find_uv() -> list[str]:
    uv = Path(sys.executable).with_name("uv")
    return [str(uv), "pip", "install"] if uv.exists() else []


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603
