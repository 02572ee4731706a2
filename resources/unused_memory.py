"""Returning unused memory to the system, between steps that need much of it for a short time."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


def release_unused_memory() -> None:
    """Return what the allocators of Arrow and of C keep for later; otherwise the peaks of steps add up."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # not in musl
        trim(0)


@contextmanager
def use_system_allocator() -> Iterator[None]:
    """Let Arrow use the allocator of C in this process: its own keeps freed memory for a second."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
