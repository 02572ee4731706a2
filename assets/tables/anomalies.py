"""Declarations of the tables about anomalies: result objects, their lines, fragments and events.

`data_date` is the day of the execution even if the timestamps of its result lines are on another day. An
execution and all its results are therefore in the same partition.
"""

import pyarrow as pa

from assets.tables.declared import (
    RECORDED_AT,
    Column,
    Table,
    build_lineage,
    count_column,
    number_column,
    text_column,
    timestamp_column,
)

_SCHEDULER_ARN = text_column(
    "scheduler_arn",
    "ARN of the inference scheduler",
    required=True,
    lineage=build_lineage("inference_executions", "scheduler_arn"),
)
_SCHEDULER_NAME = text_column(
    "scheduler_name",
    "Name of the inference scheduler",
    lineage=build_lineage("inference_executions", "scheduler_name"),
)
_EXECUTION = (
    _SCHEDULER_ARN,
    timestamp_column(
        "data_start_time",
        "Start of the execution's data window",
        required=True,
        lineage=build_lineage("inference_executions", "data_start_time"),
    ),
)
_TIMESTAMP = timestamp_column("timestamp", "Timestamp of the result line", "timestamp", required=True)
_OBJECT = (
    text_column(
        "result_s3_bucket",
        "S3 bucket of the result object",
        required=True,
        lineage=build_lineage("inference_executions", "result_s3_bucket"),
    ),
    text_column(
        "result_s3_key",
        "S3 key of the result object",
        required=True,
        encoding="delta",
        lineage=build_lineage("inference_executions", "result_s3_key"),
    ),
)

RESULT_OBJECTS = Table(
    name="result_objects",
    meaning="State of each result object that an execution references.",
    grain="execution with a result object",
    key=("scheduler_arn", "data_start_time"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        _SCHEDULER_NAME,
        *_OBJECT,
        text_column(
            "state",
            "Outcome of the last read: read, missing, forbidden, key_missing (KMS key unusable), wrong_owner"
            " or not_allowed (the bucket), archived (S3 Glacier), unreachable or no_credentials",
            required=True,
        ),
        text_column("error", "Error message of the last read; null if it succeeded", encoding="plain"),
        text_column("etag", "ETag of the object; an unchanged object is not read again", "ETag"),
        Column("size_bytes", pa.int64(), "Size of the object as stored, compressed or not", "bytes", "Size"),
        timestamp_column("last_modified", "Time at which the object was last written", "LastModified"),
        count_column("rows", "Number of valid lines in the object", "lines"),
        count_column("rejected", "Number of rejected lines in the object", "lines"),
        Column(
            "reader_version",
            pa.int64(),
            "Version of the reader that read the object",
            "number",
            required=True,
        ),
        RECORDED_AT,
    ),
)

ANOMALY_PREDICTIONS = Table(
    name="anomaly_predictions",
    meaning="Predictions of the models, as parsed from result objects.",
    grain="result line",
    key=("scheduler_arn", "data_start_time", "timestamp"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        _TIMESTAMP,
        _SCHEDULER_NAME,
        Column("prediction", pa.int64(), "1 if the point is anomalous, else 0", "0 or 1", "prediction"),
        text_column(
            "prediction_reason",
            "ANOMALY_DETECTED, NO_ANOMALY_DETECTED or MACHINE_OFF; null if the result format lacks it",
            "prediction_reason",
        ),
        number_column(
            "anomaly_score",
            "Anomaly score; null if the result format lacks it or the machine was off",
            "0 to 1",
            "anomaly_score",
        ),
        Column(
            "model_version",
            pa.int64(),
            "Version of the model that made the prediction",
            "number",
            lineage=build_lineage("inference_executions", "model_version"),
        ),
        RECORDED_AT,
        text_column("unrecognized", "JSON object of the members that this schema does not declare"),
    ),
)

SENSOR_CONTRIBUTIONS = Table(
    name="sensor_contributions",
    meaning="Contribution of each sensor to a prediction, for result lines with diagnostics.",
    grain="sensor and result line",
    key=("scheduler_arn", "data_start_time", "timestamp", "diagnostic_name"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        _TIMESTAMP,
        text_column(
            "diagnostic_name",
            "Sensor name as the service writes it: component, backslash, sensor",
            "diagnostics.name",
            required=True,
        ),
        text_column(
            "component", "Part of diagnostic_name before the first backslash; null if it has no backslash"
        ),
        text_column(
            "sensor",
            "Part of diagnostic_name after the first backslash, or the whole name if it has no backslash",
            required=True,
        ),
        number_column(
            "contribution",
            "Share of the sensor in the prediction; the shares of a result line add up to 1",
            "0 to 1",
            "diagnostics.value",
            required=True,
        ),
        RECORDED_AT,
    ),
)

REJECTED_RESULTS = Table(
    name="rejected_results",
    meaning="Quarantined lines of result objects that could not be used, with their raw text.",
    grain="rejected result line",
    key=("scheduler_arn", "data_start_time", "line_number"),
    partitioned=True,
    columns=(
        *_EXECUTION,
        count_column(
            "line_number", "One-based number of the line in the object; 0 for the object as a whole", "lines"
        ),
        *_OBJECT,
        text_column("reason", "Reason for the rejection", required=True),
        text_column("raw", "Raw text of the line", encoding="plain"),
        RECORDED_AT,
    ),
)

_PREDICTION_STATE = build_lineage("anomaly_predictions", "prediction", "prediction_reason")
_PREDICTION_TIME = build_lineage("anomaly_predictions", "timestamp")
_CONTRIBUTIONS = build_lineage("sensor_contributions", "diagnostic_name", "contribution")

