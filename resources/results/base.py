"""What is requested from a bucket with result objects, and what it returns."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ObjectState(StrEnum):
    """The result of reading an object."""

    READ = "read"
    UNCHANGED = "unchanged"
    MISSING = "missing"
    FORBIDDEN = "forbidden"
    KEY_MISSING = "key_missing"
    WRONG_OWNER = "wrong_owner"
    ARCHIVED = "archived"
    UNREACHABLE = "unreachable"
    NO_CREDENTIALS = "no_credentials"
    NOT_ALLOWED = "not_allowed"


UNAVAILABLE_STATES = tuple(
    state.value for state in ObjectState if state not in {ObjectState.READ, ObjectState.UNCHANGED}
)
"""The states in which the content of an object could not be read."""


@dataclass(frozen=True)
class ResultRequest:
    """An object to read.

    Attributes:
        bucket: its bucket.
        key: its key.
        etag: its ETag when it was last read.
        is_named_by_service: whether the service itself named the bucket; otherwise a file named it.
    """

    bucket: str
    key: str
    etag: str | None = None
    is_named_by_service: bool = False


@dataclass(frozen=True)
class FetchedResult:
    """The content of an object, or the error that prevented the read.

    An object beyond a limit is read as empty, and `problem` is the reason to reject it.
    """

    request: ResultRequest
    state: ObjectState
    data: bytes | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    error: str | None = None
    problem: str | None = None

    @property
    def size_in_memory(self) -> int:
        """Bytes of content in memory."""
        return len(self.data or b"")
