"""Splitting text into JSON documents: invalid parts are reported with their line."""

import bz2
import gzip
import json
import lzma
import pickle
from collections.abc import Callable
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import settings as how
from hypothesis import strategies as st

from resources.read_limits import DEFAULT_LIMITS
from resources.sources import documents
from resources.sources.documents import Documents, split_documents
from resources.sources.packed_text import PackedText, read_blocks

A, B, C = {"a": 1}, {"b": [2, {"c": None}]}, [3, "ü\n"]


def read_documents(data: bytes) -> Documents:
    """Unpack a file and split its text; the damage of the packing is a problem too."""
    packed = PackedText(BytesIO(data).read, DEFAULT_LIMITS)
    content = split_documents(b"".join(read_blocks(packed.read)))
    return Documents(content.documents, (*filter(None, [packed.damage]), *content.problems))


def decode(data: bytes) -> list[object]:
    return [json.loads(bytes(document)) for document in read_documents(data).documents]


def problems(data: bytes) -> str:
    return "; ".join(read_documents(data).problems)


# --- Whole files ------------------------------------------------------------------------------------------

JOINED: dict[str, Callable[[list[object]], str]] = {
    "with nothing between": lambda every: "".join(map(json.dumps, every)),
    "one a line": lambda every: "".join(json.dumps(document) + "\n" for document in every),
    "one a line, none after the last": lambda every: "\n".join(map(json.dumps, every)),
    "one a line, CRLF": lambda every: "".join(json.dumps(document) + "\r\n" for document in every),
    "with a blank between": lambda every: " ".join(map(json.dumps, every)),
    "with blank lines between": lambda every: "\n\n \n".join(map(json.dumps, every)),
    "pretty-printed": lambda every: "".join(json.dumps(document, indent=4) + "\n" for document in every),
    "pretty-printed, with nothing between": lambda every: "".join(
        json.dumps(document, indent=2) for document in every
    ),
    "pretty-printed, CRLF": lambda every: "\n".join(
        json.dumps(document, indent=1) for document in every
    ).replace("\n", "\r\n"),
    "not escaped": lambda every: "\n".join(json.dumps(document, ensure_ascii=False) for document in every),
    "after a blank line": lambda every: "\n \n" + "\n".join(map(json.dumps, every)),
}

SAVED: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "UTF-8 with a byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16, as PowerShell writes it": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip, in two members": lambda text: gzip.compress(text.encode()[:5]) + gzip.compress(text.encode()[5:]),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
}


@pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED)
@pytest.mark.parametrize("joined", JOINED.values(), ids=JOINED)
def test_every_encoding_returns_the_same_documents(
    joined: Callable[[list[object]], str], saved: Callable[[str], bytes]
) -> None:
    for every in ([A], [A, B, C], [[], A, {}, B]):
        data = saved(joined(every))
        assert decode(data) == every
        assert not problems(data)


CONTAINERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, list | dict))


@how(deadline=None)
@given(
    every=st.lists(CONTAINERS, min_size=1, max_size=4),
    joined=st.sampled_from(list(JOINED.values())),
    saved=st.sampled_from(list(SAVED.values())),
)
def test_no_document_is_lost(
    every: list[object], joined: Callable[[list[object]], str], saved: Callable[[str], bytes]
) -> None:
    data = saved(joined(every))
    assert decode(data) == every
    assert not problems(data)


@how(deadline=None)
@given(every=st.lists(CONTAINERS, min_size=1, max_size=4), ways=st.data())
def test_no_document_is_lost_in_mixed_formats(every: list[object], ways: st.DataObject) -> None:
    """As `>>` or `cat` produces it, with byte order marks."""
    way = st.sampled_from([way for name, way in JOINED.items() if "none after" not in name])
    data = b"\n".join(
        ways.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + ways.draw(way)([document]).strip().encode()
        for document in every
    )
    assert decode(data) == every
    assert not problems(data)


@pytest.mark.parametrize("between", ["", "\n"], ids=["nothing", "newline"])
def test_files_with_byte_order_marks_can_be_concatenated(between: str) -> None:
    data = (between.join("\ufeff" + json.dumps(document) for document in (A, B, C))).encode()
    assert decode(data) == [A, B, C]
    assert not problems(data)


