"""Unpacking of gzip data to a limited size, or block by block."""

import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

GZIP = b"\x1f\x8b"
MAX_GZIP_LAYERS = 3
"""A `.gz` file that is uploaded with `Content-Encoding: gzip` is packed twice."""

MAX_MEMBERS = 100_000
TOO_LARGE = "too large"
_BLOCK = 1 << 14

Read = Callable[[int], bytes]
"""Reads at most as many bytes; no bytes at the end."""


def unpack_gzip(data: bytes, size_bytes: int) -> tuple[bytes, str | None]:
    """Unpack all members of gzip data.

    Args:
        data: starts with the magic number of gzip.
        size_bytes: the largest size of the unpacked data.

    Returns:
        What could be unpacked, and the reason if it is not all: `TOO_LARGE`, or a description of the damage.
    """
    unpacked, damage = BytesIO(), list[str]()
    for block in unpack_blocks(BytesIO(data).read, damage):
        unpacked.write(block)
        if unpacked.tell() > size_bytes:
            return b"", TOO_LARGE
    return unpacked.getvalue(), damage[0] if damage else None


def unpack_blocks(read: Read, damage: list[str]) -> Iterator[bytes]:
    """Unpack all members of gzip data block by block; memory does not grow with the data.

    Args:
        read: reads the data, which starts with the magic number of gzip.
        damage: gets a description of the damage, if there is any; what is before it is unpacked.
    """
    packed, members = read(_BLOCK), 0
    while packed[: len(GZIP)] == GZIP:
        members += 1
        if members > MAX_MEMBERS:
            damage.append(f"more than {MAX_MEMBERS:,} gzip members")
            return
        decompressor = zlib.decompressobj(wbits=31)
        while not decompressor.eof:
            packed = packed or read(_BLOCK)
            if not packed:
                damage.append("truncated gzip data")
                return
            before = decompressor.copy()
            try:
                unpacked = decompressor.decompress(packed)
            except zlib.error as error:
                yield _unpack_until_error(before, packed)
                damage.append(f"invalid gzip data: {error}")
                return
            packed = decompressor.unused_data
            yield unpacked
        packed = _skip_padding(packed, read)
    rest = len(packed) + _count_bytes(read)
    if rest:
        damage.append(f"invalid gzip data: {rest:,} other bytes follow")


def _skip_padding(packed: bytes, read: Read) -> bytes:
    """Return what follows the zeros after a member: enough to recognize the next one."""
    packed = packed.lstrip(b"\0")
    while len(packed) < len(GZIP) and (block := read(_BLOCK)):
        packed = (packed + block).lstrip(b"\0")
    return packed


def _count_bytes(read: Read) -> int:
    return sum(map(len, iter(lambda: read(_BLOCK), b"")))


def _unpack_until_error(decompressor: "zlib._Decompress", block: bytes) -> bytes:
    unpacked = bytearray()
    try:
        for position in range(len(block)):
            unpacked += decompressor.decompress(block[position : position + 1])
    except zlib.error:
        pass
    return bytes(unpacked)
