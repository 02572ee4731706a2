"""The text of a packed file, unpacked and decoded while it is read, so that no large file is held whole.

A file can have several layers of gzip, be UTF-16, and begin with a byte order mark.
"""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterable, Iterator

from resources.gzip_data import GZIP, MAX_GZIP_LAYERS, Read, unpack_blocks
from resources.read_limits import ReadLimits

UTF16 = (BOM_UTF16_LE, BOM_UTF16_BE)  # what PowerShell's > writes
_BLOCK = 1 << 18
_BOM_UTF16_BYTES = 2

_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"PAR1": "a Parquet file",
    b"\x80\x04\x95": "a Python pickle",
}
"""The first bytes of formats that people keep responses in."""

_START_BYTES = max(map(len, _OTHER_FORMATS))


class TooLargeError(Exception):
    """A text has more bytes than the limit."""


class BlockReader:
    """Blocks of any size, read as a stream."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        """Read nothing yet."""
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")
        self._is_too_large = False

    def read(self, size: int) -> bytes:
        """Return the next bytes; fewer only at the end.

        Raises:
            TooLargeError: there are no more bytes within the limit of the blocks.
        """
        parts: list[memoryview] = []
        while size and (self._rest or self._read_block()):
            part, self._rest = self._rest[:size], self._rest[size:]
            parts.append(part)
            size -= len(part)
        if size and not parts and self._is_too_large:
            raise TooLargeError
        return b"".join(parts)

    def _read_block(self) -> bool:
        """Read the next bytes; return whether there are any."""
        try:
            self._rest = memoryview(next(filter(None, self._blocks), b""))
        except TooLargeError:
            self._is_too_large = True
        return bool(self._rest)

    def peek(self, size: int) -> bytes:
        """Return the next bytes, which stay the next ones."""
        start = self.read(size)
        self._rest = memoryview(start + bytes(self._rest))
        return start


def read_blocks(read: Read) -> Iterator[bytes]:
    """Yield all that can be read, in blocks."""
    return iter(lambda: read(_BLOCK), b"")


def limit_blocks(blocks: Iterable[bytes], limits: ReadLimits) -> Iterator[bytes]:
    """Yield blocks up to the largest size of a file.

    Raises:
        TooLargeError: there are more.
    """
    remaining = limits.size_bytes
    for block in blocks:
        yield block[:remaining]
        remaining -= len(block)
        if remaining < 0:
            raise TooLargeError


class PackedText:
    """A text, read as UTF-8 without a byte order mark.

    Attributes:
        other_format: the name of a format that is no text; None: it looks like text.
    """

    def __init__(self, read: Read, limits: ReadLimits) -> None:
        """Read the start.

        Args:
            read: reads the file.
            limits: the largest size, of each layer of gzip too.

        Raises:
            TooLargeError: a layer is too large.
        """
        self._damage: list[list[str]] = []
        stream = BlockReader(limit_blocks(read_blocks(read), limits))
        for _ in range(MAX_GZIP_LAYERS):
            if stream.peek(len(GZIP)) != GZIP:
                break
            self._damage.append([])
            stream = BlockReader(limit_blocks(unpack_blocks(stream.read, self._damage[-1]), limits))
        start = stream.peek(_START_BYTES)
        self.other_format = find_other_format(start)
        if start.startswith(UTF16):
            self._damage.insert(0, [])
            stream = BlockReader(_decode_utf16(stream, self._damage[0]))
        if stream.peek(len(BOM_UTF8)) == BOM_UTF8:
            stream.read(len(BOM_UTF8))
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return the next bytes; fewer only at the end, or where the damage is.

        Raises:
            TooLargeError: a layer is too large.
        """
        return self._stream.read(size)

    @property
    def damage(self) -> str | None:
        """What prevented that all of it could be read; it is known at the end."""
        return next(
            (f"is truncated or damaged: {reason}" for layer in self._damage for reason in layer), None
        )


def find_other_format(data: bytes) -> str | None:
    """Return the name of a format that is not JSON, from the first bytes of a file."""
    return next((name for start, name in _OTHER_FORMATS.items() if data.startswith(start)), None)


def _decode_utf16(stream: BlockReader, damage: list[str]) -> Iterator[bytes]:
    encoding = "utf-16-le" if stream.peek(_BOM_UTF16_BYTES) == BOM_UTF16_LE else "utf-16-be"
    stream.read(_BOM_UTF16_BYTES)
    decoder = getincrementaldecoder(encoding)()
    is_at_end = False
    while not is_at_end:
        block = stream.read(_BLOCK)
        is_at_end = not block
        try:
            text = decoder.decode(block, final=is_at_end)
        except UnicodeDecodeError as error:
            text = error.object[: error.start].decode(encoding, errors="ignore")
            damage.append(error.reason)
            is_at_end = True
        yield text.encode()
