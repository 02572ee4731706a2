"""Passes objects from the threads that fetch them to the one that parses them, in batches.

The consumer wakes once for each batch. If it woke for each object, the threads would compete for the
interpreter's lock and for a processor at each object, which takes CPU time from all processes of a machine.
"""

from collections import deque
from threading import Condition, Lock

from resources.results.base import FetchedResult


class BatchQueue:
    """Collects objects into batches, and limits the bytes that they hold in memory. It is thread-safe."""

    def __init__(self, count: int, batch_bytes: int, bytes_in_memory: int) -> None:
        """Start empty.

        Args:
            count: the number of objects that will be put.
            batch_bytes: a batch is complete when it has this many bytes.
            bytes_in_memory: the most bytes of all objects; an object that is larger is alone in memory.
        """
        self.is_closed = False
        self._pending, self._batch_bytes, self._limit = count, batch_bytes, bytes_in_memory
        self._complete: deque[tuple[list[FetchedResult], int]] = deque()
        self._objects: list[FetchedResult] = []
        self._bytes, self._bytes_taken, self._bytes_reserved = 0, 0, 0
        self._is_full = False
        self._error: BaseException | None = None
        lock = Lock()
        self._is_ready, self._has_room = Condition(lock), Condition(lock)

    def reserve(self, size_bytes: int) -> None:
        """Block until there is room for some bytes, or the queue is closed."""
        with self._has_room:
            while self._bytes_reserved + size_bytes > self._limit and self._bytes_reserved:
                if self.is_closed:
                    break
                self._is_full = True  # so the consumer takes what there is
                self._is_ready.notify()
                self._has_room.wait()
            self._bytes_reserved += size_bytes

    def put(self, fetched: FetchedResult, bytes_reserved: int) -> None:
        """Add an object, for which some bytes were reserved."""
        with self._is_ready:
            self._objects.append(fetched)
            self._bytes += bytes_reserved
            self._pending -= 1
            if self._is_full or not self._pending or self._bytes >= self._batch_bytes:
                self._complete_batch()
                self._is_ready.notify()

    def fail(self, error: BaseException) -> None:
        """Let the consumer raise an error after the complete batches."""
        with self._is_ready:
            self._error = error
            self._is_ready.notify()

    def take(self) -> list[FetchedResult]:
        """Wait for a batch. The bytes of the batch before count as free. Empty: there are no more objects."""
        with self._is_ready:
            self._bytes_reserved -= self._bytes_taken
            self._bytes_taken, self._is_full = 0, False
            self._has_room.notify_all()
            while not self._complete and self._pending:
                if self._error is not None:
                    raise self._error
                if self._is_full and self._objects:
                    self._complete_batch()
                else:
                    self._is_ready.wait()
            objects, self._bytes_taken = self._complete.popleft() if self._complete else ([], 0)
            return objects

    def close(self) -> None:
        """Let no thread wait for memory any longer."""
        with self._has_room:
            self.is_closed = True
            self._has_room.notify_all()

    def _complete_batch(self) -> None:
        self._complete.append((self._objects, self._bytes))
        self._objects, self._bytes = [], 0
