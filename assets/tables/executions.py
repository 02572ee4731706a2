"""The tables of executions: what ran, of whom, how far it is known, and where it was found."""

import pyarrow as pa

from assets.tables.declared import RECORDED_AT, Column, Table, count, instant, text

_SCHEDULER = (
    text(
        "scheduler_arn",
        "ARN of the inference scheduler; unique even where a name was used again",
        "InferenceSchedulerArn",
        required=True,
    ),
    text("scheduler_name", "name of the inference scheduler", "InferenceSchedulerName"),
    text("account_id", "AWS account that owns the scheduler, from its ARN"),
    text("region", "AWS region of the scheduler, from its ARN"),
    text("model_arn", "ARN of the model that ran", "ModelArn"),
    text("model_name", "name of the model that ran", "ModelName"),
    Column("model_version", pa.int64(), "version of the model that ran", "number", "ModelVersion"),
    text("model_version_arn", "ARN of that model version", "ModelVersionArn"),
)

_CONFIGURATION = (
    text(
        "input_s3_bucket",
        "bucket that the scheduler reads sensor data from",
        "DataInputConfiguration.S3InputConfiguration.Bucket",
    ),
    text(
        "input_s3_prefix",
        "prefix that the scheduler reads sensor data from",
        "DataInputConfiguration.S3InputConfiguration.Prefix",
    ),
    text(
        "input_time_zone_offset",
        "zone of the times in input file names, such as +05:30",
        "DataInputConfiguration.InputTimeZoneOffset",
    ),
    text(
        "input_timestamp_format",
        "format of the times in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.TimestampFormat",
    ),
    text(
        "input_component_timestamp_delimiter",
        "what stands between component and time in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.ComponentTimestampDelimiter",
    ),
    text(
        "output_s3_bucket",
        "bucket that the scheduler writes results to",
        "DataOutputConfiguration.S3OutputConfiguration.Bucket",
    ),
    text(
        "output_s3_prefix",
        "prefix that the scheduler writes results to",
        "DataOutputConfiguration.S3OutputConfiguration.Prefix",
    ),
    text(
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
        instant("scheduled_start_time", "when the service meant to run it", "ScheduledStartTime"),
        instant("data_start_time", "start of the window of sensor data", "DataStartTime", required=True),
        instant("data_end_time", "end of the window of sensor data", "DataEndTime"),
        *_CONFIGURATION,
        text("result_s3_bucket", "bucket of the result object", "CustomerResultObject.Bucket"),
        text("result_s3_key", "key of the result object", "CustomerResultObject.Key", encoding="delta"),
        text("status", "IN_PROGRESS, SUCCESS or FAILED", "Status"),
        text("failed_reason", "the service's words for why it failed", "FailedReason"),
        text(
            "source",
            "kind of source that identity, configuration and times come from: api, archive or bucket",
            required=True,
        ),
        text(
            "outcome_source",
            "kind of source that status, reason and result object come from: api, archive or bucket",
            required=True,
        ),
        RECORDED_AT,
        text("unrecognized", "JSON of the members that this schema does not know"),
    ),
)

INFERENCE_SCHEDULERS = Table(
    name="inference_schedulers",
    meaning="What each scheduler was set to, and from when on; deleted schedulers stay.",
    grain="one setting of one scheduler, until the next row of that scheduler",
    key=("scheduler_arn", "valid_from"),
    columns=(
        *_SCHEDULER[:1],
        instant("valid_from", "start of the first data window seen with these values", required=True),
        *_SCHEDULER[1:],
        text(
            "status",
            "RUNNING, STOPPED, PENDING or STOPPING; null where the source knows executions only",
            "Status",
        ),
        text(
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
        text("source", "kind of source that this was seen in: api, archive or bucket", required=True),
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
        instant("complete_through", "the day is proven complete up to here; null: never proven"),
        count("executions", "executions recorded", "executions"),
        count("in_progress", "of those, IN_PROGRESS when last seen", "executions"),
        count("failed", "of those, FAILED", "executions"),
        text("sources", "kinds of sources that the rows come from, comma-separated"),
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
        text("uri", "where the file is", required=True, encoding="plain"),
        count("size_bytes", "size when it was read", "bytes"),
        text(
            "etag",
            "changes with the content: ETag, or modification time in ns, and the source's time_zone if set",
        ),
        text("content_hash", "BLAKE2b of its bytes; null: not readable", encoding="plain"),
        count("executions", "usable summaries in it", "summaries"),
        count("rejected", "unusable summaries in it", "summaries"),
        instant("first_data_start_time", "earliest DataStartTime in it; null: it holds none"),
        instant("last_data_start_time", "latest DataStartTime in it; null: it holds none"),
        Column("complete", pa.bool_(), "false: it ends with a NextToken, so pages may be missing"),
        text("error", "why it could not be read; null: it could"),
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
        text("source", "where it was found: the uri of a file, or the ARN of a scheduler", required=True),
        count("position", "number of the summary within its source, from 0", "summaries"),
        text("reason", "what is wrong with it", required=True),
        text("raw", "the summary as it was found, JSON", encoding="plain"),
        RECORDED_AT,
    ),
)