@pytest.mark.parametrize("digits", [20, 400, 5_000], ids="{} digits".format)
def test_numbers_can_have_any_length(digits: int) -> None:
    """Python parses at most 4300 digits, but numbers are not parsed here."""
    for text in (f'{{"a":{"9" * digits}}}', f'{{"a":{"9" * digits}}}{{"b":1}}', f'{{"a":1e{"9" * digits}}}'):
        read = read_documents(text.encode())
        assert b"".join(map(bytes, read.documents)) == text.encode()
        assert not read.problems
    assert len(read_documents(f'{{"a":{"9" * digits}}}{{"b"'.encode()).documents) == 1


# --- Broken files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"<html><body>{}</body></html>", "line 1 is truncated or not JSON", id="HTML"),
        pytest.param(b"An error occurred (AccessDenied)\n", "line 1 is truncated or not JSON", id="text"),
        pytest.param(b"\nPAR1\x00\x01", "line 2 is truncated or not JSON", id="binary"),
        pytest.param(b"caf\xe9", "line 1 is not UTF-8 text", id="Latin-1"),
        pytest.param(b'{"a": "caf\xe9"}', "line 1 is not UTF-8 text", id="Latin-1 in a document"),
        pytest.param(b'{"a": NaN}', "line 1 is not JSON", id="NaN"),
        pytest.param(b'{"a": "\\ud800"}', "line 1 is not JSON", id="half of a character"),
        pytest.param(b'{"\\udc00": 1}', "line 1 is not JSON", id="half of a character in a name"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', "line 1 is not UTF-8 text", id="half of a character, raw"),
        pytest.param(b"{a: 1}", "line 1 is truncated or not JSON", id="no quotes"),
        pytest.param(b"{'a': x}", "line 1 is truncated or not JSON", id="a program"),
        pytest.param(b'{"a": 1,}', "line 1 is truncated or not JSON", id="trailing comma"),
        pytest.param(b'{\n "a": 1,\n "b": [1, 2', "line 3 is truncated or not JSON", id="cut short"),
        pytest.param(b"[" * 100_000, "line 1 is nested too deeply", id="nested and cut short"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "line 1 is nested too deeply", id="nested lists"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply", id="nested objects"),
        pytest.param(b"{'a':" * 100_000 + b"1" + b"}" * 100_000, "not JSON", id="nested and printed"),
        pytest.param(b"\x1f\x8bno gzip after all", "is truncated or damaged", id="no gzip"),
        pytest.param(gzip.compress(b"{}")[:12], "is truncated or damaged", id="gzip cut short"),
        pytest.param(b'\xff\xfe{\x00"', "is truncated or damaged", id="UTF-16 cut short"),
    ],
)
def test_invalid_json_returns_no_document_and_a_reason(data: bytes, problem: str) -> None:
    assert decode(data) == []
    assert problem in problems(data)


@pytest.mark.parametrize(
    ("data", "every", "problem"),
    [
        pytest.param(b'{"a":1}\n{"x": oops}\n{"a":2}\n', [1, 2], "line 2 is", id="a line in the middle"),
        pytest.param(b'{"x": \n{"a":1}\n{"a":2}\n', [1, 2], "line 1 is", id="the first line, cut short"),
        pytest.param(b'{"a":1}\n{"a":2}\n{"x": ', [1, 2], "line 3 is", id="the last line, cut short"),
        pytest.param(b'{"a":1}\n"x": 1}\n{"a":2}\n', [1, 2], "line 2 is", id="a line without its beginning"),
        pytest.param(b'\r\n{"a":1}\r\n{"x"\r\n{"a":2}\r\n', [1, 2], "line 3 is", id="a line of CRLF"),
        pytest.param(b'{"a":1}\n{"x":NaN}\n{"a":2}\n', [1, 2], "line 2 is not JSON", id="a line with NaN"),
        pytest.param(b'{"a":1}{"x":NaN} {"a":2}', [1, 2], "line 1 is not JSON", id="NaN without a line"),
        pytest.param(b'{"a":1}\n{"x":"\xe9"}\n{"a":2}', [1, 2], "line 2 is not UTF-8", id="Latin-1 line"),
        pytest.param(
            b'{"a":1}\n' + b'{"x":' * 9_999 + b'\n{"a":2}', [1, 2], "line 2 is nested", id="a line, nested"
        ),
        pytest.param(b'{"a":1}{"a":2}{"x": [', [1, 2], "line 1 is", id="pages, the last cut short"),
        pytest.param(
            b'{\n    "a": 1\n}\n{\n    "a": 2\n}\n{\n    "x": [\n        1,',
            [1, 2],
            "line 9 is",
            id="printed pages, the last cut short",
        ),
        pytest.param(
            b'{\n    "a": 1\n}\n{\n    "x": [\n        {\n{\n    "a": 2\n}\n',
            [1, 2],
            "line 6 is",
            id="printed pages, one in the middle cut short",
        ),
        pytest.param(
            b'Last login: today\n{"a":1}\n{"a":2}\n', [1, 2], "line 1 is", id="words before the first line"
        ),
        pytest.param(b'{"a":1}\n{"a":2}\nDone.\n', [1, 2], "line 3 is", id="words after the last line"),
    ],
)
def test_documents_around_an_error_are_read_and_its_line_is_reported(
    data: bytes, every: list[int], problem: str
) -> None:
    assert decode(data) == [{"a": number} for number in every]
    assert problem in problems(data)


