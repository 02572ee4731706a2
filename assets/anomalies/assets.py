"""Prediction, fragment and event tables as Dagster assets."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from assets.anomalies.events import EventRule, join_events
from assets.anomalies.fragments import PREDICTION_COLUMNS, STATES, build_fragments
from assets.anomalies.objects import compute_contents_version
from assets.anomalies.parse import READER_VERSION
from assets.anomalies.reading import RecordedResults, read_recorded_shards, record_shards
from assets.anomalies.top_sensors import CONTRIBUTION_COLUMNS
from assets.framework.asset_specs import asset_spec_kwargs
from assets.framework.automation import upstream_content_changed
from assets.framework.materializations import (
    PartitionResult,
    combine_results,
    partition_result,
    unpartitioned_result,
)
from assets.framework.partitioned_run import PartitionedRun, handle_errors, select_partitions, yield_outputs
from assets.framework.partitions import daily_partitions
from assets.framework.row_content import sort_by_key, stamp_changes
from assets.framework.time_windows import Days
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ANOMALY_PREDICTIONS,
    INFERENCE_EXECUTIONS,
    PARTITION,
    REJECTED_RESULTS,
    RESULT_OBJECTS,
    SENSOR_CONTRIBUTIONS,
    Table,
)
from resources.clock import Clock, monotonic
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from resources.lake.shards import WHOLE, Shard, list_shards
from resources.results.base import UNAVAILABLE_STATES, ObjectState
from resources.results.fetcher import ResultFetcher

GROUP = "anomalies"
RULE_VERSION = 3
"""Increase it when the same predictions give different fragments or events."""

_MEGABYTE = 1_000_000

ReadDay = Callable[[date, datetime], Iterator[RecordedResults]]
"""Records or reads the results of a day at a time, one shard after the other."""


class ResultsConfig(dg.Config):
    """Run config of anomaly_predictions."""

    share: str = Field(
        default="",
        description="Read only these shards of each day: K/N means the shards whose number modulo N is K."
        " Such a run materializes no day; a run with only_recorded does so after all of them. Empty: all.",
    )
    only_recorded: bool = Field(
        default=False,
        description="Read no result object: materialize the days whose shards other runs have recorded.",
    )

    def parse_share(self) -> Shard:
        """Return the share.

        Raises:
            ConfigurationError: it is not of the form K/N.
        """
        number, _, count = self.share.partition("/")
        try:
            return Shard(int(number), int(count)) if self.share else WHOLE
        except ValueError:
            raise ConfigurationError(
                f"Cannot use the share {self.share!r}: it is not K/N with K below N",
                where="the run config of anomaly_predictions",
                next_step="use for example 0/4, 1/4, 2/4 and 3/4 in four runs",
            ) from None


@dataclass
class UnreadObjects:
    """Result objects that a run could not read or that changed: one cause is one message for all days."""

    _days: dict[str, list[str]] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, str] = field(default_factory=dict)
    _overwritten: list[str] = field(default_factory=list)

    def add(self, day: str, recorded: RecordedResults) -> None:
        """Add the objects of a day."""
        self._overwritten += [f"s3://{bucket}/{key}" for bucket, key in recorded.overwritten]
        columns = ["state", "error", "result_s3_bucket", "result_s3_key"]
        rows = recorded.objects.rows.select(columns)
        for row in rows.filter(pc.is_in(rows["state"], pa.array(UNAVAILABLE_STATES))).to_pylist():
            state = row["state"]
            if state not in self._examples:
                path = f"s3://{row['result_s3_bucket']}/{row['result_s3_key']}"
                self._examples[state] = f"{path}: {row['error']}"
            self._counts[state] += 1
            days = self._days.setdefault(state, [])
            if day not in days:
                days.append(day)

    def describe(self) -> list[str]:
        """Return one message for each state, with an example, and one about overwritten objects."""
        overwritten = (
            f"{len(self._overwritten):,} result objects changed after they were read, such as {path}."
            " The service writes a result once: look for a second scheduler with the same output prefix."
            for path in self._overwritten[:1]
        )
        unread = [
            f"{self._counts[state]:,} result object{'s' if self._counts[state] > 1 else ''} not read"
            f" ({state.replace('_', ' ')}) on {len(days):,} day{'s' if len(days) > 1 else ''}"
            f" ({days[0]}{f' to {days[-1]}' if len(days) > 1 else ''}), for example {self._examples[state]}"
            for state, days in sorted(self._days.items())
        ]
        return [*overwritten, *unread]


def build(history: Days, rule: EventRule) -> list[dg.AssetsDefinition]:
    """Declare the assets for a history; their resources are `lake`, `results` and `clock`."""
    partitions = daily_partitions(history)
    return [
        _build_predictions_asset(partitions),
        _build_fragments_asset(partitions),
        _build_events_asset(rule),
    ]


def _declare_result_tables() -> list[dg.AssetSpec]:
    """Declare the tables that a reading of results writes."""
    predictions = dg.AssetSpec(
        ANOMALY_PREDICTIONS.name,
        deps=[INFERENCE_EXECUTIONS.name],
        automation_condition=upstream_content_changed(),
        code_version=f"{ANOMALY_PREDICTIONS.version}.{READER_VERSION}",
        **asset_spec_kwargs(ANOMALY_PREDICTIONS, GROUP, "raw"),
    )
    return [
        predictions,
        *(
            dg.AssetSpec(
                table.name,
                deps=[predictions],
                **asset_spec_kwargs(table, GROUP, "raw", written_by=ANOMALY_PREDICTIONS.name),
            )
            for table in (SENSOR_CONTRIBUTIONS, REJECTED_RESULTS, RESULT_OBJECTS)
        ),
    ]


def _build_predictions_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        specs=_declare_result_tables(),
        can_subset=True,  # a run that selects some of them writes all
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),  # `dg launch` takes ranges with no other policy
    )
    def anomaly_predictions(
        context: dg.AssetExecutionContext,
        config: ResultsConfig,
        lake: dg.ResourceParam[Lake],
        results: dg.ResourceParam[Callable[[], ResultFetcher]],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.Output[None]]:
        with handle_errors(context):
            share = config.parse_share()
            run = PartitionedRun(context, has_whole_partitions=share == WHOLE)
            totals, unread = Counter[str](), UnreadObjects()
            read_day: ReadDay
            if config.only_recorded:
                read_day = partial(read_recorded_shards, lake)
            else:  # one fetcher for all days, because it caches what it learns about buckets
                read_day = partial(record_shards, lake, results(), share=share)
            keys = select_partitions(context, lake, INFERENCE_EXECUTIONS)
            run.process(keys, partial(_record_day, read_day, clock, totals, unread))
            for message in unread.describe():
                context.log.warning(message)
            result = run.finish(totals)
        yield from yield_outputs(context, result)

    return anomaly_predictions


def _build_fragments_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        deps=[dg.AssetKey(ANOMALY_PREDICTIONS.name), dg.AssetKey(SENSOR_CONTRIBUTIONS.name)],
        automation_condition=upstream_content_changed(),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=_rule_version(ANOMALY_FRAGMENTS),
        **asset_spec_kwargs(ANOMALY_FRAGMENTS, GROUP, "derived"),
    )
    def anomaly_fragments(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.Output[None]:
        with handle_errors(context):
            # an unreachable lake fails the run here once, not once per day
            lake.read(ANOMALY_EVENTS, columns=["event_id"])
            run = PartitionedRun(context)
            keys = select_partitions(context, lake, ANOMALY_PREDICTIONS)
            run.process(keys, partial(record_fragments, lake, clock))
            return run.finish()

    return anomaly_fragments


def _build_events_asset(rule: EventRule) -> dg.AssetsDefinition:
    @dg.asset(
        deps=[dg.AssetKey(ANOMALY_FRAGMENTS.name)],
        automation_condition=upstream_content_changed(required=()),
        backfill_policy=dg.BackfillPolicy.single_run(),  # so that runs over a range accept it
        code_version=_rule_version(ANOMALY_EVENTS),
        **asset_spec_kwargs(ANOMALY_EVENTS, GROUP, "derived"),
    )
    def anomaly_events(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
    ) -> dg.MaterializeResult[Any]:
        with handle_errors(context):
            fragments = lake.scan(ANOMALY_FRAGMENTS)
            written = lake.update(
                ANOMALY_EVENTS, None, lambda existing: join_events(fragments, rule, existing, clock())
            )
        counts = _summarize_events(written.rows) if fragments.num_rows else {}
        message = "no fragment is recorded"
        if counts:
            message = (
                f"{written.rows.num_rows:,} events from {fragments.num_rows:,} fragments:"
                f" {counts['open']:,} open, {counts['closed']:,} closed, {counts['cut']:,} cut"
            )
        context.log.info(message)
        return unpartitioned_result(ANOMALY_EVENTS, written, {"fragments": fragments.num_rows, **counts})

    return anomaly_events


def _record_day(
    read_day: ReadDay,
    clock: Clock,
    totals: Counter[str],
    unread: "UnreadObjects",
    key: str,
) -> list[PartitionResult]:
    started = monotonic()
    counts, bytes_read = Counter[str](), 0
    parts: list[list[PartitionResult]] = []
    for recorded in read_day(date.fromisoformat(key), clock()):
        counts.update(count_results(recorded))
        bytes_read += recorded.bytes_read
        unread.add(key, recorded)
        parts.append(
            [
                partition_result(ANOMALY_PREDICTIONS, recorded.predictions, {}),
                _build_contributions_result(recorded),
                partition_result(REJECTED_RESULTS, recorded.rejected, {}),
                partition_result(RESULT_OBJECTS, recorded.objects, {}),
            ]
        )
    if not parts:  # the day has fewer shards than there are shares
        return []
    totals.update(counts)
    predictions, contributions, rejected, objects = zip(*parts, strict=True)
    metadata = {
        **counts,
        "megabytes": round(bytes_read / _MEGABYTE, 3),
        "seconds": round(monotonic() - started, 3),
    }
    read = count_read_objects(counts)
    summary = f"{read:,} of {counts['objects']:,} result objects read"
    if read:
        summary += f": {counts['lines']:,} predictions, {counts['anomalous']:,} anomalous"
    states = {name: count for name, count in counts.items() if name.startswith("objects")}
    return [
        combine_results(predictions, metadata, summary),
        combine_results(contributions, {}),
        combine_results(rejected, {}),
        combine_results(objects, states),
    ]


def _build_contributions_result(recorded: RecordedResults) -> PartitionResult:
    """Describe a day of contributions without reading its rows, which can be millions."""
    return PartitionResult(
        SENSOR_CONTRIBUTIONS.name,
        compute_contents_version(recorded.objects.rows),
        {
            "dagster/partition_row_count": recorded.contributions,
            "changed": recorded.contributions_changed,
            "path": dg.MetadataValue.path(str(recorded.contributions_path)),
        },
    )


def count_results(recorded: RecordedResults) -> dict[str, int]:
    """Count objects by state, and what is in those that were read; if none was, that is not known."""
    rows, states = recorded.predictions.rows, _count_states(recorded)
    if states["objects"] and not rows.num_rows and not count_read_objects(states):
        return states
    return {
        **states,
        "lines": rows.num_rows,
        "anomalous": pc.sum(pc.equal(rows["prediction"], 1)).as_py() or 0,
        "contributions": recorded.contributions,
        "rejected": recorded.rejected.rows.num_rows,
    }


def count_read_objects(counts: Mapping[str, int]) -> int:
    """Return how many objects were read, now or before and unchanged since."""
    return counts["objects_read"] + counts["objects_unchanged"]


def _count_states(recorded: RecordedResults) -> dict[str, int]:
    """Count objects by state, including zeros, so that Dagster can plot each count."""
    return {"objects": recorded.states.total()} | {
        f"objects_{state.value}": recorded.states[state] for state in ObjectState
    }


def record_fragments(lake: Lake, clock: Clock, key: str) -> list[PartitionResult]:
    """Compute the fragments of a day from its results."""
    started, day = monotonic(), date.fromisoformat(key)
    fragments, predictions = build_day_fragments(lake, day)
    rows = fragments.drop_columns([PARTITION])
    written = lake.update(
        ANOMALY_FRAGMENTS,
        day,
        lambda existing: stamp_changes(ANOMALY_FRAGMENTS, rows, existing, clock()),
    )
    points = _count_points(rows) if predictions else {}
    metadata = {
        **{f"points_{state}": count for state, count in points.items()},
        "seconds": round(monotonic() - started, 3),
    }
    summary = "no prediction is recorded"
    if points:
        summary = (
            f"{rows.num_rows:,} fragments of {sum(points.values()):,} points,"
            f" {points['anomalous']:,} anomalous"
        )
    return [partition_result(ANOMALY_FRAGMENTS, written, metadata, summary)]


def _count_points(fragments: pa.Table) -> dict[str, int]:
    return {
        state: pc.sum(fragments.filter(pc.equal(fragments["state"], state))["points"]).as_py() or 0
        for state in STATES
    }


def build_day_fragments(lake: Lake, day: date) -> tuple[pa.Table, int]:
    """Build the fragments of a day, one shard after the other; return them and the number of predictions."""
    parts, prediction_count = [], 0
    for shard in list_shards(lake.shards(SENSOR_CONTRIBUTIONS, day)):
        predictions = lake.read(ANOMALY_PREDICTIONS, day, PREDICTION_COLUMNS, shard)
        contributions = lake.read_row_groups(SENSOR_CONTRIBUTIONS, day, shard, CONTRIBUTION_COLUMNS)
        parts.append(build_fragments(predictions, contributions))
        prediction_count += predictions.num_rows
    fragments = parts[0] if len(parts) == 1 else sort_by_key(ANOMALY_FRAGMENTS, pa.concat_tables(parts))
    return fragments, prediction_count


def _summarize_events(rows: pa.Table) -> dict[str, int | float]:
    states = {
        state: pc.sum(pc.equal(rows["state"], state)).as_py() or 0 for state in ("closed", "open", "cut")
    }
    minutes = (pc.sum(rows["duration_seconds"]).as_py() or 0) / 60
    return states | {"anomalous_minutes": round(minutes, 1)}


def _rule_version(table: Table) -> str:
    return f"{table.version}.{RULE_VERSION}"
