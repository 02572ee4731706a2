"""Lakes from any mix of inputs hold what the inputs show, and the certificate names exactly the rest.

Hypothesis draws schedulers with changes of frequency, stops and deletions, and which of their executions the
bucket, saved responses and the API still show. The rule below judges each five minutes by itself.
"""

import json
import random
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.certificate.evidence import Selection, read_days
from assets.certificate.statements import Statement, chain_statements
from assets.executions.extraction import Extraction
from assets.executions.scheduler_history import EXECUTION_COLUMNS, merge_observed_settings
from assets.executions.service_state import get_service_state
from assets.framework.time_windows import Days
from assets.health.execution_health import build_health_policy
from assets.tables import INFERENCE_EXECUTIONS, INFERENCE_SCHEDULERS
from resources.config.settings import ApiSettings, ArchiveSettings, BucketSettings
from resources.lake.lake import Lake
from resources.read_limits import DEFAULT_LIMITS
from resources.scheduler_arns import PLACEHOLDER
from resources.sources.base import Source
from resources.sources.factory import open_source
from sandbox.fleet import LEEDS, Fleet, History
from sandbox.plants import Plant
from sandbox.schedulers import FREQUENCIES, ModelVersion, Output, Schedule, Scheduler
from sandbox.service import run_sandbox

FIRST = datetime(2026, 10, 5, tzinfo=UTC)
DAYS = [date(2026, 10, 5), date(2026, 10, 6), date(2026, 10, 7)]
END = datetime(2026, 10, 8, tzinfo=UTC)
NOW = datetime(2026, 10, 9, 12, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(minutes=5)
SETTLE_AFTER = timedelta(hours=3)
Summary = dict[str, Any]


@dataclass(frozen=True)
class Remains:
    """What is left of the truth.

    Attributes:
        saved: for each day, the share of executions in saved responses.
        in_bucket: the days of the bucket.
        queried: the days on which the API was queried.
        lost: from which hour on how many hours of results were deleted from the bucket.
        lost_share: the share of the other results that were deleted.
        seed: selects executions and the order of the inputs.
        is_copy: the bucket is a copy on disk; otherwise it is a listing of keys.
    """

    saved: tuple[float, ...]
    in_bucket: tuple[bool, ...]
    queried: tuple[bool, ...]
    lost: tuple[tuple[int, int], ...]
    lost_share: float
    seed: int
    is_copy: bool


def build_scheduler(name: str, schedules: Sequence[Schedule], generation: int, zone: timedelta) -> Scheduler:
    arn = LEEDS.arn(1, "inference-scheduler", name, generation)
    return Scheduler(
        seed=1,
        arn=arn,
        model_arn=LEEDS.arn(1, "model", f"{name}-model"),
        plant=Plant(1, arn, "sensors", LEEDS.bucket, f"{name}/input/", zone),
        output=Output(LEEDS.bucket, f"{name}/output/"),
        schedules=tuple(schedules),
        versions=(ModelVersion(schedules[0].since, 1),),
    )


@st.composite
def schedulers(draw: st.DrawFn, name: str) -> list[Scheduler]:
    """Draw a scheduler with up to two changes of frequency, which may follow a stop or a new creation."""
    hours = sorted(draw(st.sets(st.integers(0, 66), min_size=1, max_size=3)))
    frequencies = draw(st.permutations(sorted(FREQUENCIES)))
    delay = draw(st.sampled_from([0, 5, 60]))
    zone = timedelta(hours=5, minutes=30) if draw(st.booleans()) else timedelta(0)
    schedules = []
    for number, hour in enumerate(hours):
        until = FIRST + hours[number + 1] * HOUR if number + 1 < len(hours) else None
        stop = draw(st.integers(0, 3)) if until else 0
        is_stopped = until is not None and hour + stop < hours[number + 1]
        end = until - stop * HOUR if until and is_stopped else until
        schedules.append(Schedule(FIRST + hour * HOUR, end, frequencies[number], delay))
    if len(schedules) > 1 and draw(st.booleans()):
        created_again = schedules[-1].since
        return [
            replace(build_scheduler(name, schedules[:-1], 1, zone), deleted_at=created_again),
            build_scheduler(name, schedules[-1:], 2, zone),
        ]
    return [build_scheduler(name, schedules, 1, zone)]


fleets = st.integers(1, 3).flatmap(
    lambda count: st.tuples(*(schedulers(name) for name in ("pump", "fan", "mill")[:count]))
)
per_day = st.tuples(*[st.booleans()] * len(DAYS))
remains = st.builds(
    Remains,
    st.tuples(*[st.sampled_from([0.0, 0.0, 0.4, 1.0])] * len(DAYS)),
    per_day,
    per_day,
    st.lists(st.tuples(st.integers(0, 71), st.integers(1, 30)), max_size=2).map(tuple),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 1000),
    st.booleans(),
)


