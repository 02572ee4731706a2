"""Builds the expected row of a summary, independent of the code under test."""

from collections.abc import Mapping
from typing import Any


def build_row(summary: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the row of a summary with unchanged times, without `recorded_at` and `unrecognized`."""
    arn = summary["InferenceSchedulerArn"]
    source_config, target = summary["DataInputConfiguration"], summary["DataOutputConfiguration"]
    names, result = (
        source_config.get("InferenceInputNameConfiguration", {}),
        summary.get("CustomerResultObject", {}),
    )
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
        "input_s3_bucket": source_config["S3InputConfiguration"]["Bucket"],
        "input_s3_prefix": source_config["S3InputConfiguration"]["Prefix"],
        "input_time_zone_offset": source_config.get("InputTimeZoneOffset"),
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
