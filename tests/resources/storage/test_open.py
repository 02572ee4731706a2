"""The choice between local storage and S3."""

from pathlib import Path

import pytest

from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.storage.local_files import LocalFiles
from resources.storage.open import open_file_store, read_bytes


@pytest.mark.parametrize("uri", ["gs://bucket", "https://example.com/x.json", "S3://bucket"])
def test_an_unsupported_scheme_raises_an_error_with_its_fix(uri: str) -> None:
    for attempt, setting in (
        (lambda: open_file_store(uri), "sources.uri"),
        (lambda: Lake(uri), "lake.uri"),
        (lambda: read_bytes(uri, "equipment.registry"), "equipment.registry"),
    ):
        with pytest.raises(ConfigurationError, match="not supported, only") as caught:
            attempt()
        assert caught.value.where == f"{setting} = {uri}"
        assert "copy the files to a local folder or to S3" in caught.value.next_step


@pytest.mark.parametrize("uri", ["dumps", "/dumps/x.json", "C:/dumps", "C:\\dumps", "/a/b://c"])
def test_a_path_is_local(uri: str) -> None:
    assert isinstance(open_file_store(uri), LocalFiles)
    assert Lake(uri).root == Path(uri)