def number_day(time: datetime) -> int:
    return (time - FIRST).days


def list_summaries(fleet: Fleet) -> list[Summary]:
    return [item for item in fleet.executions(NOW) if FIRST <= item["DataStartTime"] < END]


@dataclass(frozen=True)
class Inputs:
    """The sources with the days that are read from each, and the executions that they show."""

    runs: list[tuple[Source, date]]
    shown: list[Summary]

    @property
    def sources(self) -> list[Source]:
        return list({source.uri: source for source, _ in self.runs}.values())

    @property
    def queried(self) -> set[date]:
        return {day for source, day in self.runs if source.service}


def open_inputs(fleet: Fleet, left: Remains, folder: Path, stack: ExitStack) -> Inputs:
    """Open the sources of what is left, in any order."""
    chance = random.Random(left.seed)  # noqa: S311 (no secret)
    truth = list_summaries(fleet)
    saved = [item for item in truth if chance.random() < left.saved[number_day(item["DataStartTime"])]]
    in_bucket = [item for item in truth if is_in_bucket(item, left, chance)]
    queried = [day for day, is_queried in zip(DAYS, left.queried, strict=True) if is_queried]
    listed = {scheduler.arn for scheduler in fleet.list_schedulers(NOW)}
    reported = [
        item
        for item in truth
        if item["InferenceSchedulerArn"] in listed and item["DataStartTime"].date() in queried
    ]
    runs: list[tuple[Source, date]] = []
    if saved:
        (folder / "saved.json").write_text(json.dumps(saved, default=datetime.isoformat))
        source = open_source(ArchiveSettings(uri=str(folder / "saved.json")), DEFAULT_LIMITS)
        runs += [(source, day) for day in DAYS]
    if in_bucket:
        keys = sorted(item["CustomerResultObject"]["Key"] for item in in_bucket)
        bucket = open_bucket(keys, folder, is_copy=left.is_copy)
        runs += [(bucket, day) for day in DAYS]
    if queried:
        service = stack.enter_context(run_sandbox(fleet, NOW, s3=False))
        api = open_source(ApiSettings(region=LEEDS.region, endpoint_url=service.url), DEFAULT_LIMITS)
        runs += [(api, day) for day in queried]
    chance.shuffle(runs)
    return Inputs(runs, [*saved, *in_bucket, *reported])


def is_in_bucket(summary: Summary, left: Remains, chance: random.Random) -> bool:
    start = summary["DataStartTime"]
    if "CustomerResultObject" not in summary or not left.in_bucket[number_day(start)]:
        return False
    hour = (start - FIRST) // HOUR
    is_lost = any(first <= hour < first + count for first, count in left.lost)
    return not is_lost and chance.random() >= left.lost_share


def open_bucket(keys: Sequence[str], folder: Path, *, is_copy: bool) -> Source:
    if not is_copy:
        listing = folder / "listing.txt"
        listing.write_text("".join(f"2026-10-08 00:00:00       1300 {key}\n" for key in keys))
        return open_source(BucketSettings(uri=f"s3://{LEEDS.bucket}/", listing=str(listing)), DEFAULT_LIMITS)
    for key in keys:
        file = folder / "copy" / key
        file.parent.mkdir(parents=True)
        file.touch()
    return open_source(
        BucketSettings(uri=str(folder / "copy"), copy_of=f"s3://{LEEDS.bucket}"), DEFAULT_LIMITS
    )


def build_lake(root: Path, inputs: Inputs, shards: int) -> Lake:
    """Extract each input in its order, then all sources at once, which knows all schedulers."""
    lake = Lake(str(root), shards=shards)
    runs = [([source], [day]) for source, day in inputs.runs]
    for is_queried in (True, False) * 2:
        sources = [source for source in inputs.sources if is_queried or not source.service]
        runs += [(sources, [day for day in DAYS if (day in inputs.queried) is is_queried])]
    for sources, days in runs:
        extraction = Extraction(lake, Days(DAYS[0]), SETTLE_AFTER, NOW, lambda _: None)
        for result in extraction.gather(sources, days):
            extraction.record(result)
        assert not extraction.failed
    rows = [lake.read(INFERENCE_EXECUTIONS, day, EXECUTION_COLUMNS) for day in DAYS]
    lake.update(INFERENCE_SCHEDULERS, None, lambda existing: merge_observed_settings(rows, existing, NOW))
    return lake


