"""The folder of report pages: local or an S3 prefix."""

from pathlib import Path
from typing import TYPE_CHECKING

from resources.aws.s3_objects import split_uri
from resources.errors import ConfigurationError, RetryLaterError
from resources.storage.local import make_folders, write_text_atomically
from resources.storage.open import is_s3

if TYPE_CHECKING:
    from resources.aws.s3_bucket import Bucket

_ATTEMPTS = 5
_CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".md": "text/markdown; charset=utf-8"}


class ReportStore:
    """Pages below one folder or prefix."""

    def __init__(self, folder: str, owner: str | None = None) -> None:
        """Set the folder; it is created with the first page.

        Args:
            folder: a path or `s3://bucket/prefix`.
            owner: the account that must own the bucket; None: any.
        """
        self.folder = folder
        self._owner = owner

    def write(self, name: str, text: str) -> str:
        """Create or replace a page, and return its path or URI.

        Raises:
            ConfigurationError: the page cannot be written.
            LedgerError: S3 refuses or cannot be reached.
        """
        if is_s3(self.folder, "report.folder"):
            return self._put(name, text)
        return str(write_page(Path(self.folder) / name, text))

    def has(self, name: str) -> bool:
        """Return whether a page exists.

        Raises:
            LedgerError: S3 refuses or cannot be reached.
        """
        if is_s3(self.folder, "report.folder"):
            bucket, key = self._open_bucket(name)
            return bucket.get(key, last_bytes=1) is not None
        return (Path(self.folder) / name).exists()

    def _open_bucket(self, name: str) -> "tuple[Bucket, str]":
        """Return the bucket and the key of a page."""
        from resources.aws.s3_bucket import Bucket  # noqa: PLC0415 (imports boto3)

        bucket_name, prefix = split_uri(self.folder)
        bucket = Bucket(bucket_name, "report.folder", owner=self._owner)
        return bucket, f"{prefix.rstrip('/')}/{name}".lstrip("/")

    def _put(self, name: str, text: str) -> str:
        bucket, key = self._open_bucket(name)
        options = {"ContentType": _CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream")}
        for _ in range(_ATTEMPTS):
            existing = bucket.get(key, last_bytes=1)
            etag = existing.etag if existing and existing.etag else None
            if bucket.put(key, text.encode(), replacing=etag, options=options):
                return bucket.uri(key)
        raise RetryLaterError(
            "Cannot write a page: another writer keeps replacing it",
            where=bucket.uri(key),
            next_step="run again when the other writer has finished",
        )


def write_page(file: Path, text: str) -> Path:
    """Create or replace a page atomically, with its parent folders.

    Raises:
        ConfigurationError: the page cannot be written.
    """
    try:
        make_folders(file.parent)
        write_text_atomically(file, text)
    except OSError as problem:
        raise ConfigurationError(
            f"Cannot write a page: {problem.strerror or problem}",
            where=str(file),
            next_step="make the folder writable for this user, or set report.folder to another one",
        ) from None
    return file
