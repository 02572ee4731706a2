"""Declarations of the health tables, anomaly events and event notifications."""

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

_SCHEDULER = (
    text_column(
        "scheduler_arn",
        "ARN of the inference scheduler",
        "inference_executions.scheduler_arn",
        required=True,
    ),
    text_column("scheduler_name", "name of the inference scheduler", "inference_executions.scheduler_name"),
)

ANOMALY_FRAGMENTS = Table(
    name="anomaly_fragments",
    meaning="The points of a day, run by run: all that events and running times are made of.",
    grain="one run of like points of one scheduler, none farther from the next than the usual step",
    key=("scheduler_arn", "first_time"),
    partitioned=True,
    columns=(
        *_SCHEDULER,
        timestamp_column(
            "first_time", "first point of the run", "anomaly_predictions.timestamp", required=True
        ),
        timestamp_column(
            "last_time", "last point of the run", "anomaly_predictions.timestamp", required=True
        ),
        text_column("state", "anomalous, normal or off (the machine was)", required=True),
        count_column("points", "points in the run", "points"),
        Column(
            "model_version",
            pa.int64(),
            "version of the model that ran",
            "number",
            "anomaly_predictions.model_version",
        ),
        Column(
            "usual_step_ms",
            pa.int64(),
            "most frequent distance of two points of this scheduler on this day; null: one point only",
            "milliseconds",
        ),
        count_column("usual_steps", "how often that distance was found", "steps"),
        count_column("scored_points", "of an anomalous run: points with a score", "points"),
        Column("score_sum", pa.int64(), "sum of their scores; null: none", "billionths"),
        number_column(
            "peak_score", "highest of their scores; null: none", "0 to 1", "anomaly_predictions.anomaly_score"
        ),
        count_column(
            "diagnosed_points", "of an anomalous run: points with contributions of sensors", "points"
        ),
        text_column(
            "contribution_sums",
            "JSON of the sum of contributions by sensor, in billionths; null: none",
            encoding="plain",
        ),
        RECORDED_AT,
    ),
)

ANOMALY_EVENTS = Table(
    name="anomaly_events",
    meaning="Stretches of anomalous points, joined across midnight.",
    grain="one stretch of anomalous points of one scheduler",
    key=("event_id",),
    columns=(
        text_column("event_id", "hash of scheduler and start", required=True, encoding="plain"),
        *_SCHEDULER,
        timestamp_column(
            "start_time", "first anomalous point", "anomaly_predictions.timestamp", required=True
        ),
        timestamp_column(
            "end_time", "last anomalous point and its step: from here on it is over", required=True
        ),
        number_column("duration_seconds", "from start to end", "seconds", required=True),
        count_column("points", "anomalous points", "points"),
        number_column(
            "peak_score",
            "highest anomaly score; null: the format had none",
            "0 to 1",
            "anomaly_predictions.anomaly_score",
        ),
        number_column("mean_score", "mean anomaly score; null: the format had none", "0 to 1"),
        count_column(
            "sensors", "sensors that the model reports; 1 divided by it is an even share", "sensors"
        ),
        text_column(
            "top_sensors",
            "JSON list of the largest contributors: diagnostic_name, component, sensor, contribution (mean"
            " over the event), times_even_share (of an even share); null: the format had none",
            encoding="plain",
        ),
        Column(
            "model_version",
            pa.int64(),
            "version of the model that ran when it began",
            "number",
            "anomaly_predictions.model_version",
        ),
        text_column(
            "state",
            "closed: a normal point or a machine off ended it; open: it reaches the newest data;"
            " cut: data is missing after it",
            required=True,
        ),
        Column("began_after_gap", pa.bool_(), "data is missing before it: it may have begun earlier"),
        RECORDED_AT,
    ),
)