ANOMALY_FRAGMENTS = Table(
    name="anomaly_fragments",
    meaning="Runs of consecutive points with the same state within a day; events are joined from them.",
    grain="scheduler and run of consecutive points without gap",
    key=("scheduler_arn", "first_time"),
    partitioned=True,
    columns=(
        text_column(
            "scheduler_arn",
            "ARN of the inference scheduler",
            required=True,
            lineage=build_lineage("anomaly_predictions", "scheduler_arn"),
        ),
        text_column(
            "scheduler_name",
            "Name of the inference scheduler",
            lineage=build_lineage("anomaly_predictions", "scheduler_name"),
        ),
        timestamp_column(
            "first_time", "Timestamp of the first point", required=True, lineage=_PREDICTION_TIME
        ),
        timestamp_column("last_time", "Timestamp of the last point", required=True, lineage=_PREDICTION_TIME),
        text_column(
            "state", "State of the points: anomalous, normal or off", required=True, lineage=_PREDICTION_STATE
        ),
        count_column("points", "Number of points", "points", lineage=_PREDICTION_TIME),
        Column(
            "model_version",
            pa.int64(),
            "Version of the model that made the predictions",
            "number",
            lineage=build_lineage("anomaly_predictions", "model_version"),
        ),
        Column(
            "usual_step_ms",
            pa.int64(),
            "Most frequent step between points of the scheduler on this day; null if there is only one point",
            "milliseconds",
            lineage=_PREDICTION_TIME,
        ),
        count_column(
            "usual_steps", "Number of times that the usual step occurs", "steps", lineage=_PREDICTION_TIME
        ),
        count_column(
            "scored_points",
            "Number of points with a score, for anomalous runs",
            "points",
            lineage=build_lineage("anomaly_predictions", "anomaly_score"),
        ),
        Column(
            "score_sum",
            pa.int64(),
            "Sum of the scores; null if no point has one",
            "billionths",
            lineage=build_lineage("anomaly_predictions", "anomaly_score"),
        ),
        number_column(
            "peak_score",
            "Highest score; null if no point has one",
            "0 to 1",
            lineage=build_lineage("anomaly_predictions", "anomaly_score"),
        ),
        count_column(
            "diagnosed_points",
            "Number of points with sensor contributions, for anomalous runs",
            "points",
            lineage=_CONTRIBUTIONS,
        ),
        text_column(
            "contribution_sums",
            "JSON object of summed contributions by sensor, in billionths; null if there are none",
            encoding="plain",
            lineage=_CONTRIBUTIONS,
        ),
        RECORDED_AT,
    ),
)

_FRAGMENT_TIMES = build_lineage("anomaly_fragments", "first_time", "last_time", "usual_step_ms")
_FRAGMENT_SUMS = build_lineage("anomaly_fragments", "contribution_sums", "diagnosed_points")

ANOMALY_EVENTS = Table(
    name="anomaly_events",
    meaning="Anomaly events: maximal runs of consecutive anomalous points, joined across midnight.",
    grain="scheduler and anomaly event",
    key=("event_id",),
    columns=(
        text_column(
            "event_id",
            "Hash of scheduler ARN and start time",
            required=True,
            encoding="plain",
            lineage=build_lineage("anomaly_fragments", "scheduler_arn", "first_time"),
        ),
        text_column(
            "scheduler_arn",
            "ARN of the inference scheduler",
            required=True,
            lineage=build_lineage("anomaly_fragments", "scheduler_arn"),
        ),
        text_column(
            "scheduler_name",
            "Name of the inference scheduler",
            lineage=build_lineage("anomaly_fragments", "scheduler_name"),
        ),
        timestamp_column(
            "start_time",
            "Timestamp of the first anomalous point",
            required=True,
            lineage=build_lineage("anomaly_fragments", "first_time"),
        ),
        timestamp_column(
            "end_time",
            "Timestamp of the last anomalous point plus its step",
            required=True,
            lineage=_FRAGMENT_TIMES,
        ),
        number_column(
            "duration_seconds", "Time from start to end", "seconds", required=True, lineage=_FRAGMENT_TIMES
        ),
        count_column(
            "points",
            "Number of anomalous points",
            "points",
            lineage=build_lineage("anomaly_fragments", "points"),
        ),
        number_column(
            "peak_score",
            "Highest anomaly score; null if the result format lacks scores",
            "0 to 1",
            lineage=build_lineage("anomaly_fragments", "peak_score"),
        ),
        number_column(
            "mean_score",
            "Mean anomaly score; null if the result format lacks scores",
            "0 to 1",
            lineage=build_lineage("anomaly_fragments", "score_sum", "scored_points"),
        ),
        count_column(
            "sensors",
            "Number of sensors that the model reports; an even share is 1 divided by this number",
            "sensors",
            lineage=build_lineage("anomaly_fragments", "contribution_sums"),
        ),
        text_column(
            "top_sensors",
            "JSON list of the largest contributors with diagnostic_name, component, sensor, contribution"
            " (mean over the event) and times_even_share (multiple of an even share); null if the result"
            " format lacks contributions",
            encoding="plain",
            lineage=_FRAGMENT_SUMS,
        ),
        Column(
            "model_version",
            pa.int64(),
            "Version of the model at the start of the event",
            "number",
            lineage=build_lineage("anomaly_fragments", "model_version"),
        ),
        text_column(
            "state",
            "closed if a normal point or a stopped machine ended the event; open if it reaches the newest"
            " data; cut if data is missing after it",
            required=True,
            lineage=build_lineage("anomaly_fragments", "state", "first_time", "last_time", "usual_step_ms"),
        ),
        Column(
            "began_after_gap",
            pa.bool_(),
            "True if data is missing before the event, so that it may have begun earlier",
            lineage=_FRAGMENT_TIMES,
        ),
        RECORDED_AT,
    ),
)
