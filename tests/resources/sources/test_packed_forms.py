"""A text gives the same rows and problems in every form: plain, gzip, UTF-16, in S3, and as a recording."""

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest

from assets.executions.flatten import decode_summaries
from resources.errors import RetryLaterError, UnreadableArchiveError
from resources.read_limits import ReadLimits
from resources.sources.archive import ArchiveSource
from resources.sources.base import Exchange
from resources.sources.warc import encode_exchange, encode_info
from resources.storage.base import StoredFile
from resources.storage.s3_files import S3Files
from tests.support.s3_server import Bucket

NOW = datetime(2026, 10, 9, tzinfo=UTC)
LIMITS = ReadLimits(rows=250, size_bytes=1_000_000)
PART_BYTES = 2_000
Outcome = tuple[list[Any], tuple[str, ...], bool]

ROWS = [
    {
        "InferenceSchedulerName": "pump",
        "InferenceSchedulerArn": "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump/1",
        "DataStartTime": 1_700_000_000 + 300 * number,
        "Status": "SUCCESS",
        "FailedReason": "größer",
    }
    for number in range(280)
]
LARGE_ROWS = [row | {"NotUsed": str(number**9) * 8} for number, row in enumerate(ROWS)]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]


def build_response(rows: list[dict[str, Any]], **more: Any) -> str:
    return json.dumps({"InferenceExecutionSummaries": rows, **more}, indent=4)


def damage(lines: list[str], *numbers: int) -> str:
    """Remove the end of some lines."""
    return "\n".join(line[:-1] if number in numbers else line for number, line in enumerate(lines, 1))


TEXTS: dict[str, tuple[str, int, list[str]]] = {
    "lines": ("\n".join(LINES[:100]), 100, []),
    "a response": (build_response(ROWS[:80], NextToken="t"), 80, []),
    "damaged lines": (damage(LINES[:100], 70, 71, 95), 97, ["line 70 is", "line 71 is", "line 95 is"]),
    "a truncated response": (build_response(ROWS[:80])[:-7_000], 52, ["line "]),
    "other documents": (
        "\n".join([*LINES[:50], '{"a": 1}', *LINES[50:99], "5"]),
        99,
        ["document 51 has no", "document 101 is not"],
    ),
    "too many rows": ("\n".join(LINES), 250, ["has more than 250 rows (limits.max_rows_per_file)"]),
    "printed": ("\n".join(map(str, ROWS[:20])), 20, []),
}


def pack_in_members(data: bytes) -> bytes:
    """Pack data as several members of gzip with zeros between them, as tapes do."""
    starts = range(0, len(data), 1_999)
    return b"".join(gzip.compress(data[start : start + 1_999]) + b"\0" * (start % 3) for start in starts)


PACKINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip three times": lambda text: gzip.compress(gzip.compress(gzip.compress(text.encode()))),
    "members of gzip": lambda text: pack_in_members(text.encode()),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big-endian, in gzip": lambda text: gzip.compress(b"\xfe\xff" + text.encode("utf-16-be")),
}


