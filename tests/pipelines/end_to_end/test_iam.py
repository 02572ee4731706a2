"""The IAM policies of the docs are valid, have a narrow scope, and allow exactly the calls of the code."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import botocore.session
import dagster as dg
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from assets.tables import INFERENCE_EXECUTIONS, TABLES
from assets.tables.ddl import LakeLocation, build_external_table
from pipelines.definitions import build_defs
from pipelines.operations.query import query_once
from resources.aws.access import AwsAccess
from resources.aws.glue_catalog import Catalog
from resources.config.settings import ApiSettings, ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from resources.results.base import ObjectState, ResultRequest
from resources.results.fetcher import ResultFetcher
from resources.sources.api import ApiSource
from resources.sources.factory import open_sources
from sandbox.dumps import Manifest
from sandbox.fleet import Fleet
from sandbox.service import run_sandbox
from tests.support.code_location import DAYS, Location
from tests.support.glue import Glue

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference" / "iam"
NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
ACCOUNT, REGION = "111122223333", "eu-west-1"
WITHOUT_RESOURCES = {"lookoutequipment:ListInferenceSchedulers"}
"""Actions without resource-level permissions in IAM."""

S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
}
"""S3 operations that IAM knows by another action name."""


@dataclass(frozen=True)
class Policy:
    """A policy of the docs."""

    statements: list[dict[str, Any]]

    @property
    def actions(self) -> set[str]:
        return {action for statement in self.statements for action in statement["Action"]}

    def allows(self, action: str, resource: str) -> bool:
        return any(
            action in statement["Action"]
            and any(fnmatchcase(resource, pattern) for pattern in list_resources(statement))
            for statement in self.statements
        )


def list_resources(statement: dict[str, Any]) -> list[str]:
    resource = statement["Resource"]
    return [resource] if isinstance(resource, str) else resource


def load_policy(name: str) -> Policy:
    return Policy(json.loads((FOLDER / f"{name}.json").read_text())["Statement"])


every_policy = pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))


# --- Content of the policies ------------------------------------------------------------------------------


def test_policies_exist_for_the_catalog_the_extractor_and_readers() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == ["catalog.json", "extractor.json", "reader.json"]


@every_policy
def test_a_policy_is_valid_in_iam(name: str) -> None:
    document = json.loads((FOLDER / f"{name}.json").read_text())

    assert set(document) == {"Version", "Statement"}
    assert document["Version"] == "2012-10-17"
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144  # the limit of a managed policy
    statement_ids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(statement_ids)) == len(statement_ids)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", statement_id) for statement_id in statement_ids)
    for statement in document["Statement"]:
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == sorted(set(statement["Action"]))


@every_policy
def test_every_action_exists_and_has_no_wildcard(name: str) -> None:
    session = botocore.session.Session()
    for action in load_policy(name).actions:
        service, _, operation = action.partition(":")
        operations = set(session.get_service_model(service).operation_names)
        if service == "s3":
            operations = {S3_ACTIONS.get(operation_name, operation_name) for operation_name in operations}
        assert operation in operations, action


@every_policy
def test_resources_belong_to_the_service_of_their_actions(name: str) -> None:
    for statement in load_policy(name).statements:
        services = {action.partition(":")[0] for action in statement["Action"]}
        for resource in list_resources(statement):
            if resource == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCES
                continue
            partition, service = resource.split(":")[1:3]
            assert partition == "aws"
            assert {service} == ({"iam"} if services == {"sts"} else services)
            assert not resource.split(":", 5)[5].startswith("*")


# --- Calls of the code ------------------------------------------------------------------------------------


@dataclass
class RecordedRequests:
    """Every boto3 request, as the action and resource that IAM checks against a policy."""

    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def actions(self) -> set[str]:
        return {action for action, _ in self.requests}

    def take(self, service: str, operation: str, request: dict[str, Any]) -> None:
        action = f"{service}:{S3_ACTIONS.get(operation, operation) if service == 's3' else operation}"
        self.requests += [
            (action, resource) for resource in _list_resources_of_request(service, operation, request)
        ]


def _list_resources_of_request(service: str, operation: str, request: dict[str, Any]) -> list[str]:
    if service == "s3":
        return ["arn:aws:s3:::" + "/".join(request[name] for name in ("Bucket", "Key") if name in request)]
    if service == "lookoutequipment":
        scheduler = request.get("InferenceSchedulerName")
        return [
            f"arn:aws:lookoutequipment:{REGION}:{ACCOUNT}:inference-scheduler/{scheduler}/0a1b"
            if scheduler
            else "*"
        ]
    assert service == "glue", operation
    database = request.get("DatabaseName") or request.get("Name") or request["DatabaseInput"]["Name"]
    start = f"arn:aws:glue:{REGION}:{ACCOUNT}:"
    arns = [f"{start}catalog", f"{start}database/{database}"]
    if "Table" in operation:
        table = request["TableInput"]["Name"] if "TableInput" in request else request["Name"]
        arns.append(f"{start}table/{database}/{table}")
    return arns


@pytest.fixture
def recorded_requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedRequests]:
    recorded = RecordedRequests()
    make_api_call = botocore.client.BaseClient._make_api_call

    def record(client: Any, operation: str, request: dict[str, Any]) -> Any:
        recorded.take(client.meta.service_model.service_name, operation, request)
        return make_api_call(client, operation, request)

    with monkeypatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", record)
        yield recorded


def test_the_extractor_policy_allows_exactly_the_calls_of_a_run(  # noqa: PLR0913, PLR0917 (fixtures)
    small_fleet: Fleet,
    dumps: tuple[Path, Manifest],
    instance: dg.DagsterInstance,
    s3_lake_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    recorded_requests: RecordedRequests,
    tmp_path: Path,
) -> None:
    keys = tmp_path / "credentials"
    keys.write_text(f"[plant]\naws_access_key_id={ACCOUNT}\naws_secret_access_key=x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    lake = Lake(s3_lake_uri.replace("plant", "example-lake"))
    s3 = boto3.Session().client("s3")
    for bucket in ("example-lake", "example-archive"):
        s3.create_bucket(Bucket=bucket)
    saved = sorted(path for path in dumps[0].rglob("*") if path.is_file())[:3]
    for path in saved:
        s3.upload_file(str(path), "example-archive", f"dumps/{path.name}")
    with run_sandbox(small_fleet, NOW, s3=False) as service:
        settings = Settings(
            lake=LakeSettings(uri=lake.uri),
            history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
            sources=(
                ApiSettings(profile="plant", region=REGION, endpoint_url=service.url),
                ArchiveSettings(uri="s3://example-archive/dumps/"),
            ),
        )
        recorded_requests.requests.clear()
        location = Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, lake)
        assert location.run().success
        (api,) = (source for source in open_sources(settings) if isinstance(source, ApiSource))
        assert api.scheduler_exists(api.list_schedulers()[0])
    query_once(lake, "SELECT count(*) FROM inference_executions")
    assert lake.read_version(INFERENCE_EXECUTIONS, DAYS[1]) == INFERENCE_EXECUTIONS.version

    extractor = load_policy("extractor")
    assert len(recorded_requests.requests) > len(DAYS)
    refused = {request for request in recorded_requests.requests if not extractor.allows(*request)}
    assert refused == set()
    allowed_actions = {action for action in extractor.actions if not action.startswith(("kms:", "sts:"))}
    assert allowed_actions == recorded_requests.actions


@pytest.fixture
def s3_requests(monkeypatch: pytest.MonkeyPatch) -> RecordedRequests:
    """Every request that reached S3, including those of obstore, which does not use boto3."""
    recorded = RecordedRequests()
    respond = DomainDispatcherApplication.__call__

    def record(app: Any, environ: dict[str, Any], start: Any) -> Any:
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        action = "PutObject" if environ["REQUEST_METHOD"] == "PUT" else "GetObject" if key else "ListBucket"
        recorded.requests.append((f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}".rstrip("/")))
        return respond(app, environ, start)

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", record)
    return recorded


@pytest.mark.usefixtures("s3_lake_uri")
def test_the_extractor_policy_allows_reading_results(s3_requests: RecordedRequests) -> None:
    s3 = boto3.Session().client("s3")
    s3.create_bucket(Bucket="example-results")
    keys = [f"inference/output/pump-1/2026-10-06T0{hour}/results.jsonl" for hour in range(4)]
    double_slash_key = "inference/output//pump-1/results.jsonl"  # obstore cannot request such a key
    for key in (*keys[:3], double_slash_key):
        s3.put_object(Bucket="example-results", Key=key, Body=b"{}")
    s3.close()
    s3_requests.requests.clear()
    fetcher = ResultFetcher(AwsAccess(), expected_bucket_owner=ACCOUNT)

    results = [
        fetched
        for load in fetcher.fetch(
            [ResultRequest("example-results", key) for key in (*keys, double_slash_key)]
        )
        for fetched in load
    ]
    known_requests = [
        ResultRequest("example-results", fetched.request.key, fetched.etag)
        for fetched in results
        if fetched.etag
    ]
    again = [fetched for load in fetcher.fetch(known_requests) for fetched in load]

    assert Counter(fetched.state for fetched in results) == {ObjectState.READ: 4, ObjectState.MISSING: 1}
    assert {fetched.state for fetched in again} == {ObjectState.UNCHANGED}
    extractor = load_policy("extractor")
    assert {request for request in s3_requests.requests if not extractor.allows(*request)} == set()
    assert s3_requests.actions == {"s3:GetObject", "s3:ListBucket"}
    assert {resource for action, resource in s3_requests.requests if action == "s3:GetObject"} == {
        f"arn:aws:s3:::example-results/{key}" for key in (*keys, double_slash_key)
    }


def test_the_catalog_policy_allows_exactly_the_calls_of_a_sync(
    glue: Glue, recorded_requests: RecordedRequests
) -> None:
    tables = [
        build_external_table(table, LakeLocation("s3://example-lake/lake", date(2025, 1, 1)))
        for table in TABLES
    ]
    glue.client.delete_database(Name="plant")
    recorded_requests.requests.clear()
    catalog = Catalog("plant")
    assert not catalog.exists()
    catalog.create()
    list(catalog.sync(tables))
    requests = list(recorded_requests.requests)
    glue.change(tables[0].name, lambda table: table.update(Description="else"))
    recorded_requests.requests.clear()
    list(catalog.sync(tables))
    requests += recorded_requests.requests

    allowed = load_policy("catalog")
    assert {request for request in requests if not allowed.allows(*request)} == set()
    assert {action for action, _ in requests} == allowed.actions


def test_the_reader_policy_allows_writes_only_to_query_results() -> None:
    writing = re.compile(r":(Put|Create|Update|Delete|Abort)")
    resources = [
        resource
        for statement in load_policy("reader").statements
        if any(writing.search(action) for action in statement["Action"])
        for resource in list_resources(statement)
    ]
    assert resources
    assert all(resource.startswith("arn:aws:s3:::example-answers/") for resource in resources)


def test_the_reader_policy_allows_reading_every_table_and_file() -> None:
    reader = load_policy("reader")
    for table in TABLES:
        key = (
            f"lake/{table.name}/" + ("data_date=2026-10-06/" if table.partitioned else "") + "part-0.parquet"
        )
        assert reader.allows("s3:GetObject", f"arn:aws:s3:::example-lake/{key}")
        assert reader.allows("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/plant/{table.name}")
    assert reader.allows("s3:ListBucket", "arn:aws:s3:::example-lake")
