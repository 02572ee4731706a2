"""Reads small local files that a setting names, such as the settings file itself."""

import errno
import os
from pathlib import Path
from stat import S_ISFIFO

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
