"""What a summary means as a row, spelled out by hand: the expectation that recorded rows are held against."""

from collections.abc import Mapping
from typing import Any


def build_row(summary: Mapping[str, Any], source: str) -> dict[str, Any]:
    """One summary as a row, times as they are, without `recorded_at` and `unrecognized`."""
    arn = summary["InferenceSchedulerArn"]
    given, target = summary["DataInputConfiguration"], summary["DataOutputConfiguration"]
    names, result = given.get("InferenceInputNameConfiguration", {}), summary.get("CustomerResultObject", {})
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
        "input_s3_bucket": given["S3InputConfiguration"]["Bucket"],
        "input_s3_prefix": given["S3InputConfiguration"]["Prefix"],
        "input_time_zone_offset": given.get("InputTimeZoneOffset"),
        "input_timestamp_format": names.get("TimestampFormat"),
        "input_component_timestamp_delimiter": names.get("ComponentTimestampDelimiter"),
        "output_s3_bucket": target["S3OutputConfiguration"]["Bucket"],
        "output_s3_prefix": target["S3OutputConfiguration"]["Prefix"],
        "output_kms_key_id": target.get("KmsKeyId"),
        "result_s3_bucket": result.get("Bucket"),
        "result_s3_key": result.get("Key"),
        "status": summary["Status"],
        "failed_reason": summary.get("FailedReason"),
        "source": source,
        "outcome_source": source,
    }
