"""Permissions of new files: lake, reports, logs and settings can name people and faults of a plant."""

import os

_OTHERS = 0o007


def restrict_new_files() -> None:
    """Give users outside of the group no access to files that this process creates from now on.

    The umask of the caller stays in force.
    """
    os.umask(os.umask(0o077) | _OTHERS)
