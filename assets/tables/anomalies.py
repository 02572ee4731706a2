"""The tables of results: what the models said of each row of sensor data.

Their `data_date` is that of the execution, whatever the times of the rows say: one execution and all its
results stand in the same day.
"""

import pyarrow as pa

from assets.tables.declared import (
    RECORDED_AT,
    Column,
    Table,
    count_column,
    number_column,
    text_column,
    timestamp_column,
)

_EXECUTION = (
    text_column(
        "scheduler_arn",
        "ARN of the inference scheduler",
        "inference_executions.scheduler_arn",
        required=True,
    ),
    timestamp_column(
        "data_start_time",
        "start of the execution's window of sensor data",
        "inference_executions.data_start_time",
        required=True,
    ),
)
_NAME = text_column(
    "scheduler_name", "name of the inference scheduler", "inference_executions.scheduler_name"
)
_TIMESTAMP = timestamp_column("timestamp", "time of the row of sensor data", "timestamp", required=True)
_OBJECT = (
    text_column(
        "result_s3_bucket",
        "bucket of the result object",
        "inference_executions.result_s3_bucket",
        required=True,
    ),
    text_column(
        "result_s3_key",
        "key of the result object",
        "inference_executions.result_s3_key",
        required=True,
        encoding="delta",
    ),
)

RESULT_OBJECTS = Table(
    name="result_objects",
    meaning="Every result object that an execution named, and what became of reading it.",
    grain="the result object of one execution",
    key=("scheduler_arn", "data_start_time"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        _NAME,
        *_OBJECT,
        text_column(
            "state",
            "read, missing, forbidden, key_missing (its KMS key cannot be used), wrong_owner (of the bucket),"
            " archived (in Glacier), or unreachable",
            required=True,
        ),
        text_column("error", "the words of the refusal; null: it was read", encoding="plain"),
        text_column(
            "etag", "changes with the content; an object with the same one is not read again", "ETag"
        ),
        Column("size_bytes", pa.int64(), "size of the object, packed as it lies there", "bytes", "Size"),
        timestamp_column("last_modified", "when the object was last written", "LastModified"),
        count_column("rows", "usable lines in it", "lines"),
        count_column("rejected", "unusable lines in it", "lines"),
        Column("reader_version", pa.int64(), "version of the reader that read it", "number", required=True),
        RECORDED_AT,
    ),
)

ANOMALY_PREDICTIONS = Table(
    name="anomaly_predictions",
    meaning="What the model said of each row of sensor data.",
    grain="one line of a result object",
    key=("scheduler_arn", "data_start_time", "timestamp"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        _TIMESTAMP,
        _NAME,
        Column("prediction", pa.int64(), "1: anomalous; 0: not", "0 or 1", "prediction"),
        text_column(
            "prediction_reason",
            "ANOMALY_DETECTED, NO_ANOMALY_DETECTED or MACHINE_OFF; null: the format had none",
            "prediction_reason",
        ),
        number_column(
            "anomaly_score",
            "how anomalous; null: the format had none, or the machine was off",
            "0 to 1",
            "anomaly_score",
        ),
        Column(
            "model_version",
            pa.int64(),
            "version of the model that ran",
            "number",
            "inference_executions.model_version",
        ),
        RECORDED_AT,
        text_column("unrecognized", "JSON of the members that this schema does not know"),
    ),
)

SENSOR_CONTRIBUTIONS = Table(
    name="sensor_contributions",
    meaning="How much each sensor contributed to what the model said; only lines with diagnostics have any.",
    grain="one sensor in one line of a result object",
    key=("scheduler_arn", "data_start_time", "timestamp", "diagnostic_name"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        _TIMESTAMP,
        text_column(
            "diagnostic_name",
            "the sensor as the service names it: component, backslash, sensor",
            "diagnostics.name",
            required=True,
        ),
        text_column("component", "what stands before the first backslash; null: there is none"),
        text_column("sensor", "what stands after the first backslash, or the whole name", required=True),
        number_column(
            "contribution",
            "share of this sensor in the result; those of a line add up to 1",
            "0 to 1",
            "diagnostics.value",
            required=True,
        ),
        RECORDED_AT,
    ),
)

REJECTED_RESULTS = Table(
    name="rejected_results",
    meaning="Lines of result objects that could not be used, kept as they were found.",
    grain="one line of a result object",
    key=("scheduler_arn", "data_start_time", "line_number"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        count_column(
            "line_number", "number of the line in the object, from 1; 0: of the object as a whole", "lines"
        ),
        *_OBJECT,
        text_column("reason", "what is wrong with it", required=True),
        text_column("raw", "the line as it was found", encoding="plain"),
        RECORDED_AT,
    ),
)
