"""A local copy of result objects, such as one made by `aws s3 sync`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.aws.s3_objects import ListedObject, ReserveBytes
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.results.base import FetchedResult, ObjectState, ResultRequest


@dataclass(frozen=True)
class LocalCopy:
    """A folder with the objects of a bucket whose keys begin with a prefix.

    It has the methods of `ResultBucket` that read objects. The time of a file is that of the copy, so it says
    nothing about the object, and `last_modified` is None.
    """

    bucket: str
    prefix: str
    folder: Path
    limits: ReadLimits = DEFAULT_LIMITS

    def contains(self, bucket: str, key: str) -> bool:
        """Return whether the object belongs to this copy, whether or not the copy has it."""
        return bucket == self.bucket and key.startswith(self.prefix)

    def get(self, request: ResultRequest, known_etag: str | None, reserve: ReserveBytes) -> FetchedResult:
        """Read an object; arguments as in `ResultBucket.get`."""
        try:
            file = self._find_file(request.key)
            if file is None:
                return FetchedResult(
                    request, ObjectState.MISSING, error=f"there is no such file in {self.folder}"
                )
            size, etag = _describe(file)
            if etag == known_etag:
                return FetchedResult(request, ObjectState.UNCHANGED)
            if size > self.limits.size_bytes:
                return FetchedResult(request, ObjectState.READ, b"", problem=self.limits.too_large)
            reserve(size)
            return FetchedResult(request, ObjectState.READ, file.read_bytes(), etag)
        except PermissionError as error:
            return FetchedResult(request, ObjectState.FORBIDDEN, error=_explain(error))
        except OSError as error:
            return FetchedResult(request, ObjectState.UNREACHABLE, error=_explain(error))

    def list_objects(self, keys: Sequence[str]) -> dict[str, ListedObject | None]:
        """Look up objects; a key is left out if its file cannot be examined."""
        objects: dict[str, ListedObject | None] = {}
        for key in keys:
            try:
                file = self._find_file(key)
                objects[key] = ListedObject(key, *_describe(file)) if file else None
            except OSError:
                continue  # the request of the object reports the reason
        return objects

    def _find_file(self, key: str) -> Path | None:
        """Return the file of a key, or its compressed form; None if there is neither."""
        names = key[len(self.prefix) :].split("/")
        if not {"", ".", ".."}.isdisjoint(names):
            return None  # such a key could name a file outside of the folder
        file = self.folder.joinpath(*names)
        candidates = (file, file.with_name(f"{file.name}.gz"))
        return next((candidate for candidate in candidates if candidate.is_file()), None)


def _describe(file: Path) -> tuple[int, str]:
    status = file.stat()
    return status.st_size, f"{status.st_mtime_ns}-{status.st_size}"


def _explain(error: OSError) -> str:
    return f"Cannot read {error.filename}: {error.strerror}"
