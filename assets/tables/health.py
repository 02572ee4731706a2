"""Declarations of the tables about the health of executions and of equipment."""

import pyarrow as pa

from assets.tables.declared import (
    RECORDED_AT,
    Column,
    Table,
    build_lineage,
    count_column,
    number_column,
    text_column,
)

_STATUS = build_lineage("inference_executions", "status", "data_start_time")
_STATUS_WITH_REASON = build_lineage("inference_executions", "status", "failed_reason")
_COVERAGE = build_lineage("extraction_coverage", "complete_through")
_GRID = build_lineage(
    "inference_schedulers", "valid_from", "status", "data_upload_frequency", "data_delay_offset_minutes"
)
_LATENESS = build_lineage("inference_executions", "data_end_time") + build_lineage(
    "result_objects", "last_modified"
)

EXECUTION_HEALTH = Table(
    name="execution_health",
    meaning="Outcome of every execution that was expected on a day by the scheduler's frequency.",
    grain="scheduler and day",
    key=("scheduler_arn",),
    partitioned=True,
    columns=(
        text_column(
            "scheduler_arn",
            "ARN of the inference scheduler",
            required=True,
            lineage=build_lineage("inference_executions", "scheduler_arn")
            + build_lineage("extraction_coverage", "scheduler_arn")
            + build_lineage("inference_schedulers", "scheduler_arn"),
        ),
        text_column(
            "scheduler_name",
            "Name of the inference scheduler",
            lineage=build_lineage("inference_executions", "scheduler_name")
            + build_lineage("extraction_coverage", "scheduler_name")
            + build_lineage("inference_schedulers", "scheduler_name"),
        ),
        count_column(
            "expected",
            "Number of slots, one per data window of the scheduler's frequency; sum of the next 10 columns",
            "slots",
            lineage=_GRID + _STATUS,
        ),
        count_column("succeeded", "Executions with a result", "slots", lineage=_STATUS),
        count_column(
            "failed_missing_input",
            "Executions that failed because input data was missing",
            "slots",
            lineage=_STATUS_WITH_REASON,
        ),
        count_column(
            "failed_other",
            "Executions that failed for any other reason",
            "slots",
            lineage=_STATUS_WITH_REASON,
        ),
        count_column(
            "in_progress",
            "Running executions on a day that is not settled",
            "slots",
            lineage=_STATUS + _COVERAGE,
        ),
        count_column(
            "stuck",
            "Executions with the status IN_PROGRESS on a settled day",
            "slots",
            lineage=_STATUS + _COVERAGE,
        ),
        count_column(
            "missing",
            "Slots proven to have no execution while the scheduler was running",
            "slots",
            lineage=_GRID + _STATUS + _COVERAGE,
        ),
        count_column(
            "not_running",
            "Slots proven to have no execution because the scheduler was stopped (inferred)",
            "slots",
            lineage=_GRID + _STATUS + _COVERAGE,
        ),
        count_column(
            "not_extracted",
            "Slots that no run has extracted yet",
            "slots",
            lineage=_GRID + _STATUS + _COVERAGE,
        ),
        count_column("after_service_end", "Slots after the end of the service", "slots", lineage=_GRID),
        count_column(
            "unknown",
            "Slots for which no source can prove whether there was an execution",
            "slots",
            lineage=_GRID + _STATUS + _COVERAGE,
        ),
        number_column(
            "coverage_ratio",
            "Share of the expected slots that have an outcome; null if none is expected",
            "0 to 1",
            lineage=_GRID + _STATUS + _COVERAGE,
        ),
        number_column(
            "lateness_median_minutes",
            "Median time from the end of a data window to its result",
            "minutes",
            lineage=_LATENESS,
        ),
        number_column(
            "lateness_max_minutes",
            "Longest time from the end of a data window to its result",
            "minutes",
            lineage=_LATENESS,
        ),
        number_column(
            "longest_silence_minutes",
            "Duration of the longest sequence of slots without a result",
            "minutes",
            lineage=_GRID + _STATUS,
        ),
        text_column(
            "failures_by_cause",
            "JSON list, most frequent first, with cause (normalized), component, missing_input, count and"
            " ranges (start and end of consecutive failures); null if no execution failed",
            encoding="plain",
            lineage=_STATUS_WITH_REASON + build_lineage("inference_executions", "data_start_time"),
        ),
        RECORDED_AT,
    ),
)

