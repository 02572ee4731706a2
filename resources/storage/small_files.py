"""Reads local files that a setting or an option names, such as the settings file itself."""

import errno
import os
from pathlib import Path
from stat import S_ISFIFO, S_ISREG

MAX_BYTES = 10_000_000


def read_small_file(path: Path) -> bytes:
    """Return the content of a file.

    A named pipe without a writer would block for ever, and a device may never end.

    Raises:
        OSError: the file cannot be read, is a named pipe, or has more than 10 MB.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is a named pipe, not a file", str(path))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES // 1_000_000} MB", str(path))
    return data


def read_regular_file(path: Path) -> bytes:
    """Return the content of a file of any size.

    Raises:
        OSError: the file cannot be read, or is a folder, a pipe or a device, which may never end.
    """
    if not S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    return path.read_bytes()