def test_every_invalid_line_is_reported() -> None:
    read = read_documents(b'{"a":1}\n{"x":\n{"a":2}\n{"y"\n')
    assert [problem.split(" is ")[0] for problem in read.problems] == ["line 2", "line 4"]


LINES = b"".join(b'{"a":%d,"b":"%032x"}\n' % (number, number * 7**30) for number in range(2_000))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_gzip_is_read_up_to_its_end(share: float) -> None:
    packed = gzip.compress(LINES)
    read = read_documents(packed[: int(len(packed) * share)])
    numbers = [json.loads(bytes(document))["a"] for document in read.documents]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 1_900 * share
    assert "is truncated or damaged" in read.problems[0]


def test_a_gzip_with_a_wrong_checksum_is_read_and_reported() -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[-5] ^= 1
    read = read_documents(bytes(packed))
    assert len(read.documents) == 2_000
    assert "is truncated or damaged: invalid gzip data: " in read.problems[0]


def test_truncated_utf16_is_read_up_to_its_end() -> None:
    data = b"\xff\xfe" + '{"a":1}\n{"a":2}\n{"a'.encode("utf-16-le") + b"\x00"
    assert decode(data) == [{"a": 1}, {"a": 2}]
    assert "is truncated or damaged" in problems(data)


@how(deadline=None, max_examples=100)
@given(
    st.binary(max_size=200)
    | st.text(alphabet="{}[]\"':,\\ \n\r\t\ufeffaé1.-eNulltruefalsedatetime()=", max_size=60).map(str.encode)
    | st.tuples(st.sampled_from([b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"]), st.binary()).map(
        b"".join
    )
)
@example(b"\x1d")  # blank for texts in Python, but not for bytes
def test_any_bytes_give_documents_or_a_problem(data: bytes) -> None:
    for saved in (data, gzip.compress(data)):
        read = read_documents(saved)
        text = PackedText(BytesIO(saved).read, DEFAULT_LIMITS).read(1_000)
        assert read.documents or read.problems or not text.strip()
        for document in read.documents:
            bytes(document).decode()


@how(deadline=None)
@given(cut=st.integers(0, 999), pack=st.booleans(), every=st.lists(CONTAINERS, min_size=2, max_size=4))
def test_truncation_loses_only_the_truncated_document(cut: int, pack: bool, every: list[object]) -> None:
    texts = [json.dumps(document).encode() + b"\n" for document in every]
    whole = b"".join(texts)
    rest = whole[: cut * len(whole) // 1_000]
    complete = [
        document
        for number, document in enumerate(every)
        if len(b"".join(texts[: number + 1])) - 1 <= len(rest)
    ]
    data = gzip.compress(rest) if pack else rest
    assert decode(data) == complete
    assert problems(data) or rest == b"".join(texts[: len(complete)])[: len(rest)]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"PK\x03\x04rest", "a ZIP archive"),
        (bz2.compress(b"{}"), "compressed with bzip2"),
        (lzma.compress(b"{}"), "compressed with xz"),
        (b"\x28\xb5\x2f\xfdrest", "compressed with Zstandard"),
        (b"PAR1rest", "a Parquet file"),
        (pickle.dumps({"a": [1.5, "b"]}, 4), "a Python pickle"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "in gzip"])
def test_another_format_is_named(data: bytes, name: str, pack: Callable[[bytes], bytes]) -> None:
    assert PackedText(BytesIO(pack(data)).read, DEFAULT_LIMITS).other_format == name


def test_a_dense_piece_of_a_damaged_text_is_rejected_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(documents, "_MAX_VALUES", 5)
    read = read_documents(b'{"a": 1}\n{"b": \n[1,2,3,4,5,6,7]\n')
    assert [bytes(document) for document in read.documents] == [b'{"a": 1}']
    assert any("line 3 is not a response" in problem for problem in read.problems), read.problems
