"""What the service said that no column holds, and what could not be used at all.

These warn: nothing is lost, all of it is kept as it was found.
"""

import json
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from assets.checks.result import CheckOutcome, build_status_commands, summarize
from assets.executions import archive_index
from assets.executions.archive_index import ArchiveRecord
from assets.tables import PARTITION
from resources.results.fetcher import ObjectState

_SQL_MEMBERS = "ledger sql 'SELECT unrecognized, count(*) FROM inference_executions GROUP BY 1'"
_LOST = tuple(state.value for state in ObjectState if state.is_unavailable)


def no_unrecognized_fields(unrecognized: pa.Table) -> CheckOutcome:
    """Judge the column `unrecognized` (and the day): no answer has a member that no column holds."""
    texts = pc.value_counts(unrecognized["unrecognized"].drop_null()).to_pylist()
    members: Counter[str] = Counter()
    for entry in texts:  # by far fewer than rows: the same members have mostly the same values
        for name in _names(entry["values"]):
            members[name] += entry["counts"]
    said = "Every member that the service told of has its column."
    if members:
        said = (
            f"{len(members)} members have no column: {summarize(members)}. Their values are kept in "
            "`unrecognized`; a newer version of this software may know them."
        )
    return CheckOutcome(
        not members,
        said,
        {"rows": sum(entry["counts"] for entry in texts), "members": len(members)},
        [{"member": name, "rows": count} for name, count in members.most_common()],
        ["ledger sql 'SELECT unrecognized, count(*) FROM inference_executions GROUP BY 1'"]
        if members
        else [],
        causes=list(members),
    )


def archive_files_complete(files: Sequence[ArchiveRecord]) -> CheckOutcome:
    """Judge the saved responses that are still there: each is readable to its end and complete."""
    broken = [file.uri for file in files if file.error]
    incomplete = archive_index.find_files_with_missing_pages(files)
    return CheckOutcome(
        not broken and not incomplete,
        "; ".join(archive_index.describe_problems(files)) or f"{len(files)} saved responses are whole.",
        {"files": len(files), "unreadable": len(broken), "incomplete": len(incomplete)},
        causes=sorted({*broken, *(file.uri for file in incomplete)}),
    )


def no_rejected_summaries(rejected: pa.Table) -> CheckOutcome:
    """Judge `rejected_executions`: no summary had to be put aside."""
    reasons = sorted(pc.value_counts(rejected["reason"]).to_pylist(), key=lambda entry: -entry["counts"])
    return CheckOutcome(
        rejected.num_rows == 0,
        f"{rejected.num_rows} summaries stand in rejected_executions.",
        {"rejected": rejected.num_rows},
        [{"reason": entry["values"], "summaries": entry["counts"]} for entry in reasons],
        ["ledger sql 'SELECT source, position, reason, raw FROM rejected_executions'"] if reasons else [],
        causes=[entry["values"] for entry in reasons],
    )


def result_objects_read(objects: pa.Table) -> CheckOutcome:
    """Judge `result_objects` (`scheduler_name`, `state`, `error`, and the day): each could be read."""
    states = Counter(objects["state"].to_pylist())
    lost = objects.filter(pc.is_in(objects["state"], pa.array(_LOST)))
    by_state = ", ".join(f"{states[state]} {state}" for state in _LOST if states[state])
    said = f"{objects.num_rows} result objects were read."
    if lost.num_rows:
        said = f"{lost.num_rows} of {objects.num_rows} result objects could not be read: {by_state}."
    return CheckOutcome(
        not lost.num_rows,
        said,
        {"objects": objects.num_rows, **{state: states[state] for state in _LOST}},
        lost.to_pylist(),
        build_status_commands(set(lost[PARTITION].to_pylist())),
        causes=sorted({f"{row['scheduler_name']}: {row['state']}" for row in lost.to_pylist()}),
    )


def no_rejected_result_lines(rejected: pa.Table) -> CheckOutcome:
    """Judge `rejected_results` (`result_s3_key`, `line_number`, `reason`, and the day): it is empty."""
    reasons = sorted(set(rejected["reason"].to_pylist()))
    said = "Every line of the result objects could be used."
    if rejected.num_rows:
        said = f"{rejected.num_rows} lines of result objects could not be used: {summarize(reasons)}."
    return CheckOutcome(
        not rejected.num_rows,
        said,
        {"rejected": rejected.num_rows},
        rejected.slice(0, 20).to_pylist(),
        ["ledger sql 'SELECT * FROM rejected_results'"] if reasons else [],
        causes=reasons,
    )


def _names(text: str) -> list[str]:
    try:
        said = json.loads(text)
    except ValueError:
        return ["?"]
    return list(said) if isinstance(said, dict) else ["?"]
