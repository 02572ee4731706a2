"""A minimal S3 for the benchmark: it responds to GET with prepared bodies and uses hardly any CPU.

`python -m benchmarks.stub [MILLISECONDS]` prints its address and serves until stdin closes. MILLISECONDS is
the delay of each response.
"""

import asyncio
import hashlib
import json
import random
import sys

LINES, SENSORS, BODIES = 5, 30, 64
ANOMALOUS = 0.1

_HEAD = (
    b"HTTP/1.1 200 OK\r\nx-amz-bucket-region: eu-west-1\r\nContent-Type: binary/octet-stream\r\n"
    b"Last-Modified: Wed, 07 Oct 2026 00:00:00 GMT\r\n"
)


def build_body(number: int) -> bytes:
    """Build the object of one execution: five lines with contributions of thirty sensors."""
    rng = random.Random(number)  # noqa: S311 (reproducible)
    lines = []
    for minute in range(LINES):
        shares = [
            {"name": f"pump\\Sensor{sensor}", "value": round(rng.random(), 5)} for sensor in range(SENSORS)
        ]
        lines.append(
            {
                "timestamp": f"2026-10-07T{number % 24:02}:{minute:02}:00.000000",
                "prediction": int(rng.random() < ANOMALOUS),
                "prediction_reason": "NO_ANOMALY_DETECTED",
                "anomaly_score": round(rng.random(), 5),
                "diagnostics": shares,
            }
        )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


class _Responses(asyncio.Protocol):
    ready: tuple[bytes, ...] = ()
    latency_seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            request, self._unread = self._unread.split(b"\r\n\r\n", 1)
            method, path, _ = request.split(b" ", 2)
            if method == b"HEAD":
                answer = _HEAD + b"Content-Length: 0\r\n\r\n"
            else:
                number = int(path.split(b"?")[0].rsplit(b"/", 2)[-2])
                answer = self.ready[number % BODIES]
            if self.latency_seconds:
                self._loop.call_later(self.latency_seconds, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def _serve() -> None:
    def ready(number: int) -> bytes:
        content = build_body(number)
        tag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return _HEAD + f'ETag: "{tag}"\r\nContent-Length: {len(content)}\r\n\r\n'.encode() + content

    _Responses.ready = tuple(map(ready, range(BODIES)))
    _Responses.latency_seconds = int(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Responses, "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
