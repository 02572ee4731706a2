"""The numbers of a report page, recomputed from saved CLI responses and result objects.

Plain Python without code of the product: each query of the page is a list of rows in its documented order.
The rules are those for users without a live service, where no response proves that executions are missing.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.event_reference import DAY, Point, build_events, build_points

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ResultObjects = Mapping[tuple[str, str], tuple[bytes, datetime]]
"""The content and the time of each result object by bucket and key."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Execution:
    """An execution as the newest response with its outcome shows it."""

    arn: str
    name: str
    start: datetime
    end: datetime
    status: str
    reason: str | None
    version: int | None
    location: tuple[str, str] | None

    @property
    def day(self) -> date:
        return self.start.date()


def read_executions(folder: Path) -> list[Execution]:
    """Read all responses of a folder; an execution that ended is never in progress again."""
    merged: dict[tuple[str, datetime], Execution] = {}
    for file in sorted(folder.rglob("*.json")):
        for summary in json.loads(file.read_text())["InferenceExecutionSummaries"]:
            execution = _read_execution(summary)
            earlier = merged.get((execution.arn, execution.start))
            if earlier is None or earlier.status == "IN_PROGRESS":
                merged[execution.arn, execution.start] = execution
    return sorted(merged.values(), key=lambda execution: (execution.arn, execution.start))


def _read_execution(summary: Mapping[str, Any]) -> Execution:
    result = summary.get("CustomerResultObject")
    return Execution(
        summary["InferenceSchedulerArn"],
        summary["InferenceSchedulerName"],
        _read_time(summary["DataStartTime"]),
        _read_time(summary["DataEndTime"]),
        summary["Status"],
        summary.get("FailedReason"),
        summary.get("ModelVersion"),
        (result["Bucket"], result["Key"]) if result else None,
    )


