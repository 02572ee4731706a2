"""`ledger doctor`: each thing that can be wrong is found, told apart from its neighbours, and has a mend."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipelines.runs import instance
from resources import diagnostics
from resources.aws.session import default_session
from resources.diagnostics import Level
from resources.errors import PermissionsError
from sandbox.fleet import Fleet
from sandbox.service import Handle, serving
from tests.pipelines.cli.commands.conftest import NOW, Done, Ledger, api


@pytest.fixture
def box(small_fleet: Fleet, accounts: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handle]:  # noqa: ARG001
    """The service with S3 and STS beside it, and an environment that finds them."""
    with serving(small_fleet, NOW) as handle:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", handle.s3_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", handle.s3_url)
        monkeypatch.setenv("AWS_PROFILE", "111122223333")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        default_session.cache_clear()
        yield handle
    default_session.cache_clear()


def levels(done: Done) -> dict[str, str]:
    return {one["subject"]: one["level"] for one in done.answer["findings"]}


def finding(done: Done, part: str) -> dict[str, Any]:
    return next(one for one in done.answer["findings"] if part in one["subject"])


def test_a_healthy_set_up_has_nothing_to_mend(
    ledger: Ledger, settings: Callable[..., Path], box: Handle, tmp_path: Path
) -> None:
    settings(api(box.url))
    done = ledger("doctor", "--json")

    assert done.code == 0, done.out
    found = levels(done)
    assert found["settings"] == found["lake"] == "ok"
    assert {name.rpartition(":")[2] for name in found if "lookoutequipment:" in name} == {
        "DescribeInferenceScheduler",
        "ListInferenceExecutions",
    }
    assert "the caller is arn:aws:" in finding(done, "credentials")["message"]
    assert finding(done, "results in s3://")["level"] == "ok"
    assert finding(done, "clock")["level"] == "warn", "this sandbox stands still, in the past"
    assert finding(done, "daemon")["level"] == "warn"
    assert box.count() == box.count(outcome="ok") == 3
    assert [path.name for path in (tmp_path / "lake").iterdir() if path.name != ".lock"] == []


def test_every_mistake_in_the_settings_is_told_and_the_rest_is_still_looked_at(
    ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "ledger.toml").write_text('[lake]\nurl = "x"\n[history]\nstart_date = "soon"\n')

    done = ledger("doctor")

    assert done.code == 1
    assert "lake.url" in done.out and "history.start_date" in done.out
    assert "Dagster instance" in done.out


def test_a_missing_permission_is_named(ledger: Ledger, settings: Callable[..., Path], box: Handle) -> None:
    settings(api(box.url))
    box.inject("deny:ListInferenceExecutions")

    done = ledger("doctor", "--json")

    assert done.code == 1
    assert finding(done, "ListInferenceExecutions")["level"] == "fail"
    assert "grant lookoutequipment:" in finding(done, "ListInferenceExecutions")["fix"]
    assert finding(done, "DescribeInferenceScheduler")["level"] == "ok"


def test_a_wrong_region_a_silent_endpoint_and_no_credentials_are_told_apart(
    ledger: Ledger,
    settings: Callable[..., Path],
    box: Handle,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    settings('kind = "api"\nprofile = "111122223333"\nregion = "eu-north-1"', api(nowhere))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = ledger("doctor", "--json")

    assert done.code == 1
    told = [one for one in done.answer["findings"] if one["level"] == "fail"]
    assert "was never offered in eu-north-1" in told[0]["message"]
    assert "set region to one of" in told[0]["fix"]
    assert "cannot be reached" in told[1]["message"]
    assert nowhere in told[1]["message"]

    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    default_session.cache_clear()
    settings(f'kind = "api"\nregion = "us-east-1"\nendpoint_url = "{box.url}"')
    assert "usable AWS credentials" in finding(ledger("doctor", "--json"), "credentials")["message"]


def test_an_ended_service_is_not_taken_for_a_missing_permission() -> None:
    class Ended:
        uri, is_aws = "api (region eu-west-1)", True

        def list_schedulers(self) -> list[Any]:
            raise PermissionsError("AccessDeniedException: no", where="x", next_step="grant it")

    def told(now: datetime) -> diagnostics.Finding:
        (one,) = diagnostics.check_service(Ended(), now, {})  # type: ignore[arg-type]
        return one

    assert "AWS ended the service on 2026-10-07" in told(datetime(2026, 11, 1, tzinfo=UTC)).message
    assert told(datetime(2026, 9, 1, tzinfo=UTC)).fix == "grant it"


def test_an_archive_that_is_not_there_or_empty_is_told(
    ledger: Ledger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    settings('kind = "archive"\nuri = "gone/"', 'kind = "archive"\nuri = "empty/"')

    done = ledger("doctor", "--json")

    assert done.code == 1
    assert finding(done, "gone")["level"] == "fail"
    assert finding(done, "empty")["level"] == "warn"
    assert "ledger import" in finding(done, "empty")["fix"]


def test_a_lake_that_cannot_be_written_to_is_told(
    ledger: Ledger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "gone/"')
    (tmp_path / "lake").write_text("a file where the folder should be")

    done = ledger("doctor", "--json")

    assert finding(done, "lake")["level"] == "fail"
    assert "lake.uri" in finding(done, "lake")["fix"]


def test_a_lake_in_s3_is_tried_with_its_conditions_and_needs_no_right_to_delete(box: Handle) -> None:  # noqa: ARG001
    boto3.Session().client("s3").create_bucket(Bucket="my-lake")

    for _ in range(2):
        found = diagnostics.check_lake("s3://my-lake/tables")
        assert found.level is Level.ok, found
    assert diagnostics.check_lake("s3://nobodys-lake/x").level is Level.fail


def test_results_are_read_as_a_run_reads_them_and_by_whom_it_does(
    ledger: Ledger, settings: Callable[..., Path], box: Handle
) -> None:
    settings(api(box.url), more='[results]\nprofile = "123456789012"')
    done = ledger("doctor", "--json")
    assert ":123456789012:" in finding(done, "credentials of results")["message"]
    assert finding(done, "results in s3://")["level"] == "ok"

    settings(api(box.url), more='[results]\nprofile = "nobody"')
    done = ledger("doctor", "--json")
    assert finding(done, "credentials of results")["level"] == "fail"
    assert "nobody" in next(one for one in done.answer["findings"] if one["subject"] == "results")["message"]


def test_a_pool_without_a_limit_is_told(
    ledger: Ledger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "gone/"')
    told = finding(ledger("doctor", "--json"), "pool lookout")
    assert told["level"] == "warn"
    assert "dagster instance concurrency set lookoutequipment_api 1" in told["fix"]

    (tmp_path / "home" / "dagster.yaml").write_text(instance.INSTANCE)
    assert finding(ledger("doctor", "--json"), "pool lookout")["message"] == "allows 1 concurrent run"


def test_an_instance_that_cannot_be_opened_is_told(
    ledger: Ledger, settings: Callable[..., Path], tmp_path: Path
) -> None:
    settings('kind = "archive"\nuri = "gone/"')
    (tmp_path / "home" / "dagster.yaml").write_text("storages: {nonsense: true}\n")

    assert finding(ledger("doctor", "--json"), "Dagster instance")["level"] == "fail"
