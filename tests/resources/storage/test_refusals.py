"""What a file system or S3 refuses is an error with the place and a fix, in each store that writes files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.errors import ConfigurationError, UnreadableArchiveError
from resources.read_limits import ReadLimits
from resources.storage.file_import import Copy, copy_files
from resources.storage.local import LocalStorage
from resources.storage.recording_store import open_recording_store
from resources.storage.report_store import ReportStore
from resources.storage.s3_files import S3Files
from tests.support.s3_server import Bucket, Server

USES: dict[str, Callable[[Path], object]] = {
    "list a recording": lambda file: open_recording_store(str(file)).list_names(),
    "read from a recording": lambda file: open_recording_store(str(file.parent)).read("folder"),
    "write to a recording": lambda file: open_recording_store(str(file)).create("a/b", b""),
    "delete from a recording": lambda file: open_recording_store(str(file.parent)).delete(["folder"]),
    "write a page": lambda file: ReportStore(str(file)).write("page.html", ""),
    "copy a saved response": lambda file: list(copy_files([Copy(file, file / "a.json", None)])),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in the place of a folder, next to a folder in the place of a file."""
    (tmp_path / "folder" / "more").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    return tmp_path / "file"


@pytest.mark.parametrize("use", USES)
def test_a_refused_operation_names_the_place(file: Path, use: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^Cannot (read|write|delete|copy) a ") as caught:
        USES[use](file)
    assert str(file.parent) in caught.value.where


def test_a_missing_file_of_a_recording_has_no_content(tmp_path: Path) -> None:
    assert open_recording_store(str(tmp_path)).read("none") is None


def test_a_recording_in_s3_does_not_need_the_permission_to_delete(bucket: Bucket, s3: Server) -> None:
    bucket.put("recording/.unfinished/a")
    s3.fail_next("DELETE", "403 FORBIDDEN", "AccessDenied")
    open_recording_store(f"{bucket.uri}/recording").delete([".unfinished/a"])
    assert bucket.get("recording/.unfinished/a") == b"x"


def test_an_object_over_the_limit_is_rejected_by_name(bucket: Bucket) -> None:
    bucket.put("dumps/a.json", bytes(11))
    files = S3Files(bucket.uri, ReadLimits(size_bytes=10))
    (listed,) = files.list_files(f"{bucket.uri}/dumps")
    with pytest.raises(UnreadableArchiveError, match=r"limits\.max_megabytes_per_file") as caught:
        files.read(listed)
    assert caught.value.where == f"{bucket.uri}/dumps/a.json"


def test_a_folder_that_cannot_be_looked_up_does_not_count_as_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path / "lake", timeout_seconds=1)
    storage.update("a", lambda _: (None, lambda sink: sink.write(b"x") and None))

    def fail(_: Path) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "exists", fail)
    with pytest.raises(FileNotFoundError):
        storage.open("b")
