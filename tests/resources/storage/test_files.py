"""Files that a source reads from: found whatever leads to them, told apart, and never skipped in silence."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.errors import ConfigurationError, UnreadableArchiveError
from resources.storage.files import LocalFiles, StoredFile, open_store


def found(folder: Path) -> list[str]:
    """What is found below a folder, by its path from there."""
    return [str(Path(file.uri).relative_to(folder)) for file in LocalFiles().find(str(folder))]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.fixture
def without_rights(tmp_path: Path) -> Iterator[None]:
    """Be a user for whom permissions count; root, to whom they do not, becomes nobody."""
    if not hasattr(os, "seteuid"):
        pytest.skip("permissions are POSIX's here")
    if os.getuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:  # pytest's own folders are closed to others
                folder.chmod(0o755)
        os.seteuid(65534)
    yield
    if os.getuid() == 0:
        os.seteuid(0)


def test_everything_below_a_folder_is_found_in_order(tmp_path: Path) -> None:
    write(tmp_path, "b", "a/z", "a/y/x", "c.json", "A")
    assert found(tmp_path) == ["A", "a/y/x", "a/z", "b", "c.json"]


def test_hidden_names_are_passed_over_at_any_depth_below_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "_dumps"
    write(folder, ".a", "_b", ".git/c", "_tmp/d", "sub/.e", "sub/_f", "sub/g")
    assert found(folder) == ["sub/g"]


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_one_file_is_found_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, ".x")
    uri = f"{tmp_path}/./.x"
    assert [file.uri for file in LocalFiles().find(uri)] == [uri]


def test_only_files_are_found(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    assert found(tmp_path) == ["a"]


def test_a_file_is_told_apart_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("four")
    os.utime(path, ns=(1, 1_700_000_000_000_000_001))
    assert LocalFiles().find(str(path)) == [StoredFile(str(path), 4, "1700000000000000001")]
    assert LocalFiles().find(str(tmp_path)) == LocalFiles().find(str(path))


def test_links_are_followed(tmp_path: Path) -> None:
    """Folders of saved responses are often put together of links to where they are."""
    write(tmp_path, "elsewhere/a", "elsewhere/sub/b", "dumps/c")
    (tmp_path / "dumps/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dumps/d").symlink_to(tmp_path / "elsewhere/a")
    (tmp_path / "top").symlink_to(tmp_path / "dumps")
    assert found(tmp_path / "top") == ["c", "d", "linked/a", "linked/sub/b"]
    assert LocalFiles().read(LocalFiles().find(str(tmp_path / "top"))[2]) == b"elsewhere/a"


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    write(tmp_path, "a", "sub/b")
    (tmp_path / "sub/up").symlink_to(tmp_path)
    (tmp_path / "sub/self").symlink_to(tmp_path / "sub")
    assert found(tmp_path) == ["a", "sub/b"]


def test_a_link_to_nothing_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "b").symlink_to(tmp_path / "gone")
    assert found(tmp_path) == ["a"]


def test_files_and_folders_that_vanish_meanwhile_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a", "b", "sub/c", "sub2/d")
    whole = os.walk

    def while_someone_cleans_up(*args: object, **kwargs: object) -> Iterator[object]:
        for step in whole(*args, **kwargs):  # type: ignore[call-overload]
            (tmp_path / "b").unlink(missing_ok=True)
            (tmp_path / "sub/c").unlink(missing_ok=True)
            if (tmp_path / "sub").exists():
                (tmp_path / "sub").rmdir()
            yield step

    monkeypatch.setattr("os.walk", while_someone_cleans_up)
    assert found(tmp_path) == ["a", "sub2/d"]


@pytest.mark.parametrize("name", ["none", "file/below"], ids=["missing", "below a file"])
def test_a_place_that_is_not_there_is_told_with_its_mend(tmp_path: Path, name: str) -> None:
    write(tmp_path, "file")
    with pytest.raises(ConfigurationError, match=r"cannot be looked into: Not? ") as caught:
        LocalFiles().find(str(tmp_path / name))
    assert caught.value.where == f"sources.uri = {tmp_path / name}"
    assert "correct the uri in ledger.toml" in caught.value.next_step


@pytest.mark.parametrize("closed", ["dumps", "dumps/sub"], ids=["itself", "below it"])
def test_a_folder_that_may_not_be_looked_into_is_told_and_not_taken_for_empty(
    tmp_path: Path, request: pytest.FixtureRequest, closed: str
) -> None:
    write(tmp_path, "dumps/a", "dumps/sub/b")
    (tmp_path / closed).chmod(0o000)
    request.getfixturevalue("without_rights")
    with pytest.raises(ConfigurationError, match="cannot be looked into: Permission denied") as caught:
        LocalFiles().find(str(tmp_path / "dumps"))
    assert caught.value.where == f"sources.uri = {tmp_path / closed}"


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write(tmp_path, "a")
    (tmp_path / "a").chmod(0o000)
    request.getfixturevalue("without_rights")
    (file,) = LocalFiles().find(str(tmp_path))
    with pytest.raises(UnreadableArchiveError, match="cannot be opened: Permission denied") as caught:
        LocalFiles().read(file)
    assert caught.value.where == str(tmp_path / "a")
    assert "make it readable for this user" in caught.value.next_step


@pytest.mark.parametrize("uri", ["gs://bucket", "https://example.com/x.json"])
def test_storage_that_is_not_supported_is_told_with_a_way_around(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="not supported, only") as caught:
        open_store(uri)
    assert caught.value.where == f"sources.uri = {uri}"
    assert "copy them to a folder here first" in caught.value.next_step


@pytest.mark.parametrize("uri", ["dumps", "/dumps/x.json", "C:/dumps", "C:\\dumps"])
def test_a_path_lies_on_this_machine(uri: str) -> None:
    assert isinstance(open_store(uri), LocalFiles)
