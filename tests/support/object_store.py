"""A small S3 server with conditional writes, for tests in which the CPU of moto would be the bottleneck.

The bucket `results` has the results of a fleet, computed when they are read. All other buckets store objects
in memory. `GET /-/requests` returns the number of requests as JSON, by method and bucket.
"""

import argparse
import asyncio
import bisect
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from subprocess import PIPE, Popen
from urllib.parse import parse_qs, unquote, urlsplit
from zlib import crc32

LINES, SENSORS, MINUTES = 5, 30, 5
_MODIFIED = "Wed, 07 Oct 2026 00:00:00 GMT"
_PAGE = 1000
_VARIANTS = 64
REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified", 404: "Not Found"}
REASONS |= {412: "Precondition Failed"}


def build_result_key(scheduler: int, start: datetime) -> str:
    """Return the key of the result object of a data window."""
    return f"pump-{scheduler}/{start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"


def list_starts(day: date) -> list[datetime]:
    """Return the starts of the data windows of a day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return [midnight + timedelta(minutes=MINUTES * slot) for slot in range(1440 // MINUTES)]


@cache
def _build_diagnostics(name: str, variant: int) -> str:
    noise = hashlib.shake_128(f"{name} {variant}".encode()).digest(2 * SENSORS)
    values = memoryview(noise).cast("H").tolist()
    return json.dumps(
        [{"name": f"{name}\\Sensor{n}", "value": round(value / 1e5, 5)} for n, value in enumerate(values)]
    )


def build_result(key: str) -> bytes:
    """Return the content of a result object."""
    name, start, _ = key.split("/")
    hour, minute, number = start[:14], int(start[14:16]), crc32(key.encode())  # the lines are in one hour
    return "".join(
        f'{{"timestamp": "{hour}{minute + line:02d}:00.000000", "prediction": {int(number % 97 == 0)},'
        f' "anomaly_score": {(number + line) % 1000 / 1000},'
        f' "diagnostics": {_build_diagnostics(name, (number + line) % _VARIANTS)}}}\n'
        for line in range(LINES)
    ).encode()


class Store:
    """The buckets."""

    def __init__(self, result_keys: list[str]) -> None:
        self._results = sorted(result_keys)
        self._objects: dict[tuple[str, str], tuple[bytes, str, dict[str, str]]] = {}
        self._writes = 0
        self.requests = Counter[str]()

    def respond(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        url = urlsplit(target)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if bucket == "-":
            return 200, {}, json.dumps(self.requests).encode()
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        kind = "LIST" if method == "GET" and not key else method
        self.requests[f"{kind} {bucket}"] += 1
        if kind == "LIST":
            return 200, {"Content-Type": "application/xml"}, self._list(bucket, query)
        if not key:
            return 200, {"x-amz-bucket-region": "eu-west-1"}, b""
        if method == "PUT":
            return self._put(bucket, key, headers, body)
        if method == "DELETE":
            self._objects.pop((bucket, key), None)
            return 204, {}, b""
        return self._get(bucket, key, headers)

    def _find(self, bucket: str, key: str) -> tuple[bytes, str, dict[str, str]] | None:
        if bucket != "results":
            return self._objects.get((bucket, key))
        at = bisect.bisect_left(self._results, key)
        if self._results[at : at + 1] != [key]:
            return None
        return build_result(key), f"{crc32(key.encode()):08x}", {}

    def _get(self, bucket: str, key: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        found = self._find(bucket, key)
        if found is None:
            return 404, {}, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
        content, tag, metadata = found
        more = {"ETag": f'"{tag}"', "Last-Modified": _MODIFIED, **metadata}
        if headers.get("if-none-match") == f'"{tag}"':
            return 304, more, b""
        span = headers.get("range", "").removeprefix("bytes=")
        if not span:
            return 200, more, content
        first, _, last = span.partition("-")
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last) + 1, len(content)) if first and last else len(content)
        more["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return 206, more, content[start:end]

    def _put(
        self, bucket: str, key: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        stored = self._objects.get((bucket, key))
        is_refused = headers.get("if-none-match") == "*" and stored is not None
        if "if-match" in headers:
            is_refused = stored is None or headers["if-match"].strip('"') != stored[1]
        if is_refused:
            self.requests[f"412 {bucket}"] += 1
            return 412, {}, b"<Error><Code>PreconditionFailed</Code><Message>changed</Message></Error>"
        self._writes += 1
        tag = f"{self._writes:032x}"
        metadata = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
        self._objects[bucket, key] = body, tag, metadata
        return 200, {"ETag": f'"{tag}"'}, b""

    def _list(self, bucket: str, query: Mapping[str, str]) -> bytes:
        prefix = query.get("prefix", "")
        if bucket == "results":
            keys = self._results
        else:
            keys = sorted(key for name, key in self._objects if name == bucket)
        after = query.get("continuation-token") or query.get("start-after") or ""
        at = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, after) if after else 0)
        most = int(query.get("max-keys", _PAGE))
        page = [key for key in keys[at : at + most] if key.startswith(prefix)]
        is_truncated = len(page) == most and keys[at + most : at + most + 1] != []
        entries = "".join(map(self._describe, [bucket] * len(page), page))
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if is_truncated else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()

    def _describe(self, bucket: str, key: str) -> str:
        content, tag, _ = self._find(bucket, key) or (b"", "", {})
        return (
            f"<Contents><Key>{key}</Key><LastModified>2026-10-07T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{tag}&quot;</ETag><Size>{len(content)}</Size></Contents>"
        )


class _Connection(asyncio.Protocol):
    def __init__(self, store: Store) -> None:
        self._store, self._received = store, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (ln.partition(":") for ln in lines)
            }
            past = end + 4 + int(headers.get("content-length", 0))
            if headers.get("expect") and len(self._received) == end + 4:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if len(self._received) < past:
                return
            method, target, _ = first.split(" ")
            assert "aws-chunked" not in headers.get("content-encoding", ""), "not supported"
            status, more, body = self._store.respond(method, target, headers, self._received[end + 4 : past])
            self._received = self._received[past:]
            more |= {"Content-Length": str(len(body)), "x-amz-request-id": "1"}
            head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            content = b"" if method == "HEAD" or status in {204, 304} else body
            self._transport.write(f"HTTP/1.1 {status} {REASONS[status]}\r\n{head}\r\n".encode() + content)


async def _serve(store: Store) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(store), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve until stdin closes; the first line of the output is the port."""
    options = argparse.ArgumentParser()
    options.add_argument("--schedulers", type=int, required=True)
    options.add_argument("--first", type=date.fromisoformat, required=True)
    options.add_argument("--days", type=int, required=True)
    chosen = options.parse_args()
    days = [chosen.first + timedelta(days=n) for n in range(chosen.days)]
    keys = [
        build_result_key(scheduler, start)
        for scheduler in range(chosen.schedulers)
        for day in days
        for start in list_starts(day)
    ]
    asyncio.run(_serve(Store(keys)))


@contextmanager
def run_object_store(schedulers: int, first: date, days: int) -> Iterator[str]:
    """Start the server in a process of its own; yields its URL."""
    words = ["--schedulers", str(schedulers), "--first", str(first), "--days", str(days)]
    with Popen([sys.executable, "-m", __name__, *words], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            assert process.stdin is not None
            process.stdin.close()


if __name__ == "__main__":
    main()
