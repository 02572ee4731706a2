"""The archive source: any format returns the summaries that were saved."""

import gzip
import json
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from assets.executions.flatten import decode_summaries
from resources.errors import UnreadableArchiveError
from resources.read_limits import ReadLimits
from resources.sources import saved_file
from resources.sources.archive import ArchiveSource
from resources.sources.base import DecodeSummaries, Page
from resources.sources.saved_file import SUMMARIES_A_PAGE
from resources.sources.text_parts import PART_BYTES, TextParts
from resources.storage.base import StoredFile
from sandbox.dumps import write_dump
from sandbox.fleet import History, build_fleet
from sandbox.forms import FORMS, Form
from sandbox.forms import Page as Response
from sandbox.schedulers import Summary, sort_newest_first
from tests.support.mutations import damaged

END = datetime(2026, 10, 8, tzinfo=UTC)
FLEET = build_fleet(3, History(END - timedelta(days=3), END))
HISTORY: list[Summary] = sort_newest_first(
    next(scheduler for scheduler in FLEET.schedulers if scheduler.name == "compressor-2").executions(
        END, end=END
    )
)
PAGES = [HISTORY[:4], HISTORY[4:7], HISTORY[7:9]]
SUMMARIES = [summary for page in PAGES for summary in page]

WHOLE_RESPONSES = [form for form in Form if form not in {Form.JSON_LINES, Form.BARE_LIST}]
TIMES = {"ScheduledStartTime", "DataStartTime", "DataEndTime"}
NOW = datetime(2026, 10, 9, tzinfo=UTC)
MeasurePeak = Callable[[Iterable[bytes]], tuple[int, list[str]]]


@dataclass
class Content:
    """What was read of a file."""

    pages: list[Page]
    content_hash: str
    complete: bool
    problems: tuple[str, ...]

    @property
    def summaries(self) -> list[Any]:
        return [
            summary
            for page in self.pages
            for summary in (
                map(json.loads, page.body.splitlines())
                if page.is_lines
                else _list_summaries(json.loads(page.body))
            )
        ]


def _list_summaries(body: Any) -> list[Any]:
    return body["InferenceExecutionSummaries"] if isinstance(body, dict) else body


def read(
    path: Path | bytes, archive: ArchiveSource | None = None, decode: DecodeSummaries | None = None
) -> Content:
    archive = archive or ArchiveSource(
        "unused", store=Bytes(path if isinstance(path, bytes) else path.read_bytes())
    )
    return read_file(archive, StoredFile("saved.json", 0, ""), decode)


def read_file(archive: ArchiveSource, file: StoredFile, decode: DecodeSummaries | None = None) -> Content:
    saved = archive.open(file)
    pages = [*saved.read_pages(NOW, decode)]
    return Content(pages, saved.content_hash, saved.complete, saved.problems)


