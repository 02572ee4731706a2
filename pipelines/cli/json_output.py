"""What `--json` prints: one type for each command, each field with its meaning."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:  # not every command needs it
    from assets.executions.tombstones import ForgetOperation


class SourceFailure(Struct):
    """A source or scheduler that could not be read."""

    name: Annotated[str, Meta(description="Location of the source, or ARN of the scheduler.")]
    reason: Annotated[str, Meta(description="The error message.")]


class ForgetOperationItem(Struct):
    """A recorded use of `ledger forget`."""

    operation_id: Annotated[str, Meta(description="Identifier, for --lift.")]
    selection: Annotated[str, Meta(description="Source, scheduler and days.")]
    state: Annotated[str, Meta(description="unfinished, complete or lifted.")]
    started_at: Annotated[datetime, Meta(description="Time of the command (UTC).")]
    executions_removed: Annotated[int, Meta(description="Executions that no other source returned.")]
    executions_reread: Annotated[int, Meta(description="Executions that were read again.")]
    executions_kept: Annotated[
        int, Meta(description="Executions that stay, because their other sources could not be read.")
    ]

    @classmethod
    def from_operation(cls, operation: "ForgetOperation") -> "ForgetOperationItem":
        """Describe a recorded operation."""
        return cls(
            operation.operation_id,
            operation.describe(),
            operation.state,
            operation.started_at,
            operation.executions_removed,
            operation.executions_reread,
            operation.executions_kept,
        )


# --- ledger doctor


class DoctorCounts(Struct):
    """Number of findings at each level."""

    ok: Annotated[int, Meta(description="Checks that passed.")]
    warn: Annotated[int, Meta(description="Checks that need attention.")]
    fail: Annotated[int, Meta(description="Checks that failed; a run would fail too.")]


class DoctorFinding(Struct):
    """The result of one check."""

    level: Annotated[str, Meta(description="ok, warn or fail.")]
    subject: Annotated[str, Meta(description="What was checked.")]
    message: Annotated[str, Meta(description="The result of the check.")]
    fix: Annotated[str, Meta(description="What to do; empty if nothing.")]


class DoctorOutput(Struct):
    """`ledger doctor --json`."""

    healthy: Annotated[bool, Meta(description="True if no check failed.")]
    counts: Annotated[DoctorCounts, Meta(description="Number of findings at each level.")]
    findings: Annotated[list[DoctorFinding], Meta(description="All findings, in the order of the checks.")]


# --- ledger record


class RecordOutput(Struct):
    """`ledger record --json`."""

    uri: Annotated[str, Meta(description="Folder or S3 prefix of the recording.")]
    first: Annotated[date, Meta(description="First requested day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last requested day (UTC).")] = msgspec.field(name="to")
    complete: Annotated[bool, Meta(description="True if everything that was requested is recorded.")]
    schedulers: Annotated[int, Meta(description="Number of selected schedulers.")]
    queries: Annotated[int, Meta(description="Number of queries that were missing in the recording.")]
    completed_queries: Annotated[int, Meta(description="Those of them that are recorded and verified.")]
    pages: Annotated[int, Meta(description="Number of new pages of executions.")]
    executions: Annotated[int, Meta(description="Number of execution summaries in the new pages.")]
    files: Annotated[list[str], Meta(description="Names of the new files.")]
    already_recorded_days: Annotated[
        int, Meta(description="Days of schedulers that the recording had, as of a time after they settled.")
    ]
    calls: Annotated[int, Meta(description="Number of API calls, retries included.")]
    throttled: Annotated[int, Meta(description="Number of calls that the service throttled.")]
    notices: Annotated[list[str], Meta(description="Messages about the recording.")]
    failed_sources: Annotated[
        list[SourceFailure], Meta(description="Sources and schedulers that are not recorded completely.")
    ]
    error: Annotated[str | None, Meta(description="Why the command stopped early; null if it did not.")]
    next_steps: Annotated[list[str], Meta(description="Commands to run next.")]


# --- ledger import


class ImportOutput(Struct):
    """`ledger import --json`."""

    dry_run: Annotated[bool, Meta(description="True if nothing was changed.")]
    files: Annotated[int, Meta(description="Number of files that were read.")]
    executions: Annotated[int, Meta(description="Number of execution summaries in the files.")]
    schedulers: Annotated[list[str], Meta(description="Names of the schedulers in the files.")]
    first: Annotated[date | None, Meta(description="Day (UTC) of the first execution.")] = msgspec.field(
        name="from"
    )
    last: Annotated[date | None, Meta(description="Day (UTC) of the last execution.")] = msgspec.field(
        name="to"
    )
    problems: Annotated[list[str], Meta(description="Files that are damaged or incomplete, and why.")]
    copied: Annotated[list[str], Meta(description="Paths of the copies.")]
    would_copy: Annotated[list[str], Meta(description="With --dry-run: paths of the copies to make.")]
    already_present: Annotated[
        list[str], Meta(description="Files that were not copied: the archive has the same content.")
    ]
    registered: Annotated[list[str], Meta(description="Paths added to the settings as archive sources.")]
    would_register: Annotated[list[str], Meta(description="With --dry-run: paths to add to the settings.")]
    history: Annotated[dict[str, date], Meta(description="Values written to [history] of the settings.")]
    would_set_history: Annotated[
        dict[str, date], Meta(description="With --dry-run: values to write to [history].")
    ]
    allowed_buckets: Annotated[
        list[str], Meta(description="Value written to results.allowed_buckets; empty: it stays.")
    ]
    would_allow_buckets: Annotated[
        list[str], Meta(description="With --dry-run: value to write to results.allowed_buckets.")
    ]
    next_steps: Annotated[list[str], Meta(description="Settings to change and the command to run next.")]


# --- ledger forget


class ForgetTable(Struct):
    """Rows that an operation removes from a table."""

    table: Annotated[str, Meta(description="Name of the table.")]
    rows: Annotated[int, Meta(description="Number of rows that are removed.")]
    days: Annotated[int, Meta(description="Number of days with such rows.")]
    first: Annotated[date, Meta(description="First such day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last such day (UTC).")] = msgspec.field(name="to")


class ForgetOutput(Struct):
    """`ledger forget --json`."""

    dry_run: Annotated[bool, Meta(description="True if nothing was changed.")]
    operation_id: Annotated[str | None, Meta(description="Identifier; null if nothing is selected.")]
    sources: Annotated[list[str] | None, Meta(description="Selected sources; null: all.")]
    days: Annotated[int, Meta(description="Number of days with selected executions.")]
    tables: Annotated[list[ForgetTable], Meta(description="Rows that are removed, by table.")]
    executions_reread: Annotated[
        int, Meta(description="Executions that are read again from the sources in other_sources.")
    ]
    executions_unaffected: Annotated[
        int, Meta(description="Executions that stay, because their values come from other sources.")
    ]
    executions_kept: Annotated[
        int, Meta(description="Executions that stay, because their other sources could not be read.")
    ]
    other_sources: Annotated[
        dict[str, int], Meta(description="Executions to read again, by other source that returned them.")
    ]
    unreadable_sources: Annotated[list[SourceFailure], Meta(description="Sources that could not be read.")]
    lost_proofs: Annotated[int, Meta(description="Days of schedulers that are not proven complete any more.")]
    operations: Annotated[
        list[ForgetOperationItem], Meta(description="Recorded operations, the oldest first.")
    ]
    next_steps: Annotated[list[str], Meta(description="Commands to run next.")]


# --- ledger alerts test


class AlertTarget(Struct):
    """A target of notifications."""

    target: Annotated[str, Meta(description="Name of the target, without its URL.")]
    delivered: Annotated[bool, Meta(description="Whether the target accepted the test notification.")]
    error: Annotated[str | None, Meta(description="Why it did not; null if it did.")]


class AlertTestOutput(Struct):
    """`ledger alerts test --json`."""

    delivered: Annotated[bool, Meta(description="True if there are targets and all accepted it.")]
    targets: Annotated[list[AlertTarget], Meta(description="All targets, in the order of the settings.")]


# --- ledger plan


class EstimatedCount(Struct):
    """A number with its bounds."""

    min: Annotated[int, Meta(description="Lower bound.")]
    expected: Annotated[int, Meta(description="Value if each scheduler ran all the time.")]
    max: Annotated[int, Meta(description="Upper bound.")]
    exact: Annotated[bool, Meta(description="True if the bounds are equal.")]


class PlanScheduler(Struct):
    """The estimate for one scheduler."""

    scheduler_arn: Annotated[str, Meta(description="ARN of the scheduler.")]
    scheduler_name: Annotated[str, Meta(description="Name of the scheduler.")]
    source: Annotated[str, Meta(description="The API source that lists the scheduler.")]
    frequency: Annotated[
        str | None, Meta(description="Shortest upload frequency on record (ISO 8601 duration).")
    ]
    days: Annotated[int, Meta(description="Days to extract.")]
    settled_days: Annotated[int, Meta(description="How many of these days are already settled.")]
    queries: Annotated[int, Meta(description="Queries to make, each for one contiguous range of days.")]
    executions: Annotated[EstimatedCount, Meta(description="Executions to read.")]
    calls: Annotated[EstimatedCount, Meta(description="API calls to make.")]


class PlanCapacity(Struct):
    """What all stages of a plan need, computed from measured figures."""

    result_objects: Annotated[int, Meta(description="Result objects, one GET request each.")]
    contributions: Annotated[int, Meta(description="Rows of sensor_contributions.")]
    cpu_seconds: Annotated[float, Meta(description="CPU time to build all days.")]
    peak_megabytes: Annotated[float, Meta(description="Peak memory of reading an average day.")]
    shards: Annotated[int, Meta(description="lake.shards of the settings.")]
    recommended_shards: Annotated[int, Meta(description="Shards with which a run needs less than 1.6 GB.")]
    lake_megabytes: Annotated[float, Meta(description="Size of the tables.")]
    lake_requests: Annotated[int, Meta(description="Requests for the tables; 0: the lake is local.")]
    event_rows: Annotated[int, Meta(description="Rows in Dagster's event log.")]
    event_megabytes: Annotated[float, Meta(description="Size of these rows.")]
    calls_of_busiest_account: Annotated[
        int, Meta(description="Expected API calls of the account and region with the most calls.")
    ]
    accounts: Annotated[int, Meta(description="Accounts and regions that the calls are sent to.")]


class PlanOutput(Struct):
    """`ledger plan --json`."""

    first: Annotated[date, Meta(description="First day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last day (UTC), included.")] = msgspec.field(name="to")
    days: Annotated[int, Meta(description="Days in the range.")]
    settled_days: Annotated[int, Meta(description="Days that are settled for all schedulers.")]
    batches: Annotated[int, Meta(description="Batches of days in the run.")]
    calls: Annotated[EstimatedCount, Meta(description="All API calls of the run.")]
    listing_calls: Annotated[int, Meta(description="Calls of the run that list the schedulers.")]
    calls_made: Annotated[int, Meta(description="API calls that this plan made.")]
    calls_per_second: Annotated[float, Meta(description="Assumed rate of calls.")]
    duration_minutes: Annotated[float, Meta(description="Estimated duration of the calls at that rate.")]
    files_to_read: Annotated[EstimatedCount, Meta(description="Saved responses to read.")]
    list_requests: Annotated[int, Meta(description="Predicted number of requests that list buckets.")]
    max_files_to_write: Annotated[int, Meta(description="Upper bound of the lake files to write.")]
    max_calls_per_run: Annotated[int | None, Meta(description="limits.max_calls_per_run of the settings.")]
    may_exceed_max_calls: Annotated[
        bool, Meta(description="True if the run may need more calls than that limit.")
    ]
    capacity: Annotated[PlanCapacity, Meta(description="What all stages need.")]
    command: Annotated[str, Meta(description="The command that runs this backfill.")]
    failed_sources: Annotated[list[SourceFailure], Meta(description="Sources that could not be listed.")]
    schedulers: Annotated[list[PlanScheduler], Meta(description="The estimate for each scheduler.")]


# --- ledger backfill


class BackfillDay(Struct):
    """The result of one day."""

    executions: Annotated[int, Meta(description="Rows of the day in the lake.")]
    rows_changed: Annotated[int, Meta(description="Rows that are new or changed.")]


class BackfillStage(Struct):
    """The result of one stage."""

    name: Annotated[str, Meta(description="executions, results, anomalies, health or report.")]
    run_id: Annotated[str | None, Meta(description="Id of the Dagster run; null: it was not started.")]
    outcome: Annotated[
        str,
        Meta(description="succeeded, failed, stopped, complete (in an earlier run) or not started."),
    ]
    recorded_days: Annotated[list[date], Meta(description="Recorded days.")]
    failed_days: Annotated[dict[date, str], Meta(description="Days that failed, with the reason.")]
    metrics: Annotated[dict[str, int], Meta(description="Numbers of the run, such as objects_read.")]
    warnings: Annotated[list[str], Meta(description="Warnings in the log of the run.")]
    error: Annotated[str | None, Meta(description="Error message of a run that failed.")]


class BackfillOutput(Struct):
    """`ledger backfill --json`."""

    backfill_id: Annotated[str, Meta(description="Value of the tag ledger/backfill of its runs.")]
    run_id: Annotated[str | None, Meta(description="Id of the first Dagster run.")]
    outcome: Annotated[str, Meta(description="succeeded, failed or stopped.")]
    first: Annotated[date, Meta(description="First day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last day (UTC), included.")] = msgspec.field(name="to")
    days: Annotated[
        dict[date, BackfillDay], Meta(description="Days of the stage executions that were recorded.")
    ]
    unrecorded_days: Annotated[
        list[date], Meta(description="Days of the range that the stage executions did not record.")
    ]
    failed_days: Annotated[
        dict[date, str], Meta(description="Days of the stage executions that failed, with the reason.")
    ]
    failed_sources: Annotated[
        list[SourceFailure], Meta(description="Sources and schedulers that could not be read.")
    ]
    metrics: Annotated[
        dict[str, int],
        Meta(description="Numbers of the stage executions, such as calls, throttled and files_read."),
    ]
    warnings: Annotated[list[str], Meta(description="Warnings in the logs of the runs.")]
    error: Annotated[str | None, Meta(description="Error message of the first run that failed.")]
    stages: Annotated[list[BackfillStage], Meta(description="The stages, in order.")]
    resume_command: Annotated[
        str | None, Meta(description="The command that processes only what is missing; null: nothing is.")
    ]
    log_file: Annotated[str | None, Meta(description="Path of the log of the process.")]


# --- ledger status


class StatusActionItem(Struct):
    """A range of days that needs action."""

    state: Annotated[str, Meta(description="State of the days.")]
    first: Annotated[date, Meta(description="First day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last day (UTC), included.")] = msgspec.field(name="to")
    schedulers: Annotated[list[str], Meta(description="Scheduler names; empty if all are affected.")]
    command: Annotated[str, Meta(description="The command that fixes it.")]


class StatusSourceFailure(Struct):
    """A source or scheduler that the last runs could not read."""

    name: Annotated[str, Meta(description="Location of the source, or ARN of the scheduler.")]
    since: Annotated[datetime, Meta(description="Start of the first of these runs (UTC).")]
    consecutive_runs: Annotated[int, Meta(description="Number of runs that failed in a row.")]
    reason: Annotated[str, Meta(description="The last error message.")]


class StatusScheduler(Struct):
    """The states of one scheduler."""

    scheduler_arn: Annotated[str, Meta(description="ARN of the scheduler.")]
    scheduler_name: Annotated[str, Meta(description="Name of the scheduler.")]
    days: Annotated[dict[date, str], Meta(description="State of each day.")]


class StatusUnknown(Struct):
    """Recorded days of which something is not known."""

    state: Annotated[str, Meta(description="not read or not computed.")]
    first: Annotated[date, Meta(description="First day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last day (UTC), included.")] = msgspec.field(name="to")
    text: Annotated[str, Meta(description="Number and reason.")]
    command: Annotated[str, Meta(description="Command that closes the gap.")]


class StatusDamagedFile(Struct):
    """A saved response that a run could not read completely."""

    uri: Annotated[str, Meta(description="URI of the file.")]
    reason: Annotated[str, Meta(description="Why.")]


class StatusOutput(Struct):
    """`ledger status --json`."""

    lake_uri: Annotated[str, Meta(description="Location of the lake.")]
    as_of: Annotated[datetime, Meta(description="Time of the inspection (UTC).")]
    first: Annotated[date, Meta(description="First day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last day (UTC), included.")] = msgspec.field(name="to")
    needs_action: Annotated[bool, Meta(description="True if the exit code is 1.")]
    state_counts: Annotated[dict[str, int], Meta(description="Scheduler days in each state.")]
    never_extracted_days: Annotated[list[date], Meta(description="Days that no run has recorded.")]
    action_items: Annotated[list[StatusActionItem], Meta(description="Days that need action.")]
    failed_sources: Annotated[
        list[StatusSourceFailure],
        Meta(description="Sources and schedulers that the last run could not read."),
    ]
    runs_error: Annotated[str | None, Meta(description="Why the Dagster runs could not be read, or null.")]
    unknown: Annotated[
        list[StatusUnknown], Meta(description="Results that are not read and tables that are not computed.")
    ]
    forgotten: Annotated[
        list[ForgetOperationItem], Meta(description="Uses of ledger forget, the oldest first.")
    ]
    outside_history: Annotated[
        list[str], Meta(description="Messages about saved executions before or after the history.")
    ]
    damaged_files: Annotated[
        list[StatusDamagedFile],
        Meta(description="Saved responses that a run could not read completely, without removed local ones."),
    ]
    schedulers: Annotated[list[StatusScheduler], Meta(description="State of each day of each scheduler.")]


# --- ledger catalog sync


class CatalogChange(Struct):
    """One difference between a table in Glue and its declaration."""

    attribute: Annotated[str, Meta(description="What differs, such as location or a column.")]
    before: Annotated[str | None, Meta(description="Value in Glue; null if there is none.")]
    after: Annotated[str | None, Meta(description="Declared value; null if there is none.")]


class CatalogTable(Struct):
    """The result for one table."""

    table: Annotated[str, Meta(description="Name of the table.")]
    action: Annotated[str, Meta(description="create, update, none or refuse.")]
    changes: Annotated[list[CatalogChange], Meta(description="Differences that were found.")]
    undeclared_columns: Annotated[
        list[str], Meta(description="Columns that only Glue has; they are not dropped.")
    ]
    reason: Annotated[str, Meta(description="Why the table is refused; else empty.")]


class CatalogOutput(Struct):
    """`ledger catalog sync --json`."""

    database: Annotated[str, Meta(description="Name of the Glue database.")]
    dry_run: Annotated[bool, Meta(description="True if nothing was changed.")]
    tables: Annotated[list[CatalogTable], Meta(description="The result for each table.")]


# --- ledger migrate


class OutdatedFile(Struct):
    """A file that an older table version wrote."""

    table: Annotated[str, Meta(description="Name of the table.")]
    day: Annotated[date | None, Meta(description="Partition; null for an unpartitioned table.")]
    version: Annotated[int, Meta(description="Table version that wrote the file.")]
    current_version: Annotated[int, Meta(description="Current version of the table.")]


class DayFilesItem(Struct):
    """A day of a table, and its number of files before the command."""

    table: Annotated[str, Meta(description="Name of the table.")]
    day: Annotated[date, Meta(description="Partition.")]
    shards: Annotated[int, Meta(description="Number of files before the command.")]


class MigrateOutput(Struct):
    """`ledger migrate --json`."""

    dry_run: Annotated[bool, Meta(description="True if nothing was changed.")]
    files: Annotated[int, Meta(description="Number of files that were read.")]
    outdated_files: Annotated[list[OutdatedFile], Meta(description="Files of older table versions.")]
    files_written: Annotated[int, Meta(description="Number of files that were rewritten.")]
    errors: Annotated[list[str], Meta(description="Files that cannot be read or written, and why.")]
    shards: Annotated[int | None, Meta(description="Value of --shards; null without it.")] = None
    days_with_other_shards: Annotated[
        list[DayFilesItem], Meta(description="Days that had another number of files, with --shards.")
    ] = []
    days_changed: Annotated[int, Meta(description="Number of days that --shards changed or completed.")] = 0
    days_with_credentials: Annotated[
        list[date], Meta(description="Days with credentials in stored errors, which are redacted.")
    ] = []


# --- ledger certify


class CertifyTotals(Struct):
    """Expected executions, and what is known of them."""

    expected: Annotated[int, Meta(description="Expected executions.")]
    recorded: Annotated[int, Meta(description="Recorded executions, with or without an outcome.")]
    with_outcome: Annotated[int, Meta(description="Recorded executions with a final outcome.")]
    proven_absent: Annotated[int, Meta(description="Expected executions that are proven not to exist.")]
    not_known: Annotated[int, Meta(description="Expected executions of which nothing is known.")]
    gaps: Annotated[int, Meta(description="Ranges without a recorded final outcome.")]
    periods_not_known: Annotated[
        int, Meta(description="Periods of a scheduler whose expected executions are not known.")
    ]


class CertifyOutput(Struct):
    """`ledger certify --json`."""

    first: Annotated[date, Meta(description="First day (UTC).")] = msgspec.field(name="from")
    last: Annotated[date, Meta(description="Last day (UTC), included.")] = msgspec.field(name="to")
    digest: Annotated[str | None, Meta(description="SHA-256 of the chain of days; null with --verify.")]
    totals: Annotated[CertifyTotals | None, Meta(description="Totals of all days; null with --verify.")]
    files: Annotated[list[str], Meta(description="Files that were written.")]
    changes: Annotated[list[str], Meta(description="With --verify: what changed since the certificate.")]


JSON_OUTPUT: Mapping[str, type[Struct]] = {
    "doctor": DoctorOutput,
    "alerts test": AlertTestOutput,
    "import": ImportOutput,
    "record": RecordOutput,
    "plan": PlanOutput,
    "backfill": BackfillOutput,
    "status": StatusOutput,
    "certify": CertifyOutput,
    "forget": ForgetOutput,
    "catalog sync": CatalogOutput,
    "migrate": MigrateOutput,
}


class JsonField(NamedTuple):
    """A row of the reference of `--json`: `path` is as in jq, such as `schedulers[].calls.max`."""

    command: str
    path: str
    type: str
    meaning: str


def list_json_fields() -> Iterator[JsonField]:
    """Yield every field that a command prints with `--json`, in order."""
    for command, output in JSON_OUTPUT.items():
        yield from _walk(command, "", output)


def _walk(command: str, prefix: str, struct: type[Struct]) -> Iterator[JsonField]:
    structure = msgspec.inspect.type_info(struct)
    assert isinstance(structure, msgspec.inspect.StructType)  # noqa: S101 (of a Struct)
    for field in structure.fields:
        info = field.type
        meaning = ""
        if isinstance(info, msgspec.inspect.Metadata):
            meaning = (info.extra_json_schema or {}).get("description", "")
            info = info.type
        name, suffix, inner = _describe_type(info)
        yield JsonField(command, f"{prefix}{field.encode_name}{suffix}", name, meaning)
        if inner is not None:
            yield from _walk(command, f"{prefix}{field.encode_name}{suffix}.", inner)


def _describe_type(info: msgspec.inspect.Type) -> tuple[str, str, type[Struct] | None]:
    """Return the JSON type in words, the suffix of the path, and the type of the objects inside."""
    match info:
        case msgspec.inspect.ListType(item_type=item):
            name, _, inner = _describe_type(item)
            return f"array of {name}", "[]", inner
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            name, _, inner = _describe_type(value)
            return f"object: {name} by {_describe_type(key)[0]}", "{}", inner
        case msgspec.inspect.StructType(cls=cls):
            return "object", "", cls
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_describe_type(part)[0] for part in types), "", None
    return _SCALARS[type(info)], "", None


_SCALARS: Mapping[type[msgspec.inspect.Type], str] = {
    msgspec.inspect.StrType: "string",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.NoneType: "null",
    msgspec.inspect.DateType: "date",
    msgspec.inspect.DateTimeType: "timestamp",
}