def certify(lake: Lake, inputs: Inputs) -> list[Statement]:
    policy = build_health_policy(get_service_state(inputs.sources), SETTLE_AFTER, NOW)
    days = read_days(lake, Selection(DAYS[0], DAYS[-1]), policy)
    return [statement for statement, _ in chain_statements(days)]


def read_rows(lake: Lake) -> list[dict[str, Any]]:
    return [row for day in DAYS for row in lake.read(INFERENCE_EXECUTIONS, day).to_pylist()]


def get_place(summary: Summary) -> tuple[str, datetime]:
    """Return output prefix and start, which identify an execution for all sources."""
    prefix = summary["DataOutputConfiguration"]["S3OutputConfiguration"]["Prefix"]
    return prefix, summary["DataStartTime"]


def list_ticks(start: datetime, end: datetime) -> set[datetime]:
    return {start + number * TICK for number in range(-((start - end) // TICK))}


def list_windows(generations: Sequence[Scheduler]) -> set[datetime]:
    """Return the starts of all windows of an output prefix; a stop or a deletion does not end the grid."""
    schedules = [item for scheduler in generations for item in scheduler.schedules]
    zone = generations[0].plant.zone
    windows = set()
    for number, schedule in enumerate(schedules):
        end = schedules[number + 1].since if number + 1 < len(schedules) else END
        step = FREQUENCIES[schedule.frequency]
        midnight = FIRST - zone
        windows |= {
            start
            for start in (midnight + count * step for count in range(80 * 12))
            if schedule.since <= start < END and (start + step <= end or end == END)
        }
    return windows


@dataclass
class Judgment:
    """What the certificate, or the rule, says of one scheduler: windows and times, five minutes each."""

    missing: set[datetime]
    unknown: set[datetime]


def read_judgments(statements: Iterable[Statement]) -> dict[str, Judgment]:
    judgments: dict[str, Judgment] = {}
    for statement in statements:
        for scheduler in statement["predicate"]["schedulers"]:
            judgment = judgments.setdefault(scheduler["arn"], Judgment(set(), set()))
            for gap in scheduler.get("gaps", ()):
                step = timedelta(minutes=gap["minutes"])
                start = datetime.fromisoformat(gap["from"])
                starts = [start + number * step for number in range(gap["slots"])]
                assert starts[-1] + step == datetime.fromisoformat(gap["to"])
                if gap["reason"] in {"unknown", "not_extracted"}:
                    assert not judgment.missing & set(starts)
                    judgment.missing |= set(starts)
            for period in scheduler.get("expectation_not_known", ()):
                times = datetime.fromisoformat(period["from"]), datetime.fromisoformat(period["to"])
                assert times[0] < times[1]
                judgment.unknown |= list_ticks(*times)
    return judgments


def judge(rows: Sequence[Mapping[str, Any]], listed: timedelta | None, proven: Collection[date]) -> Judgment:
    """Judge each five minutes of a scheduler from its rows.

    Args:
        rows: its executions.
        listed: the frequency that the service listed after all days; None: it did not list the scheduler.
        proven: days of which the service reported all executions.
    """
    held = sorted((row["data_start_time"], row["data_end_time"]) for row in rows)
    judgment, position, covered = Judgment(set(), set()), 0, FIRST
    for tick in sorted(list_ticks(FIRST, END)):
        while position < len(held) and held[position][0] <= tick:
            start, end = held[position]
            position, covered = position + 1, max(covered, end or start + TICK)
        if tick.date() in proven or tick < covered:
            continue
        if not position or (end := held[position - 1][1]) is None:
            judgment.unknown.add(tick)
            continue
        start, after = held[position - 1][0], held[position] if position < len(held) else None
        step = end - start
        is_on_grid = (tick - start) % step == timedelta(0)
        if after is None:
            is_known = listed == step
        else:
            is_known = after[1] is not None and after[1] - after[0] == step
            is_known = is_known and (after[0] - start) % step == timedelta(0)
        if not is_known:
            judgment.unknown.add(tick)
        elif is_on_grid:
            judgment.missing.add(tick)
    return judgment


def check_rows(rows: Sequence[Mapping[str, Any]], inputs: Inputs) -> None:
    """Each execution that an input shows is in the lake exactly once, with every field that it shows."""
    shown = {get_place(summary): summary for summary in inputs.shown}
    assert sorted((row["output_s3_prefix"], row["data_start_time"]) for row in rows) == sorted(shown)
    for row in rows:
        summary = shown[row["output_s3_prefix"], row["data_start_time"]]
        result = summary.get("CustomerResultObject", {})
        assert (row["status"], row["result_s3_key"]) == (summary["Status"], result.get("Key"))
        if row["source"] != "bucket":
            assert row["scheduler_arn"] == summary["InferenceSchedulerArn"]
            assert row["data_end_time"] == summary["DataEndTime"]
            assert row["scheduled_start_time"] == summary["ScheduledStartTime"]
            assert row["failed_reason"] == summary.get("FailedReason")
        else:
            assert row["data_end_time"] in {summary["DataEndTime"], None}


def check_certificate(fleet: Fleet, inputs: Inputs, lake: Lake) -> None:
    """Every window is held, named missing, or in a period that is named as not known; nothing else is."""
    rows = read_rows(lake)
    check_rows(rows, inputs)
    judgments = read_judgments(certify(lake, inputs))
    listed = {scheduler.arn: scheduler for scheduler in fleet.list_schedulers(NOW) if inputs.queried}
    for prefix in {row["output_s3_prefix"] for row in rows}:
        generations = [item for item in fleet.schedulers if item.output.prefix == prefix]
        held = {row["data_start_time"] for row in rows if row["output_s3_prefix"] == prefix}
        own = [row for row in rows if row["output_s3_prefix"] == prefix]
        arns = {row["scheduler_arn"] for row in own} | {
            item.arn for item in generations if item.arn in listed
        }
        known = {arn for arn in arns if not arn.startswith(PLACEHOLDER)}
        missing, unknown, proven = set[datetime](), set[datetime](), set[datetime]()
        for arn in known or arns:
            frequency = FREQUENCIES[listed[arn].schedules[-1].frequency] if arn in listed else None
            days = inputs.queried if arn in listed else set()
            rule = judge([row for row in own if row["scheduler_arn"] == arn], frequency, days)
            found = judgments.get(arn, Judgment(set(), set()))
            assert found.missing == rule.missing - held, arn
            assert found.unknown - list_held_ticks(own, arn) == rule.unknown, arn
            missing, unknown = missing | found.missing, unknown | found.unknown
            proven |= {tick for day in days for tick in list_ticks(*get_bounds(day))}
        windows = list_windows(generations)
        assert not missing & held
        assert missing <= windows
        assert windows <= held | missing | unknown | proven
        # a deleted scheduler that no input names has no trace apart from its results
        truth = {
            summary["DataStartTime"]
            for summary in list_summaries(fleet)
            if get_place(summary)[0] == prefix and (summary["InferenceSchedulerArn"] in known or not known)
        }
        assert truth <= held | missing | unknown


def list_held_ticks(rows: Iterable[Mapping[str, Any]], arn: str) -> set[datetime]:
    ticks = set[datetime]()
    for row in rows:
        if row["scheduler_arn"] == arn:
            start = row["data_start_time"]
            ticks |= list_ticks(start, row["data_end_time"] or start + TICK)
    return ticks


def get_bounds(day: date) -> tuple[datetime, datetime]:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def access_key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", LEEDS.account)
        environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
        yield


def check_remains(generations: Sequence[Sequence[Scheduler]], left: Remains) -> None:
    fleet = Fleet(1, History(FIRST, END), tuple(item for scheduler in generations for item in scheduler))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        inputs = open_inputs(fleet, left, folder, stack)
        check_certificate(fleet, inputs, build_lake(folder / "lake", inputs, 1 + left.seed % 2))


@settings(deadline=None, max_examples=6)
@given(fleets, remains)
def test_the_certificate_names_exactly_what_no_input_shows(
    generations: Sequence[Sequence[Scheduler]], left: Remains
) -> None:
    check_remains(generations, left)


@pytest.mark.long
@settings(deadline=None, max_examples=300)
@given(fleets, remains)
def test_the_certificate_names_exactly_what_no_input_shows_in_many_worlds(
    generations: Sequence[Sequence[Scheduler]], left: Remains
) -> None:
    check_remains(generations, left)
