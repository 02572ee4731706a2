"""Rules on data that was read but rejected, not recognized or not readable.

These checks warn: rejected and unrecognized data is kept in its original form.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.checks.result import EXAMPLES, CheckOutcome, build_status_commands, summarize
from assets.executions import archive_index
from assets.executions.archive_index import ArchiveRecord
from assets.executions.statuses import have_results
from assets.tables import PARTITION
from resources.results.base import UNAVAILABLE_STATES

_UNRECOGNIZED_SQL = "ledger sql 'SELECT unrecognized, count(*) FROM inference_executions GROUP BY 1'"
_REJECTED_SUMMARIES_SQL = "ledger sql 'SELECT source, position, reason, raw FROM rejected_executions'"
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


def evaluate_no_unrecognized_fields(parts: Iterable[pa.Table]) -> CheckOutcome:
    """Check the column `unrecognized` of all parts: each field of a response has its own column."""
    texts, executions = Counter[str](), 0
    for rows in parts:  # far fewer texts than rows: most rows share the same values
        executions += rows.num_rows
        for entry in pc.value_counts(rows["unrecognized"].drop_null()).to_pylist():
            texts[entry["values"]] += entry["counts"]
    field_rows = Counter[str]()
    for text, count in texts.items():
        for name in _list_fields(text):
            field_rows[name] += count
    message = f"{executions} executions examined: each field has a column."
    if not executions:
        message = "No execution of these days is recorded, so no field was examined."
    if field_rows:
        message = (
            f"{len(field_rows)} fields have no column: {summarize(field_rows)}. The column `unrecognized`"
            " keeps their values. Update lookout-ledger; a newer version may support them."
        )
    return CheckOutcome(
        not field_rows,
        message,
        {"rows": texts.total(), "fields": len(field_rows)},
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


def count_unread_results(executions: pa.Table, objects: pa.Table, due: datetime) -> int:
    """Count the executions of a day or shard with a result object that has no row in `objects`.

    Args:
        executions: `inference_executions` (`RESULT_COLUMNS`).
        objects: `result_objects` (`scheduler_arn`, `data_start_time`).
        due: executions that end later are ignored; the next runs read them.
    """
    ends = pc.coalesce(executions["data_end_time"], executions["data_start_time"])
    is_due = pc.less_equal(ends, pa.scalar(due, ends.type))
    keys = ["scheduler_arn", "data_start_time"]
    results = executions.filter(pc.and_(have_results(executions), is_due)).select(keys)
    return int(results.join(objects.select(keys), keys, join_type="left anti").num_rows)


def evaluate_result_objects_read(parts: Iterable[tuple[date, pa.Table, int]]) -> CheckOutcome:
    """Check that each result object was read.

    Args:
        parts: for each day or shard: the day, its rows of `result_objects` (`scheduler_name`, `state` and
            `error`; other columns are shown), and the number of result objects without a row. One is in
            memory at a time.
    """
    states, unread_by_day, days_unavailable = Counter[str](), Counter[date](), set[date]()
    problem_ids, examples = set[str](), list[dict[str, Any]]()
    for day, objects, unread in parts:
        states.update({row["values"]: row["counts"] for row in objects["state"].value_counts().to_pylist()})
        unread_by_day += Counter({day: unread})
        unavailable = objects.filter(pc.is_in(objects["state"], pa.array(UNAVAILABLE_STATES)))
        for row in unavailable.group_by(["scheduler_name", "state"]).aggregate([]).to_pylist():
            problem_ids.add(f"{row['scheduler_name']}: {row['state']}")
            days_unavailable.add(day)
        shown = unavailable.slice(0, EXAMPLES - len(examples)).to_pylist()
        examples += [{**row, PARTITION: day} for row in shown]
    not_read, days = unread_by_day.total(), sorted(unread_by_day)
    total = states.total() + not_read
    problems = [f"{states[state]} {state}" for state in UNAVAILABLE_STATES if states[state]]
    commands = list(build_status_commands(days_unavailable))
    if not_read:
        problems.append(f"{not_read} not read yet, from {days[0]} to {days[-1]}")
        span = f"--from {days[0]} --to {days[-1]}"
        commands.append(f"ledger backfill {span} --only results,anomalies,health,report")
        problem_ids.add("not read yet")
    message = f"{total} result objects examined: all were read."
    if problems:
        count = sum(states[state] for state in UNAVAILABLE_STATES) + not_read
        message = f"{count} of {total} result objects are not read: {', '.join(problems)}."
    elif not total:
        message = "No execution of these days names a result object."
    return CheckOutcome(
        not problems,
        message,
        {"objects": total, "not_read": not_read} | {state: states[state] for state in UNAVAILABLE_STATES},
        examples,
        commands,
        problem_ids=sorted(problem_ids),
    )


def evaluate_no_rejected_result_lines(parts: Iterable[pa.Table], objects_read: int) -> CheckOutcome:
    """Check that no line of the result objects that were read was rejected.

    Args:
        parts: `rejected_results` (`result_s3_key`, `line_number`, `reason`, and the day) in any number of
            parts, of which one is in memory.
        objects_read: the number of result objects that were read.
    """
    rejected, found, examples = 0, set[str](), list[dict[str, Any]]()
    for rows in parts:
        rejected += rows.num_rows
        found.update(rows["reason"].unique().to_pylist())
        examples += rows.slice(0, EXAMPLES - len(examples)).to_pylist()
    reasons = sorted(found)
    message = f"{objects_read} result objects were read: no line was rejected."
    if not objects_read:
        message = "No result object of these days was read, so no line was examined."
    if rejected:
        message = (
            f"{rejected} lines of result objects were rejected: {summarize(reasons)}."
            " The table rejected_results keeps them."
        )
    return CheckOutcome(
        not rejected,
        message,
        {"rejected": rejected, "objects_read": objects_read},
        examples,
        ["ledger sql 'SELECT * FROM rejected_results'"] if reasons else [],
        problem_ids=reasons,
    )


def _list_fields(text: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return _UNREADABLE_JSON
    return list(value) if isinstance(value, dict) else _UNREADABLE_JSON
