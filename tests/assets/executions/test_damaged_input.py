"""Damaged files and responses: each is rejected by name, and everything else is recorded."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.executions.api_extraction import ApiPoll, poll_service
from assets.executions.archive_index import load_records
from assets.executions.extraction import Extraction
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES, INFERENCE_EXECUTIONS, REJECTED_EXECUTIONS
from resources.aws.access import AwsAccess
from resources.errors import ConfigurationError, DataError, LedgerError, PermissionsError, RetryLaterError
from resources.lake.lake import Lake
from resources.read_limits import ReadLimits
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource
from sandbox.dumps import split_into_pages, write_dump
from sandbox.fleet import History, build_fleet
from sandbox.forms import Form
from sandbox.schedulers import Scheduler, sort_newest_first
from tests.support.mutations import damaged

END = datetime(2026, 10, 8, tzinfo=UTC)
DAY = END - timedelta(days=1)
NOW = END + timedelta(days=1)
SLOTS = 8
FIRST, SECOND = build_fleet(2, History(DAY, END)).schedulers[:2]

thorough = pytest.mark.parametrize(
    "fuzz",
    [
        partial(settings, max_examples=25),
        pytest.param(partial(settings, max_examples=100), marks=pytest.mark.slow, id="thorough"),
        pytest.param(partial(settings, max_examples=10_000), marks=pytest.mark.long, id="exhaustive"),
    ],
)
quiet = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def build_dump(folder: Path, form: Form, scheduler: Scheduler) -> bytes:
    executed = sort_newest_first(scheduler.executions(NOW, DAY, END))[:SLOTS]
    (path,) = write_dump(folder / "dump", form, split_into_pages(executed, SLOTS))
    return path.read_bytes()


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [build_dump(tmp_path_factory.mktemp("dumps"), form, FIRST) for form in Form]


@thorough
def test_a_damaged_file_affects_no_other_file(
    fuzz: Any, dumps: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    valid = build_dump(tmp_path_factory.mktemp("valid"), Form.WIRE, SECOND)

    @given(damaged(st.sampled_from(dumps)), st.sampled_from([None, DAY.date() + timedelta(days=1)]))
    @fuzz(**quiet)
    def check(data: bytes, end: date | None) -> None:
        folder = tmp_path_factory.mktemp("fuzz")
        (folder / "dumps").mkdir()
        (folder / "dumps" / "a.json").write_bytes(valid)
        (folder / "dumps" / "b.json").write_bytes(data)
        (folder / "dumps" / "c.json").symlink_to("c.json")
        lake = Lake(str(folder / "lake"))
        extraction = Extraction(lake, Days(DAY.date(), end), timedelta(hours=3), NOW, lambda _: None)
        for day in extraction.gather([ArchiveSource(str(folder / "dumps"))], [DAY.date()]):
            extraction.record(day)
        extraction.save_file_index()

        rows = lake.read(INFERENCE_EXECUTIONS, DAY.date())
        assert rows["scheduler_arn"].to_pylist().count(SECOND.arn) == SLOTS
        records = {Path(uri).name: record for uri, record in load_records(lake.read(ARCHIVE_FILES)).items()}
        assert records["a.json"].error is None
        assert records["c.json"].error is not None
        assert not extraction.failed
        problems = [notice for notice in extraction.notices if "b.json: " in notice]
        assert len(problems) == (records["b.json"].error is not None)
        if lake.has(REJECTED_EXECUTIONS):
            rejected = lake.read(REJECTED_EXECUTIONS)
            assert rejected.num_rows == records["b.json"].rejected
            assert {Path(source).name for source in rejected["source"].to_pylist()} <= {"b.json"}

    check()


def build_arn(name: str) -> str:
    return f"arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/{name}/1"


def build_summary(name: str) -> dict[str, Any]:
    return {
        "InferenceSchedulerName": name,
        "InferenceSchedulerArn": build_arn(name),
        "DataStartTime": DAY.timestamp(),
        "Status": "SUCCESS",
    }


LISTED = [
    {"InferenceSchedulerName": name, "InferenceSchedulerArn": build_arn(name)}
    for name in ("first", "damaged", "last")
]
Response = tuple[int, bytes]


class FakeSession:
    """The HTTP session of botocore, with valid responses except those in `answers`."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Callable[[int], Response | Exception]] = {}
        self.requests = 0

    def send(self, request: Any) -> AWSResponse:
        self.requests += 1
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        name = json.loads(request.body).get("InferenceSchedulerName", "")
        answer = self.answers.get(
            (operation, name), lambda _: (200, self._build_valid_body(operation, name))
        )(self.requests)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        raw = urllib3.HTTPResponse(BytesIO(body), status=status, preload_content=False)
        return AWSResponse(request.url, status, {}, raw)

    @staticmethod
    def _build_valid_body(operation: str, name: str) -> bytes:
        bodies: dict[str, Any] = {
            "ListInferenceSchedulers": {"InferenceSchedulerSummaries": LISTED},
            "ListInferenceExecutions": {"InferenceExecutionSummaries": [build_summary(name)]},
            "DescribeInferenceScheduler": {"InferenceSchedulerArn": build_arn(name)},
        }
        return json.dumps(bodies[operation]).encode()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[FakeSession, ApiSource]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(
        "resources.aws.session.Config",
        lambda **options: Config(**options | {"retries": {"total_max_attempts": 1}}),
    )
    session = FakeSession()
    limits = ReadLimits(size_bytes=1_000_000, pages=20, entries=100, seconds=1)
    source = ApiSource(AwsAccess("eu-west-1", endpoint_url="http://127.0.0.1:9"), limits=limits)
    source._client._endpoint.http_session._session = session
    return session, source


