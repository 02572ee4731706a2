"""Exchanges as WARC: what was written is read again, and damage is found, wherever it is."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from warcio.checker import Checker

from resources.read_limits import ReadLimits
from resources.sources.base import Exchange
from resources.sources.warc import encode_exchange, encode_info, is_warc, read_warc

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
HEADERS = (("X-Amz-Target", "AWSLookoutEquipmentFrontendService.ListInferenceExecutions"),)
ANSWER_HEADERS = (("x-amzn-RequestId", "1-2"), ("Date", "Thu, 08 Oct 2026 12:00:00 GMT"))

exchanges = st.builds(
    Exchange,
    url=st.sampled_from(["https://lookoutequipment.eu-west-1.amazonaws.com/", "http://127.0.0.1:4610/"]),
    operation=st.just("ListInferenceExecutions"),
    request=st.binary(max_size=40),
    sent_at=st.integers(0, 10**9).map(lambda number: NOW + timedelta(microseconds=number)),
    body=st.binary(max_size=200),
    request_headers=st.just(HEADERS),
    response_headers=st.sampled_from([(), ANSWER_HEADERS]),
)


def encode(recorded: list[Exchange]) -> bytes:
    return encode_info(NOW) + b"".join(map(encode_exchange, recorded))


@how(deadline=None)
@given(st.lists(exchanges, max_size=4))
def test_recorded_exchanges_are_read_as_they_were_sent_and_received(recorded: list[Exchange]) -> None:
    data = encode(recorded)
    assert is_warc(data)
    content = read_warc(data)
    assert (content.exchanges, content.problems) == (recorded, [])
    assert read_warc(gzip.decompress(data)).exchanges == recorded


@how(deadline=None)
@given(exchanges)
def test_the_same_exchange_has_the_same_bytes(exchange: Exchange) -> None:
    assert encode_exchange(exchange) == encode_exchange(exchange)


@how(max_examples=50, deadline=None)
@given(st.lists(exchanges, min_size=1, max_size=3), st.data())
def test_a_changed_byte_never_changes_a_page_without_a_problem(
    recorded: list[Exchange], data: st.DataObject
) -> None:
    plain = bytearray(gzip.decompress(encode(recorded)))
    position = data.draw(st.integers(0, len(plain) - 1))
    plain[position] ^= 1 << data.draw(st.integers(0, 7))
    content = read_warc(bytes(plain))
    pages = [(exchange.request, exchange.body) for exchange in content.exchanges]
    originals = [(exchange.request, exchange.body) for exchange in recorded]
    if not content.problems and is_warc(bytes(plain)):
        assert set(pages) <= set(originals)
        # a changed header can make a record one of another service; it can never change a page
    for page in pages:
        assert page in originals


@how(max_examples=40, deadline=None)
@given(st.lists(exchanges, min_size=1, max_size=3), st.data())
def test_a_truncated_file_has_its_first_pages_and_a_problem(
    recorded: list[Exchange], data: st.DataObject
) -> None:
    whole = encode(recorded)
    ends = [len(encode(recorded[:count])) for count in range(len(recorded) + 1)]
    size = data.draw(st.integers(0, len(whole) - 1))
    content = read_warc(whole[:size])
    # a page whose digest is right counts, even if the checksum of gzip after it is cut off
    count = len(content.exchanges)
    assert content.exchanges == recorded[:count]
    assert count >= sum(end <= size for end in ends[1:])
    if size not in ends:
        assert content.problems or not is_warc(whole[:size])


def test_other_tools_accept_the_digests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exchange = Exchange("http://host/", "ListInferenceExecutions", b"{}", NOW, b"{}", HEADERS, ANSWER_HEADERS)
    path = tmp_path / "page.warc.gz"
    path.write_bytes(encode([exchange]))

    class _Options:
        inputs = (str(path),)
        verbose = True

    checker = Checker(_Options)
    checker.process_all()
    assert checker.exit_value == 0
    assert "digest pass" in capsys.readouterr().out


def test_requests_of_other_services_and_errors_are_left_out() -> None:
    other = Exchange(
        "http://host/", "", b"{}", NOW, b"{}", (("X-Amz-Target", "Other.ListInferenceExecutions"),)
    )
    content = read_warc(encode([other]))
    assert (content.exchanges, content.problems) == ([], [])


def test_a_file_beyond_the_limits_is_not_read() -> None:
    exchange = Exchange("http://host/", "ListInferenceExecutions", b"{}", NOW, b" " * 5_000, HEADERS)
    content = read_warc(encode([exchange]), ReadLimits(size_bytes=4_000))
    assert content.exchanges == []
    assert any("larger than" in problem or "too large" in problem for problem in content.problems)
    many = read_warc(encode([exchange] * 5), ReadLimits(pages=2))
    assert any("more than 2 pages" in problem for problem in many.problems)


def test_a_request_without_a_valid_date_is_left_out() -> None:
    exchange = Exchange("http://host/", "ListInferenceExecutions", b"{}", NOW, b"{}", HEADERS, ())
    data = gzip.decompress(encode_exchange(exchange))
    assert len(read_warc(data).exchanges) == 1
    assert read_warc(data.replace(b"WARC-Date: 2026", b"WARC-Date: x026")).exchanges == []
