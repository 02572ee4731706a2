"""The choice between local storage and S3, from the URI in a setting.

pyarrow and boto3 take long to import, so the functions import them only for the storage that they open.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.aws.s3_objects import split_uri
from resources.errors import ConfigurationError
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.storage.small_files import read_small_file

if TYPE_CHECKING:
    from resources.storage.base import FileStore, Storage

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # at least two letters: C:/ is a drive


def parse_scheme(uri: str) -> str | None:
    """Return the scheme of a URI as written; None for a local path."""
    match = _SCHEME.match(uri)
    return match[1] if match else None


def to_uri(location: str) -> str:
    """Return a URI unchanged, and a local path as an absolute `file://` URI."""
    return location if parse_scheme(location) else Path(location).absolute().as_uri()


def is_s3(uri: str, setting: str) -> bool:
    """Whether a URI names S3; otherwise it is a local path.

    Args:
        uri: a local path or `s3://bucket/key`.
        setting: the settings key that holds the URI, for the message.

    Raises:
        ConfigurationError: the URI has another scheme.
    """
    if uri.startswith("s3://"):
        return True
    if scheme := parse_scheme(uri):
        raise ConfigurationError(
            f"Cannot open {uri}: {scheme}:// is not supported, only local paths and s3:// are",
            where=f"{setting} = {uri}",
            next_step=f"copy the files to a local folder or to S3, and set {setting} to it",
        )
    return False


def open_storage(uri: str, *, timeout_seconds: float, **s3_options: Any) -> "Storage":  # noqa: ANN401
    """Open the storage of a lake; the further options are those of `S3Storage`.

    Raises:
        ConfigurationError: the scheme of the URI is not supported.
    """
    if is_s3(uri, "lake.uri"):
        from resources.storage.s3 import S3Storage  # noqa: PLC0415 (imports boto3)

        return S3Storage(uri, timeout_seconds=timeout_seconds, **s3_options)
    from resources.storage.local import LocalStorage  # noqa: PLC0415 (imports pyarrow)

    return LocalStorage(Path(uri), timeout_seconds=timeout_seconds)


def open_file_store(uri: str, limits: ReadLimits = DEFAULT_LIMITS, owner: str | None = None) -> "FileStore":
    """Open the store with the files of a source.

    Args:
        uri: a local path or `s3://bucket/key`.
        limits: limits of each file.
        owner: the account that must own the bucket; None: any.

    Raises:
        ConfigurationError: the scheme of the URI is not supported.
    """
    if is_s3(uri, "sources.uri"):
        from resources.storage.s3_files import S3Files  # noqa: PLC0415 (imports boto3)

        return S3Files(uri, limits, owner)
    from resources.storage.local_files import LocalFiles  # noqa: PLC0415 (imports pyarrow)

    return LocalFiles(limits)


def read_bytes(uri: str, setting: str, owner: str | None = None) -> bytes | None:
    """Read a small file, such as a registry; None if it does not exist.

    Args:
        uri: a local path or `s3://bucket/key`.
        setting: the settings key that names the file, for messages.
        owner: the account that must own the bucket; None: any.

    Raises:
        ConfigurationError: the file cannot be read, or the scheme of the URI is not supported.
        LedgerError: S3 refuses or cannot be reached.
    """
    if is_s3(uri, setting):
        from resources.aws.s3_bucket import Bucket  # noqa: PLC0415 (imports boto3)

        bucket, key = split_uri(uri)
        content = Bucket(bucket, setting, owner=owner).get(key)
        return None if content is None else content.data
    try:
        return read_small_file(Path(uri))
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise ConfigurationError(
            f"Cannot read the file of {setting}: {problem.strerror}",
            where=uri,
            next_step=f"set {setting} to a file that this user may read",
        ) from None
