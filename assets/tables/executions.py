"""Declarations of the tables that extraction fills: executions, schedulers, coverage, files and rejects."""

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from assets.tables.declared import (
    RECORDED_AT,
    Column,
    Table,
    build_lineage,
    count_column,
    text_column,
    timestamp_column,
)

_SCHEDULER = (
    text_column(
        "scheduler_arn",
        "ARN of the inference scheduler; it stays unique when a name is reused",
        "InferenceSchedulerArn",
        required=True,
    ),
    text_column("scheduler_name", "Name of the inference scheduler", "InferenceSchedulerName"),
    text_column("account_id", "AWS account ID from the scheduler ARN"),
    text_column("region", "AWS Region from the scheduler ARN"),
    text_column("model_arn", "ARN of the model that the scheduler runs", "ModelArn"),
    text_column("model_name", "Name of the model that the scheduler runs", "ModelName"),
    Column("model_version", pa.int64(), "Version of the model", "number", "ModelVersion"),
    text_column("model_version_arn", "ARN of the model version", "ModelVersionArn"),
)

_CONFIGURATION = (
    text_column(
        "input_s3_bucket",
        "S3 bucket from which the scheduler reads sensor data",
        "DataInputConfiguration.S3InputConfiguration.Bucket",
    ),
    text_column(
        "input_s3_prefix",
        "S3 prefix from which the scheduler reads sensor data",
        "DataInputConfiguration.S3InputConfiguration.Prefix",
    ),
    text_column(
        "input_time_zone_offset",
        "UTC offset of the timestamps in input file names, such as +05:30",
        "DataInputConfiguration.InputTimeZoneOffset",
    ),
    text_column(
        "input_timestamp_format",
        "Format of the timestamps in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.TimestampFormat",
    ),
    text_column(
        "input_component_timestamp_delimiter",
        "Delimiter between component and timestamp in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.ComponentTimestampDelimiter",
    ),
    text_column(
        "output_s3_bucket",
        "S3 bucket to which the scheduler writes results",
        "DataOutputConfiguration.S3OutputConfiguration.Bucket",
    ),
    text_column(
        "output_s3_prefix",
        "S3 prefix to which the scheduler writes results",
        "DataOutputConfiguration.S3OutputConfiguration.Prefix",
    ),
    text_column(
        "output_kms_key_id",
        "KMS key that encrypts the results; null if none is configured",
        "DataOutputConfiguration.KmsKeyId",
    ),
)


def _from_executions(*columns: Column) -> Iterator[Column]:
    for column in columns:
        yield replace(column, lineage=build_lineage("inference_executions", column.name))


INFERENCE_EXECUTIONS = Table(
    name="inference_executions",
    meaning="All inference executions that any source has returned, with flattened configuration.",
    grain="inference execution",
    key=("scheduler_arn", "data_start_time"),
    partitioned=True,
    columns_without_statistics=frozenset(
        {
            *("account_id", "region", "model_arn", "model_version_arn", "result_s3_bucket"),
            *(column.name for column in _CONFIGURATION),
        }
    ),
    columns=(
        *_SCHEDULER,
        timestamp_column(
            "scheduled_start_time", "Time at which the service scheduled the execution", "ScheduledStartTime"
        ),
        timestamp_column(
            "data_start_time", "Start of the execution's data window", "DataStartTime", required=True
        ),
        timestamp_column("data_end_time", "End of the execution's data window", "DataEndTime"),
        *_CONFIGURATION,
        text_column("result_s3_bucket", "S3 bucket of the result object", "CustomerResultObject.Bucket"),
        text_column(
            "result_s3_key", "S3 key of the result object", "CustomerResultObject.Key", encoding="delta"
        ),
        text_column("status", "Status of the execution: IN_PROGRESS, SUCCESS or FAILED", "Status"),
        text_column("failed_reason", "Failure reason as the service reports it", "FailedReason"),
        text_column(
            "source",
            "Kind of source that provided identity, configuration and times: api, archive or bucket",
            required=True,
        ),
        text_column(
            "outcome_source",
            "Kind of source that provided status, failure reason and result object: api, archive or bucket",
            required=True,
        ),
        RECORDED_AT,
        text_column(
            "unrecognized", "JSON object of the members that this schema does not declare", encoding="plain"
        ),
    ),
)

