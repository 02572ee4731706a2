"""Local files of a source: listed through links, identified by size and time, and never skipped silently."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import ConfigurationError, DataError, UnreadableArchiveError
from resources.read_limits import ReadLimits
from resources.storage.base import NAME_NOT_UTF8, StoredFile
from resources.storage.local_files import LocalFiles, may_exist


def list_names(folder: Path) -> list[str]:
    """The paths of the listed files, relative to the folder."""
    return [str(Path(file.uri).relative_to(folder)) for file in LocalFiles().list_files(str(folder))]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))


@pytest.fixture
def without_privileges(tmp_path: Path) -> Iterator[None]:
    """Switch from root to a user without privileges, because root ignores permissions."""
    if not hasattr(os, "seteuid"):
        pytest.skip("requires POSIX permissions")
    if os.getuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:  # pytest creates private folders
                folder.chmod(0o755)
        os.seteuid(65534)
    yield
    if os.getuid() == 0:
        os.seteuid(0)


@given(st.sets(st.binary(min_size=1, max_size=12), max_size=8))
def test_a_file_of_any_name_is_listed_or_named(names: set[bytes]) -> None:
    allowed = {name for name in names if not {0, ord("/")} & set(name) and name[:1] not in (b".", b"_")}
    with TemporaryDirectory() as folder:
        for name in allowed:
            Path(folder, os.fsdecode(name)).touch()
        files = LocalFiles().list_files(folder)
        assert all(may_exist(file.uri) for file in files)
    assert len(files) == len(allowed)
    assert not any(may_exist(file.uri) for file in files)
    for file in files:
        file.uri.encode()  # it can be stored and shown


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="requires /proc")
def test_a_file_that_can_be_opened_and_not_read_is_an_error() -> None:
    (file,) = LocalFiles().list_files("/proc/self/mem")
    with LocalFiles().open(file) as opened, pytest.raises(UnreadableArchiveError, match="Cannot open a file"):
        opened.read(1)


def test_all_files_below_a_folder_are_listed_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b", "a/z", "a/y/x", "c.json", "A")
    assert list_names(tmp_path) == ["A", "a/y/x", "a/z", "b", "c.json"]


def test_hidden_names_below_the_folder_are_skipped_at_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "_dumps"
    write(folder, ".a", "_b", ".git/c", "_tmp/d", "sub/.e", "sub/_f", "sub/g")
    assert list_names(folder) == ["sub/g"]


def test_an_empty_folder_has_no_files(tmp_path: Path) -> None:
    assert list_names(tmp_path) == []


def test_a_single_file_keeps_the_uri_that_named_it(tmp_path: Path) -> None:
    write(tmp_path, ".x")
    uri = f"{tmp_path}/./.x"
    assert [file.uri for file in LocalFiles().list_files(uri)] == [uri]


def list_problems(folder: Path) -> dict[str, str | None]:
    """The problem of each listed entry; None: it is readable."""
    return {
        file.uri.removeprefix(f"{folder}/"): file.problem
        and file.problem.removeprefix("Cannot open a file: ")
        for file in LocalFiles().list_files(str(folder))
    }


def test_entries_that_are_no_files_are_listed_with_their_problem(tmp_path: Path) -> None:
    write(tmp_path, "a", "filled.json/b")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # a path of a socket has at most 107 bytes
    assert list_problems(tmp_path) == {
        "a": None,
        "filled.json/b": None,
        "folder.json/": "it is an empty folder",
        "pipe.json": "it is a named pipe, not a file",
        "socket": "it is a socket, not a file",
    }


def test_names_that_are_not_utf8_are_listed_escaped(tmp_path: Path) -> None:
    write(tmp_path, "a", "P\udcfcmpe.json", "\udcfc/b", "\udcfc/c")
    assert list_problems(tmp_path) == {
        "a": None,
        r"P\xfcmpe.json": NAME_NOT_UTF8.split(": ")[1],
        r"\xfc": NAME_NOT_UTF8.split(": ")[1],
    }
    path = str(tmp_path / "P\udcfcmpe.json")
    (file,) = LocalFiles().list_files(path)
    with pytest.raises(UnreadableArchiveError, match="not UTF-8") as caught:
        LocalFiles().read(file)
    assert str(caught.value).encode()


def test_only_a_missing_entry_is_known_to_be_removed(tmp_path: Path) -> None:
    write(tmp_path, "a", "folder/b")
    (tmp_path / "loop").symlink_to("loop")
    assert [name for name in ("loop", "b", "a/b", "folder/c") if may_exist(str(tmp_path / name))] == ["loop"]


@pytest.mark.parametrize("uri", ["a\0b", "\ud800", "x" * 5000], ids=["null", "surrogate", "long"])
def test_an_impossible_path_raises_an_error(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="Cannot read a source: ") as caught:
        LocalFiles().list_files(uri)
    assert str(caught.value).encode()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (file,) = LocalFiles().list_files(str(tmp_path / "a"))
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    for pipe in (file, *LocalFiles().list_files(str(tmp_path / "a"))):
        with pytest.raises(UnreadableArchiveError, match="it is a named pipe, not a file"):
            LocalFiles().read(pipe)


def test_a_file_is_identified_by_size_and_modification_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("four")
    os.utime(path, ns=(1, 1_700_000_000_000_000_001))
    assert LocalFiles().list_files(str(path)) == [StoredFile(str(path), 4, "1700000000000000001")]
    assert LocalFiles().list_files(str(tmp_path)) == LocalFiles().list_files(str(path))


def test_links_are_followed(tmp_path: Path) -> None:
    """Folders of saved responses often consist of links."""
    write(tmp_path, "elsewhere/a", "elsewhere/sub/b", "dumps/c")
    (tmp_path / "dumps/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dumps/d").symlink_to(tmp_path / "elsewhere/a")
    (tmp_path / "top").symlink_to(tmp_path / "dumps")
    assert list_names(tmp_path / "top") == ["c", "d", "linked/a", "linked/sub/b"]
    assert LocalFiles().read(LocalFiles().list_files(str(tmp_path / "top"))[2]) == b"elsewhere/a"


def test_cyclic_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path, "a", "sub/b")
    (tmp_path / "sub/up").symlink_to(tmp_path)
    (tmp_path / "sub/self").symlink_to(tmp_path / "sub")
    assert list_names(tmp_path) == ["a", "sub/b"]


def test_broken_links_are_listed_with_their_problem(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "b").symlink_to("gone")
    (tmp_path / "c").symlink_to("c")
    assert list_problems(tmp_path) == {
        "a": None,
        "b": "it is a link to gone: No such file or directory",
        "c": "it is a link to c: Too many levels of symbolic links",
    }


def test_files_and_folders_that_are_deleted_meanwhile_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a", "b", "sub/c", "sub2/d")
    original = os.stat

    def delete_and_stat(path: str, **kwargs: Any) -> os.stat_result:
        if Path(path).name == "b":
            (tmp_path / "b").unlink(missing_ok=True)
        status = original(path, **kwargs)
        if Path(path).name == "sub":
            shutil.rmtree(path)
        return status

    monkeypatch.setattr("os.stat", delete_and_stat)
    assert list_names(tmp_path) == ["a", "sub2/d"]


@pytest.mark.parametrize("name", ["none", "file/below"], ids=["missing", "below a file"])
def test_a_missing_path_raises_an_error_with_its_fix(tmp_path: Path, name: str) -> None:
    write(tmp_path, "file")
    with pytest.raises(ConfigurationError, match=r"Cannot read a source: Not? ") as caught:
        LocalFiles().list_files(str(tmp_path / name))
    assert caught.value.where == f"sources.uri = {tmp_path / name}"
    assert "correct the uri in ledger.toml" in caught.value.next_step


def test_an_unreadable_folder_raises_an_error_instead_of_counting_as_empty(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write(tmp_path, "dumps/a")
    (tmp_path / "dumps").chmod(0o000)
    request.getfixturevalue("without_privileges")
    with pytest.raises(ConfigurationError, match="Cannot read a source: Permission denied") as caught:
        LocalFiles().list_files(str(tmp_path / "dumps"))
    assert caught.value.where == f"sources.uri = {tmp_path / 'dumps'}"


def test_an_unreadable_subfolder_is_listed_with_its_problem(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write(tmp_path, "dumps/a", "dumps/closed/b", "dumps/z/c")
    (tmp_path / "dumps/closed").chmod(0o000)
    (tmp_path / "dumps/link").symlink_to("closed/b")
    request.getfixturevalue("without_privileges")
    assert list_problems(tmp_path / "dumps") == {
        "a": None,
        "closed/": "Permission denied",
        "link": "it is a link to closed/b: Permission denied",
        "z/c": None,
    }
    assert may_exist(str(tmp_path / "dumps/closed/unknown"))


def test_an_unreadable_file_raises_an_error(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write(tmp_path, "a")
    (tmp_path / "a").chmod(0o000)
    request.getfixturevalue("without_privileges")
    (file,) = LocalFiles().list_files(str(tmp_path))
    with pytest.raises(UnreadableArchiveError, match="Cannot open a file: Permission denied") as caught:
        LocalFiles().read(file)
    assert caught.value.where == str(tmp_path / "a")
    assert "make it readable for this user" in caught.value.next_step


def test_a_folder_with_too_many_entries_is_not_listed(tmp_path: Path) -> None:
    write(tmp_path, "a", "b/c", "b/d")
    assert len(LocalFiles(ReadLimits(entries=3)).list_files(str(tmp_path))) == 3
    with pytest.raises(DataError, match=r"more than 2 entries \(limits.max_entries_per_listing\)") as caught:
        LocalFiles(ReadLimits(entries=2)).list_files(str(tmp_path))
    assert caught.value.where == f"sources.uri = {tmp_path}"