class Bytes:
    """A store with one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def find(self, uri: str) -> list[StoredFile]:
        return [StoredFile(uri, len(self.data), "")]

    def read(self, file: StoredFile) -> bytes:
        assert file
        return self.data

    def open(self, file: StoredFile) -> BytesIO:
        return BytesIO(self.read(file))


def plain(saved: Content) -> list[Any]:
    return saved.summaries


def summaries(saved: Content) -> list[Summary]:
    """Return the summaries of a file, in the types of the fleet."""
    return [_with_instants(_pascal(summary)) for summary in plain(saved)]


def _pascal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: _pascal(member) for key, member in value.items()}
    return value


def _with_instants(summary: dict[str, Any]) -> Summary:
    return {name: _instant(value) if name in TIMES else value for name, value in summary.items()}


def _instant(value: float | str) -> datetime:
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    return datetime.fromtimestamp(value, UTC)


# --- Summaries in, summaries out --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzip"])
@pytest.mark.parametrize("pages", [[[]], PAGES[:1], PAGES], ids=["none", "one page", "three pages"])
@pytest.mark.parametrize("form", Form)
def test_every_format_returns_the_saved_summaries(
    tmp_path: Path, form: Form, pages: list[list[Summary]], suffix: str
) -> None:
    (path,) = write_dump(tmp_path / f"x.json{suffix}", form, pages, zone=timezone(timedelta(hours=-4)))
    saved = read(path)
    assert summaries(saved) == [summary for page in pages for summary in page]
    assert saved.complete
    assert saved.problems == (() if pages[0] or form is not Form.JSON_LINES else ("is empty",))


@pytest.mark.parametrize("form", Form)
def test_pages_in_separate_files_return_the_saved_summaries(tmp_path: Path, form: Form) -> None:
    paths = write_dump(tmp_path / "x.json", form, PAGES, one_file_per_page=True)
    assert [summaries(read(path)) for path in paths] == PAGES
    has_token = form in WHOLE_RESPONSES
    assert [read(path).complete for path in paths] == [not has_token, not has_token, True]


@pytest.mark.parametrize(
    "between", ["", "\n", " ", "\n\n"], ids=["nothing", "newline", "blank", "empty line"]
)
@pytest.mark.parametrize("form", [form for form in WHOLE_RESPONSES if form is not Form.BOTO3_REPR])
def test_pages_can_be_joined_with_any_separator(form: Form, between: str) -> None:
    texts = [FORMS[form](Response(page, next_token="t" if page is not PAGES[-1] else None)) for page in PAGES]
    saved = read(between.join(text.strip() for text in texts).encode())
    assert summaries(saved) == SUMMARIES
    assert saved.complete
    assert not saved.problems


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(lambda pages: {"InferenceExecutionSummaries": pages[0] + pages[1]}, id="response"),
        pytest.param(lambda pages: [{"InferenceExecutionSummaries": page} for page in pages], id="responses"),
        pytest.param(lambda pages: pages[0] + pages[1], id="bare list"),
        pytest.param(
            lambda pages: [{"InferenceExecutionSummaries": pages[0]}, *pages[1]], id="responses and summaries"
        ),
        pytest.param(
            lambda pages: [{"NextToken": None, "inferenceExecutionSummaries": pages[0] + pages[1]}],
            id="member in camelCase",
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "pretty-printed"])
def test_nested_lists_are_read(container: Any, indent: int | None) -> None:
    data = json.dumps(container(PAGES[:2]), default=str, indent=indent).encode()
    assert summaries(read(data)) == PAGES[0] + PAGES[1]
    assert not read(data).problems


@pytest.mark.parametrize("indent", [None, 4], ids=["compact", "pretty-printed"])
def test_a_single_summary_is_a_saved_response(indent: int | None) -> None:
    data = json.dumps(SUMMARIES[0], default=str, indent=indent).encode()
    assert summaries(read(data)) == SUMMARIES[:1]


def test_formats_can_be_mixed_in_one_file() -> None:
    texts = [FORMS[form](Response([summary])) for form, summary in zip(Form, SUMMARIES, strict=False)]
    saved = read("\n".join(texts).encode())
    assert summaries(saved) == SUMMARIES[: len(Form)]
    assert not saved.problems


@pytest.mark.parametrize("zone", [None, ZoneInfo("Europe/Berlin")], ids=["unknown", "of the source"])
def test_local_times_of_a_notebook_get_the_zone_of_the_source(zone: ZoneInfo | None) -> None:
    printed = "{'DataStartTime': datetime.datetime(2021, 10, 31, 2, 30, fold=1, tzinfo=tzlocal())}"
    saved = read(Path(), ArchiveSource("x", zone=zone, store=Bytes(printed.encode())))
    assert plain(saved) == [{"DataStartTime": "2021-10-31T02:30:00" + ("+01:00" if zone else "")}]


@pytest.mark.parametrize("member", ["ScheduledStartTime", "DataStartTime", "DataEndTime", "dataStartTime"])
def test_a_summary_is_recognized_by_any_of_its_times(member: str) -> None:
    """The caller rejects summaries without other members and keeps their text."""
    items = [{member: None, "x": 10**400}, {member: [1], "InferenceSchedulerArn": "ü"}]
    data = "\n".join(json.dumps(item, ensure_ascii=False) for item in items).encode()
    assert plain(read(data)) == items


def test_items_of_a_response_are_returned_unchanged() -> None:
    listed = [{}, 1, "x", None, [], {"DataStartTime": {}}]
    saved = read(json.dumps({"InferenceExecutionSummaries": listed}).encode())
    assert plain(saved) == listed
    assert not saved.problems


SUMMARY = st.fixed_dictionaries(
    {"DataStartTime": st.floats(0, 2e9) | st.text()},
    optional={"Status": st.text(), "FailedReason": st.text(), "ModelVersion": st.integers()},
)


@how(deadline=None)
@given(pages=st.lists(st.lists(SUMMARY, max_size=3), min_size=1, max_size=4), draw=st.data())
def test_no_summary_is_lost(pages: list[list[dict[str, Any]]], draw: st.DataObject) -> None:
    containers = {
        "responses": [{"InferenceExecutionSummaries": page} for page in pages],
        "lists": list(pages),
        "list of responses": [[{"InferenceExecutionSummaries": page} for page in pages]],
        "summaries": [summary for page in pages for summary in page],
    }
    every = containers[draw.draw(st.sampled_from(list(containers)))]
    indent = draw.draw(st.sampled_from([None, 1]))
    between = draw.draw(st.sampled_from(["", "\n", " "]))
    data = between.join(json.dumps(document, indent=indent) for document in every).encode()
    assert plain(read(gzip.compress(data))) == [summary for page in pages for summary in page]


@how(deadline=None, max_examples=100)
@given(
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["InferenceExecutionSummaries", "NextToken", "DataStartTime", "nextToken", "x"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_give_summaries_or_a_problem(data: bytes) -> None:
    saved = read(data)
    held_nothing = {b"[]", b'{"InferenceExecutionSummaries": []}', b'{"InferenceExecutionSummaries": null}'}
    if data in held_nothing:
        assert not saved.summaries
        assert not saved.problems
    assert all(isinstance(json.loads(page.body), list) for page in saved.pages)


# --- NextToken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [PAGES[:1], PAGES], ids=["one page", "three pages"])
@pytest.mark.parametrize("form", WHOLE_RESPONSES)
def test_a_token_at_the_end_marks_the_file_as_incomplete(
    tmp_path: Path, form: Form, pages: list[list[Summary]]
) -> None:
    (path,) = write_dump(tmp_path / "x.json", form, pages, leave_token=True)
    assert not read(path).complete
    assert len(read(path).summaries) == sum(map(len, pages))


@pytest.mark.parametrize(
    ("documents", "complete"),
    [
        pytest.param([{"NextToken": "t"}, {}], True, id="the last page has none"),
        pytest.param([{"NextToken": "t"}, {"NextToken": None}], True, id="null"),
        pytest.param([{"NextToken": "t"}, {"NextToken": ""}], True, id="empty"),
        pytest.param([{}, {"NextToken": "t"}], False, id="the last page has one"),
        pytest.param([{}, {"NextToken": 5}], False, id="a number"),
        pytest.param([{"NextToken": "t"}], False, id="the only page has one"),
    ],
)
@pytest.mark.parametrize("as_list", [False, True], ids=["one after the other", "in a list"])
def test_only_the_token_of_the_last_response_counts(
    documents: list[dict[str, Any]], complete: bool, as_list: bool
) -> None:
    responses = [{**document, "InferenceExecutionSummaries": []} for document in documents]
    data = json.dumps(responses) if as_list else "\n".join(map(json.dumps, responses))
    assert read(data.encode()).complete is complete


def test_summaries_after_a_response_do_not_complete_it() -> None:
    text = (
        '{"NextToken": "t", "InferenceExecutionSummaries": []}\n{"DataStartTime": 1}\n[{"DataStartTime": 2}]'
    )
    assert not read(text.encode()).complete


def test_a_truncated_page_leaves_the_file_incomplete(tmp_path: Path) -> None:
    for form in WHOLE_RESPONSES:
        (path,) = write_dump(tmp_path / "x.json", form, PAGES)
        whole = path.read_bytes()
        last = FORMS[form](Response(PAGES[-1])).encode()
        saved = read(whole[: -len(last) // 2])
        assert summaries(saved) == PAGES[0] + PAGES[1], form
        assert not saved.complete, form
        assert len(saved.problems) == 1, form


# --- Other files ------------------------------------------------------------------------------------------

SCHEDULER = {
    "ModelName": "m",
    "ModelArn": "arn:aws:lookoutequipment:eu-west-1:123456789012:model/m/1",
    "InferenceSchedulerName": "s",
    "InferenceSchedulerArn": "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/s/1",
    "Status": "RUNNING",
    "DataDelayOffsetInMinutes": 0,
    "DataUploadFrequency": "PT5M",
}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(
            {"InferenceSchedulerSummaries": [SCHEDULER]},
            "its members: InferenceSchedulerSummaries",
            id="schedulers",
        ),
        pytest.param(
            {**SCHEDULER, "CreatedAt": 1.6e9},
            "its members: CreatedAt, DataDelayOffsetInMinutes",
            id="scheduler",
        ),
        pytest.param({"InferenceEventSummaries": []}, "its members: InferenceEventSummaries", id="events"),
        pytest.param(
            {"ModelName": "m", "TrainingDataStartTime": 1.6e9}, "its members: ModelName", id="model"
        ),
        pytest.param([SCHEDULER], "its members: DataDelayOffsetInMinutes", id="list of schedulers"),
        pytest.param({}, "its members: none", id="empty object"),
        pytest.param({"InferenceExecutionSummaries": {}}, "is not a response", id="summaries in no list"),
        pytest.param(5, "is not a response", id="number"),
        pytest.param([[5]], "is not a response", id="list of lists"),
        pytest.param([[[[[[{}]]]]]], "is not a response", id="deep lists"),
    ],
)
def test_a_response_of_another_operation_is_a_problem(content: object, problem: str) -> None:
    saved = read(json.dumps(content).encode())
    assert not saved.summaries
    assert problem in "; ".join(saved.problems)
    assert "is not a response" in problem or "has no InferenceExecutionSummaries" in saved.problems[0]


def test_an_invalid_document_is_reported_with_its_number() -> None:
    data = b'{"DataStartTime": 1}\n{"a": 1}\n{"DataStartTime": 2}\n'
    saved = read(data)
    assert plain(saved) == [{"DataStartTime": 1}, {"DataStartTime": 2}]
    assert saved.problems == ("document 2 has no InferenceExecutionSummaries (its members: a)",)


def test_thousands_of_problems_are_summarized() -> None:
    saved = read(b'{"a": 1}\n' * 5_000)
    assert len(saved.problems) == 11
    assert saved.problems[-1] == "and 4990 more problems"


# --- Pages ------------------------------------------------------------------------------------------------


def test_pages_have_origin_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"DataStartTime": 1}\n{"DataStartTime": 2}\n')
    zone = ZoneInfo("Asia/Seoul")
    archive = ArchiveSource(str(tmp_path), zone=zone)
    (file,) = archive.list_files()
    assert read_file(archive, file).pages == [
        Page(b'[{"DataStartTime": 1},{"DataStartTime": 2}]', "archive", str(path), NOW, zone)
    ]


@pytest.mark.parametrize("count", [1, SUMMARIES_A_PAGE, SUMMARIES_A_PAGE + 1, 3 * SUMMARIES_A_PAGE - 1])
@pytest.mark.parametrize("shape", ["lines", "response", "small responses", "list"])
def test_pages_have_one_size_for_any_file(shape: str, count: int) -> None:
    every = [{"DataStartTime": number} for number in range(count)]
    texts: dict[str, Iterable[object]] = {
        "lines": every,
        "response": [{"InferenceExecutionSummaries": every}],
        "small responses": [
            {"InferenceExecutionSummaries": every[start : start + 7]} for start in range(0, count, 7)
        ],
        "list": [every],
    }
    archive = ArchiveSource("x", store=Bytes("\n".join(map(json.dumps, texts[shape])).encode()))
    pages = [json.loads(page.body) for page in read(b"", archive).pages]
    assert [summary for page in pages for summary in page] == every
    assert [len(page) for page in pages[:-1]] == [SUMMARIES_A_PAGE] * (len(pages) - 1)
    assert 1 <= len(pages[-1]) <= SUMMARIES_A_PAGE


def test_the_hash_depends_on_the_bytes_of_the_file() -> None:
    hashes = {read(data).content_hash for data in (b"[]", b"[] ", gzip.compress(b"[]", mtime=0))}
    assert len(hashes) == 3
    assert read(b"[]").content_hash in hashes
    assert all(len(digest) == 32 for digest in hashes)


SHAPES: dict[str, Callable[[Sequence[Summary]], str]] = {
    "lines": lambda every: "".join(json.dumps(document, default=str) + "\n" for document in every),
    "response": lambda every: FORMS[Form.CLI_V2](Response(list(every), "token")),
    "list": lambda every: FORMS[Form.BARE_LIST](Response(list(every))),
    "compact response": lambda every: FORMS[Form.WIRE](Response(list(every))),
    "pretty-printed pages": lambda every: FORMS[Form.CLI_V2](Response(list(every[:40]))) * 20,
    "pages in lines": lambda every: FORMS[Form.BOTO3_JSON](Response(list(every[:40]))) * 20,
    "pages in one line": lambda every: FORMS[Form.WIRE](Response(list(every[:40]))) * 20,
}


@pytest.mark.parametrize("with_decoder", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_does_not_grow_with_the_file(
    shape: str, with_decoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.sources.text_parts.PART_BYTES", 50_000)
    monkeypatch.setattr("resources.sources.saved_file.PART_BYTES", 50_000)
    data = SHAPES[shape](HISTORY[:400] * 6).encode()
    archive = ArchiveSource("x", store=Bytes(data))
    decode = decode_summaries if with_decoder else None
    read(b"", archive, decode)  # loads modules
    count = 0
    tracemalloc.start()
    try:
        saved = archive.open(StoredFile("saved.json", 0, ""))
        for page in saved.read_pages(NOW, decode):
            count += len(page.decoded or json.loads(page.body))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == (800 if "pages" in shape else 2_400)
    assert not saved.problems
    assert saved.complete == (shape != "response")
    assert peak < 700_000 < len(data)


@pytest.mark.parametrize("part_bytes", [1_000, 3_000, 20_000])
@pytest.mark.parametrize("shape", [*SHAPES, "notebook", "camelCase", "no indentation", "Windows lines"])
def test_parts_of_any_size_give_the_same_summaries(
    shape: str, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = SHAPES | {
        "notebook": lambda every: FORMS[Form.BOTO3_REPR](Response(list(every[:12]))) * 3,
        "camelCase": lambda every: FORMS[Form.CAMEL_CASE](Response(list(every[:12]))) * 3,
        "no indentation": lambda every: json.dumps(list(every), default=str, indent=0),
        "Windows lines": lambda every: SHAPES["response"](every).replace("\n", "\r\n"),
    }
    data = shapes[shape](HISTORY[: 12 if "pages" in shape else 60]).encode()
    assert len(data) > 20_000
    expected = read(data)
    monkeypatch.setattr("resources.sources.text_parts.PART_BYTES", part_bytes)
    monkeypatch.setattr("resources.sources.saved_file.PART_BYTES", part_bytes)
    for decode in (decode_summaries, None):
        for content in (data, b"\xef\xbb\xbf" + data, gzip.compress(data), data.decode().encode("utf-16")):
            saved = read(content, decode=decode)
            assert saved.summaries == expected.summaries
            assert (saved.complete, saved.problems) == (expected.complete, ())
    assert read(data).content_hash == expected.content_hash


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_list_of_responses_is_read_in_parts(is_reversed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {
        "InferenceExecutionSummaries": list(HISTORY[:5]),
        "NextToken": "token",
        "ResponseMetadata": {"HTTPHeaders": {}},
    }
    page = dict(reversed(members.items())) if is_reversed else members
    data = json.dumps([page] * 9 + [page | {"NextToken": None}], default=str).encode()
    monkeypatch.setattr("resources.sources.text_parts.PART_BYTES", 9_000)
    monkeypatch.setattr("resources.sources.saved_file.PART_BYTES", 9_000)
    saved = read(data, decode=decode_summaries)
    assert (len(saved.summaries), saved.complete, saved.problems) == (50, True, ())


@how(deadline=None, max_examples=30)
@given(
    damaged(st.sampled_from([form(HISTORY[:6]).encode() for form in SHAPES.values()])),
    st.sampled_from([500, 2_000]),
)
def test_damaged_lines_are_the_same_problem_in_any_part(data: bytes, part_bytes: int) -> None:
    """A large damaged document can have more summaries in parts: those before the damage."""
    whole = read(data, decode=decode_summaries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resources.sources.text_parts.PART_BYTES", part_bytes)
        patch.setattr("resources.sources.saved_file.PART_BYTES", part_bytes)
        parts = read(data, decode=decode_summaries)
    assert bool(parts.problems) == bool(whole.problems)
    found, expected = ([json.dumps(summary) for summary in content.summaries] for content in (parts, whole))
    assert not Counter(expected) - Counter(found)
    if not whole.problems:
        assert found == expected


def test_a_damaged_line_is_reported_with_its_number_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"DataStartTime": number}) for number in range(1_000)]
    lines[700] = lines[700][:-1]
    monkeypatch.setattr("resources.sources.text_parts.PART_BYTES", 2_000)
    monkeypatch.setattr("resources.sources.saved_file.PART_BYTES", 2_000)
    for data in ("\n".join(lines).encode(), gzip.compress("\n".join(lines).encode())):
        saved = read(data, decode=decode_summaries)
        assert [summary["DataStartTime"] for summary in saved.summaries] == [*range(700), *range(701, 1_000)]
        assert [problem.split(" is ")[0] for problem in saved.problems] == ["line 701"]


# --- Files ------------------------------------------------------------------------------------------------


def test_a_folder_lists_files_with_known_suffixes(tmp_path: Path) -> None:
    taken = ["a.json", "b.jsonl", "c.ndjson", "d.txt", "e.JSON", "f.json.gz", "g.Jsonl.GZ", "sub/h.json"]
    passed = [".i.json", "_j.json", "k.csv", "l.json.bak", "m", "n.gz", "json", ".git/o.json", "_tmp/p.json"]
    for name in taken + passed:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("[]")
    uris = [file.uri for file in ArchiveSource(str(tmp_path)).list_files()]
    assert uris == sorted(str(tmp_path / name) for name in taken)


@pytest.mark.parametrize("name", ["saved", "saved.out", ".saved.json", "_saved", "saved.csv"])
@pytest.mark.parametrize("spelling", ["{}", "./{}", "sub/../{}", ".//{}"])
def test_the_uri_of_a_file_can_have_any_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spelling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text('{"DataStartTime": 1}')
    archive = ArchiveSource(spelling.format(name))
    (file,) = archive.list_files()
    assert plain(read_file(archive, file)) == [{"DataStartTime": 1}]


def test_a_file_that_is_deleted_before_it_is_read_raises_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    archive = ArchiveSource(str(tmp_path))
    (file,) = archive.list_files()
    path.unlink()
    with pytest.raises(UnreadableArchiveError, match="Cannot open a file: No such file") as caught:
        read_file(archive, file)
    assert caught.value.where == str(path)
    assert "remove it from the source's folder" in caught.value.next_step


@pytest.mark.parametrize(
    "wrap",
    [lambda rows: [rows[:1], rows[1:]], lambda rows: {"value": rows, "Count": 2}],
    ids=["list", "object"],
)
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_wrapped_and_repeatedly_compressed_summaries_are_read(
    wrap: Callable[[list[Any]], Any], layers: int
) -> None:
    data = json.dumps(wrap([{"DataStartTime": 1}, {"DataStartTime": 2}])).encode()
    for _ in range(layers):
        data = gzip.compress(data)
    saved = read(data)
    assert plain(saved) == [{"DataStartTime": 1}, {"DataStartTime": 2}]
    assert not saved.problems


@pytest.mark.parametrize("data", [b"", b" \r\n\t\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_a_file_without_documents_is_empty(data: bytes) -> None:
    assert read(data).problems == ("is empty",)


LIMITS = ReadLimits(size_bytes=3_000_000, rows=1_000)
LARGER = "is larger than 3 MB unpacked (limits.max_megabytes_per_file)"
MORE_ROWS = "has more than 1,000 rows (limits.max_rows_per_file)"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b" " * 4_000_000, LARGER, id="plain"),
        pytest.param(gzip.compress(b" " * 4_000_000), LARGER, id="gzip"),
        pytest.param(gzip.compress(gzip.compress(b"[" * 4_000_000)), LARGER, id="gzip twice"),
        pytest.param(b"[" + b"{}," * 8_000 + b"{}]", MORE_ROWS, id="objects"),
        pytest.param(b"{}\n" * 8_001, MORE_ROWS, id="lines"),
        pytest.param(b'{"InferenceExecutionSummaries":[]}\n' * 8_001, MORE_ROWS, id="empty responses"),
        pytest.param(b"\n" * 2_900_000, "is empty", id="blank lines"),
        pytest.param(b"1\n" * 1_400_000, "is not a response: Expected", id="numbers"),
        pytest.param(b"[" + b"1," * 1_400_000 + b"1]", "got `int`", id="list of numbers"),
        pytest.param(
            b'{"InferenceExecutionSummaries": [' + b"1," * 1_400_000 + b"1]}",
            "got `int`",
            id="response of numbers",
        ),
        pytest.param(b"[\n" * 900_000, MORE_ROWS, id="open brackets"),
        pytest.param(b"]\n[" * 7_000, "truncated or not JSON", id="closed brackets"),
        pytest.param(gzip.compress(b"") * 100_001, "more than 100,000 gzip members", id="gzip members"),
    ],
)
def test_a_file_beyond_a_limit_is_named_with_the_limit(
    data: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.sources.documents._MAX_VALUES", 1_000_000)
    saved = read(data, ArchiveSource("saved.json", store=Bytes(data), limits=LIMITS))
    assert not saved.summaries
    assert problem in "; ".join(saved.problems)
    assert len(saved.problems) <= 11


def test_rows_beyond_the_limit_are_not_read_and_reported() -> None:
    data = json.dumps([{"DataStartTime": number} for number in range(1_500)]).encode()
    saved = read(data, ArchiveSource("saved.json", store=Bytes(data), limits=LIMITS))
    assert len(saved.summaries) == 1_000
    assert saved.problems == (f"{MORE_ROWS}; the others are not read",)


def test_a_file_beyond_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    archive = ArchiveSource(str(path))
    with pytest.raises(UnreadableArchiveError, match=r"\(limits.max_megabytes_per_file\)"):
        read_file(archive, archive.list_files()[0])


SLOW = pytest.mark.slow
MEASURE_PEAKS = """
import json, re, sys
from datetime import UTC, datetime
from pathlib import Path
from assets.executions.flatten import decode_summaries
from resources.sources.archive import ArchiveSource