def _read_time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass
class PlainReport:
    """The numbers of the days `first` to `last`.

    Attributes:
        executions: all executions of the project, also before these days.
        objects: the result objects that were read; None: the user has no credentials.
    """

    executions: Sequence[Execution]
    objects: ResultObjects | None
    first: date
    last: date
    events: list[Row] = field(init=False)

    def __post_init__(self) -> None:
        self.points = build_points(*self._read_points())
        self.events = [
            event
            for event in build_events(self.points)
            if event["start_time"] < self.end and event["end_time"] > self.start
        ]
        for event in self.events:
            event["even_share"] = 1 / event["sensors"] if event["sensors"] else None
        self.events.sort(key=lambda event: event["start_time"], reverse=True)

    @property
    def start(self) -> datetime:
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.start + len(self.days) * DAY

    @property
    def days(self) -> list[date]:
        return [self.first + number * DAY for number in range((self.last - self.first).days + 1)]

    @property
    def shown(self) -> list[Execution]:
        return [execution for execution in self.executions if self.first <= execution.day <= self.last]

    @property
    def arns(self) -> list[str]:
        return sorted({execution.arn for execution in self.shown})

    def get_name(self, arn: str) -> str:
        return next(execution.name for execution in self.executions if execution.arn == arn)

    def is_read(self, execution: Execution) -> bool:
        return bool(self.objects) and execution.location in (self.objects or {})

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The rows of each query that has numbers on the page."""
        total = [self._count_knowledge(self.shown, self.days)]
        by_day = [
            self._count_knowledge([item for item in self.shown if item.day == day], [day]) | {"day": day}
            for day in self.days
        ]
        by_arn = [self._count_knowledge(self._list_executions(arn), self.days) for arn in self.arns]
        length = len(self.days)
        return {
            "slots": [self._count_slots(self.arns, self.days)],
            "days": [self._count_slots(self.arns, [day]) | {"data_date": day} for day in self.days],
            "schedulers": [self._count_slots([arn], self.days) for arn in self.arns],
            "recorded": [self._describe_records(arn) for arn in self.arns],
            "knowledge": by_day + by_arn + total,
            # per day, for the missing scheduler, and in total
            "knowledge_before": [{}] * (length + 1) + [{"days": length, "days_not_recorded": length}],
            "objects": self._list_objects(),
            "object_states": self._list_object_states(),
            "blind_time": [row for arn in self.arns if (row := self._find_blind_time(arn))],
            "causes": self._list_causes(),
            "settings": self._list_first_windows(),
            "rejected": [{"lines": 0, "summaries": 0, "damaged_files": 0}],
            "event_totals": [self._count_events()],
            "events": self.events,
            "equipment": [self._count_running([arn], self.days) for arn in self.arns],
            "last_day": [self._count_running([arn], [self.last]) for arn in self.arns],
            "changes": [
                self._count_running(arns, self.days) | {"anomalous_share_before": None, "events_before": None}
                for arns in (self.arns, *([arn] for arn in self.arns))
            ],
        }

    def count_not_fully_known(self) -> int:
        """Count the machines with an unread result, or with an hour or more of unknown state."""
        unread = {item.arn for item in self.shown if item.status == "SUCCESS" and not self.is_read(item)}
        return len(unread | {arn for arn in self.arns if self._find_blind_time(arn)})

    def _list_executions(self, arn: str) -> list[Execution]:
        return [execution for execution in self.shown if execution.arn == arn]

    def _read_points(self) -> tuple[list[Row], list[Row]]:
        predictions, contributions = [], []
        for execution in self.executions:
            if not self.is_read(execution):
                continue
            assert self.objects is not None and execution.location is not None
            for line in self.objects[execution.location][0].decode().splitlines():
                record = json.loads(line)
                key = {
                    "scheduler_arn": execution.arn,
                    "data_start_time": execution.start,
                    "timestamp": datetime.fromisoformat(record["timestamp"]).replace(tzinfo=UTC),
                }
                predictions.append(
                    key
                    | {
                        "scheduler_name": execution.name,
                        "prediction": record["prediction"],
                        "prediction_reason": record.get("prediction_reason"),
                        "anomaly_score": record.get("anomaly_score"),
                        "model_version": execution.version,
                    }
                )
                contributions += [
                    key | {"diagnostic_name": sensor["name"], "contribution": sensor["value"]}
                    for sensor in record.get("diagnostics", ())
                    if record["prediction"] == 1
                ]
        return predictions, contributions

    def _count_slots(self, arns: Sequence[str], days: Sequence[date]) -> Row:
        """Count expected executions: each step of a scheduler since its first window, until the last day."""
        counts = Counter[str]()
        for arn in arns:
            mine = [execution for execution in self.executions if execution.arn == arn]
            outcomes = {execution.start: execution for execution in mine}
            slot, step = mine[0].start, mine[0].end - mine[0].start
            while slot < self.end:
                if slot.date() in days:
                    counts["expected"] += 1
                    counts[_classify(outcomes.get(slot))] += 1
                slot += step
        row: Row = {name: counts[name] for name in ("expected", "succeeded", "unknown")}
        row |= {name: counts[name] for name in ("failed_missing_input", "failed_other")}
        row["result_share"] = counts["succeeded"] / counts["expected"] if counts["expected"] else None
        return row | self._compute_lateness(arns, days)

    def _compute_lateness(self, arns: Sequence[str], days: Sequence[date]) -> Row:
        """Return the median of the medians of each scheduler and day, and the maximum."""
        minutes: dict[tuple[str, date], list[float]] = defaultdict(list)
        for execution in self.executions:
            if self.objects and execution.location in self.objects:
                _, modified = self.objects[execution.location]
                minutes[execution.arn, execution.day].append((modified - execution.end) / MINUTE)
        chosen = [values for (arn, day), values in minutes.items() if arn in arns and day in days]
        return {
            "lateness_median_minutes": median(map(median, chosen)) if chosen else None,
            "lateness_max_minutes": max(map(max, chosen), default=None),
        }

    def _describe_records(self, arn: str) -> Row:
        mine = self._list_executions(arn)
        newest = max(execution.end for execution in mine)
        result = max((item.end for item in mine if item.status == "SUCCESS"), default=None)
        minutes = (newest - result) / MINUTE if result else None
        return {"executions": len(mine), "newest_result": result, "minutes_without_result": minutes}

    def _count_knowledge(self, executions: Sequence[Execution], days: Sequence[date]) -> Row:
        results = [execution for execution in executions if execution.status == "SUCCESS"]
        unread = [execution for execution in results if not self.is_read(execution)]
        return {
            "days": len(days),
            "executions": len(executions),
            "results": len(results),
            "results_read": len(results) - len(unread),
            "results_unread": len(unread),
            "first_unread": min((execution.start for execution in unread), default=None),
            "last_unread": max((execution.end for execution in unread), default=None),
            "executions_not_computed": 0,
            "days_not_recorded": 0,
            "days_not_computed": 0,
        }

    def _list_states(self) -> list[tuple[str, str, Execution]]:
        missing = "no_credentials" if self.objects is None else "missing"
        return sorted(
            (
                (item.arn, "read" if self.is_read(item) else missing, item)
                for item in self.shown
                if item.status == "SUCCESS"
            ),
            key=lambda entry: entry[:2],
        )

    def _list_objects(self) -> list[Row]:
        counts = Counter((arn, state) for arn, state, _ in self._list_states())
        return [{"objects": count} for _, count in sorted(counts.items())]

    def _list_object_states(self) -> list[Row]:
        by_state: dict[str, list[Execution]] = defaultdict(list)
        for _, state, execution in self._list_states():
            by_state[state].append(execution)
        return [
            {"objects": len(items), "since": min(item.start for item in items)}
            for _, items in sorted(by_state.items())
        ]

    def _find_blind_time(self, arn: str) -> Row | None:
        """Find the periods of an hour or more in which no result was read, minute by minute.

        Time without an execution is known if all executions of its day are.
        """
        mine = [execution for execution in self.executions if execution.arn == arn]
        known, recorded = set[datetime](), set[datetime]()
        for execution in mine:
            minutes = [
                execution.start + n * MINUTE for n in range(int((execution.end - execution.start) / MINUTE))
            ]
            recorded.update(minutes)
            if self.is_read(execution):
                known.update(minutes)
        complete = {day for day in self.days if not self._count_slots([arn], [day])["unknown"]}
        periods: list[list[datetime]] = [[]]
        at = max(self.start, mine[0].start)
        while at < self.end:
            if at in known or (at not in recorded and at.date() in complete):
                periods.append([])
            else:
                periods[-1].append(at)
            at += MINUTE
        periods = [period for period in periods if len(period) >= HOUR / MINUTE]
        if not periods:
            return None
        longest = max(periods, key=len)
        return {
            "periods": len(periods),
            "minutes": sum(map(len, periods)),
            "longest_minutes": len(longest),
            "longest_since": longest[0],
        }

    def _list_causes(self) -> list[Row]:
        by_cause: dict[str, list[Execution]] = defaultdict(list)
        for execution in self.shown:
            if execution.status == "FAILED":
                by_cause[_find_component(execution)].append(execution)
        rows = [
            {
                "cause": f"missing input: {component}",
                "executions": len(items),
                "schedulers": len({item.arn for item in items}),
                "first_day": min(item.day for item in items),
                "last_day": max(item.day for item in items),
            }
            for component, items in by_cause.items()
        ]
        return sorted(rows, key=lambda row: (-row["executions"], row["cause"]))

    def _list_first_windows(self) -> list[Row]:
        firsts = [(min(item.start for item in self.executions if item.arn == arn), arn) for arn in self.arns]
        return [{"valid_from": start} for start, _ in sorted(firsts) if self.start <= start < self.end]

    def _count_events(self) -> Row:
        return {"events": len(self.events), "open": sum(event["state"] == "open" for event in self.events)}

    def _count_running(self, arns: Iterable[str], days: Sequence[date]) -> Row:
        """Add up the time of each state; a point lasts until the next one, at most one step."""
        time: dict[str, timedelta] = defaultdict(timedelta)
        for arn in arns:
            for point in self.points.get(arn, ()):
                for day in days:
                    time[point.state] += _get_overlap(point, day)
        running = (time["normal"] + time["anomalous"]) / MINUTE
        arns = set(arns)
        begun = [event for event in build_events(self.points) if event["start_time"].date() in days]
        return {
            "running_minutes": running,
            "off_minutes": time["off"] / MINUTE,
            "anomalous_minutes": time["anomalous"] / MINUTE,
            "anomalous_share": time["anomalous"] / MINUTE / running if running else None,
            "events": sum(event["scheduler_arn"] in arns for event in begun),
        }


def _classify(execution: Execution | None) -> str:
    if execution is None or execution.status == "IN_PROGRESS":
        return "unknown"
    return "succeeded" if execution.status == "SUCCESS" else "failed_missing_input"


def _find_component(execution: Execution) -> str:
    found = re.search(r"for sensor (\S+) within", execution.reason or "")
    assert found, execution
    return found[1]


def _get_overlap(point: Point, day: date) -> timedelta:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return max(timedelta(), min(point.until, midnight + DAY) - max(point.at, midnight))
