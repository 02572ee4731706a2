"""The tables of executions: what ran, of whom, how far it is known, and where it was found."""

import pyarrow as pa

from assets.tables.declared import RECORDED_AT, Column, Table, count_column, text_column, timestamp_column

_SCHEDULER = (
    text_column(
        "scheduler_arn",
        "ARN of the inference scheduler; unique even where a name was used again",
        "InferenceSchedulerArn",
        required=True,
    ),
    text_column("scheduler_name", "name of the inference scheduler", "InferenceSchedulerName"),
    text_column("account_id", "AWS account that owns the scheduler, from its ARN"),
    text_column("region", "AWS region of the scheduler, from its ARN"),
    text_column("model_arn", "ARN of the model that ran", "ModelArn"),
    text_column("model_name", "name of the model that ran", "ModelName"),
    Column("model_version", pa.int64(), "version of the model that ran", "number", "ModelVersion"),
    text_column("model_version_arn", "ARN of that model version", "ModelVersionArn"),
)

_CONFIGURATION = (
    text_column(
        "input_s3_bucket",
        "bucket that the scheduler reads sensor data from",
        "DataInputConfiguration.S3InputConfiguration.Bucket",
    ),
    text_column(
        "input_s3_prefix",
        "prefix that the scheduler reads sensor data from",
        "DataInputConfiguration.S3InputConfiguration.Prefix",
    ),
    text_column(
        "input_time_zone_offset",
        "zone of the times in input file names, such as +05:30",
        "DataInputConfiguration.InputTimeZoneOffset",
    ),
    text_column(
        "input_timestamp_format",
        "format of the times in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.TimestampFormat",
    ),
    text_column(
        "input_component_timestamp_delimiter",
        "what stands between component and time in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.ComponentTimestampDelimiter",
    ),
    text_column(
        "output_s3_bucket",
        "bucket that the scheduler writes results to",
        "DataOutputConfiguration.S3OutputConfiguration.Bucket",
    ),
    text_column(
        "output_s3_prefix",
        "prefix that the scheduler writes results to",
        "DataOutputConfiguration.S3OutputConfiguration.Prefix",
    ),
    text_column(
        "output_kms_key_id",
        "key that encrypts the results, where one was set",
        "DataOutputConfiguration.KmsKeyId",
    ),
)

INFERENCE_EXECUTIONS = Table(
    name="inference_executions",
    meaning="Every inference execution that any source ever told of.",
    grain="one inference execution",
    key=("scheduler_arn", "data_start_time"),
    partitioned=True,
    columns=(
        *_SCHEDULER,
        timestamp_column("scheduled_start_time", "when the service meant to run it", "ScheduledStartTime"),
        timestamp_column(
            "data_start_time", "start of the window of sensor data", "DataStartTime", required=True
        ),
        timestamp_column("data_end_time", "end of the window of sensor data", "DataEndTime"),
        *_CONFIGURATION,
        text_column("result_s3_bucket", "bucket of the result object", "CustomerResultObject.Bucket"),
        text_column(
            "result_s3_key", "key of the result object", "CustomerResultObject.Key", encoding="delta"
        ),
        text_column("status", "IN_PROGRESS, SUCCESS or FAILED", "Status"),
        text_column("failed_reason", "the service's words for why it failed", "FailedReason"),
        text_column(
            "source",
            "kind of source that identity, configuration and times come from: api, archive or bucket",
            required=True,
        ),
        text_column(
            "outcome_source",
            "kind of source that status, reason and result object come from: api, archive or bucket",
            required=True,
        ),
        RECORDED_AT,
        text_column("unrecognized", "JSON of the members that this schema does not know"),
    ),
)

INFERENCE_SCHEDULERS = Table(
    name="inference_schedulers",
    meaning="What each scheduler was set to, and from when on; deleted schedulers stay.",
    grain="one setting of one scheduler, until the next row of that scheduler",
    key=("scheduler_arn", "valid_from"),
    columns=(
        *_SCHEDULER[:1],
        timestamp_column(
            "valid_from", "start of the first data window seen with these values", required=True
        ),
        *_SCHEDULER[1:],
        text_column(
            "status",
            "RUNNING, STOPPED, PENDING or STOPPING; null where the source knows executions only",
            "Status",
        ),
        text_column(
            "data_upload_frequency",
            "length of a window of sensor data, such as PT5M (ISO 8601); of executions where no list told it",
            "DataUploadFrequency",
        ),
        Column(
            "data_delay_offset_minutes",
            pa.int64(),
            "wait between the end of a window and its run; of executions where no list told it",
            "minutes",
            "DataDelayOffsetInMinutes",
        ),
        *_CONFIGURATION,
        text_column("source", "kind of source that this was seen in: api, archive or bucket", required=True),
        RECORDED_AT,
    ),
)

EXTRACTION_COVERAGE = Table(
    name="extraction_coverage",
    meaning="How far each day of each scheduler is known.",
    grain="one scheduler on one day",
    key=("scheduler_arn",),
    partitioned=True,
    columns=(
        *_SCHEDULER[:2],
        timestamp_column("complete_through", "the day is proven complete up to here; null: never proven"),
        count_column("executions", "executions recorded", "executions"),
        count_column("in_progress", "of those, IN_PROGRESS when last seen", "executions"),
        count_column("failed", "of those, FAILED", "executions"),
        text_column("sources", "kinds of sources that the rows come from, comma-separated"),
        RECORDED_AT,
    ),
)

ARCHIVE_FILES = Table(
    name="archive_files",
    meaning="Every saved response that was ever found, and what it held.",
    grain="one file",
    key=("uri",),
    volatile=frozenset({"recorded_at", "merged_dates"}),
    columns=(
        text_column("uri", "where the file is", required=True, encoding="plain"),
        count_column("size_bytes", "size when it was read", "bytes"),
        text_column(
            "etag",
            "changes with the content: ETag, or modification time in ns, and the source's time_zone if set",
        ),
        text_column("content_hash", "BLAKE2b of its bytes; null: not readable", encoding="plain"),
        count_column("executions", "usable summaries in it", "summaries"),
        count_column("rejected", "unusable summaries in it", "summaries"),
        timestamp_column("first_data_start_time", "earliest DataStartTime in it; null: it holds none"),
        timestamp_column("last_data_start_time", "latest DataStartTime in it; null: it holds none"),
        Column("complete", pa.bool_(), "false: it ends with a NextToken, so pages may be missing"),
        text_column("error", "why it could not be read; null: it could"),
        Column("reader_version", pa.int64(), "version of the reader that read it", "number", required=True),
        Column("merged_dates", pa.list_(pa.date32()), "days of it that are in the lake", "UTC dates"),
        RECORDED_AT,
    ),
)

REJECTED_EXECUTIONS = Table(
    name="rejected_executions",
    meaning="Summaries that could not be used, kept as they were found.",
    grain="one summary",
    key=("source", "position"),
    columns=(
        text_column(
            "source", "where it was found: the uri of a file, or the ARN of a scheduler", required=True
        ),
        count_column("position", "number of the summary within its source, from 0", "summaries"),
        text_column("reason", "what is wrong with it", required=True),
        text_column("raw", "the summary as it was found, JSON", encoding="plain"),
        RECORDED_AT,
    ),
)