def poll(source: ApiSource) -> ApiPoll:
    source.__dict__.pop("listed_schedulers", None)
    return poll_service(source, [DAY.date()], {}, lambda _: None, NOW)


def list_answered(result: ApiPoll) -> list[str]:
    return sorted(response.scheduler.name for response in result.responses)


bodies = st.one_of(
    damaged(
        st.sampled_from(
            [FakeSession._build_valid_body(operation, "damaged") for operation in (
                "ListInferenceSchedulers", "ListInferenceExecutions", "DescribeInferenceScheduler"
            )]
        )
    ),
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda values: st.lists(values, max_size=3)
        | st.dictionaries(
            st.sampled_from(["__type", "message", "NextToken", *LISTED[0], "InferenceSchedulerSummaries",
                             "InferenceExecutionSummaries"]),
            values,
            max_size=3,
        ),
    ).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip
statuses = st.sampled_from([200, 200, 200, 204, 301, 400, 403, 404, 413, 429, 500, 503])


@thorough
def test_a_damaged_response_affects_no_other_scheduler(
    fuzz: Any, service: tuple[FakeSession, ApiSource]
) -> None:
    session, source = service

    @given(st.sampled_from(["ListInferenceExecutions", "DescribeInferenceScheduler"]), statuses, bodies)
    @fuzz(**quiet)
    def check(operation: str, status: int, body: bytes) -> None:
        empty = json.dumps({"InferenceExecutionSummaries": []}).encode()
        session.answers = {
            ("ListInferenceExecutions", "damaged"): lambda _: (200, empty),
            (operation, "damaged"): lambda _: (status, body),
        }
        result = poll(source)
        assert list_answered(result) in (["first", "last"], ["damaged", "first", "last"])
        assert result.failed.keys() <= {"damaged"}
        assert result.is_listed

    check()


@thorough
def test_a_damaged_list_of_schedulers_is_rejected_entry_by_entry(
    fuzz: Any, service: tuple[FakeSession, ApiSource]
) -> None:
    session, source = service

    @given(statuses, bodies)
    @fuzz(**quiet)
    def check(status: int, body: bytes) -> None:
        session.answers = {("ListInferenceSchedulers", ""): lambda _: (status, body)}
        result = poll(source)
        assert all(isinstance(error, LedgerError) for error in result.failed.values())
        assert result.is_listed != (source.uri in result.failed)

    check()