EXECUTION_HEALTH = Table(
    name="execution_health",
    meaning="What became of every execution that a scheduler's grid expected of a day.",
    grain="one scheduler on one day",
    key=("scheduler_arn",),
    partitioned=True,
    columns=(
        *_SCHEDULER,
        count_column(
            "expected",
            "slots of the grid, one for each window of that frequency: the sum of the reasons that follow",
            "slots",
        ),
        count_column("succeeded", "executions with a result", "slots"),
        count_column("failed_missing_input", "failed: the plant sent no data", "slots"),
        count_column("failed_other", "failed for any other reason", "slots"),
        count_column("in_progress", "still running, and the day is not settled", "slots"),
        count_column("stuck", "IN_PROGRESS though the day is settled", "slots"),
        count_column("missing", "proven not to be there, between others that are", "slots"),
        count_column("not_running", "proven not to be there: the scheduler stood still (inferred)", "slots"),
        count_column("not_extracted", "nobody asked yet", "slots"),
        count_column("after_service_end", "after the end of the service", "slots"),
        count_column("unknown", "no source can prove whether it was there", "slots"),
        number_column(
            "coverage_ratio",
            "share of the expected slots that have an outcome; null: none expected",
            "0 to 1",
        ),
        number_column("lateness_median_minutes", "end of the window to its result, median", "minutes"),
        number_column("lateness_max_minutes", "end of the window to its result, at most", "minutes"),
        number_column("longest_silence_minutes", "longest stretch of slots without a result", "minutes"),
        text_column(
            "failures_by_cause",
            "JSON list, most frequent first: cause (normalized), component, missing_input, count, ranges"
            " (start and end of each stretch of such failures); null: none failed",
            encoding="plain",
        ),
        RECORDED_AT,
    ),
)

EQUIPMENT_HEALTH = Table(
    name="equipment_health",
    meaning="How each machine did on a day; missing data is neither running nor healthy.",
    grain="one equipment on one day",
    key=("equipment",),
    partitioned=True,
    columns=(
        text_column(
            "equipment", "name in equipment.toml, else the ARN of its scheduler", "name", required=True
        ),
        text_column("site", "where it stands, by equipment.toml; null: not said there", "site"),
        text_column(
            "criticality", "low, medium or high, by equipment.toml; null: not said there", "criticality"
        ),
        text_column("scheduler_arns", "schedulers that watched it, comma-separated"),
        number_column("running_minutes", "time with points, machine off excluded", "minutes", required=True),
        number_column("off_minutes", "time with the machine off", "minutes", required=True),
        number_column("unknown_minutes", "time of the day so far without points", "minutes", required=True),
        number_column("anomalous_minutes", "running time with anomalous points", "minutes", required=True),
        number_column(
            "anomalous_share", "anomalous share of the running time; null: it did not run", "0 to 1"
        ),
        count_column("events", "events that began on this day", "events"),
        number_column("mean_event_minutes", "mean duration of those events; null: none", "minutes"),
        count_column(
            "anomalous_hours_7d", "clock hours with an anomaly, in the seven days up to this one", "hours"
        ),
        number_column("anomalous_hours_7d_share", "of the hours of those seven days", "0 to 1"),
        number_column(
            "events_per_day_28d", "mean events a day in the four weeks before; null: no data", "events a day"
        ),
        number_column(
            "anomalous_share_28d",
            "anomalous share of the running time in the four weeks before; null: no data",
            "0 to 1",
        ),
        Column(
            "model_version",
            pa.int64(),
            "latest version of the model that ran",
            "number",
            "anomaly_predictions.model_version",
        ),
        Column("model_switched", pa.bool_(), "the version changed on this day"),
        text_column(
            "top_sensors",
            "JSON list of the largest contributors of the day's events, as in anomaly_events; null: none",
            encoding="plain",
        ),
        RECORDED_AT,
    ),
)

EVENT_NOTIFICATIONS = Table(
    name="event_notifications",
    meaning="What people were told of anomaly events; what stands here is not told again.",
    grain="one anomaly event that people were told of",
    key=("event_id",),
    columns=(
        text_column("event_id", "id of the event when it was told first", required=True, encoding="plain"),
        text_column(
            "current_event_id",
            "its id when it was told last: late data may have moved its start; null: it is gone",
            encoding="plain",
        ),
        *_SCHEDULER,
        timestamp_column("start_time", "its start, as told last", required=True),
        timestamp_column("end_time", "its end, as told last", required=True),
        text_column(
            "state",
            "what was told last: open, closed, cut; merged: into another one; gone: late data took it back",
            required=True,
        ),
        text_column("merged_into", "event_id, in this table, of the one it became part of", encoding="plain"),
        timestamp_column("first_notified_at", "when it was told as new", required=True),
        timestamp_column("end_notified_at", "when it was told as over; null: not yet"),
        count_column("changes", "how often a change of it was told since", "changes"),
        timestamp_column("last_notified_at", "when anything was told of it last", required=True),
        RECORDED_AT,
    ),
)
