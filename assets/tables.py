"""Every table of the lake, declared once.

Belongs here: names, grains, keys, columns with their types, units, meanings and source members.
Does not belong here: how rows are made (see the rules beside each asset) or stored (see `resources.lake`).

The Parquet schema and its comments, Dagster's column schema, the DuckDB views, the contract that the lake
enforces and `docs/tables.md` are all derived from this module.

In `Column.source`, a dotted path names the member of the service's InferenceExecutionSummary that the
column holds; `flatten` follows these paths, so a declaration is also the code.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

INSTANT = pa.timestamp("ms", tz="UTC")
"""The one timestamp type of the lake: Athena and Spark read milliseconds as they are."""

PARTITION = "data_date"
"""The Hive key: the UTC date of the execution's DataStartTime. It stands in the path, not in the file."""

Encoding = Literal["dictionary", "delta", "plain"]


@dataclass(frozen=True)
class Column:
    """One column: `unit` is None for text and flags; `source` is a member path, or None if made here."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str | None = None
    source: str | None = None
    required: bool = False
    encoding: Encoding = "dictionary"

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with meaning, unit and source member as its metadata."""
        notes = {"comment": self.meaning, "unit": self.unit, "source": self.source}
        return pa.field(
            self.name,
            self.type,
            nullable=not self.required,
            metadata={key: value for key, value in notes.items() if value},
        )


@dataclass(frozen=True)
class Table:
    """One table: rows are unique by `key` and stored sorted by it; `version` rises with each change."""

    name: str
    meaning: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partitioned: bool = False
    version: int = 1
    volatile: frozenset[str] = frozenset({"recorded_at"})
    """Columns that tell about the recording and are no part of a row's content."""

    @property
    def schema(self) -> pa.Schema:
        """What a file of this table holds; name and version travel in the Parquet footer."""
        identity = {"lookout_ledger.table": self.name, "lookout_ledger.version": str(self.version)}
        return pa.schema([column.field for column in self.columns], metadata=identity)

    @property
    def content(self) -> tuple[str, ...]:
        """Names of the columns that make two rows the same."""
        return tuple(column.name for column in self.columns if column.name not in self.volatile)

    def encoded(self, encoding: str) -> Iterable[Column]:
        """Columns stored with one encoding."""
        return (column for column in self.columns if column.encoding == encoding)


def _text(
    name: str,
    meaning: str,
    source: str | None = None,
    *,
    required: bool = False,
    encoding: Encoding = "dictionary",
) -> Column:
    return Column(name, pa.string(), meaning, source=source, required=required, encoding=encoding)


def _instant(name: str, meaning: str, source: str | None = None, *, required: bool = False) -> Column:
    return Column(name, INSTANT, meaning, "UTC", source, required=required, encoding="delta")


def _count(name: str, meaning: str, unit: str) -> Column:
    return Column(name, pa.int64(), meaning, unit=unit, required=True)


_RECORDED_AT = _instant("recorded_at", "when this row last changed its content", required=True)

_SCHEDULER = (
    _text(
        "scheduler_arn",
        "ARN of the inference scheduler; unique even where a name was used again",
        "InferenceSchedulerArn",
        required=True,
    ),
    _text("scheduler_name", "name of the inference scheduler", "InferenceSchedulerName"),
    _text("account_id", "AWS account that owns the scheduler, from its ARN"),
    _text("region", "AWS region of the scheduler, from its ARN"),
    _text("model_arn", "ARN of the model that ran", "ModelArn"),
    _text("model_name", "name of the model that ran", "ModelName"),
    Column("model_version", pa.int64(), "version of the model that ran", "number", "ModelVersion"),
    _text("model_version_arn", "ARN of that model version", "ModelVersionArn"),
)

