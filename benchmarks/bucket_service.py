"""A minimal S3 for the benchmark of buckets: it answers ListObjectsV2 for generated result objects.

`python -m benchmarks.bucket_service SCHEDULERS DAYS` prints its address and serves until stdin closes. moto
sorts all keys for each request, which takes seconds with 200,000 of them. A test compares both.
"""

import asyncio
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

BUCKET = "plant-results"
FIRST_DAY = date(2026, 8, 1)
PER_DAY = 288

_LAST = "\U0010ffff"
_OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-10-07T00:00:00.000Z</LastModified>"
    '<ETag>"0"</ETag><Size>1300</Size><StorageClass>STANDARD</StorageClass></Contents>'
)


def list_keys(schedulers: int, days: int) -> list[str]:
    """Return the sorted keys of the results of some schedulers, every five minutes."""
    start = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    times = [
        f"{start + number * timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}" for number in range(days * PER_DAY)
    ]
    return [f"pump-{pump:03}/output/{time}/results.jsonl" for pump in range(schedulers) for time in times]


def list_page(keys: Sequence[str], query: dict[str, str]) -> str:
    """Answer ListObjectsV2 with StartAfter, Prefix, Delimiter and MaxKeys."""
    prefix, after, delimiter = (query.get(name, "") for name in ("prefix", "start-after", "delimiter"))
    most = int(query.get("max-keys", "1000"))
    position = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
    parts, is_truncated = list[str](), False
    while position < len(keys) and keys[position].startswith(prefix):
        if len(parts) == most:
            is_truncated = True
            break
        key = keys[position]
        folder, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            name = f"{prefix}{folder}{delimiter}"
            parts.append(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>")
            position = bisect_right(keys, name + _LAST)
        else:
            parts.append(_OBJECT.format(key))
            position += 1
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>{BUCKET}</Name>'
        f"<KeyCount>{len(parts)}</KeyCount><MaxKeys>{most}</MaxKeys>"
        f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{''.join(parts)}</ListBucketResult>"
    )


class _Responses(asyncio.Protocol):
    keys: Sequence[str] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            request, self._unread = self._unread.split(b"\r\n\r\n", 1)
            path = request.split(b" ", 2)[1].decode()
            values = parse_qs(urlsplit(path).query)
            body = list_page(self.keys, {name: value[0] for name, value in values.items()}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


async def _serve() -> None:
    schedulers, days = map(int, sys.argv[1:])
    _Responses.keys = list_keys(schedulers, days)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Responses, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
