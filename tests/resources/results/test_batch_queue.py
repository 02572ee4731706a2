"""Objects reach their consumer in batches of bytes, and none is lost."""

from threading import Thread

import pytest

from resources.results.base import FetchedResult, ObjectState, ResultRequest
from resources.results.batch_queue import BatchQueue


def build_object(key: str, data: bytes = b"x") -> FetchedResult:
    return FetchedResult(ResultRequest("bucket", key), ObjectState.READ, data)


def take_keys(queue: BatchQueue) -> list[str]:
    return [fetched.request.key for fetched in queue.take()]


def test_a_batch_is_complete_when_it_has_enough_bytes_or_the_last_object() -> None:
    queue = BatchQueue(5, batch_bytes=20, bytes_in_memory=1000)
    for key in "abcde":
        queue.reserve(10)
        queue.put(build_object(key), 10)

    assert [take_keys(queue) for _ in range(4)] == [["a", "b"], ["c", "d"], ["e"], []]


def test_an_object_that_waits_for_memory_releases_the_batch_before_it_is_complete() -> None:
    queue = BatchQueue(2, batch_bytes=1000, bytes_in_memory=15)

    def fetch() -> None:
        for key in "ab":
            queue.reserve(10)
            queue.put(build_object(key), 10)

    worker = Thread(target=fetch)
    worker.start()
    batches = [take_keys(queue) for _ in range(3)]
    worker.join()

    assert batches == [["a"], ["b"], []]


def test_an_object_that_reserved_memory_and_failed_releases_it() -> None:
    queue = BatchQueue(2, batch_bytes=10, bytes_in_memory=15)
    queue.reserve(10)
    queue.put(FetchedResult(ResultRequest("bucket", "a"), ObjectState.UNREACHABLE, error="cut"), 10)
    assert take_keys(queue) == ["a"]
    taken: list[list[str]] = []
    consumer = Thread(target=lambda: taken.append(take_keys(queue)))
    consumer.start()  # asks for the next batch, so the memory of the first one is free

    queue.reserve(10)
    queue.put(build_object("b"), 10)
    consumer.join()

    assert taken == [["b"]]


def test_an_error_is_raised_after_the_complete_batches() -> None:
    queue = BatchQueue(3, batch_bytes=1, bytes_in_memory=1000)
    queue.put(build_object("a"), 1)
    queue.fail(RuntimeError("no luck"))

    assert take_keys(queue) == ["a"]
    with pytest.raises(RuntimeError, match="no luck"):
        queue.take()
