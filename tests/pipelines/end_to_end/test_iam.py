"""The policies in docs/reference/iam are valid, scoped, and allow exactly the calls that the code makes."""

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
from resources.aws.glue_catalog import Catalog
from resources.aws.session import AwsAccess
from resources.config.settings import ApiSettings, ArchiveSettings, HistorySettings, LakeSettings, Settings
from resources.lake.lake import Lake
from resources.results.fetcher import ObjectState, ResultFetcher, ResultRequest
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
"""Actions that IAM grants for all resources or not at all."""

S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
}
"""Actions of S3 that are called otherwise than the operation that they allow."""


@dataclass(frozen=True)
class Policy:
    """One policy of the docs."""

    statements: list[dict[str, Any]]

    @property
    def actions(self) -> set[str]:
        return {action for statement in self.statements for action in statement["Action"]}

    def allows(self, action: str, resource: str) -> bool:
        return any(
            action in statement["Action"] and any(fnmatchcase(resource, one) for one in resources(statement))
            for statement in self.statements
        )


def resources(statement: dict[str, Any]) -> list[str]:
    named = statement["Resource"]
    return [named] if isinstance(named, str) else named


def policy(name: str) -> Policy:
    return Policy(json.loads((FOLDER / f"{name}.json").read_text())["Statement"])


every_policy = pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))


# --- What each of them is ---------------------------------------------------------------------------------


def test_there_is_one_for_each_who_needs_some() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == ["catalog.json", "extractor.json", "reader.json"]


