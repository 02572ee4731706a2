"""Rules on data that was read but rejected, not recognized or not readable.

These checks warn: rejected and unrecognized data is kept in its original form.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from assets.checks.result import CheckOutcome, build_status_commands, summarize
from assets.executions import archive_index
from assets.executions.archive_index import ArchiveRecord
from assets.tables import PARTITION
from resources.results.base import ObjectState

_UNRECOGNIZED_SQL = "ledger sql 'SELECT unrecognized, count(*) FROM inference_executions GROUP BY 1'"
_REJECTED_SUMMARIES_SQL = "ledger sql 'SELECT source, position, reason, raw FROM rejected_executions'"
_UNAVAILABLE_STATES = tuple(state.value for state in ObjectState if state.is_unavailable)
_UNREADABLE_JSON = ["?"]

RESULT_COLUMNS = [
    "scheduler_arn",
    "data_start_time",
    "data_end_time",
    "status",
    "result_s3_bucket",
    "result_s3_key",
]
"""The columns of `inference_executions` that `count_unread_results` reads."""


def evaluate_no_unrecognized_fields(unrecognized: pa.Table) -> CheckOutcome:
    """Check the column `unrecognized`: each field of a response has its own column."""
    texts = pc.value_counts(unrecognized["unrecognized"].drop_null()).to_pylist()
    field_rows: Counter[str] = Counter()
    for entry in texts:  # far fewer than rows: most rows share the same values
        for name in _list_fields(entry["values"]):
            field_rows[name] += entry["counts"]
    message = f"{unrecognized.num_rows} executions examined: each field has a column."
    if not unrecognized.num_rows:
        message = "No execution of these days is recorded, so no field was examined."
    if field_rows:
        message = (
            f"{len(field_rows)} fields have no column: {summarize(field_rows)}. The column `unrecognized`"
            " keeps their values. Update lookout-ledger; a newer version may support them."
        )
    return CheckOutcome(
        not field_rows,
        message,
        {"rows": sum(entry["counts"] for entry in texts), "fields": len(field_rows)},
        [{"field": name, "rows": count} for name, count in field_rows.most_common()],
        [_UNRECOGNIZED_SQL] if field_rows else [],
        problem_ids=list(field_rows),
    )


def evaluate_archive_files_complete(files: Sequence[ArchiveRecord]) -> CheckOutcome:
    """Check the saved responses that still exist: each is readable and has all its pages."""
    broken = [file.uri for file in files if file.error]
    incomplete = archive_index.find_files_with_missing_pages(files)
    message = f"{len(files)} saved responses examined: all are readable and complete."
    if not files:
        message = "No saved response was read."
    return CheckOutcome(
        not broken and not incomplete,
        "; ".join(archive_index.describe_problems(files)) or message,
        {"files": len(files), "unreadable": len(broken), "incomplete": len(incomplete)},
        problem_ids=sorted({*broken, *(file.uri for file in incomplete)}),
    )


def evaluate_no_rejected_summaries(rejected: pa.Table) -> CheckOutcome:
    """Check that `rejected_executions` (`reason`) is empty."""
    reasons = sorted(pc.value_counts(rejected["reason"]).to_pylist(), key=lambda entry: -entry["counts"])
    message = "No execution summary of the responses that were read was rejected."
    if reasons:
        message = (
            f"{rejected.num_rows} execution summaries were rejected:"
            f" {summarize(entry['values'] for entry in reasons)}. The table rejected_executions keeps them."
        )
    return CheckOutcome(
        rejected.num_rows == 0,
        message,
        {"rejected": rejected.num_rows},
        [{"reason": entry["values"], "summaries": entry["counts"]} for entry in reasons],
        [_REJECTED_SUMMARIES_SQL] if reasons else [],
        problem_ids=[entry["values"] for entry in reasons],
    )


def count_unread_results(executions: pa.Table, objects: pa.Table, due: datetime) -> dict[date, int]:
    """Count, by day, the executions with a result object that has no row in `objects`.

    Args:
        executions: `inference_executions` (`RESULT_COLUMNS`, and the day).
        objects: `result_objects` (`scheduler_arn`, `data_start_time`).
        due: executions that end later are ignored; the next runs read them.
    """
    is_success = pc.equal(pc.fill_null(executions["status"], "SUCCESS"), "SUCCESS")
    has_location = pc.and_(
        pc.is_valid(executions["result_s3_bucket"]), pc.is_valid(executions["result_s3_key"])
    )
    ends = pc.coalesce(executions["data_end_time"], executions["data_start_time"])
    is_due = pc.less_equal(ends, pa.scalar(due, ends.type))
    keys = ["scheduler_arn", "data_start_time"]
    results = executions.filter(pc.and_(pc.and_(is_success, has_location), is_due)).select([*keys, PARTITION])
    unread = results.join(objects.select(keys), keys, join_type="left anti")
    return {row["values"]: row["counts"] for row in pc.value_counts(unread[PARTITION]).to_pylist()}


def evaluate_result_objects_read(objects: pa.Table, unread_by_day: Mapping[date, int]) -> CheckOutcome:
    """Check that each result object was read.

    Args:
        objects: `result_objects` (`scheduler_name`, `state`, `error`, and the day); other columns are shown.
        unread_by_day: the number of result objects without a row, for days with any.
    """
    states = Counter(objects["state"].to_pylist())
    unavailable = objects.filter(pc.is_in(objects["state"], pa.array(_UNAVAILABLE_STATES)))
    not_read, days = sum(unread_by_day.values()), sorted(unread_by_day)
    total = objects.num_rows + not_read
    problems = [f"{states[state]} {state}" for state in _UNAVAILABLE_STATES if states[state]]
    commands = list(build_status_commands(set(unavailable[PARTITION].to_pylist())))
    problem_ids = {f"{row['scheduler_name']}: {row['state']}" for row in unavailable.to_pylist()}
    if not_read:
        problems.append(f"{not_read} not read yet, from {days[0]} to {days[-1]}")
        span = f"--from {days[0]} --to {days[-1]}"
        commands.append(f"ledger backfill {span} --only results,anomalies,health,report")
        problem_ids.add("not read yet")
    message = f"{total} result objects examined: all were read."
    if problems:
        count = unavailable.num_rows + not_read
        message = f"{count} of {total} result objects are not read: {', '.join(problems)}."
    elif not total:
        message = "No execution of these days names a result object."
    return CheckOutcome(
        not problems,
        message,
        {"objects": total, "not_read": not_read} | {state: states[state] for state in _UNAVAILABLE_STATES},
        unavailable.to_pylist(),
        commands,
        problem_ids=sorted(problem_ids),
    )


def evaluate_no_rejected_result_lines(rejected: pa.Table, objects_read: int) -> CheckOutcome:
    """Check that no line of the result objects that were read was rejected.

    Args:
        rejected: `rejected_results` (`result_s3_key`, `line_number`, `reason`, and the day).
        objects_read: the number of result objects that were read.
    """
    reasons = sorted(set(rejected["reason"].to_pylist()))
    message = f"{objects_read} result objects were read: no line was rejected."
    if not objects_read:
        message = "No result object of these days was read, so no line was examined."
    if rejected.num_rows:
        message = (
            f"{rejected.num_rows} lines of result objects were rejected: {summarize(reasons)}."
            " The table rejected_results keeps them."
        )
    return CheckOutcome(
        not rejected.num_rows,
        message,
        {"rejected": rejected.num_rows, "objects_read": objects_read},
        rejected.slice(0, 20).to_pylist(),
        ["ledger sql 'SELECT * FROM rejected_results'"] if reasons else [],
        problem_ids=reasons,
    )


def _list_fields(text: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return _UNREADABLE_JSON
    return list(value) if isinstance(value, dict) else _UNREADABLE_JSON
