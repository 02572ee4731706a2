"""Unpacking of gzip data to a limited size."""

import re
import zlib
from io import BytesIO

GZIP = b"\x1f\x8b"
MAX_GZIP_LAYERS = 3
"""A `.gz` file that is uploaded with `Content-Encoding: gzip` is packed twice."""

MAX_MEMBERS = 100_000
TOO_LARGE = "too large"
_BLOCK = 1 << 14
_PADDING = re.compile(rb"\0*")


def unpack_gzip(data: bytes, size_bytes: int) -> tuple[bytes, str | None]:
    """Unpack all members of gzip data.

    Args:
        data: starts with the magic number of gzip.
        size_bytes: the largest size of the unpacked data.

    Returns:
        What could be unpacked, and the reason if it is not all: `TOO_LARGE`, or a description of the damage.
    """
    unpacked = BytesIO()
    view, position, members = memoryview(data), 0, 0
    while view[position : position + 2] == GZIP:
        members += 1
        if members > MAX_MEMBERS:
            return unpacked.getvalue(), f"more than {MAX_MEMBERS:,} gzip members"
        decompressor = zlib.decompressobj(wbits=31)
        while not decompressor.eof:
            block = view[position : position + _BLOCK]
            if not block:
                return unpacked.getvalue(), "truncated gzip data"
            before = decompressor.copy()
            try:
                unpacked.write(decompressor.decompress(block, size_bytes - unpacked.tell() + 1))
            except zlib.error as error:
                unpacked.write(_unpack_until_error(before, block))
                return unpacked.getvalue(), f"invalid gzip data: {error}"
            if unpacked.tell() > size_bytes:
                return b"", TOO_LARGE
            position += len(block) - len(decompressor.unconsumed_tail) - len(decompressor.unused_data)
        padding = _PADDING.match(data, position)
        position = padding.end() if padding else position
    rest = len(data) - position
    return unpacked.getvalue(), f"invalid gzip data: {rest:,} other bytes follow" if rest else None


def _unpack_until_error(decompressor: "zlib._Decompress", block: memoryview) -> bytes:
    unpacked = bytearray()
    try:
        for position in range(len(block)):
            unpacked += decompressor.decompress(block[position : position + 1])
    except zlib.error:
        pass
    return bytes(unpacked)
