"""Names of the metadata and tags that this project adds to Dagster's events.

Each name carries a prefix, so that it cannot collide with Dagster's own keys or those of other tools.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

from resources.redaction import redact_values

PREFIX = "ledger/"
HIDDEN_PREFIX = f"{HIDDEN_TAG_PREFIX}{PREFIX}"
"""Prefix of tags that only this project reads; the Dagster UI does not show them."""

INTERACTIVE_TAG = f"{HIDDEN_PREFIX}interactive"
"""Tag of runs that a person waits for: they fail at once instead of retrying an unreachable service."""

FAILED_PARTITIONS = "failed_partitions"
FAILED_SOURCES = "failed_sources"
TRACEBACK = "traceback"
_RESERVED = ("dagster/", "__")

MEANINGS: dict[str, dict[str, str]] = {
    "every table": {
        "changed": "Whether the run had to write the file.",
        "path": "Path or URI of the file.",
        "preview": "Ten rows, spread evenly over the file.",
        "docs": "Section of the table reference.",
        "schema_version": "Version of the table declaration.",
        "files": "Pattern of the files of the table.",
        "seconds": "Duration of the update.",
    },
    "inference_executions": {
        "success": "Executions with status SUCCESS.",
        "failed": "Executions with status FAILED.",
        "in_progress": "Executions with status IN_PROGRESS.",
        "other_status": "Executions with another status, or none.",
        "rows_changed": "New or changed executions.",
        "run_calls": "API calls of the run so far.",
        "run_throttled": "Throttled API calls of the run so far.",
        "files_read": "Saved responses that the run read.",
        "schedulers_answered": "Schedulers that answered the run completely.",
        "days_recorded": "Days that the run recorded.",
        "days_changed": "Days whose file the run changed.",
        "calls": "API calls of the run, including retries.",
        "throttled": "API calls of the run that were throttled.",
    },
    "extraction_coverage, inference_schedulers": {"schedulers": "Schedulers with a row."},
    "anomaly_predictions": {
        "objects": "Result objects that executions name.",
        "objects_read": "Result objects whose rows are in the lake.",
        "lines": "Result lines.",
        "anomalous": "Result lines with prediction 1.",
        "contributions": "Sensor contributions.",
        "rejected": "Rejected result lines.",
        "megabytes": "Megabytes that the run fetched.",
    },
    "anomaly_fragments": {
        "points_normal": "Normal points.",
        "points_anomalous": "Anomalous points.",
        "points_off": "Points of machines that were off.",
    },
    "anomaly_events": {
        "fragments": "Fragments that were joined.",
        "closed": "Events that ended.",
        "open": "Events at the end of the known data.",
        "cut": "Events that end with a gap.",
        "anomalous_minutes": "Minutes of all events.",
    },
    "anomaly_report": {
        "page": "Path or URI of the report.",
        "pages": "Reports that the run wrote.",
        "bytes": "Size of the report.",
        "machines": "Machines on the report.",
        "machines_that_need_attention": "Machines with an alert.",
        "events": "Anomaly events on the report.",
        "ongoing_events": "Anomaly events that are still open.",
        "anomalous_share_of_running_time": "Anomalous divided by running time of the fleet.",
        "share_of_executions_with_result": "Executions with a result, divided by expected ones.",
        "score_charts": "Thumbnail of the score charts.",
    },
    "failed runs": {
        FAILED_PARTITIONS: "Failed partitions, with the reason of each.",
        FAILED_SOURCES: "Failed sources and schedulers, with the reason of each.",
        TRACEBACK: "Traceback of an unexpected error, which is a defect of this software.",
    },
}
"""Meanings of the names, for the reference; counts that are named after a column or state are not listed."""


def build_metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the prefix to each name, except to the names that Dagster defines, and redact credentials."""
    return {
        name if name.startswith((PREFIX, *_RESERVED)) else f"{PREFIX}{name}": (
            redact_values(value) if isinstance(value, str | dict | list) else value
        )
        for name, value in values.items()
    }


def read_metadata(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    """Return the plain values that `build_metadata` added, by their names without the prefix."""
    return {
        name.removeprefix(PREFIX): entry.value for name, entry in metadata.items() if name.startswith(PREFIX)
    }


def read_reasons(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> dict[str, str]:
    """Return what failed and why: the entries of `FAILED_PARTITIONS` or `FAILED_SOURCES`."""
    reasons = read_metadata(metadata).get(name)
    return {str(key): str(reason) for key, reason in reasons.items()} if isinstance(reasons, Mapping) else {}
