"""Exchanges as records of WARC 1.1 (ISO 28500), the standard format of recorded HTTP traffic.

Each record is a gzip member of its own. Files can therefore be joined byte by byte, and a damaged record does
not affect the others.
"""

from base64 import b32encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from resources.errors import LedgerError
from resources.gzip_data import GZIP, Read, unpack_blocks, unpack_gzip
from resources.read_limits import DEFAULT_LIMITS, ReadLimits
from resources.sources.base import Exchange
from resources.sources.messages import TARGET_PREFIX
from resources.sources.packed_text import BlockReader, TooLargeError, limit_blocks, read_blocks

if TYPE_CHECKING:
    from warcio.statusandheaders import StatusAndHeaders

SOFTWARE = "lookout-ledger"
_MAGIC = b"WARC/1."
_FIRST_BYTES = 1 << 10
_BLOCK_BYTES = 1 << 16


def encode_info(created_at: datetime) -> bytes:
    """Return the record at the start of a file, with the software that wrote it."""
    text = f"software: {SOFTWARE}\r\nformat: WARC File Format 1.1\r\n".encode()
    fields = {
        "Content-Type": "application/warc-fields",
        "WARC-Record-ID": uuid5(NAMESPACE_URL, f"{SOFTWARE} {created_at}").urn.join("<>"),
    }
    return _encode_record("warcinfo", "", created_at, None, text, fields)


def encode_exchange(exchange: Exchange) -> bytes:
    """Return the records of a request and of its response."""
    from warcio.statusandheaders import StatusAndHeaders  # noqa: PLC0415 (slow to import)

    path = urlsplit(exchange.url).path or "/"
    sent = StatusAndHeaders(f"POST {path} HTTP/1.1", list(exchange.request_headers), is_http_request=True)
    received = StatusAndHeaders("200 OK", list(exchange.response_headers), protocol="HTTP/1.1")
    request_id = _build_id(exchange, "request")
    request = _encode_record(
        "request", exchange.url, exchange.sent_at, sent, exchange.request, {"WARC-Record-ID": request_id}
    )
    ids = {"WARC-Record-ID": _build_id(exchange, "response"), "WARC-Concurrent-To": request_id}
    response = _encode_record("response", exchange.url, exchange.sent_at, received, exchange.body, ids)
    return request + response


def _build_id(exchange: Exchange, kind: str) -> str:
    # from the content, so that the same exchange has the same bytes
    content = sha256(exchange.request + exchange.body).hexdigest()
    return uuid5(NAMESPACE_URL, f"{exchange.url} {exchange.sent_at} {kind} {content}").urn.join("<>")


def _encode_record(
    kind: str,
    url: str,
    at: datetime,
    headers: "StatusAndHeaders | None",
    payload: bytes,
    more: dict[str, str],
) -> bytes:
    from warcio.warcwriter import WARCWriter  # noqa: PLC0415 (slow to import)

    head = headers.to_bytes() if headers else b""
    fields = {
        "WARC-Date": at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "WARC-Payload-Digest": _format_digest(payload),  # warcio would write temporary files to compute them
        "WARC-Block-Digest": _format_digest(head + payload),
        **more,
    }
    out = BytesIO()
    writer = WARCWriter(out, gzip=True, warc_version="WARC/1.1")
    record = writer.create_warc_record(
        url,
        kind,
        payload=BytesIO(payload),
        length=len(payload),
        warc_headers_dict=fields,
        http_headers=headers,
    )
    writer.write_record(record)
    return out.getvalue()


def _format_digest(data: bytes) -> str:
    return f"sha256:{b32encode(sha256(data).digest()).decode()}"


def is_warc(data: bytes) -> bool:
    """Return whether a file is WARC, from its first bytes; it may be packed with gzip."""
    if data.startswith(GZIP):
        data, _ = unpack_gzip(data[:_FIRST_BYTES], 1 << 24)
    return data.startswith(_MAGIC)


@dataclass
class WarcContent:
    """The exchanges of a file in their order, and descriptions of what could not be read."""

    exchanges: list[Exchange] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_warc(data: bytes, limits: ReadLimits = DEFAULT_LIMITS) -> WarcContent:
    """Read the exchanges with the service; other requests and responses with an error are left out.

    A record that differs from its digest, or that has none, is not used.
    """
    content = WarcContent()
    content.exchanges += read_exchanges(BytesIO(data).read, content.problems, limits)
    return content


