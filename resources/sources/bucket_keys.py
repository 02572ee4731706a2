"""Keys of result objects: `<output prefix><DataStartTime>/results.jsonl`. All functions are pure.

A key holds no scheduler. The scheduler of a prefix is unknown until another source names it, and has a
placeholder ARN until then (`resources.scheduler_arns`).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise, permutations

ACCESS_CHECK_FILE = ".LOOKOUTEQUIPMENT_WRITE_ACCESS_CHECK_FILE_SAFE_TO_DELETE.TEMP"
"""The service writes it once to each output prefix."""

RESULT_NAMES = ("results.jsonl", "results.jsonl.gz", "results.csv", "results.csv.gz")
"""Names of result objects, preferred ones first; the service wrote CSV before its general availability."""

_TIME = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z?")
_FREQUENCIES = (5, 10, 15, 30, 60)
_MIN_STEPS = 12
_SLOWER_RUN = 8


def is_time_folder(name: str) -> bool:
    """Return whether a folder is named after a DataStartTime: a time that exists, in this century."""
    return _parse_time(name) is not None


def parse_folder_time(name: str, zone: tzinfo | None) -> datetime | None:
    """Return the DataStartTime of a folder; None if it is not one, or has no zone and `zone` is None."""
    time = _parse_time(name)
    if time is None or time.tzinfo is not None:
        return time
    return None if zone is None else time.replace(tzinfo=zone).astimezone(UTC)


def _parse_time(name: str) -> datetime | None:
    """Return the time in UTC if the name ends with Z, else without a zone."""
    if not _TIME.fullmatch(name):
        return None
    try:
        return datetime.fromisoformat(name)
    except ValueError:
        return None


TIME_LENGTH = len("2026-09-10T00:00:00Z")
"""The longest name of a folder."""

_ACCESS_CHECK, _OTHER = "access-check files", "other keys"


def split_result_key(key: str) -> tuple[str, str, str | None]:
    """Split the key of a result into output prefix, folder and name.

    Other keys have no name, and the kind of the key in place of the folder.
    """
    path, _, name = key.rpartition("/")
    parent, slash, folder = path.rpartition("/")
    if name in RESULT_NAMES and is_time_folder(folder):
        return parent + slash, folder, name
    return "", _ACCESS_CHECK if name == ACCESS_CHECK_FILE else _OTHER, None


@dataclass(frozen=True)
class ResultKey:
    """A result object: the start of its data window, and its key."""

    start: datetime
    key: str


def parse_result_keys(
    keys: Sequence[str], prefix: str, zone: tzinfo | None, skipped: Counter[str]
) -> list[ResultKey]:
    """Select the result objects among the sorted keys of an output prefix, one for each folder.

    Args:
        keys: keys that begin with the prefix, sorted.
        prefix: the output prefix.
        zone: the time zone of folder names without one.
        skipped: counts the other keys by kind.
    """
    by_folder: dict[str, list[str]] = {}
    for key in keys:
        folder, _, name = key[len(prefix) :].partition("/")
        if key.endswith(ACCESS_CHECK_FILE):
            skipped[_ACCESS_CHECK] += 1
        elif name in RESULT_NAMES and is_time_folder(folder):
            by_folder.setdefault(folder, []).append(key)
        elif not key.endswith("/"):
            skipped[_OTHER] += 1
    results = []
    for folder, candidates in by_folder.items():
        start = parse_folder_time(folder, zone)
        if start is None:
            skipped["folders with an unusable time"] += len(candidates)
            continue
        skipped["further copies of a result"] += len(candidates) - 1
        results.append(ResultKey(start, min(candidates, key=_get_preference)))
    return results


def _get_preference(key: str) -> int:
    return RESULT_NAMES.index(key.rsplit("/", 1)[1])


@dataclass(frozen=True)
class GridEvidence:
    """What the starts of some executions show about the frequency.

    Attributes:
        minutes: the frequency; None: it cannot be inferred.
        text: the evidence, or the reason why nothing is inferred.
        is_mixed: whether the starts contradict a single scheduler.
    """

    minutes: int | None
    text: str
    is_mixed: bool = False


def infer_frequency(starts: Sequence[datetime]) -> GridEvidence:
    """Infer the frequency from sorted starts of executions, such as those of a day.

    The shortest step counts if it is a frequency of the service, occurs at least 12 times, and divides all
    steps. Nothing is inferred while the frequency changes, or if some minutes of the hour never occur: two
    schedulers of different frequencies that share a prefix cause such a pattern.
    """
    minutes = [int(start.timestamp()) // 60 for start in starts]
    steps = [later - earlier for earlier, later in pairwise(minutes)]
    if not steps:
        return GridEvidence(None, "fewer than two results")
    shortest = min(steps)
    count = steps.count(shortest)
    if shortest not in _FREQUENCIES or any(step % shortest for step in steps):
        if text := _describe_change(steps):
            is_mixed = False
        else:
            text = f"the steps are no multiples of {shortest} minutes"
            is_mixed = len(steps) >= _MIN_STEPS
        return GridEvidence(None, text, is_mixed)
    missing = _count_missing_minutes(minutes, shortest)
    if missing:
        text = f"steps of {shortest} minutes, but {missing} minutes of the hour never occur"
        return GridEvidence(None, text, is_mixed=True)
    if count < _MIN_STEPS:
        return GridEvidence(None, f"only {count} steps of {shortest} minutes")
    if slower := _find_slower_run(steps, shortest):
        return GridEvidence(None, f"steps of {shortest} and of {slower} minutes: the frequency changes")
    return GridEvidence(
        shortest, f"{count:,} of {len(steps):,} steps are {shortest} minutes, none is shorter"
    )


def has_step(starts: Sequence[datetime], day: date, minutes: int) -> bool:
    """Return whether sorted starts have a step of this many minutes that begins or ends on the day."""
    return any(
        later - earlier == timedelta(minutes=minutes) and day in {earlier.date(), later.date()}
        for earlier, later in pairwise(starts)
    )


def find_certain_range(
    starts: Sequence[datetime], day: date, minutes: int
) -> tuple[datetime, datetime] | None:
    """Return the first and the last start around a day whose window certainly has the frequency of the day.

    A step that no longer frequency allows proves the window that begins it. Windows between two proofs have
    the same frequency. The windows beside them may be of a longer one, before or after a change. Beside a
    change to a shorter one, some windows may be short as well: the results between them may be lost.

    Args:
        starts: sorted starts of the day and of the days beside it.
        day: the day.
        minutes: its frequency.
    """
    numbers = [int(start.timestamp()) // 60 for start in starts]
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    own = [number for number, start in enumerate(starts) if start.date() == day]
    first, last = own[0], own[-1]
    while first and steps[first - 1] % minutes == 0:
        first -= 1
    while last < len(steps) and steps[last] % minutes == 0:
        last += 1
    longer = [frequency for frequency in _FREQUENCIES if frequency > minutes]
    begin = first + _SLOWER_RUN if first else first
    end = last - _SLOWER_RUN if last < len(steps) else last
    proofs = [
        number for number in range(begin, end) if all(steps[number] % frequency for frequency in longer)
    ]
    if not proofs:
        return None
    # without a further result, the last window is taken to be like the one before it
    final = proofs[-1] + 1 if proofs[-1] + 1 == len(steps) else proofs[-1]
    return starts[proofs[0]], starts[final]


def _count_missing_minutes(minutes: Sequence[int], shortest: int) -> int:
    """Count the minutes of the hour that never occur although the others do, hour by hour."""
    expected = 60 // shortest
    counts = Counter(minute % 60 for minute in minutes)
    is_enough = len(minutes) >= _MIN_STEPS * len(counts)
    return expected - len(counts) if is_enough and expected > len(counts) else 0


def _describe_change(steps: Sequence[int]) -> str | None:
    """Describe two frequencies, neither a multiple of the other, that the steps have one after the other."""
    for earlier, later in permutations(_FREQUENCIES, 2):
        end = next((number for number, step in enumerate(steps) if step % earlier), 0)
        if end and earlier % later and later % earlier and not any(step % later for step in steps[end:]):
            return f"steps of {earlier} and later of {later} minutes: the frequency changes"
    return None


def _find_slower_run(steps: Sequence[int], shortest: int) -> int | None:
    """Return the longer frequency that a run of consecutive steps has, or None."""
    for slower in _FREQUENCIES:
        if slower <= shortest or slower % shortest:
            continue
        run = 0
        for step in steps:
            run = run + 1 if step % slower == 0 else 0
            if run >= _SLOWER_RUN:
                return slower
    return None