_CONFIGURATION = (
    _text(
        "input_s3_bucket",
        "bucket that the scheduler reads sensor data from",
        "DataInputConfiguration.S3InputConfiguration.Bucket",
    ),
    _text(
        "input_s3_prefix",
        "prefix that the scheduler reads sensor data from",
        "DataInputConfiguration.S3InputConfiguration.Prefix",
    ),
    _text(
        "input_time_zone_offset",
        "zone of the times in input file names, such as +05:30",
        "DataInputConfiguration.InputTimeZoneOffset",
    ),
    _text(
        "input_timestamp_format",
        "format of the times in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.TimestampFormat",
    ),
    _text(
        "input_component_timestamp_delimiter",
        "what stands between component and time in input file names",
        "DataInputConfiguration.InferenceInputNameConfiguration.ComponentTimestampDelimiter",
    ),
    _text(
        "output_s3_bucket",
        "bucket that the scheduler writes results to",
        "DataOutputConfiguration.S3OutputConfiguration.Bucket",
    ),
    _text(
        "output_s3_prefix",
        "prefix that the scheduler writes results to",
        "DataOutputConfiguration.S3OutputConfiguration.Prefix",
    ),
    _text(
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
        _instant("scheduled_start_time", "when the service meant to run it", "ScheduledStartTime"),
        _instant("data_start_time", "start of the window of sensor data", "DataStartTime", required=True),
        _instant("data_end_time", "end of the window of sensor data", "DataEndTime"),
        *_CONFIGURATION,
        _text("result_s3_bucket", "bucket of the result object", "CustomerResultObject.Bucket"),
        _text("result_s3_key", "key of the result object", "CustomerResultObject.Key", encoding="delta"),
        _text("status", "IN_PROGRESS, SUCCESS or FAILED", "Status"),
        _text("failed_reason", "the service's words for why it failed", "FailedReason"),
        _text("source", "kind of source that identity, configuration and times come from", required=True),
        _text(
            "outcome_source", "kind of source that status, reason and result object come from", required=True
        ),
        _RECORDED_AT,
        _text("unrecognized", "JSON of the members that this schema does not know"),
    ),
)

INFERENCE_SCHEDULERS = Table(
    name="inference_schedulers",
    meaning="What each scheduler was set to, and from when on; deleted schedulers stay.",
    grain="one setting of one scheduler, until the next row of that scheduler",
    key=("scheduler_arn", "valid_from"),
    columns=(
        *_SCHEDULER[:1],
        _instant("valid_from", "start of the first data window seen with these values", required=True),
        *_SCHEDULER[1:],
        _text("status", "status of the scheduler; null where the source knows executions only"),
        _text("data_upload_frequency", "length of a window of sensor data, ISO 8601, such as PT5M"),
        Column(
            "data_delay_offset_minutes", pa.int64(), "wait between the end of a window and its run", "minutes"
        ),
        *_CONFIGURATION,
        _text("source", "kind of source that this was seen in", required=True),
        _RECORDED_AT,
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
        _instant("complete_through", "the day is proven complete up to here; null: never proven"),
        _count("executions", "executions recorded", "executions"),
        _count("in_progress", "of those, IN_PROGRESS when last seen", "executions"),
        _count("failed", "of those, FAILED", "executions"),
        _text("sources", "kinds of sources that the rows come from, comma-separated"),
        _RECORDED_AT,
    ),
)

ARCHIVE_FILES = Table(
    name="archive_files",
    meaning="Every saved response that was ever found, and what it held.",
    grain="one file",
    key=("uri",),
    volatile=frozenset({"recorded_at", "merged_dates"}),
    columns=(
        _text("uri", "where the file is", required=True, encoding="plain"),
        _count("size_bytes", "size when it was read", "bytes"),
        _text(
            "etag",
            "changes with the content: ETag, or modification time in ns, and the source's time_zone if set",
        ),
        _text("content_hash", "BLAKE2b of its bytes; null: not readable", encoding="plain"),
        _count("executions", "usable summaries in it", "summaries"),
        _count("rejected", "unusable summaries in it", "summaries"),
        _instant("first_data_start_time", "earliest DataStartTime in it; null: it holds none"),
        _instant("last_data_start_time", "latest DataStartTime in it; null: it holds none"),
        Column("complete", pa.bool_(), "false: it ends with a NextToken, so pages may be missing"),
        _text("error", "why it could not be read; null: it could"),
        Column("reader_version", pa.int64(), "version of the reader that read it", "number", required=True),
        Column("merged_dates", pa.list_(pa.date32()), "days of it that are in the lake", "UTC dates"),
        _RECORDED_AT,
    ),
)

REJECTED_EXECUTIONS = Table(
    name="rejected_executions",
    meaning="Summaries that could not be used, kept as they were found.",
    grain="one summary",
    key=("source", "position"),
    columns=(
        _text("source", "where it was found: the uri of a file, or the ARN of a scheduler", required=True),
        _count("position", "number of the summary within its source, from 0", "summaries"),
        _text("reason", "what is wrong with it", required=True),
        _text("raw", "the summary as it was found, JSON", encoding="plain"),
        _RECORDED_AT,
    ),
)

TABLES = (
    INFERENCE_SCHEDULERS,
    INFERENCE_EXECUTIONS,
    EXTRACTION_COVERAGE,
    ARCHIVE_FILES,
    REJECTED_EXECUTIONS,
)