@pytest.mark.parametrize(
    "entry",
    [
        {"InferenceSchedulerName": "damaged"},
        {"InferenceSchedulerName": "damaged", "InferenceSchedulerArn": ""},
        {"InferenceSchedulerName": 5, "InferenceSchedulerArn": "x"},
        {"InferenceSchedulerName": "damaged", "InferenceSchedulerArn": "x", "DataDelayOffsetInMinutes": "5"},
        None,
        [],
    ],
    ids=["no ARN", "empty ARN", "name", "delay", "null", "list"],
)
def test_an_invalid_entry_of_the_list_is_named_once(
    entry: Any, service: tuple[FakeSession, ApiSource]
) -> None:
    session, source = service
    body = json.dumps({"InferenceSchedulerSummaries": [LISTED[0], entry, LISTED[2]]}).encode()
    session.answers = {("ListInferenceSchedulers", ""): lambda _: (200, body)}
    result = poll(source)
    assert list_answered(result) == ["first", "last"]
    ((name, error),) = result.failed.items()
    assert name == f"{source.uri}: entry 1 of the list of schedulers"
    assert isinstance(error, DataError)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (502, b"\xff\xfe<html>", RetryLaterError, r"502: \xff\xfe<html>"),
        (403, b'["no"]', DataError, ""),
        (400, b"", ConfigurationError, "list the schedulers: HTTP 400"),
        (400, b"[" * 100_000, DataError, ""),
        (400, b'{"__type": 5, "message": []}', DataError, ""),
        (
            400,
            b'{"__type": "x#ExpiredTokenException", "message": "m"}',
            PermissionsError,
            "they have expired",
        ),
        (
            403,
            b'{"__type": "InvalidSignatureException", "message": "Signature expired: 1"}',
            PermissionsError,
            "the clock of this machine is wrong",
        ),
    ],
)
def test_errors_of_any_form_are_reported_as_they_are(
    status: int, body: bytes, kind: type[LedgerError], message: str, service: tuple[FakeSession, ApiSource]
) -> None:
    session, source = service
    session.answers = {("ListInferenceSchedulers", ""): lambda _: (status, body)}
    with pytest.raises(LedgerError) as caught:
        source.list_schedulers()
    assert message in caught.value.what
    assert kind is DataError or isinstance(caught.value, kind)


def test_an_empty_token_ends_the_pages(service: tuple[FakeSession, ApiSource]) -> None:
    session, source = service
    body = json.dumps({"InferenceSchedulerSummaries": LISTED, "NextToken": ""}).encode()
    session.answers = {("ListInferenceSchedulers", ""): lambda _: (200, body)}
    assert len(source.list_schedulers()) == 3
    assert session.requests == 1


def test_a_list_of_too_many_schedulers_is_an_error(service: tuple[FakeSession, ApiSource]) -> None:
    session, source = service
    body = json.dumps({"InferenceSchedulerSummaries": LISTED * 40}).encode()
    session.answers = {("ListInferenceSchedulers", ""): lambda _: (200, body)}
    with pytest.raises(DataError, match=r"more than 100 entries \(limits.max_entries_per_listing\)"):
        source.list_schedulers()


def test_pages_without_end_stop_at_the_limit(service: tuple[FakeSession, ApiSource]) -> None:
    session, source = service

    def answer(number: int) -> Response:
        page = {"InferenceExecutionSummaries": [], "NextToken": str(number)}
        return 200, json.dumps(page).encode()

    session.answers = {("ListInferenceExecutions", "damaged"): answer}
    result = poll(source)
    assert list_answered(result) == ["first", "last"]
    assert r"more than 20 pages (limits.max_pages_per_query)" in str(result.failed["damaged"])


@pytest.mark.parametrize("size", [600_000, 2_000_000], ids=["several pages", "one page"])
def test_large_responses_stop_at_the_limit(size: int, service: tuple[FakeSession, ApiSource]) -> None:
    session, source = service

    def answer(number: int) -> Response:
        page = {"InferenceExecutionSummaries": [], "NextToken": str(number), "Padding": " " * size}
        return 200, json.dumps(page).encode()

    session.answers = {("ListInferenceExecutions", "damaged"): answer}
    result = poll(source)
    assert list_answered(result) == ["first", "last"]
    assert "larger than 1 MB unpacked (limits.max_megabytes_per_file)" in str(result.failed["damaged"])
