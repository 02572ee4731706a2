"""Files of a source that lie in S3.

`s3://bucket/dumps` and `s3://bucket/dumps/` name what lies below `dumps/`, as a folder does; the first names
the object `dumps` too, where there is one. Whatever else begins with `dumps` is passed over. Keys are taken
as they are: colons, question marks and percent signs mean nothing in them.
"""

from resources.aws.error_codes import error_code
from resources.aws.s3_bucket import Bucket, split_uri
from resources.errors import ConfigurationError, PermissionsError, UnreadableArchiveError
from resources.storage.files import StoredFile

_OF_ONE_OBJECT = ("AccessDenied", "InvalidObjectState", "KMS.")  # the second: it lies in Glacier


class S3Files:
    """Objects of one bucket; the tag is S3's own, which changes with the content."""

    def __init__(self, uri: str) -> None:
        """Name the bucket by any uri in it."""
        self._bucket = Bucket(split_uri(uri)[0], "sources.uri")

    def find(self, uri: str) -> list[StoredFile]:
        """List what lies below a prefix, or one object.

        Raises:
            ConfigurationError: there is nothing, or no such bucket.
            LedgerError: S3 refuses, or cannot be reached.
        """
        _, key = split_uri(uri)
        folder = f"{key.removesuffix('/')}/" if key else ""
        below = list(self._bucket.list_objects(folder))
        found = [file for file in below if not _hidden(file.key.removeprefix(folder))]
        if key != folder:
            here = [file for file in self._bucket.list_objects(key, most=1) if file.key == key]
            below, found = here + below, here + found
        if key and not below:
            raise ConfigurationError(
                "a source cannot be looked into: nothing lies there",
                where=f"sources.uri = {uri}",
                next_step="correct the uri in ledger.toml, or put the saved responses there",
            )
        files = [StoredFile(self._bucket.uri(file.key), file.size_bytes, file.etag) for file in found]
        return sorted(files, key=lambda file: file.uri)

    def read(self, file: StoredFile) -> bytes:
        """Return an object's content.

        Raises:
            UnreadableArchiveError: it is gone, or may not be read.
            LedgerError: nothing in this bucket can be read now.
        """
        try:
            content = self._bucket.get(split_uri(file.uri)[1])
        except (ConfigurationError, PermissionsError) as problem:
            if not error_code(problem.__cause__).startswith(_OF_ONE_OBJECT):
                raise
            raise UnreadableArchiveError(
                f"a file cannot be opened: {problem.what}", where=file.uri, next_step=problem.next_step
            ) from None
        if content is None:
            raise UnreadableArchiveError(
                "a file cannot be opened: it is gone",
                where=file.uri,
                next_step="nothing, if it was deleted on purpose; what it gave before stays in the lake",
            )
        return content.data


def _hidden(name: str) -> bool:
    """Tell names that are no files for us: of folders, and those that begin with a dot or underscore."""
    return name.endswith("/") or not name or any(part.startswith((".", "_")) for part in name.split("/"))
