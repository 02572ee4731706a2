"""`ledger doctor`: finds each kind of problem and says how to fix it."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest

from assets.tables import ARCHIVE_FILES
from pipelines.runs import instance
from resources import diagnostics
from resources.aws.session import default_session
from resources.diagnostics import Level
from resources.errors import PermissionsError
from resources.lake.lake import Lake
from sandbox.fleet import Fleet
from sandbox.service import Handle, run_sandbox
from tests.support.command_line import NOW, CommandResult, RunLedger, build_api_toml
from tests.support.s3_server import Bucket


@pytest.fixture
def box(small_fleet: Fleet, accounts: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handle]:  # noqa: ARG001
    """Run the service with S3 and STS, and set the environment for them."""
    with run_sandbox(small_fleet, NOW) as handle:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", handle.s3_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", handle.s3_url)
        monkeypatch.setenv("AWS_PROFILE", "111122223333")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        default_session.cache_clear()
        yield handle
    default_session.cache_clear()


def get_levels(done: CommandResult) -> dict[str, str]:
    return {finding["subject"]: finding["level"] for finding in done.json["findings"]}


def get_finding(done: CommandResult, part: str) -> dict[str, Any]:
    return next(finding for finding in done.json["findings"] if part in finding["subject"])


def test_a_healthy_setup_has_no_failures(
    ledger: RunLedger, settings: Callable[..., Path], box: Handle, tmp_path: Path
) -> None:
    settings(build_api_toml(box.url))
    done = ledger("doctor", "--json")

    assert done.code == 0, done.out
    levels = get_levels(done)
    assert levels["settings"] == levels["lake"] == "ok"
    assert {name.rpartition(":")[2] for name in levels if "lookoutequipment:" in name} == {
        "DescribeInferenceScheduler",
        "ListInferenceExecutions",
    }
    assert "the caller is arn:aws:" in get_finding(done, "credentials")["message"]
    assert get_finding(done, "results in s3://")["level"] == "ok"
    assert get_finding(done, "clock")["level"] == "warn", "the clock of this sandbox is fixed"
    assert get_finding(done, "daemon")["level"] == "warn"
    assert box.count() == box.count(outcome="ok") == 3
    assert [path.name for path in (tmp_path / "lake").iterdir() if path.name != ".lock"] == []


def test_the_registry_and_the_silences_are_checked(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    project = settings('kind = "archive"\nuri = "dumps/"')
    assert "equipment.registry" not in get_levels(ledger("doctor", "--json")), "the default need not exist"

    (tmp_path / "machines.toml").write_text('[[equipment]]\nname = "Feed pump"\nschedulers = ["pump-1"]\n')
    (tmp_path / "silences.toml").write_text("silences = 3\n")
    with project.open("a", encoding="utf-8") as file:
        file.write('\n[equipment]\nregistry = "machines.toml"\n')
    done = ledger("doctor", "--json")
    assert get_finding(done, "equipment.registry")["message"] == f"{tmp_path}/machines.toml, 1 machine"
    assert get_finding(done, "alerts.silences")["level"] == "fail"

    (tmp_path / "machines.toml").unlink()
    finding = get_finding(ledger("doctor", "--json"), "equipment.registry")
    assert (finding["level"], finding["fix"]) == ("warn", "create it, or correct the setting")
    assert finding["message"].endswith("machines.toml does not exist, so each scheduler counts as a machine")


def test_all_setting_errors_are_reported_and_other_checks_still_run(
    ledger: RunLedger, tmp_path: Path
) -> None:
    (tmp_path / "ledger.toml").write_text('[lake]\nurl = "x"\n[history]\nstart_date = "soon"\n')

    done = ledger("doctor")

    assert done.code == 1
    assert "lake.url" in done.out and "history.start_date" in done.out
    assert "Dagster instance" in done.out


def test_settings_without_sources_are_reported(ledger: RunLedger, settings: Callable[..., Path]) -> None:
    settings()
    done = ledger("doctor", "--json")
    assert done.code == 1
    assert get_levels(done)["settings"] == "fail"
    assert "[[sources]]" in str(get_finding(done, "settings"))


def test_a_missing_permission_is_named(ledger: RunLedger, settings: Callable[..., Path], box: Handle) -> None:
    settings(build_api_toml(box.url))
    box.inject("deny:ListInferenceExecutions")

    done = ledger("doctor", "--json")

    assert done.code == 1
    assert get_finding(done, "ListInferenceExecutions")["level"] == "fail"
    assert "grant lookoutequipment:" in get_finding(done, "ListInferenceExecutions")["fix"]
    assert get_finding(done, "DescribeInferenceScheduler")["level"] == "ok"


def test_wrong_region_unreachable_endpoint_and_missing_credentials_are_distinguished(
    ledger: RunLedger,
    settings: Callable[..., Path],
    box: Handle,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    settings('kind = "api"\nprofile = "111122223333"\nregion = "eu-north-1"', build_api_toml(nowhere))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = ledger("doctor", "--json")

    assert done.code == 1
    failures = [finding for finding in done.json["findings"] if finding["level"] == "fail"]
    assert "was never offered in eu-north-1" in failures[0]["message"]
    assert "set region to one of" in failures[0]["fix"]
    assert "cannot be reached" in failures[1]["message"]
    assert nowhere in failures[1]["message"]

    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    default_session.cache_clear()
    settings(f'kind = "api"\nregion = "us-east-1"\nendpoint_url = "{box.url}"')
    assert "usable AWS credentials" in get_finding(ledger("doctor", "--json"), "credentials")["message"]


def test_the_end_of_the_service_is_distinguished_from_a_missing_permission() -> None:
    class Ended:
        uri, is_aws = "api (region eu-west-1)", True

        def list_schedulers(self) -> list[Any]:
            raise PermissionsError("AccessDeniedException: no", where="x", next_step="grant it")

    def check(now: datetime) -> diagnostics.Finding:
        (finding,) = diagnostics.check_service(Ended(), now, {})  # type: ignore[arg-type]
        return finding

    assert "AWS ended the service on 2026-10-07" in check(datetime(2026, 11, 1, tzinfo=UTC)).message
    assert check(datetime(2026, 9, 1, tzinfo=UTC)).fix == "grant it"


def test_an_archive_is_reported_if_it_is_missing_or_empty_or_its_first_file_is_damaged(
    ledger: RunLedger, settings: Callable[..., Path], lake: Lake, tmp_path: Path
) -> None:
    response = '{"InferenceExecutionSummaries": [{"DataStartTime": "2026-10-06T00:00:00Z"}]}'
    damaged = response[:40]
    files = {
        "empty": [],
        "good": [response, damaged],
        "bad": [damaged, response],
        "read": [response, damaged],
    }
    for name, texts in files.items():
        (tmp_path / name).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / name / f"{number}.json").write_text(text)
    settings(*(f'kind = "archive"\nuri = "{name}/"' for name in ("gone", *files)))
    row = dict.fromkeys(ARCHIVE_FILES.schema.names) | {"recorded_at": NOW, "size_bytes": 40, "executions": 0}
    row |= {"uri": str(tmp_path / "read" / "1.json"), "error": "is truncated", "reader_version": 1}
    row |= {"rejected": 0, "merged_dates": []}
    lake.update(ARCHIVE_FILES, None, lambda _: pa.Table.from_pylist([row], schema=ARCHIVE_FILES.schema))

    done = ledger("doctor", "--json")

    assert done.code == 1
    gone, empty, good, bad, read = (get_finding(done, f"/{name}") for name in ("gone", *files))
    assert gone["level"] == "fail"
    assert (empty["level"], empty["fix"]) == ("warn", "add saved responses: ledger import PATH")
    assert good["message"] == "2 files; only the first one was opened, and its first page can be read"
    assert good["level"] == "ok"
    assert bad["level"] == "warn"
    assert "bad/0.json, " in bad["message"], bad["message"]
    assert read["level"] == "warn"
    assert "a run could not read 1 of them completely" in read["message"]
    assert read["message"].endswith("read/1.json: is truncated")


def test_each_output_prefix_of_a_bucket_is_described(
    ledger: RunLedger, settings: Callable[..., Path], bucket: Bucket
) -> None:
    for minutes in range(0, 24 * 60, 30):
        bucket.add(f"pump/output/2026-10-06T{minutes // 60:02}:{minutes % 60:02}:00Z/results.jsonl")
    bucket.add("fan/output/2026-10-06T00:00:00Z/results.jsonl")
    settings(f'kind = "bucket"\nuri = "{bucket.uri}"', 'kind = "bucket"\nuri = "missing/"')

    done = ledger("doctor", "--json")

    pump, fan = (get_finding(done, f"{bucket.uri}: {name}/output/") for name in ("pump", "fan"))
    assert pump["level"] == "ok"
    assert pump["message"] == (
        "results from 2026-10-06 to 2026-10-06, every 30 minutes"
        " (from 2026-10-06: 47 of 47 steps are 30 minutes, none is shorter)"
        "; counts as one scheduler: nothing in its keys contradicts it"
    )
    assert fan["level"] == "warn"
    assert "frequency unknown (from 2026-10-06: fewer than two results)" in fan["message"]
    assert get_finding(done, f"results in s3://{bucket.name}")["level"] == "ok"
    assert get_finding(done, "missing")["level"] == "fail"


def test_an_unwritable_lake_is_reported(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "gone/"')
    (tmp_path / "lake").write_text("a file where the folder should be")

    done = ledger("doctor", "--json")

    assert get_finding(done, "lake")["level"] == "fail"
    assert "lake.uri" in get_finding(done, "lake")["fix"]


def test_a_lake_in_s3_is_checked_with_conditional_writes_and_without_deletes(box: Handle) -> None:  # noqa: ARG001
    boto3.Session().client("s3").create_bucket(Bucket="my-lake")

    for _ in range(2):
        result = diagnostics.check_lake("s3://my-lake/tables")
        assert result.level is Level.ok, result
    assert diagnostics.check_lake("s3://nobodys-lake/x").level is Level.fail


def test_results_are_checked_with_the_credentials_of_the_results(
    ledger: RunLedger, settings: Callable[..., Path], box: Handle
) -> None:
    settings(build_api_toml(box.url), more='[results]\nprofile = "123456789012"')
    done = ledger("doctor", "--json")
    assert ":123456789012:" in get_finding(done, "credentials of results")["message"]
    assert get_finding(done, "results in s3://")["level"] == "ok"

    settings(build_api_toml(box.url), more='[results]\nprofile = "unknown"')
    done = ledger("doctor", "--json")
    assert get_finding(done, "credentials of results")["level"] == "fail"
    assert (
        "unknown"
        in next(finding for finding in done.json["findings"] if finding["subject"] == "results")["message"]
    )


def test_a_pool_without_a_limit_is_reported(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "gone/"')
    pool = get_finding(ledger("doctor", "--json"), "pool lookout")
    assert pool["level"] == "warn"
    assert "dagster instance concurrency set lookoutequipment_api 1" in pool["fix"]

    (tmp_path / "home" / "dagster.yaml").write_text(instance.INSTANCE)
    assert get_finding(ledger("doctor", "--json"), "pool lookout")["message"] == "allows 1 concurrent run"


def test_a_broken_instance_is_reported(
    ledger: RunLedger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "gone/"')
    (tmp_path / "home" / "dagster.yaml").write_text("storages: {nonsense: true}\n")

    assert get_finding(ledger("doctor", "--json"), "Dagster instance")["level"] == "fail"
