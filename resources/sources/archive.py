"""Saved responses as a source.

Supported formats: output of AWS CLI v1 and v2, raw HTTP bodies, `json.dumps(response, default=str)`,
responses printed in notebooks, JSON lines of responses or summaries, and lists of summaries. A file has one
page or several, and may be gzipped. Recordings (`recordings`) hold requests too, and can prove days complete.
"""

from dataclasses import replace
from datetime import tzinfo

from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.sources.saved_file import KIND, SavedResponseFile
from resources.storage.base import NAME_NOT_UTF8, FileStore, StoredFile
from resources.storage.open import open_file_store

SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt", ".warc")
"""The suffixes of saved responses in a folder, without `.gz`. A URI of one file may have any name."""


class ArchiveSource:
    """A file or folder with saved responses of ListInferenceExecutions."""

    kind = KIND
    days = None
    service = None

    def __init__(
        self,
        uri: str,
        *,
        zone: tzinfo | None = None,
        store: FileStore | None = None,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        """Open nothing yet.

        Args:
            uri: a file, a folder, or an s3:// prefix.
            zone: the time zone of times without an offset.
            store: reads the files; None: chosen by the scheme of the URI.
            limits: limits of each file.
        """
        self._limits = limits
        self.uri = uri
        self._zone = zone
        self._store = store or open_file_store(uri, limits)

    @property
    def files(self) -> "ArchiveSource":
        """Read it file by file."""
        return self

    def list_files(self) -> list[StoredFile]:
        """List the files that look like saved responses, and the entries that cannot be read.

        Raises:
            ConfigurationError: the URI does not exist, or cannot be read.
        """
        files = [self._with_zone(file) for file in self._store.list_files(self.uri)]
        if [file.uri for file in files] == [self.uri]:
            return files
        return [file for file in files if _is_candidate(file)]

    def open(self, file: StoredFile) -> SavedResponseFile:
        """Return one file to read; nothing is opened yet."""
        return SavedResponseFile(file, self._store, self._zone, self._limits)

    def _with_zone(self, file: StoredFile) -> StoredFile:
        # the same bytes have another meaning in another zone and must then be read again
        return replace(file, etag=f"{file.etag} {self._zone}") if self._zone else file


def _is_candidate(file: StoredFile) -> bool:
    # a link or folder that cannot be opened may hold saved responses, whatever its name is
    has_suffix = file.uri.lower().removesuffix(".gz").endswith(SUFFIXES)
    return has_suffix or file.problem not in {None, NAME_NOT_UTF8}