_SCHEDULERS = build_lineage("execution_health", "scheduler_arn") + build_lineage(
    "anomaly_fragments", "scheduler_arn"
)
_FRAGMENTS = build_lineage("anomaly_fragments", "state", "first_time", "last_time", "usual_step_ms")

EQUIPMENT_HEALTH = Table(
    name="equipment_health",
    meaning="Running, anomalous and unknown time of each piece of equipment; missing data counts as unknown.",
    grain="piece of equipment and day",
    key=("equipment",),
    partitioned=True,
    columns=(
        text_column(
            "equipment",
            "Name from equipment.toml, or the scheduler ARN if equipment.toml does not name it",
            "name",
            required=True,
            lineage=_SCHEDULERS,
        ),
        text_column("site", "Site from equipment.toml; null if it is not set", "site"),
        text_column(
            "criticality", "low, medium or high, from equipment.toml; null if it is not set", "criticality"
        ),
        text_column(
            "scheduler_arns",
            "ARNs of the schedulers that monitor the equipment, comma-separated",
            lineage=_SCHEDULERS,
        ),
        number_column(
            "running_minutes",
            "Time with points, without the time that the machine was off",
            "minutes",
            required=True,
            lineage=_FRAGMENTS,
        ),
        number_column(
            "off_minutes", "Time that the machine was off", "minutes", required=True, lineage=_FRAGMENTS
        ),
        number_column(
            "unknown_minutes",
            "Elapsed time of the day without points",
            "minutes",
            required=True,
            lineage=_FRAGMENTS,
        ),
        number_column(
            "anomalous_minutes",
            "Running time with anomalous points",
            "minutes",
            required=True,
            lineage=_FRAGMENTS,
        ),
        number_column(
            "anomalous_share",
            "Anomalous share of the running time; null if the machine did not run",
            "0 to 1",
            lineage=_FRAGMENTS,
        ),
        count_column("events", "Number of events that began on this day", "events", lineage=_FRAGMENTS),
        number_column(
            "mean_event_minutes",
            "Mean duration of the events that began on this day; null if there are none",
            "minutes",
            lineage=_FRAGMENTS,
        ),
        count_column(
            "anomalous_hours_7d",
            "Number of clock hours with an anomaly in the seven days that end with this day",
            "hours",
            lineage=_FRAGMENTS,
        ),
        number_column(
            "anomalous_hours_7d_share",
            "Anomalous clock hours as a share of all hours of these seven days",
            "0 to 1",
            lineage=_FRAGMENTS,
        ),
        number_column(
            "events_per_day_28d",
            "Mean number of events per day in the 28 days before this day; null if they have no data",
            "events a day",
            lineage=_FRAGMENTS,
        ),
        number_column(
            "anomalous_share_28d",
            "Anomalous share of the running time in the 28 days before this day; null if they have no data",
            "0 to 1",
            lineage=_FRAGMENTS,
        ),
        Column(
            "model_version",
            pa.int64(),
            "Latest version of the model on this day",
            "number",
            lineage=build_lineage("anomaly_fragments", "model_version"),
        ),
        Column(
            "model_switched",
            pa.bool_(),
            "True if the model version changed on this day",
            lineage=build_lineage("anomaly_fragments", "model_version"),
        ),
        text_column(
            "top_sensors",
            "JSON list of the largest contributors on this day, in the format of anomaly_events; null if"
            " there are none",
            encoding="plain",
            lineage=build_lineage("anomaly_fragments", "contribution_sums", "diagnosed_points"),
        ),
        RECORDED_AT,
    ),
)
