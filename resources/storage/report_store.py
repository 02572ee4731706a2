"""The folder that pages are written to: on this machine, or a prefix in S3."""

from pathlib import Path

from resources.clock import unique_id
from resources.errors import ConfigurationError, RetryLaterError

_ATTEMPTS = 5
_TYPES = {".html": "text/html; charset=utf-8", ".md": "text/markdown; charset=utf-8"}


class ReportStore:
    """Pages below one folder or prefix."""

    def __init__(self, folder: str) -> None:
        """Name the folder; nothing is made before the first page is written."""
        self.folder = folder

    def write(self, name: str, text: str) -> str:
        """Write a page, or replace it, and say where it is: a path, or a uri.

        Raises:
            ConfigurationError: it cannot be written there.
            LedgerError: S3 refuses, or cannot be reached.
        """
        if self.folder.startswith("s3://"):
            return self._put(name, text)
        return str(write_page(Path(self.folder) / name, text))

    def _put(self, name: str, text: str) -> str:
        from resources.aws.s3_bucket import Bucket, split_uri  # noqa: PLC0415 (which loads boto3)

        bucket_name, prefix = split_uri(self.folder)
        bucket = Bucket(bucket_name, "report.folder")
        key = f"{prefix.rstrip('/')}/{name}".lstrip("/")
        options = {"ContentType": _TYPES.get(Path(name).suffix, "application/octet-stream")}
        for _ in range(_ATTEMPTS):
            there = bucket.get(key, last_bytes=1)
            etag = there.etag if there and there.etag else None
            if bucket.put(key, text.encode(), replacing=etag, **options):
                return bucket.uri(key)
        raise RetryLaterError(
            "somebody else keeps writing the same page", where=bucket.uri(key), next_step="try again"
        )


def write_page(file: Path, text: str) -> Path:
    """Write a file as a whole, its folders included.

    Raises:
        ConfigurationError: it cannot be written.
    """
    temporary = file.with_name(f".{file.name}.{unique_id()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise ConfigurationError(
            f"a page cannot be written: {problem.strerror or problem}",
            where=str(file),
            next_step="let this user write there, or name another folder with report.folder",
        ) from None
    return file
