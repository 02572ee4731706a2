"""A minimal S3 for the benchmark: it serves the result objects of a fleet and uses hardly any CPU.

`python -m benchmarks.stub [--schedulers N] [--lines N] [--sensors N]` prints its address and serves until
stdin closes. It responds to GET, HEAD and ListObjectsV2 in every bucket. Only a listing knows the fleet;
each key that ends with `<start of the window>/results.jsonl` has content.
"""

import argparse
import asyncio
import hashlib
import json
import random
import sys
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit
from zlib import crc32

from benchmarks.service import build_name

DAY = date(2026, 10, 7)
SCHEDULERS, LINES, SENSORS, BODIES = 15, 5, 30, 64
WINDOWS, WINDOW_SECONDS = 288, 300
ANOMALOUS = 0.1

_PAGE = 1_000
_TIME = "2026-10-07T00:00:00"
_HEAD = (
    "HTTP/1.1 {status}\r\nx-amz-bucket-region: eu-west-1\r\nContent-Type: {kind}\r\n"
    "Last-Modified: Wed, 07 Oct 2026 00:00:00 GMT\r\nContent-Length: {size}\r\n{more}\r\n"
)


def list_keys(schedulers: int = SCHEDULERS, day: date = DAY) -> list[str]:
    """Return the keys of a day, sorted."""
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    folders = [
        f"{midnight + timedelta(seconds=WINDOW_SECONDS * number):%Y-%m-%dT%H:%M:%SZ}"
        for number in range(WINDOWS)
    ]
    return [
        f"schedulers/{build_name(number)}/output/{folder}/results.jsonl"
        for number in range(schedulers)
        for folder in folders
    ]


def build_template(number: int, lines: int, sensors: int) -> bytes:
    """Build the content of an object with contributions of all sensors in each line, and gaps for times."""
    rng = random.Random(number)  # noqa: S311 (reproducible)
    rows = []
    for _ in range(lines):
        shares = [
            {"name": f"pump\\Sensor{sensor}", "value": round(rng.random(), 5)} for sensor in range(sensors)
        ]
        rows.append(
            {
                "timestamp": "%s.000000",
                "prediction": int(rng.random() < ANOMALOUS),
                "prediction_reason": "NO_ANOMALY_DETECTED",
                "anomaly_score": round(rng.random(), 5),
                "diagnostics": shares,
            }
        )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Objects:
    """The objects of a fleet."""

    def __init__(self, schedulers: int, lines: int, sensors: int) -> None:
        self._keys = list_keys(schedulers)
        self._lines = lines
        self._templates = [build_template(number, lines, sensors) for number in range(BODIES)]
        self._sizes = [len(template) - (len("%s") - len(_TIME)) * lines for template in self._templates]

    def get_size(self, key: str) -> int:
        """Return the size of an object in bytes."""
        return self._sizes[crc32(key.encode()) % BODIES]

    def build_body(self, key: str) -> bytes:
        """Return the content of an object; its lines are evenly spaced in its window."""
        start = datetime.strptime(key.split("/")[-2], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        step = WINDOW_SECONDS // self._lines
        times = tuple(
            f"{start + timedelta(seconds=step * (number + 1)):%Y-%m-%dT%H:%M:%S}".encode()
            for number in range(self._lines)
        )
        return self._templates[crc32(key.encode()) % BODIES] % times

    def list_page(self, prefix: str, start: int) -> str:
        """Return a page of a listing as XML."""
        keys = [key for key in self._keys if key.startswith(prefix)]
        page, is_truncated = keys[start : start + _PAGE], start + _PAGE < len(keys)
        entries = "".join(
            f"<Contents><Key>{quote(key)}</Key><LastModified>2026-10-07T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{build_etag(key)}&quot;</ETag><Size>{self.get_size(key)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{start + _PAGE}</NextContinuationToken>" if is_truncated else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>'
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{token}"
            f"<KeyCount>{len(page)}</KeyCount>{entries}</ListBucketResult>"
        )


def build_etag(key: str) -> str:
    """Return the ETag of an object, without quotes."""
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


class _Responses(asyncio.Protocol):
    objects: Objects

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            request, self._unread = self._unread.split(b"\r\n\r\n", 1)
            self._transport.write(self._respond(request.decode("latin-1")))

    def _respond(self, request: str) -> bytes:
        method, target, _ = request.split(" ", 2)
        url = urlsplit(target)
        query, key = parse_qs(url.query), unquote(url.path).lstrip("/").partition("/")[2]
        if "list-type" in query:
            start = int(query.get("continuation-token", ["0"])[0])
            body = self.objects.list_page(query.get("prefix", [""])[0], start).encode()
            return _build_head("200 OK", "application/xml", len(body)) + body
        if not key:  # the bucket itself
            return _build_head("200 OK", "application/xml", 0)
        etag = build_etag(key)
        more = f'ETag: "{etag}"\r\n'
        if f'"{etag}"' in request.partition("f-none-match:")[2].partition("\r\n")[0]:
            return _build_head("304 Not Modified", "binary/octet-stream", 0, more)
        head = _build_head("200 OK", "binary/octet-stream", self.objects.get_size(key), more)
        return head if method == "HEAD" else head + self.objects.build_body(key)


def _build_head(status: str, kind: str, size: int, more: str = "") -> bytes:
    return _HEAD.format(status=status, kind=kind, size=size, more=more).encode()


async def _serve(objects: Objects) -> None:
    _Responses.objects = objects
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Responses, "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m benchmarks.stub")
    options.add_argument("--schedulers", type=int, default=SCHEDULERS)
    options.add_argument("--lines", type=int, default=LINES)
    options.add_argument("--sensors", type=int, default=SENSORS)
    asyncio.run(_serve(Objects(**vars(options.parse_args()))))
