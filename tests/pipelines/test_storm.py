"""Two months of a fleet, with everything going wrong that can."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from resources.lake import Lake
from resources.settings import ApiSource, HistorySettings, LakeSettings, Settings
from sandbox.faults import KINDS
from sandbox.fleet import Fleet, History, fleet
from sandbox.service import serving
from tests.pipelines.conftest import Location
from tests.pipelines.test_live import PLACES, _accounts  # noqa: F401 (a fixture)
from tests.pipelines.test_runs import rows

START, END = datetime(2026, 8, 9, tzinfo=UTC), datetime(2026, 10, 8, tzinfo=UTC)
FIRST, LAST = date(2026, 8, 9), date(2026, 10, 7)
FAULTS = (
    "throttle:share=0.03",
    "internal:share=0.02",
    "unavailable:share=0.02",
    "reset:share=0.01",
    "drop:share=0.01",
    "hangup:share=0.01",
    "slow:share=0.02:seconds=0.05",
    "truncate:ListInferenceExecutions:share=0.01",
    "repeat-token:ListInferenceExecutions:share=0.01",
    "expire-token:ListInferenceExecutions:share=0.01",
    "empty-page:ListInferenceExecutions:share=0.05",
    "shift:ListInferenceExecutions:share=0.3",
    "shuffle:ListInferenceExecutions:share=0.5",
    "deny:ListInferenceExecutions:scheduler=turbine-2:count=1",
)


def expected(summary: Mapping[str, Any]) -> dict[str, Any]:
    """One summary of the fleet as a row, apart from members that no schema knows."""
    arn = summary["InferenceSchedulerArn"]
    source, target = summary["DataInputConfiguration"], summary["DataOutputConfiguration"]
    names, result = source.get("InferenceInputNameConfiguration", {}), summary.get("CustomerResultObject", {})
    return {
        "scheduler_arn": arn,
        "scheduler_name": summary["InferenceSchedulerName"],
        "account_id": arn.split(":")[4],
        "region": arn.split(":")[3],
        "model_arn": summary["ModelArn"],
        "model_name": summary["ModelName"],
        "model_version": summary.get("ModelVersion"),
        "model_version_arn": summary.get("ModelVersionArn"),
        "scheduled_start_time": summary["ScheduledStartTime"],
        "data_start_time": summary["DataStartTime"],
        "data_end_time": summary["DataEndTime"],
        "input_s3_bucket": source["S3InputConfiguration"]["Bucket"],
        "input_s3_prefix": source["S3InputConfiguration"]["Prefix"],
        "input_time_zone_offset": source.get("InputTimeZoneOffset"),
        "input_timestamp_format": names.get("TimestampFormat"),
        "input_component_timestamp_delimiter": names.get("ComponentTimestampDelimiter"),
        "output_s3_bucket": target["S3OutputConfiguration"]["Bucket"],
        "output_s3_prefix": target["S3OutputConfiguration"]["Prefix"],
        "output_kms_key_id": target.get("KmsKeyId"),
        "result_s3_bucket": result.get("Bucket"),
        "result_s3_key": result.get("Key"),
        "status": summary["Status"],
        "failed_reason": summary.get("FailedReason"),
        "source": "api",
        "outcome_source": "api",
    }


def truth(of: Fleet, clock: datetime) -> dict[tuple[str, object], dict[str, Any]]:
    found = (
        expected(summary)
        for scheduler in of.listed(clock)
        for summary in scheduler.executions(clock)
        if START <= summary["DataStartTime"] < END
    )
    return {(row["scheduler_arn"], row["data_start_time"]): row for row in found}


@pytest.fixture(params=["local", "s3"])
def lake_uri(request: pytest.FixtureRequest, _accounts: None) -> str:  # noqa: F811 (before the lake's keys)
    return str(request.getfixturevalue(f"{request.param}_lake_uri"))


@pytest.mark.slow
@pytest.mark.usefixtures("_accounts")
def test_ends_with_exactly_the_executions_that_the_service_has(
    lake_uri: str, instance: dg.DagsterInstance
) -> None:
    assert {fault.split(":")[0] for fault in FAULTS} == set(KINDS), "every fault there is"
    of, clock = fleet(seed=3, history=History(START, END)), datetime(2026, 10, 8, 12, tzinfo=UTC)
    with serving(of, clock, s3=False, faults=FAULTS, paging="offset") as handle:
        sources = tuple(
            ApiSource(profile=account, region=region, endpoint_url=handle.url) for account, region in PLACES
        )
        settings = Settings(
            lake=LakeSettings(uri=lake_uri),
            history=HistorySettings(start_date=FIRST, end_date=date(2026, 10, 8)),
            sources=sources,
        )
        location = Location(build_defs(settings=settings), instance, Lake(lake_uri))
        result = location.run(FIRST, LAST)
        assert not result.success, "one scheduler may not be asked at first"
        attempts = 1
        while not result.success and attempts < 5:
            resume = dict.fromkeys(("dagster/parent_run_id", "dagster/root_run_id"), result.run_id)
            result = location.run(FIRST, LAST, tags={"dagster/is_resume_retry": "true"} | resume)
            attempts += 1
        struck = {word for kind in handle.requests() for word in kind.faults.split("+") if word}

    assert result.success
    assert struck == set(KINDS)
    recorded = rows(location.lake)
    for row in recorded.values():
        del row["recorded_at"], row["unrecognized"]
    assert recorded == truth(of, clock)
