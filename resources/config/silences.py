"""Silences: planned maintenance and acknowledgements, as people write them into a file.

A file of its own, because operators change it any day and settings hardly ever. A mistake in it is an error
with its line to mend, never an entry passed over: a silence that does not work wakes people up, and one that
works on the wrong machine does worse.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from resources.config.toml_file import read_toml
from resources.config.validation_errors import format_value, suggest
from resources.errors import ConfigurationError

SETTING = "alerts.silences"
TARGETS = ("equipment", "scheduler", "event")
_NEEDED = ("who", "why", "until")
_KEYS = (*TARGETS, *_NEEDED, "from")
EXAMPLE = """\
[[silences]]
equipment = "Pump 7"  # or scheduler = "pump-*", or event = "0f3a…"
from = 2026-10-05T06:00:00Z  # optional; a day counts from its first minute on, in UTC
until = 2026-10-05T14:00:00Z  # a day counts to its last minute
who = "shift lead"
why = "bearing is replaced"
"""
"""One entry, as it stands in the file."""


@dataclass(frozen=True)
class Silence:
    """What one entry says. Exactly one of `equipment`, `scheduler` and `event` is set.

    `scheduler` is a name or an ARN, with `*` and `?`; `equipment` a name in the registry; `event` an
    `event_id`. `since` None: from ever on. Both moments are aware and in UTC; `until` is exclusive.
    """

    who: str
    why: str
    until: datetime
    since: datetime | None = None
    equipment: str | None = None
    scheduler: str | None = None
    event: str | None = None

    @property
    def target(self) -> str:
        """Whom it silences, in words."""
        kind = next(kind for kind in TARGETS if getattr(self, kind) is not None)
        return f"{kind} {getattr(self, kind)}"

    def is_active(self, now: datetime) -> bool:
        """Tell whether it has begun and is not over."""
        return (self.since is None or self.since <= now) and now < self.until


def load_silences(path: Path | str) -> list[Silence]:
    """Read the file; where there is none, nothing is silenced.

    Args:
        path: a path of this machine, or `s3://bucket/key`.

    Raises:
        ConfigurationError: the file cannot be used; one message lists every mistake and its mend.
        LedgerError: S3 refuses, or cannot be reached.
    """
    said = read_toml(str(path), SETTING)
    if said is None:
        return []
    mistakes: list[str] = []
    silences = [_silence(entry, name, mistakes) for name, entry in _entries(said, mistakes)]
    if mistakes:
        lines = "".join(f"\n  - {mistake}" for mistake in mistakes)
        raise ConfigurationError(
            f"the silences have mistakes, so that none of them counts:{lines}",
            where=str(path),
            next_step=f"mend these; an entry looks like this\n\n{EXAMPLE}",
        )
    return [silence for silence in silences if silence is not None]


def _entries(said: Mapping[str, Any], mistakes: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    mistakes += [
        f"{key}: is not known here{suggest(key, ['silences'])}; each entry begins with [[silences]]"
        for key in said
        if key != "silences"
    ]
    entries = said.get("silences", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        mistakes.append("silences: must be a list of tables; each entry begins with [[silences]]")
        return []
    return [(f"silences[{number}]", entry) for number, entry in enumerate(entries)]


def _silence(entry: Mapping[str, Any], name: str, mistakes: list[str]) -> Silence | None:
    found = [
        f"{name}.{key}: is not a known key{suggest(key, _KEYS)}; known are {', '.join(_KEYS)}"
        for key in entry
        if key not in _KEYS
    ]
    found += [f"{name}.{key}: is missing" for key in _NEEDED if key not in entry]
    found += [
        f"{name}.{key}: must be text that is not empty, not {format_value(entry[key])}"
        for key in ("who", "why", *TARGETS)
        if key in entry and not (isinstance(entry[key], str) and entry[key].strip())
    ]
    named = [key for key in TARGETS if key in entry]
    if len(named) != 1:
        given = f"both {' and '.join(named)} are" if named else "none is"
        found.append(f"{name}: exactly one of {', '.join(TARGETS)} must be given; {given}")
    moments = {
        key: _moment(entry[key], f"{name}.{key}", is_end=key == "until", mistakes=found)
        for key in ("from", "until")
        if key in entry
    }
    since, until = moments.get("from"), moments.get("until")
    if since and until and until <= since:
        found.append(f"{name}.until: {until:%Y-%m-%d %H:%M} UTC is not later than from")
    mistakes += found
    if found or until is None:
        return None
    words = {key: entry[key].strip() for key in ("who", "why", *named)}
    return Silence(until=until, since=since, **words)


def _moment(value: object, name: str, *, is_end: bool, mistakes: list[str]) -> datetime | None:
    """Read a moment; a day is meant from its first minute to its last."""
    if isinstance(value, str):  # whoever puts it in quotes means the same
        with suppress(ValueError):
            value = (date if len(value.strip()) == len("YYYY-MM-DD") else datetime).fromisoformat(
                value.strip()
            )
    if isinstance(value, datetime):
        if value.tzinfo is None:
            mistakes.append(f"{name}: says no zone; write {value.isoformat()}Z for UTC, or +02:00 at its end")
            return None
        return value.astimezone(UTC)
    if isinstance(value, date):
        midnight = datetime.combine(value, time(), UTC)
        return midnight + timedelta(days=1) if is_end else midnight
    mistakes.append(
        f"{name}: must be a day or a moment, such as 2026-10-05T14:00:00Z, not {format_value(value)}"
    )
    return None
