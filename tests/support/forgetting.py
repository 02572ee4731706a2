"""Small lakes of two days from saved responses and copies of a bucket, built by the rules of the product."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from assets.anomalies.assets import record_fragments
from assets.anomalies.events import EventRule, join_events
from assets.anomalies.reading import record_results
from assets.executions.archive_index import load_records
from assets.executions.extraction import Extraction
from assets.executions.scheduler_history import EXECUTION_COLUMNS, merge_observed_settings
from assets.executions.service_state import ServiceState
from assets.executions.tombstones import ForgetOperation, load_operations
from assets.framework.time_windows import Days
from assets.health.execution_health import SCHEDULER_COLUMNS, SchedulerHistory, build_health_policy
from assets.health.recording import compute_equipment_health, record_equipment_health, record_execution_health
from assets.removal.derived import DerivedTables
from assets.removal.operation import ForgetReport, Forgetting
from assets.removal.selection import select_hashes
from assets.tables import (
    ANOMALY_EVENTS,
    ANOMALY_FRAGMENTS,
    ARCHIVE_FILES,
    FORGET_OPERATIONS,
    INFERENCE_EXECUTIONS,
    INFERENCE_SCHEDULERS,
    TABLES,
)
from resources.aws.access import AwsAccess
from resources.config.equipment import EquipmentRegistry
from resources.config.settings import ArchiveSettings, BucketSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.results.fetcher import ResultFetcher
from resources.results.local_copy import LocalCopy
from resources.sources.base import Source
from resources.sources.factory import open_source

START = datetime(2026, 10, 5, tzinfo=UTC)
DAYS = [date(2026, 10, 5), date(2026, 10, 6)]
NOW = datetime(2026, 10, 9, tzinfo=UTC)
SETTLE_AFTER = timedelta(hours=3)
BUCKET = "plant"
LINE = (
    '{"timestamp": "%s", "prediction": %d, "anomaly_score": 0.75,'
    ' "diagnostics": [{"name": "pump\\\\s1", "value": 0.25}, {"name": "pump\\\\s2", "value": 0.75}]}'
)
Rows = list[dict[str, Any]]


@dataclass(frozen=True, order=True)
class Execution:
    """An execution of a scheduler, by the number of its hour since the start; `a` and `c` share a prefix."""

    scheduler: str
    hour: int

    @property
    def arn(self) -> str:
        return f"arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/{self.name}/0"

    @property
    def name(self) -> str:
        return {"a": "pump-1", "b": "fan-2", "c": "pump-3"}[self.scheduler]

    @property
    def prefix(self) -> str:
        return "out/b/" if self.scheduler == "b" else "out/a/"

    @property
    def start(self) -> datetime:
        return START + timedelta(hours=self.hour)

    @property
    def key(self) -> str:
        return f"{self.prefix}{self.start:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"

    def describe(self, status: str) -> dict[str, Any]:
        """Return the summary, as the service returns it."""
        summary: dict[str, Any] = {
            "InferenceSchedulerArn": self.arn,
            "InferenceSchedulerName": self.name,
            "ModelName": f"model-{self.scheduler}",
            "ScheduledStartTime": (self.start + timedelta(hours=1)).isoformat(),
            "DataStartTime": self.start.isoformat(),
            "DataEndTime": (self.start + timedelta(hours=1)).isoformat(),
            "DataOutputConfiguration": {"S3OutputConfiguration": {"Bucket": BUCKET, "Prefix": self.prefix}},
            "Status": status,
        }
        if status == "SUCCESS":
            summary["CustomerResultObject"] = {"Bucket": BUCKET, "Key": self.key}
        if status == "FAILED":
            summary["FailedReason"] = "no data"
        return summary


def write_file(file: Path, executions: Mapping[Execution, str]) -> Source:
    """Write a saved response with the status of each execution, and open it as a source."""
    summaries = [execution.describe(status) for execution, status in sorted(executions.items())]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(summaries))
    return open_source(ArchiveSettings(uri=str(file)), DEFAULT_LIMITS)


def write_copy(folder: Path, executions: Iterable[Execution]) -> Source:
    """Write the results of executions as a copy of the bucket, and open it as a source."""
    folder.mkdir(parents=True, exist_ok=True)
    for execution in executions:
        file = folder / execution.key
        file.parent.mkdir(parents=True, exist_ok=True)
        minutes = [execution.start + timedelta(minutes=number) for number in (1, 21, 41)]
        lines = [LINE % (f"{at:%Y-%m-%dT%H:%M:%S.%f}", execution.hour % 3 == 0) for at in minutes]
        file.write_text("\n".join([*lines, "not JSON"]))
    return open_source(BucketSettings(uri=str(folder), copy_of=f"s3://{BUCKET}"), DEFAULT_LIMITS)


@dataclass
class World:
    """A lake, and a folder with the results of all executions."""

    lake: Lake
    results: Path
    now: datetime = NOW

    def extract(self, sources: Sequence[Source], days: Sequence[date] = DAYS) -> list[str]:
        """Extract the days, and return the notices; the schedulers of prefixes are known the second time."""
        notices: list[str] = []
        for _ in range(2):
            extraction = Extraction(self.lake, Days(DAYS[0]), SETTLE_AFTER, self.now, lambda _: None)
            for day in extraction.gather(sources, days):
                extraction.record(day)
            extraction.save_file_index()
            assert not extraction.failed
            notices = extraction.notices
            self._update_schedulers()
        return notices

    def _update_schedulers(self) -> None:
        self.lake.update(
            INFERENCE_SCHEDULERS,
            None,
            lambda existing: merge_observed_settings(
                (
                    self.lake.read(INFERENCE_EXECUTIONS, day, EXECUTION_COLUMNS)
                    for day in self.lake.days(INFERENCE_EXECUTIONS)
                ),
                existing,
                self.now,
            ),
        )

    def compute(self) -> None:
        """Read the results, and compute all derived tables."""
        copy = LocalCopy(BUCKET, "", self.results)
        fetcher = ResultFetcher(AwsAccess(profile="no-such-profile"), copies=[copy])
        for day in DAYS:
            record_results(self.lake, fetcher, day, self.now)
            record_fragments(self.lake, lambda: self.now, day.isoformat())
        self.lake.update(
            ANOMALY_EVENTS,
            None,
            lambda existing: join_events(
                self.lake.scan(ANOMALY_FRAGMENTS), self.derived.rule, existing, self.now
            ),
        )
        schedulers = SchedulerHistory(self.lake.read(INFERENCE_SCHEDULERS, columns=SCHEDULER_COLUMNS))
        for day in DAYS:
            record_execution_health(self.lake, schedulers, self.derived.policy, day.isoformat())
        machines = compute_equipment_health(
            self.lake, DAYS, self.derived.registry, self.derived.rule, self.now
        )
        for day in DAYS:
            record_equipment_health(self.lake, machines, lambda: self.now, day.isoformat())

    @property
    def derived(self) -> DerivedTables:
        policy = build_health_policy(ServiceState(exists=False), SETTLE_AFTER, self.now)
        return DerivedTables(self.lake, policy, EventRule(), EquipmentRegistry(), self.now)

    def forget(self, operation: ForgetOperation, sources: Sequence[Source]) -> ForgetReport:
        """Forget, or continue to forget."""
        recorded = load_operations(self.lake.read(FORGET_OPERATIONS))
        operation = next((each for each in recorded if each.selection == operation.selection), operation)
        forgetting = Forgetting(
            self.lake, operation, sources, self.derived, SETTLE_AFTER, self.now, lambda _: None
        )
        return forgetting.execute(forgetting.plan())

    def read(self, *, without: Iterable[str] = ()) -> dict[str, Rows]:
        """Return the content of all tables except that about forgetting and about some files."""
        content = {}
        for table in TABLES:
            if table is FORGET_OPERATIONS:
                continue
            days = self.lake.days(table) if table.partitioned else [None]
            rows = [
                {"data_date": day, **{name: row[name] for name in table.content_columns}}
                for day in days
                for row in self.lake.read(table, day).to_pylist()
            ]
            if table is ARCHIVE_FILES:
                rows = [row for row in rows if row["uri"] not in set(without)]
            content[table.name] = rows
        return content


def build_operation(lake: Lake, source: Source) -> ForgetOperation:
    """Select a whole source."""
    uris = frozenset([source.uri])
    hashes = select_hashes(uris, load_records(lake.read(ARCHIVE_FILES)))
    return ForgetOperation("a1", NOW, NOW, source=source.uri, sources=uris, content_hashes=hashes)


def read_bytes(lake: Lake) -> dict[str, bytes]:
    """Return the bytes of all files of a local lake."""
    return {str(file): file.read_bytes() for file in sorted(lake.root.rglob("*.parquet"))}


def find_differences(first: Mapping[str, Rows], second: Mapping[str, Rows]) -> dict[str, Any]:
    """Return by table the rows that only one of two lakes has."""
    return {
        name: (
            [row for row in first[name] if row not in second[name]],
            [row for row in second[name] if row not in first[name]],
        )
        for name in first
        if first[name] != second[name]
    }