INFERENCE_SCHEDULERS = Table(
    name="inference_schedulers",
    meaning="Settings of each scheduler over time; deleted schedulers stay in the table.",
    grain="scheduler and period with unchanged settings",
    key=("scheduler_arn", "valid_from"),
    columns=(
        *_from_executions(_SCHEDULER[0]),
        timestamp_column(
            "valid_from",
            "Start of the first data window with these settings, or the time at which they were listed",
            required=True,
            lineage=build_lineage("inference_executions", "data_start_time"),
        ),
        *_from_executions(*_SCHEDULER[1:]),
        text_column(
            "status",
            "RUNNING, STOPPED, PENDING or STOPPING; null if only executions are known",
            "Status",
        ),
        text_column(
            "data_upload_frequency",
            "Length of a data window as an ISO 8601 duration such as PT5M;"
            " computed from executions if the service did not list it",
            "DataUploadFrequency",
            lineage=build_lineage("inference_executions", "data_start_time", "data_end_time"),
        ),
        Column(
            "data_delay_offset_minutes",
            pa.int64(),
            "Delay between the end of a data window and its execution;"
            " computed from executions if the service did not list it",
            "minutes",
            "DataDelayOffsetInMinutes",
            lineage=build_lineage("inference_executions", "data_end_time", "scheduled_start_time"),
        ),
        *_from_executions(
            *_CONFIGURATION,
            text_column(
                "source", "Kind of source that showed the settings: api, archive or bucket", required=True
            ),
        ),
        RECORDED_AT,
    ),
)

EXTRACTION_COVERAGE = Table(
    name="extraction_coverage",
    meaning="How complete each day of each scheduler is in the lake.",
    grain="scheduler and day",
    key=("scheduler_arn",),
    partitioned=True,
    columns=(
        *_from_executions(*_SCHEDULER[:2]),
        timestamp_column(
            "complete_through",
            "Time through which the day is proven complete; null if no API response has proven anything",
        ),
        count_column(
            "executions",
            "Number of recorded executions",
            "executions",
            lineage=build_lineage("inference_executions", "data_start_time"),
        ),
        count_column(
            "in_progress",
            "Number of recorded executions with the status IN_PROGRESS",
            "executions",
            lineage=build_lineage("inference_executions", "status"),
        ),
        count_column(
            "failed",
            "Number of recorded executions with the status FAILED",
            "executions",
            lineage=build_lineage("inference_executions", "status"),
        ),
        text_column(
            "sources",
            "Kinds of sources that provided the executions, comma-separated",
            lineage=build_lineage("inference_executions", "source", "outcome_source"),
        ),
        RECORDED_AT,
    ),
)

ARCHIVE_FILES = Table(
    name="archive_files",
    meaning="Index of all saved API responses that archive sources have found.",
    grain="file",
    key=("uri",),
    version=2,
    volatile=frozenset({"recorded_at", "merged_dates"}),
    columns=(
        text_column("uri", "URI of the file", required=True, encoding="plain"),
        count_column("size_bytes", "Size of the file when it was read", "bytes"),
        text_column(
            "etag",
            "Change marker: ETag or modification time in ns, followed by the time_zone setting of the source"
            " if one is set",
        ),
        text_column(
            "content_hash", "BLAKE2b hash of the content; null if the file is unreadable", encoding="plain"
        ),
        count_column("executions", "Number of valid summaries in the file", "summaries"),
        count_column("rejected", "Number of rejected summaries in the file", "summaries"),
        timestamp_column(
            "first_data_start_time", "Earliest DataStartTime in the file; null if it has no valid summary"
        ),
        timestamp_column(
            "last_data_start_time", "Latest DataStartTime in the file; null if it has no valid summary"
        ),
        Column(
            "complete", pa.bool_(), "False if the file ends with a NextToken, so that pages may be missing"
        ),
        text_column("error", "Reason why the file could not be read completely; null if it could"),
        Column(
            "reader_version", pa.int64(), "Version of the reader that read the file", "number", required=True
        ),
        Column(
            "merged_dates",
            pa.list_(pa.date32()),
            "Days of the file that are merged into the lake",
            "UTC dates",
        ),
        Column(
            "proven_dates",
            pa.list_(pa.date32()),
            "Days that a recording proves complete, with or without executions; null in other files",
            "UTC dates",
        ),
        RECORDED_AT,
    ),
)