def measure(path):
    source = ArchiveSource(path)
    saved = source.open(source.list_files()[0])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    for _ in saved.read_pages(datetime.now(UTC), decode_summaries):
        pass
    peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
    return int(peak) // 1000, saved.problems

for path in sys.stdin:
    print(json.dumps(measure(path.strip())), flush=True)
"""


@pytest.fixture(scope="module")
def measure_peak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasurePeak]:
    """Read a file in another process; return its peak memory in megabytes, and the problems of the file."""
    path = tmp_path_factory.mktemp("peak") / "saved.json"
    command = [sys.executable, "-c", MEASURE_PEAKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin and reader.stdout

        def measure(blocks: Iterable[bytes]) -> tuple[int, list[str]]:
            with path.open("wb") as file:
                file.writelines(blocks)
            print(path, file=reader.stdin, flush=True)
            memory, problems = json.loads(reader.stdout.readline())
            return memory, problems

        yield measure
        reader.stdin.close()


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure memory in other units")
@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (b"\0", "is larger than 200 MB unpacked (limits.max_megabytes_per_file)"),
        (b"[\n", "is larger than 200 MB unpacked (limits.max_megabytes_per_file)"),
        (b'{"InferenceExecutionSummaries":[]}\n', "has more than 500,000 rows (limits.max_rows_per_file)"),
    ],
)
def test_a_gzip_that_unpacks_to_gigabytes_needs_little_memory(
    block: bytes, problem: str, measure_peak: MeasurePeak
) -> None:
    packer = zlib.compressobj(wbits=31)
    first, repeated = (
        packer.compress(block * (1_000_000 // len(block))) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    memory, problems = measure_peak([first, *[repeated] * 300])
    assert problems == [problem]
    assert memory < 600


def test_white_space_before_a_document_is_not_held() -> None:
    blocks = iter([b" \n" * (PART_BYTES // 2)] * 20 + [b"{}"])
    tracemalloc.start()
    part = TextParts(lambda _: next(blocks, b"")).take()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (part.text, part.offset) == (b"{}", 20 * PART_BYTES)
    assert peak < 4 * PART_BYTES


def test_white_space_between_documents_is_not_held() -> None:
    blocks = iter([b"{}", *[b" \n" * (PART_BYTES // 2)] * 20, b"[]"])
    parts = TextParts(lambda _: next(blocks, b""))
    tracemalloc.start()
    first, second = parts.take(), parts.take()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (first.text, first.offset) == (b"{}", 0)
    assert (second.text, second.offset) == (b"[]", 2 + 20 * PART_BYTES)
    assert peak < 4 * PART_BYTES


def test_a_document_with_much_white_space_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.sources.text_parts.PART_BYTES", 1_000)
    monkeypatch.setattr("resources.sources.saved_file.PART_BYTES", 1_000)
    blanks, row = " \n" * 1_500, '{"DataStartTime": 1}'
    for document in (f"[{row}{blanks}, {row}]", f"{row}{blanks}{row}", f"{{{blanks}{row[1:]}\n{row}"):
        saved = read(document.encode())
        assert len(saved.summaries) == 2 and not saved.problems
    saved = read(f"{row}\n{{{blanks}\n{row}".encode())
    assert saved.problems and len(saved.summaries) == 2


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure memory in other units")
@pytest.mark.parametrize(
    ("first", "block", "last"),
    [
        (b"", b"1\n", b""),
        (b"", b"[]\n", b""),
        (b"", b"[\n", b""),
        (b"", b"{}\n", b""),
        (b"[0", b",0", b"]"),
        (b"[0", b",[]", b"]"),
        (b"[{}", b",{}", b"]"),
        (b"[0", b",0", b""),
        (b"", b"{'a': 1}\n", b""),
        (b"\xff\xfe", b"1\0", b""),
        (b"\xef\xbb\xbf[", b'{"DataStartTime":1},\n', b"{}]"),
        ('["\U0001f600"'.encode(), b',{"DataStartTime":1}', b"]"),
    ],
)
def test_any_file_of_100_megabytes_needs_little_memory(
    first: bytes, block: bytes, last: bytes, measure_peak: MeasurePeak
) -> None:
    megabyte = block * (1_000_000 // len(block))
    memory, _ = measure_peak([first, *[megabyte] * 100, last])
    assert memory < 370, "up to twice the file, or 500,000 rows"


def test_a_value_that_is_a_list_and_something_else_is_no_wrapped_list() -> None:
    document = msgspec.Raw(b'{"value": [1], "value": 3}')
    assert list(saved_file._split_list(document)) == [document]
