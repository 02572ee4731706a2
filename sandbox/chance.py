"""Chance without state: every draw is a hash of what it is drawn for.

A generator that is advanced from draw to draw would make an execution depend on which executions were asked
for before it. A hash does not: the same slot has the same fate in any order of questions, at any clock.
"""

import hashlib
import struct
import uuid


def fractions(*what: object, count: int) -> tuple[float, ...]:
    """Up to eight numbers in [0, 1) that belong to `what`, the same ones each time."""
    numbers = struct.unpack(f">{count}Q", _digest(what, size=8 * count))
    return tuple((number >> 11) / 2**53 for number in numbers)


def numbers(*what: object, count: int) -> tuple[int, ...]:
    """Any number of numbers from 0 to 65,535 that belong to `what`; cheaper than as many fractions."""
    stream = hashlib.shake_128("\x1f".join(map(str, what)).encode())
    return struct.unpack(f">{count}H", stream.digest(2 * count))


def identifier(*what: object) -> str:
    """A uuid that belongs to `what`."""
    return str(uuid.UUID(bytes=_digest(what, size=16), version=4))


def _digest(what: tuple[object, ...], *, size: int) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, what)).encode(), digest_size=size).digest()