class Store:
    """A store of one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def list_files(self, uri: str) -> list[StoredFile]:
        return [StoredFile(uri, len(self.data), "")]

    def read(self, _: StoredFile) -> bytes:
        return self.data

    def open(self, _: StoredFile) -> Any:
        return BytesIO(self.data)


def read(archive: ArchiveSource) -> Outcome:
    (file,) = archive.list_files()
    saved = archive.open(file)
    rows = [row for page in saved.read_pages(NOW, decode_summaries) for row in list_rows(page)]
    hashed = archive.open(file)
    hashed.compute_hash()
    assert saved.content_hash == hashed.content_hash
    return rows, saved.problems, saved.complete


def list_rows(page: Any) -> list[Any]:
    if page.is_lines:
        return [json.loads(line) for line in page.body.splitlines()]
    content = json.loads(page.body)
    return content["InferenceExecutionSummaries"] if isinstance(content, dict) else content


def read_data(data: bytes, limits: ReadLimits = LIMITS) -> Outcome:
    return read(ArchiveSource("saved.json", store=Store(data), limits=limits))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("text_parts.PART_BYTES", "saved_file.PART_BYTES", "packed_text._BLOCK"):
        monkeypatch.setattr(f"resources.sources.{module}", PART_BYTES)
    monkeypatch.setattr("resources.gzip_data._BLOCK", PART_BYTES // 10)
    monkeypatch.setattr("resources.sources.saved_file.SUMMARIES_A_PAGE", 50)
    monkeypatch.setattr("resources.storage.s3_files._PART_BYTES", 3 * PART_BYTES)


@pytest.mark.parametrize("name", TEXTS)
def test_each_form_gives_the_rows_and_the_problems_of_the_plain_file(name: str, bucket: Bucket) -> None:
    text, count, problems = TEXTS[name]
    expected = read_data(text.encode())
    assert len(expected[0]) == count
    assert len(expected[1]) == len(problems)
    assert all(map(str.startswith, expected[1], problems)), expected[1]
    for packing, pack in PACKINGS.items():
        assert read_data(pack(text)) == expected, packing
    for packing in ("plain", "gzip"):
        bucket.put("saved.json", PACKINGS[packing](text))
        assert read(ArchiveSource(f"{bucket.uri}/saved.json", limits=LIMITS)) == expected, packing


def encode_recording(pages: list[list[dict[str, Any]]]) -> list[bytes]:
    """Return the records of a file: its start, and each page."""
    headers = (("X-Amz-Target", "AWSLookoutEquipmentFrontendService.ListInferenceExecutions"),)
    records = [encode_info(NOW)]
    for number, rows in enumerate(pages):
        request = {"InferenceSchedulerName": "pump"} | ({"NextToken": str(number)} if number else {})
        body = {"InferenceExecutionSummaries": rows}
        body |= {"NextToken": str(number + 1)} if number + 1 < len(pages) else {}
        sent = json.dumps(request).encode(), NOW + timedelta(seconds=number), json.dumps(body).encode()
        exchange = Exchange("http://host/", "ListInferenceExecutions", *sent, headers)
        records.append(encode_exchange(exchange))
    return records


PAGES = [ROWS[start : start + 40] for start in range(0, 240, 40)]


@pytest.mark.parametrize("unpack", [bytes, gzip.decompress], ids=["gzip", "plain"])
def test_a_recording_gives_the_rows_of_its_responses(
    unpack: Callable[[bytes], bytes], bucket: Bucket
) -> None:
    records = encode_recording(PAGES)
    whole = unpack(b"".join(records))
    bucket.put("saved.warc.gz", whole)
    in_bucket = ArchiveSource(f"{bucket.uri}/saved.warc.gz", limits=LIMITS)
    assert read_data(whole) == read(in_bucket) == (ROWS[:240], (), True)

    rows, problems, _ = read_data(unpack(b"".join(records[:4])) + unpack(records[4])[:300])
    assert rows == ROWS[:120]
    assert "truncated" in problems[0]
    few_rows = ReadLimits(rows=95)
    assert read_data(whole, few_rows)[:2] == (
        ROWS[:95],
        ("has more than 95 rows (limits.max_rows_per_file); the others are not read",),
    )
    few_pages = read_data(whole, ReadLimits(pages=2))
    assert (few_pages[0], few_pages[1][0]) == (
        ROWS[:80],
        "has more than 2 pages (limits.max_pages_per_query)",
    )


@pytest.mark.parametrize("name", ["gzip", "gzip three times", "UTF-16, big-endian, in gzip", "recording"])
def test_the_rows_before_the_limit_of_the_size_are_kept_and_the_limit_is_reported(name: str) -> None:
    is_recording = name == "recording"
    data = b"".join(encode_recording(PAGES)) if is_recording else PACKINGS[name]("\n".join(LINES[:240]))
    limits = ReadLimits(size_bytes=30_000)
    rows, problems, _ = read_data(data, limits)
    assert rows == ROWS[: len(rows)]
    assert 50 <= len(rows) < 200
    assert problems[0].startswith(f"is {limits.too_large}")
    assert is_recording or problems == (f"is {limits.too_large}; the rest is not read",)


def test_a_layer_whose_header_exceeds_the_limit_of_the_size_is_reported() -> None:
    header = b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 40_000 + b"\0"  # the flag says that a name follows
    limits = ReadLimits(size_bytes=30_000)
    assert read_data(gzip.compress(header), limits)[:2] == ([], (f"is {limits.too_large}",))


def test_a_damage_of_the_packing_is_reported_first_and_the_rows_before_it_are_kept() -> None:
    text = damage(LINES[:240], 20)
    for data in (gzip.compress(text.encode()), gzip.compress(text.encode("utf-16"))):
        rows, problems, _ = read_data(data[: len(data) // 2])
        assert rows == [row for number, row in enumerate(ROWS[: len(rows) + 1], 1) if number != 20]
        assert len(rows) > 40
        assert problems[0].startswith("is truncated or damaged: ")
        assert problems[1].startswith("line 20 is")
    rows, problems, _ = read_data(gzip.compress(text.encode()) + b"garbage")
    assert len(rows) == 239
    assert problems[0] == "is truncated or damaged: invalid gzip data: 7 other bytes follow"


@pytest.mark.parametrize("name", ["members of gzip", "UTF-16, big-endian, in gzip", "recording"])
def test_memory_does_not_grow_with_a_packed_file(name: str) -> None:
    pages = [LARGE_ROWS[start : start + 20] for start in range(0, 280, 20)] * 10
    text = "".join(json.dumps(row) + "\n" for page in pages for row in page)
    data = b"".join(encode_recording(pages)) if name == "recording" else PACKINGS[name](text)
    archive = ArchiveSource("saved.json", store=Store(data), limits=ReadLimits())
    read_data(b"".join(encode_recording(PAGES)))  # loads modules
    tracemalloc.start()
    try:
        saved = archive.open(archive.list_files()[0])
        count = sum(len(list_rows(page)) for page in saved.read_pages(NOW))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, saved.problems) == (2_800, ())
    assert peak < 450_000 < len(text) / 2


# --- Objects ----------------------------------------------------------------------------------------------


def test_a_large_object_is_fetched_in_parts_and_a_small_one_with_one_request(bucket: Bucket) -> None:
    content = bytes(range(250)) * 60
    bucket.put("large", content)
    bucket.put("small", content[: 3 * PART_BYTES])
    files = S3Files(bucket.uri)
    large, small = files.list_files(bucket.uri)
    bucket.server.requests.clear()
    with files.open(large) as stream:
        assert b"".join(iter(lambda: stream.read(7_001), b"")) == content
    ranges = [request.headers.get("range") for request in bucket.server.requests]
    assert ranges == ["bytes=0-5999", "bytes=6000-11999", "bytes=12000-17999"]
    bucket.server.requests.clear()
    with files.open(small) as stream:
        assert len(stream.read()) == 3 * PART_BYTES
    assert [request.headers.get("range") for request in bucket.server.requests] == [None]


def test_an_object_of_a_store_without_ranges_is_read_as_a_whole(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("large", b"x" * 45_000)
    files = S3Files(bucket.uri)
    (large,) = files.list_files(bucket.uri)
    monkeypatch.setattr(bucket.server, "ignored_headers", {"range"})
    with files.open(large) as stream:
        assert stream.read() == b"x" * 45_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bucket: bucket.put("large", b"y" * 45_000), "it was replaced while it was read"),
        (lambda bucket: bucket.put("large", b""), "it was replaced while it was read"),
        (
            lambda bucket: bucket.client.delete_object(Bucket=bucket.name, Key="large"),
            "it no longer exists",
        ),
    ],
    ids=["replaced", "emptied", "deleted"],
)
def test_an_object_that_changes_while_it_is_read_is_unreadable(
    change: Callable[[Bucket], None], reason: str, bucket: Bucket
) -> None:
    bucket.put("large", b"x" * 45_000)
    files = S3Files(bucket.uri)
    (large,) = files.list_files(bucket.uri)
    with files.open(large) as stream:
        assert stream.read(10) == b"x" * 10
        change(bucket)
        with pytest.raises(UnreadableArchiveError, match=reason) as caught:
            stream.read()
    assert caught.value.where == f"{bucket.uri}/large"


@pytest.mark.parametrize(
    "data",
    [b"".join(encode_recording(PAGES)), gzip.compress("\n".join(map(str, LARGE_ROWS)).encode())],
    ids=["WARC", "gzip"],
)
def test_a_store_that_fails_in_the_middle_of_a_file_fails_the_reading(data: bytes) -> None:
    class Failing(Store):
        def open(self, _: StoredFile) -> Any:
            stream = BytesIO(self.data)

            class Stream:
                def read(self, size: int) -> bytes:
                    if stream.tell() > PART_BYTES:
                        raise RetryLaterError("Cannot read", where="s3", next_step="run again")
                    return stream.read(min(size, PART_BYTES))

                def close(self) -> None:
                    """Do nothing."""

            return Stream()

    archive = ArchiveSource("saved.json", store=Failing(data), limits=LIMITS)
    (file,) = archive.list_files()
    pages: Iterator[Any] = archive.open(file).read_pages(NOW, decode_summaries)
    with pytest.raises(RetryLaterError):
        list(pages)
