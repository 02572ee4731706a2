"""New files are not accessible for users outside of the group."""

import os
from pathlib import Path

import pytest

from resources.storage.local import LocalStorage, write_text_atomically
from resources.storage.permissions import restrict_new_files


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o000, 0o660, 0o770), (0o022, 0o640, 0o750), (0o077, 0o600, 0o700)]
)
def test_new_files_have_no_permission_for_others(tmp_path: Path, umask: int, file: int, folder: int) -> None:
    before = os.umask(umask)
    try:
        restrict_new_files()
        LocalStorage(tmp_path / "lake", timeout_seconds=1).update(
            "t/f", lambda _: (None, lambda sink: sink.write(b"x"))
        )
        write_text_atomically(tmp_path / "page", "text")
    finally:
        os.umask(before)

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.name != ".lock"}
    assert modes == {"lake": folder, "t": folder, "f": file, "page": file}
    assert not (tmp_path / "lake" / "t" / ".lock").stat().st_mode & 0o007
