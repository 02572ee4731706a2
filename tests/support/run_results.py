"""Reads what extraction runs recorded and reported; builds the options of runs."""

from typing import Any

import dagster as dg

from assets.framework.metadata import read_metadata
from assets.tables import INFERENCE_EXECUTIONS
from resources.lake.lake import Lake

LIST_EXECUTIONS = "ListInferenceExecutions"
LIST_SCHEDULERS = "ListInferenceSchedulers"


def read_rows(lake: Lake) -> dict[tuple[str, object], dict[str, object]]:
    """Return all executions of a lake by primary key, which must be unique."""
    rows = [
        row
        for day in lake.days(INFERENCE_EXECUTIONS)
        for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist()
    ]
    by_key = {(row["scheduler_arn"], row["data_start_time"]): row for row in rows}
    assert len(by_key) == len(rows)
    return by_key


def read_output_metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return the metadata of a successful extraction."""
    output = next(
        event
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT" and event.step_key == "inference_executions"
    )
    return read_metadata(output.step_output_data.metadata)


def read_failure_metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return the metadata of the first step that failed."""
    return read_metadata(_get_failure(result).metadata)


def get_failure_message(result: dg.ExecuteInProcessResult) -> str:
    """Return the message of the first step that failed."""
    return str(_get_failure(result).description)


def _get_failure(result: dg.ExecuteInProcessResult) -> Any:
    event = next(event for event in result.all_events if event.is_step_failure)
    assert event.step_failure_data.user_failure_data is not None, event
    return event.step_failure_data.user_failure_data


def build_options(**config: Any) -> dict[str, Any]:
    """Return the arguments of a run with a config of the extraction."""
    return {"run_config": {"ops": {"inference_executions": {"config": config}}}}


def build_resume_options(run_id: str) -> dict[str, Any]:
    """Return the arguments of a run that resumes another."""
    parents = dict.fromkeys(("dagster/parent_run_id", "dagster/root_run_id"), run_id)
    return {"tags": {"dagster/is_resume_retry": "true"} | parents}
