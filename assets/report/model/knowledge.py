"""What the page does not know: days not recorded, results not read, tables not computed.

A number, a "none" or a verdict is printed only for what was read. `list_gaps` names the rest, with the reason
and the commands that close the gap.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from assets.report.formatting import pluralize
from assets.report.query.data import ReportData
from assets.report.query.knowledge import Knowledge, ObjectsInState
from assets.report.query.result import Figure, Statement
from resources.redaction import redact

UNREAD_STATES: Mapping[str, tuple[str, str]] = {
    "not_read": ("not read yet", "anomaly_predictions has not read them"),
    "no_credentials": ("no AWS credentials", "set AWS credentials first"),
    "forbidden": ("access denied", "allow s3:GetObject first"),
    "key_missing": ("KMS key cannot be used", "allow kms:Decrypt first"),
    "wrong_owner": ("unexpected bucket owner", "check results.expected_bucket_owner"),
    "not_allowed": ("bucket not in results.allowed_buckets", "add the bucket, if it is yours"),
    "archived": ("archived", "restore the objects first"),
    "unreachable": ("not reached", "check the network"),
    "missing": ("not found", "the bucket does not contain them"),
    "no_location": ("no location recorded", "the source does not name the result object"),
}
"""The label of each state of an unread result object, and what to do or why."""


class Extent(StrEnum):
    """How much of the results is known."""

    KNOWN = "known"
    PARTLY = "partly known"
    NOT_READ = "not read"
    NOT_COMPUTED = "not computed"
    NOT_RECORDED = "not recorded"

    @property
    def is_countable(self) -> bool:
        """Whether a count says anything."""
        return self in {Extent.KNOWN, Extent.PARTLY}


@dataclass(frozen=True)
class KnowledgeGap:
    """Something that the page does not know: what, why, and the commands that close the gap."""

    title: str
    text: Statement
    reasons: tuple[Statement, ...]
    commands: tuple[str, ...]


def find_result_extent(knowledge: Knowledge) -> Extent:
    """Return how much of the results is known, for statements about anomalies and running time."""
    if not knowledge.executions and not knowledge.points:
        return Extent.PARTLY if knowledge.days_recorded else Extent.NOT_RECORDED
    if knowledge.results and not knowledge.results_read and not knowledge.points:
        return Extent.NOT_READ
    if knowledge.points and not knowledge.points_computed:
        return Extent.NOT_COMPUTED
    return Extent.PARTLY if describe_result_gaps(knowledge) else Extent.KNOWN


def describe_result_gaps(knowledge: Knowledge) -> Statement:
    """Return what qualifies a statement about anomalies; empty: nothing is missing."""
    return _join(
        (knowledge.results_unread, knowledge.results, "result object", "not read"),
        (knowledge.event_days_not_computed, knowledge.days, "day", "without computed events"),
        (knowledge.days_not_recorded, knowledge.days, "day", "not recorded"),
    )


def describe_running_gaps(knowledge: Knowledge) -> Statement:
    """Return what qualifies a statement about running time; empty: nothing is missing."""
    return _join(
        (knowledge.results_unread, knowledge.results, "result object", "not read"),
        (knowledge.running_days_not_computed, knowledge.days, "day", "without computed running time"),
        (knowledge.days_not_recorded, knowledge.days, "day", "not recorded"),
    )


def describe_execution_gaps(knowledge: Knowledge) -> Statement:
    """Return what qualifies a statement about executions; empty: nothing is missing."""
    return _join(
        (knowledge.executions_not_computed, knowledge.executions, "recorded execution", "not computed"),
        (knowledge.health_days_not_computed, knowledge.days, "day", "not computed completely"),
        (knowledge.days_not_recorded, knowledge.days, "day", "not recorded"),
    )


def list_gaps(data: ReportData) -> list[KnowledgeGap]:
    """Return what is not known of these days; an error that affects many days is one entry."""
    gaps = (_find_unrecorded(data), _find_unread(data), _find_uncomputed(data.knowledge))
    return [gap for gap in gaps if gap]


def find_unknown_schedulers(data: ReportData) -> set[str]:
    """Return the ARNs of schedulers of which something is not known."""
    incomplete = {
        arn
        for arn, knowledge in data.scheduler_knowledge.items()
        if knowledge.results_unread or knowledge.days_not_computed
    }
    return incomplete | set(data.blind_time)


def _join(*parts: tuple[Figure[int], Figure[int], str, str]) -> Statement:
    statement: list[str | Figure[int]] = []
    for count, total, noun, words in parts:
        if count:
            statement += [", " if statement else "", count, " of ", total]
            statement.append(f" {pluralize(total.value, noun)} {words}")
    return tuple(part for part in statement if part != "")


def _find_unrecorded(data: ReportData) -> KnowledgeGap | None:
    knowledge, history = data.knowledge, data.scope.history
    first, last = knowledge.first_not_recorded, knowledge.last_not_recorded
    if first.value is None or last.value is None:
        return None
    text: Statement = (knowledge.days_not_recorded, " of ", knowledge.days, " days: ", *_range(first, last))
    begin, end = first.value, last.value
    if history is not None:
        begin = max(begin, history.first)
        end = min(end, history.end - timedelta(days=1)) if history.end else end
    if begin > end:
        return KnowledgeGap("Not recorded", text, (("The history in ledger.toml excludes them.",),), ())
    reasons: tuple[Statement, ...] = (
        ("No run recorded executions of these days.",),
        ("If this command changes nothing, the sources have none of these days that can be read.",),
    )
    return KnowledgeGap("Not recorded", text, reasons, (_build_command(begin, end),))


def _find_unread(data: ReportData) -> KnowledgeGap | None:
    knowledge = data.knowledge
    first, last = knowledge.first_unread_day.value, knowledge.last_unread_day.value
    if first is None or last is None:
        return None
    since, until = knowledge.first_unread, knowledge.last_unread
    text: Statement = (knowledge.results_unread, " of ", knowledge.results, " result objects, ")
    text += ("windows since ", since, " until ", until)
    reasons = tuple(
        statement for state in data.object_states.values() for statement in _describe_state(state)
    )
    return KnowledgeGap("Not read", text, reasons, (build_read_command(first, last),))


def _describe_state(state: ObjectsInState) -> Iterator[Statement]:
    if state.state == "read":
        return
    label, hint = UNREAD_STATES.get(state.state, (state.state, ""))
    error = f": {redact(' '.join(state.error.split()))}" if state.error else ""
    yield (state.objects, f" {label}, since ", state.since, f" ({hint}){error}")


def _find_uncomputed(knowledge: Knowledge) -> KnowledgeGap | None:
    first, last = knowledge.first_not_computed, knowledge.last_not_computed
    if first.value is None or last.value is None:
        return None
    text: Statement = (knowledge.days_not_computed, " of ", knowledge.days, " days: ", *_range(first, last))
    counts: tuple[tuple[Figure[int], str], ...] = (
        (knowledge.health_days_not_computed, "execution_health"),
        (knowledge.event_days_not_computed, "anomaly_events"),
        (knowledge.running_days_not_computed, "equipment_health"),
    )
    reasons = tuple(
        (f"{table} lacks data of ", count, f" {pluralize(count.value, 'day')}.")
        for count, table in counts
        if count
    )
    return KnowledgeGap("Not computed", text, reasons, (build_compute_command(first.value, last.value),))


def build_read_command(first: date, last: date) -> str:
    """Return the command that reads the results of some days and computes what depends on them."""
    return _build_command(first, last, "results,anomalies,health,report")


def build_compute_command(first: date, last: date) -> str:
    """Return the command that computes the derived tables of some days."""
    return _build_command(first, last, "anomalies,health,report")


def _build_command(first: date, last: date, stages: str = "") -> str:
    return f"ledger backfill --from {first} --to {last}" + (f" --only {stages}" if stages else "")


def _range(first: Figure[date], last: Figure[date]) -> Statement:
    return (first,) if first.value == last.value else (first, " to ", last)