@every_policy
def test_a_policy_is_one_that_iam_takes(name: str) -> None:
    whole = json.loads((FOLDER / f"{name}.json").read_text())

    assert set(whole) == {"Version", "Statement"}
    assert whole["Version"] == "2012-10-17"
    assert len(json.dumps(whole, separators=(",", ":"))) <= 6144  # the most that a managed policy may have
    names = [statement["Sid"] for statement in whole["Statement"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", one) for one in names)
    for statement in whole["Statement"]:
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == sorted(set(statement["Action"]))


@every_policy
def test_actions_are_named_one_by_one_and_exist(name: str) -> None:
    session = botocore.session.Session()
    for action in policy(name).actions:
        service, _, operation = action.partition(":")
        known = set(session.get_service_model(service).operation_names)
        if service == "s3":
            known = {S3_ACTIONS.get(one, one) for one in known}
        assert operation in known, action


@every_policy
def test_resources_are_named_and_of_the_service_of_their_actions(name: str) -> None:
    for statement in policy(name).statements:
        services = {action.partition(":")[0] for action in statement["Action"]}
        for resource in resources(statement):
            if resource == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCES
                continue
            partition, service = resource.split(":")[1:3]
            assert partition == "aws"
            assert {service} == ({"iam"} if services == {"sts"} else services)
            assert not resource.split(":", 5)[5].startswith("*")


# --- Whether they are enough ------------------------------------------------------------------------------


@dataclass
class Recorded:
    """Every request that boto3 made, as the action and the resources that IAM would ask a policy for."""

    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def actions(self) -> set[str]:
        return {action for action, _ in self.requests}

    def take(self, service: str, operation: str, request: dict[str, Any]) -> None:
        action = f"{service}:{S3_ACTIONS.get(operation, operation) if service == 's3' else operation}"
        self.requests += [(action, resource) for resource in _asked_for(service, operation, request)]


def _asked_for(service: str, operation: str, request: dict[str, Any]) -> list[str]:
    if service == "s3":
        return ["arn:aws:s3:::" + "/".join(request[name] for name in ("Bucket", "Key") if name in request)]
    if service == "lookoutequipment":
        named = request.get("InferenceSchedulerName")
        return [
            f"arn:aws:lookoutequipment:{REGION}:{ACCOUNT}:inference-scheduler/{named}/0a1b" if named else "*"
        ]
    assert service == "glue", operation
    database = request.get("DatabaseName") or request.get("Name") or request["DatabaseInput"]["Name"]
    start = f"arn:aws:glue:{REGION}:{ACCOUNT}:"
    asked = [f"{start}catalog", f"{start}database/{database}"]
    if "Table" in operation:
        table = request["TableInput"]["Name"] if "TableInput" in request else request["Name"]
        asked.append(f"{start}table/{database}/{table}")
    return asked


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    found = Recorded()
    ask = botocore.client.BaseClient._make_api_call

    def record(client: Any, operation: str, request: dict[str, Any]) -> Any:
        found.take(client.meta.service_model.service_name, operation, request)
        return ask(client, operation, request)

    with monkeypatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", record)
        yield found


def test_the_extractor_may_do_what_a_run_does_and_nothing_else(  # noqa: PLR0913, PLR0917 (fixtures)
    small_fleet: Fleet,
    dumps: tuple[Path, Manifest],
    instance: dg.DagsterInstance,
    s3_lake_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Recorded,
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
        recorded.requests.clear()
        location = Location(build_defs({"clock": lambda: NOW}, settings=settings), instance, lake)
        assert location.run().success
        (api,) = (source for source in open_sources(settings) if isinstance(source, ApiSource))
        assert api.scheduler_exists(api.list_schedulers()[0])
    query_once(lake, "SELECT count(*) FROM inference_executions")
    assert lake.read_version(INFERENCE_EXECUTIONS, DAYS[1]) == INFERENCE_EXECUTIONS.version

    extractor = policy("extractor")
    assert len(recorded.requests) > len(DAYS)
    refused = {request for request in recorded.requests if not extractor.allows(*request)}
    assert refused == set()
    of_its_own = {action for action in extractor.actions if not action.startswith(("kms:", "sts:"))}
    assert of_its_own == recorded.actions


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Every request that reached S3, whoever sent it: those of obstore do not pass through boto3."""
    found = Recorded()
    answer_to = DomainDispatcherApplication.__call__

    def record(app: Any, environ: dict[str, Any], start: Any) -> Any:
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        action = "PutObject" if environ["REQUEST_METHOD"] == "PUT" else "GetObject" if key else "ListBucket"
        found.requests.append((f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}".rstrip("/")))
        return answer_to(app, environ, start)

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", record)
    return found


@pytest.mark.usefixtures("s3_lake_uri")
def test_the_extractor_may_read_results_and_needs_nothing_more_for_it(arrived: Recorded) -> None:
    s3 = boto3.Session().client("s3")
    s3.create_bucket(Bucket="example-results")
    keys = [f"inference/output/pump-1/2026-10-06T0{hour}/results.jsonl" for hour in range(4)]
    odd = "inference/output//pump-1/results.jsonl"  # one that obstore cannot spell
    for key in (*keys[:3], odd):
        s3.put_object(Bucket="example-results", Key=key, Body=b"{}")
    s3.close()
    arrived.requests.clear()
    mine = ResultFetcher(AwsAccess(), expected_bucket_owner=ACCOUNT)

    found = [
        one
        for load in mine.fetch([ResultRequest("example-results", key) for key in (*keys, odd)])
        for one in load
    ]
    known = [ResultRequest("example-results", one.request.key, one.etag) for one in found if one.etag]
    again = [one for load in mine.fetch(known) for one in load]

    assert Counter(one.state for one in found) == {ObjectState.READ: 4, ObjectState.MISSING: 1}
    assert {one.state for one in again} == {ObjectState.UNCHANGED}
    extractor = policy("extractor")
    assert {request for request in arrived.requests if not extractor.allows(*request)} == set()
    assert arrived.actions == {"s3:GetObject", "s3:ListBucket"}
    assert {resource for action, resource in arrived.requests if action == "s3:GetObject"} == {
        f"arn:aws:s3:::example-results/{key}" for key in (*keys, odd)
    }


def test_whoever_syncs_the_catalog_may_do_what_it_does_and_nothing_else(
    glue: Glue, recorded: Recorded
) -> None:
    wanted = [
        build_external_table(table, LakeLocation("s3://example-lake/lake", date(2025, 1, 1)))
        for table in TABLES
    ]
    glue.client.delete_database(Name="plant")
    recorded.requests.clear()
    catalog = Catalog("plant")
    assert not catalog.exists()
    catalog.create()
    list(catalog.sync(wanted))
    mine = list(recorded.requests)
    glue.change(wanted[0].name, lambda table: table.update(Description="else"))
    recorded.requests.clear()
    list(catalog.sync(wanted))
    mine += recorded.requests

    allowed = policy("catalog")
    assert {request for request in mine if not allowed.allows(*request)} == set()
    assert {action for action, _ in mine} == allowed.actions


def test_the_reader_may_change_nothing_but_its_own_answers() -> None:
    writing = re.compile(r":(Put|Create|Update|Delete|Abort)")
    for statement in policy("reader").statements:
        if any(writing.search(action) for action in statement["Action"]):
            assert all(one.startswith("arn:aws:s3:::example-answers/") for one in resources(statement))


def test_the_reader_may_look_at_every_table_and_file_of_the_lake() -> None:
    reader = policy("reader")
    for table in TABLES:
        key = (
            f"lake/{table.name}/" + ("data_date=2026-10-06/" if table.partitioned else "") + "part-0.parquet"
        )
        assert reader.allows("s3:GetObject", f"arn:aws:s3:::example-lake/{key}")
        assert reader.allows("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/plant/{table.name}")
    assert reader.allows("s3:ListBucket", "arn:aws:s3:::example-lake")
