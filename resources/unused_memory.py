"""Returning unused memory to the system, between steps that need much of it for a short time."""

import ctypes
import sys

import pyarrow as pa


def release_unused_memory() -> None:
    """Return what the allocators of Arrow and of C keep for later; otherwise the peaks of steps add up."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # not in musl
        trim(0)