EXECUTION_SOURCES = Table(
    name="execution_sources",
    meaning="Which source returned which executions; a row has equally spaced executions of one month.",
    grain="source, scheduler and run of equally spaced executions",
    key=("scheduler_arn", "source", "first_data_start_time"),
    columns=(
        text_column(
            "scheduler_arn",
            "ARN of the scheduler as the source names it; a placeholder if a bucket does not know it",
            required=True,
        ),
        text_column(
            "source",
            "URI of the file or bucket, or the region and endpoint of the API that returned the executions",
            required=True,
        ),
        timestamp_column(
            "first_data_start_time",
            "DataStartTime of the first execution",
            required=True,
            lineage=build_lineage("inference_executions", "data_start_time"),
        ),
        timestamp_column(
            "last_data_start_time",
            "DataStartTime of the last execution",
            required=True,
            lineage=build_lineage("inference_executions", "data_start_time"),
        ),
        count_column("executions", "Number of executions from the first to the last one", "executions"),
        RECORDED_AT,
    ),
)

REJECTED_EXECUTIONS = Table(
    name="rejected_executions",
    meaning="Quarantined execution summaries that could not be used, with their raw text.",
    grain="rejected summary",
    key=("source", "position"),
    columns=(
        text_column(
            "source",
            "Origin of the summary: the URI of a file or of a result object, or the ARN of a scheduler",
            required=True,
        ),
        count_column("position", "Zero-based position of the summary in its source", "summaries"),
        text_column("reason", "Reason for the rejection", required=True),
        text_column("raw", "Raw JSON text of the summary", encoding="plain"),
        RECORDED_AT,
    ),
)

FORGET_OPERATIONS = Table(
    name="forget_operations",
    meaning="Every use of ledger forget; what an operation removed is not recorded again until it is lifted.",
    grain="use of ledger forget",
    key=("operation_id",),
    columns=(
        text_column("operation_id", "Identifier of the operation", required=True, encoding="plain"),
        text_column("source", "Source as the command named it; null: all sources", encoding="plain"),
        text_column("scheduler", "Scheduler as the command named it; null: all schedulers"),
        timestamp_column("selected_from", "Start of the first forgotten day; null: from the first day on"),
        timestamp_column("selected_until", "End of the last forgotten day; null: to the last day"),
        text_column(
            "sources",
            "JSON list of the forgotten sources, named as in execution_sources; null: all",
            encoding="plain",
        ),
        text_column("content_hashes", "JSON list of the hashes of the forgotten files", encoding="plain"),
        text_column(
            "scheduler_arns",
            "JSON list of the forgotten schedulers, with the placeholders of their prefixes; null: all",
            encoding="plain",
        ),
        count_column("executions_removed", "Executions that no other source returned", "executions"),
        count_column("executions_reread", "Executions that were read again from other sources", "executions"),
        count_column(
            "executions_kept",
            "Executions that stay as they were, because their other sources could not be read",
            "executions",
        ),
        timestamp_column(
            "started_at", "Time of the command, from which the sources are skipped", required=True
        ),
        timestamp_column("completed_at", "Time at which all tables were updated; null if unfinished"),
        timestamp_column("lifted_at", "Time from which the sources are read again; null if they are skipped"),
        RECORDED_AT,
    ),
)
