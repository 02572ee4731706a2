"""Declaration of the table that stores the state of notifications."""

from assets.tables.declared import (
    RECORDED_AT,
    Table,
    build_lineage,
    count_column,
    text_column,
    timestamp_column,
)

EVENT_NOTIFICATIONS = Table(
    name="event_notifications",
    meaning="Notification state of anomaly events; it prevents duplicate notifications.",
    grain="anomaly event for which a notification was sent",
    key=("event_id",),
    columns=(
        text_column(
            "event_id",
            "ID of the event at its first notification",
            required=True,
            encoding="plain",
            lineage=build_lineage("anomaly_events", "event_id"),
        ),
        text_column(
            "current_event_id",
            "ID of the event at its last notification; it differs if late data moved the start;"
            " null if the event no longer exists",
            encoding="plain",
            lineage=build_lineage("anomaly_events", "event_id"),
        ),
        text_column(
            "scheduler_arn",
            "ARN of the inference scheduler",
            required=True,
            lineage=build_lineage("anomaly_events", "scheduler_arn"),
        ),
        text_column(
            "scheduler_name",
            "Name of the inference scheduler",
            lineage=build_lineage("anomaly_events", "scheduler_name"),
        ),
        timestamp_column(
            "start_time",
            "Start of the event in the last notification",
            required=True,
            lineage=build_lineage("anomaly_events", "start_time"),
        ),
        timestamp_column(
            "end_time",
            "End of the event in the last notification",
            required=True,
            lineage=build_lineage("anomaly_events", "end_time"),
        ),
        text_column(
            "state",
            "State in the last notification: open, closed, cut, merged (into another event) or gone"
            " (late data removed the event)",
            required=True,
            lineage=build_lineage("anomaly_events", "state"),
        ),
        text_column(
            "merged_into",
            "event_id, in this table, of the event that this event was merged into",
            encoding="plain",
        ),
        timestamp_column("first_notified_at", "Time of the first notification", required=True),
        timestamp_column(
            "end_notified_at", "Time of the notification that the event ended; null if none was sent"
        ),
        count_column("changes", "Number of changes of the event since the first notification", "changes"),
        timestamp_column("last_notified_at", "Time of the last notification of any kind", required=True),
        RECORDED_AT,
    ),
)