def read_exchanges(read: Read, problems: list[str], limits: ReadLimits) -> Iterator[Exchange]:
    """Read exchanges as `read_warc` does, one after the other.

    Args:
        read: reads the file.
        problems: gets descriptions of what could not be read, after the last exchange.
        limits: the largest unpacked size, and the number of pages.

    Raises:
        LedgerError: the file cannot be read further.
    """
    damage: list[str] = []
    found: list[str] = []
    packed = BlockReader(read_blocks(read))
    is_packed = packed.peek(len(GZIP)) == GZIP
    blocks = unpack_blocks(packed.read, damage) if is_packed else read_blocks(packed.read)
    stream = BlockReader(limit_blocks(blocks, limits))
    try:
        yield from _pair_records(_read_records(stream, found), found, limits)
        while stream.read(_BLOCK_BYTES):
            pass  # a damage at the end is known then
    except TooLargeError:
        problems.append(f"is {limits.too_large}")
    problems += [f"is truncated or damaged: {reason}" for reason in damage] + found


def _pair_records(
    records: "Iterator[_Record]", problems: list[str], limits: ReadLimits
) -> Iterator[Exchange]:
    waiting: dict[str, _Record] = {}
    for number, record in enumerate(records, 1):
        if number > 2 * limits.pages + 2:
            problems.append(f"has {limits.too_many_pages}")
            return
        if record.kind not in {"request", "response"}:
            continue
        if not record.is_intact:
            problems.append(f"record {number} differs from its digest, or has none")
            continue
        other = waiting.pop(record.concurrent_to or "", None)
        if other is None:
            waiting[record.record_id] = record
        elif exchange := _pair(other, record):
            yield exchange
    if waiting:
        problems.append("has requests without responses, or responses without requests")


@dataclass(frozen=True)
class _Record:
    kind: str
    record_id: str
    concurrent_to: str | None
    url: str
    date: str
    headers: "StatusAndHeaders"
    payload: bytes
    is_intact: bool


def _read_records(stream: BlockReader, problems: list[str]) -> Iterator[_Record]:
    from warcio.archiveiterator import WARCIterator  # noqa: PLC0415 (slow to import)

    records = WARCIterator(stream, check_digests=True, block_size=_BLOCK_BYTES)
    records.INC_RECORD = ""  # the library would print this text
    try:
        for record in records:
            payload = record.raw_stream.read()
            fields = record.rec_headers
            if not fields.get_header("Content-Length"):
                problems.append("is truncated or not WARC: a record has no length")
            yield _Record(
                kind=record.rec_type,
                record_id=fields.get_header("WARC-Record-ID") or "",
                concurrent_to=fields.get_header("WARC-Concurrent-To"),
                url=fields.get_header("WARC-Target-URI") or "",
                date=fields.get_header("WARC-Date") or "",
                headers=record.http_headers,
                payload=payload,
                is_intact=record.digest_checker.passed is True and record.http_headers is not None,
            )
    except (LedgerError, TooLargeError):
        raise
    except Exception as error:  # noqa: BLE001 (the library raises errors of many kinds)
        problems.append(f"is truncated or not WARC: {error or type(error).__name__}")
    if records.err_count:
        problems.append("is damaged: the length of a record is wrong")


def _pair(first: _Record, second: _Record) -> Exchange | None:
    """Combine a request and its response; None: another service, or not a success."""
    request, response = (first, second) if first.kind == "request" else (second, first)
    if {request.kind, response.kind} != {"request", "response"} or response.headers.get_statuscode() != "200":
        return None
    prefix, _, operation = (request.headers.get_header("X-Amz-Target") or "").rpartition(".")
    try:
        sent_at = datetime.fromisoformat(request.date)
    except ValueError:
        return None
    if prefix + "." != TARGET_PREFIX or sent_at.tzinfo is None:
        return None
    return Exchange(
        url=request.url,
        operation=operation,
        request=request.payload,
        sent_at=sent_at.astimezone(UTC),
        body=response.payload,
        request_headers=_list_headers(request.headers),
        response_headers=_list_headers(response.headers),
    )


def _list_headers(headers: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 (no types)
    return tuple((str(name), str(value)) for name, value in headers.headers)
