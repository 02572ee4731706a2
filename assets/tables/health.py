"""Declarations of the health tables, anomaly events and event notifications."""

import pyarrow as pa

from assets.tables.declared import RECORDED_AT, Column, Table, count, instant, number, text

_SCHEDULER = (
    text(
        "scheduler_arn",
        "ARN of the inference scheduler",
        "inference_executions.scheduler_arn",
        required=True,
    ),
    text("scheduler_name", "name of the inference scheduler", "inference_executions.scheduler_name"),
)

ANOMALY_FRAGMENTS = Table(
    name="anomaly_fragments",
    meaning="The points of a day, run by run: all that events and running times are made of.",
    grain="one run of like points of one scheduler, none farther from the next than the usual step",
    key=("scheduler_arn", "first_time"),
    partitioned=True,
    columns=(
        *_SCHEDULER,
        instant("first_time", "first point of the run", "anomaly_predictions.timestamp", required=True),
        instant("last_time", "last point of the run", "anomaly_predictions.timestamp", required=True),
        text("state", "anomalous, normal or off (the machine was)", required=True),
        count("points", "points in the run", "points"),
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
        count("usual_steps", "how often that distance was found", "steps"),
        count("scored_points", "of an anomalous run: points with a score", "points"),
        Column("score_sum", pa.int64(), "sum of their scores; null: none", "billionths"),
        number(
            "peak_score", "highest of their scores; null: none", "0 to 1", "anomaly_predictions.anomaly_score"
        ),
        count("diagnosed_points", "of an anomalous run: points with contributions of sensors", "points"),
        text(
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
        text("event_id", "hash of scheduler and start", required=True, encoding="plain"),
        *_SCHEDULER,
        instant("start_time", "first anomalous point", "anomaly_predictions.timestamp", required=True),
        instant("end_time", "last anomalous point and its step: from here on it is over", required=True),
        number("duration_seconds", "from start to end", "seconds", required=True),
        count("points", "anomalous points", "points"),
        number(
            "peak_score",
            "highest anomaly score; null: the format had none",
            "0 to 1",
            "anomaly_predictions.anomaly_score",
        ),
        number("mean_score", "mean anomaly score; null: the format had none", "0 to 1"),
        count("sensors", "sensors that the model reports; 1 divided by it is an even share", "sensors"),
        text(
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
        text(
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
        count(
            "expected",
            "slots of the grid, one for each window of that frequency: the sum of the reasons that follow",
            "slots",
        ),
        count("succeeded", "executions with a result", "slots"),
        count("failed_missing_input", "failed: the plant sent no data", "slots"),
        count("failed_other", "failed for any other reason", "slots"),
        count("in_progress", "still running, and the day is not settled", "slots"),
        count("stuck", "IN_PROGRESS though the day is settled", "slots"),
        count("missing", "proven not to be there, between others that are", "slots"),
        count("not_running", "proven not to be there: the scheduler stood still (inferred)", "slots"),
        count("not_extracted", "nobody asked yet", "slots"),
        count("after_service_end", "after the end of the service", "slots"),
        count("unknown", "no source can prove whether it was there", "slots"),
        number(
            "coverage_ratio",
            "share of the expected slots that have an outcome; null: none expected",
            "0 to 1",
        ),
        number("lateness_median_minutes", "end of the window to its result, median", "minutes"),
        number("lateness_max_minutes", "end of the window to its result, at most", "minutes"),
        number("longest_silence_minutes", "longest stretch of slots without a result", "minutes"),
        text(
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
        text("equipment", "name in equipment.toml, else the ARN of its scheduler", "name", required=True),
        text("site", "where it stands, by equipment.toml; null: not said there", "site"),
        text("criticality", "low, medium or high, by equipment.toml; null: not said there", "criticality"),
        text("scheduler_arns", "schedulers that watched it, comma-separated"),
        number("running_minutes", "time with points, machine off excluded", "minutes", required=True),
        number("off_minutes", "time with the machine off", "minutes", required=True),
        number("unknown_minutes", "time of the day so far without points", "minutes", required=True),
        number("anomalous_minutes", "running time with anomalous points", "minutes", required=True),
        number("anomalous_share", "anomalous share of the running time; null: it did not run", "0 to 1"),
        count("events", "events that began on this day", "events"),
        number("mean_event_minutes", "mean duration of those events; null: none", "minutes"),
        count("anomalous_hours_7d", "clock hours with an anomaly, in the seven days up to this one", "hours"),
        number("anomalous_hours_7d_share", "of the hours of those seven days", "0 to 1"),
        number(
            "events_per_day_28d", "mean events a day in the four weeks before; null: no data", "events a day"
        ),
        number(
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
        text(
            "top_sensors",
            "JSON list of the largest contributors of the day's events, as in anomaly_events; null: none",
            encoding="plain",
        ),
        RECORDED_AT,
    ),
)

TOLD_EVENTS = Table(
    name="told_events",
    meaning="What people were told of anomaly events; what stands here is not told again.",
    grain="one anomaly event that people were told of",
    key=("event_id",),
    columns=(
        text("event_id", "id of the event when it was told first", required=True, encoding="plain"),
        text(
            "current_event_id",
            "its id when it was told last: late data may have moved its start; null: it is gone",
            encoding="plain",
        ),
        *_SCHEDULER,
        instant("start_time", "its start, as told last", required=True),
        instant("end_time", "its end, as told last", required=True),
        text(
            "state",
            "what was told last: open, closed, cut; merged: into another one; gone: late data took it back",
            required=True,
        ),
        text("merged_into", "event_id, in this table, of the one it became part of", encoding="plain"),
        instant("told_at", "when it was told as new", required=True),
        instant("told_over_at", "when it was told as over; null: not yet"),
        count("changes", "how often a change of it was told since", "changes"),
        instant("last_told_at", "when anything was told of it last", required=True),
        RECORDED_AT,
    ),
)
