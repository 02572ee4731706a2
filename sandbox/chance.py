"""Random draws without state: every draw is a hash of its key.

With a random generator, an execution would depend on the draws before it. With a hash, the same slot has the
same outcome in any order of requests and at any clock.
"""

import hashlib
import struct
import uuid


def draw_fractions(*key: object, count: int) -> tuple[float, ...]:
    """Return up to eight numbers in [0, 1) for a key."""
    numbers = struct.unpack(f">{count}Q", _digest(key, size=8 * count))
    return tuple((number >> 11) / 2**53 for number in numbers)


def draw_numbers(*key: object, count: int) -> tuple[int, ...]:
    """Return any number of integers from 0 to 65,535 for a key. This is faster than `draw_fractions`."""
    stream = hashlib.shake_128("\x1f".join(map(str, key)).encode())
    return struct.unpack(f">{count}H", stream.digest(2 * count))


def draw_uuid(*key: object) -> str:
    """Return a UUID for a key."""
    return str(uuid.UUID(bytes=_digest(key, size=16), version=4))


def _digest(key: tuple[object, ...], *, size: int) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=size).digest()
