"""Silences: planned maintenance and acknowledgements, in a TOML file that operators edit.

The file is separate from the settings because it changes often. An invalid entry invalidates the whole file:
a skipped entry would not silence, and a misread one would silence the wrong equipment.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from resources.config.toml_file import read_toml
from resources.errors import ConfigurationError, format_value, suggest

SETTING = "alerts.silences"
TARGETS = ("equipment", "scheduler", "event", "run", "check")
_REQUIRED = ("who", "why", "until")
_KEYS = (*TARGETS, *_REQUIRED, "from")
EXAMPLE = """\
[[silences]]
equipment = "Pump 7"  # or scheduler = "pump-*", event = "0f3a…", run = "anomaly_*", check = "data_fresh"
from = 2026-10-05T06:00:00Z  # optional; a date means its start, in UTC
until = 2026-10-05T14:00:00Z  # a date means its end, in UTC
who = "shift lead"
why = "bearing replacement"
"""
"""An entry of the file."""


@dataclass(frozen=True)
class Silence:
    """One entry. Exactly one of `equipment`, `scheduler`, `event`, `run` and `check` is set.

    Attributes:
        who: the author.
        why: the reason.
        until: the end, exclusive, in UTC.
        since: the start in UTC; None: no start.
        equipment: a name in the registry.
        scheduler: a name or an ARN, with `*` and `?`.
        event: an `event_id`.
        run: the name of a job or an asset whose failed runs are silenced, with `*` and `?`.
        check: the name of an asset check, with `*` and `?`.
    """

    who: str
    why: str
    until: datetime
    since: datetime | None = None
    equipment: str | None = None
    scheduler: str | None = None
    event: str | None = None
    run: str | None = None
    check: str | None = None

    @property
    def is_about_failures(self) -> bool:
        """Whether this silences failed runs or checks, and not anomaly events."""
        return self.run is not None or self.check is not None

    @property
    def target(self) -> str:
        """The kind and the name of what is silenced, such as "scheduler pump-*"."""
        kind = next(kind for kind in TARGETS if getattr(self, kind) is not None)
        return f"{kind} {getattr(self, kind)}"

    def is_active(self, now: datetime) -> bool:
        """Whether the silence has started and not ended."""
        return (self.since is None or self.since <= now) and now < self.until


def load_silences(path: Path | str, owner: str | None = None) -> list[Silence]:
    """Read the file; without a file there are no silences.

    Args:
        path: a local path or `s3://bucket/key`.
        owner: the account that must own the bucket; None: any.

    Raises:
        ConfigurationError: the file is invalid; one message lists all errors.
        LedgerError: S3 refuses or cannot be reached.
    """
    table = read_toml(str(path), SETTING, owner)
    if table is None:
        return []
    errors: list[str] = []
    silences = [_parse_silence(entry, name, errors) for name, entry in _list_entries(table, errors)]
    if errors:
        lines = "".join(f"\n  - {error}" for error in errors)
        raise ConfigurationError(
            f"Cannot use the silences, so none is active:{lines}",
            where=str(path),
            next_step=f"correct these lines; an entry looks like this\n\n{EXAMPLE}",
        )
    return [silence for silence in silences if silence is not None]


def _list_entries(table: Mapping[str, Any], errors: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    errors += [
        f"{key}: is not a known key{suggest(key, ['silences'])}; start each entry with [[silences]]"
        for key in table
        if key != "silences"
    ]
    entries = table.get("silences", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        errors.append("silences: must be a list of tables; start each entry with [[silences]]")
        return []
    return [(f"silences[{number}]", entry) for number, entry in enumerate(entries)]


def _parse_silence(entry: Mapping[str, Any], name: str, errors: list[str]) -> Silence | None:
    """Return None and add to `errors` if the entry is invalid."""
    entry_errors = [
        f"{name}.{key}: is not a known key{suggest(key, _KEYS)}; known are {', '.join(_KEYS)}"
        for key in entry
        if key not in _KEYS
    ]
    entry_errors += [f"{name}.{key}: is missing" for key in _REQUIRED if key not in entry]
    entry_errors += [
        f"{name}.{key}: must be text that is not empty, not {format_value(entry[key])}"
        for key in ("who", "why", *TARGETS)
        if key in entry and not (isinstance(entry[key], str) and entry[key].strip())
    ]
    targets = [key for key in TARGETS if key in entry]
    if len(targets) != 1:
        actual = " and ".join(targets) if targets else "none"
        entry_errors.append(f"{name}: must have exactly one of {', '.join(TARGETS)}, but has {actual}")
    bounds = {
        key: _parse_moment(entry[key], f"{name}.{key}", is_end=key == "until", errors=entry_errors)
        for key in ("from", "until")
        if key in entry
    }
    since, until = bounds.get("from"), bounds.get("until")
    if since and until and until <= since:
        entry_errors.append(f"{name}.until: {until:%Y-%m-%d %H:%M} UTC is not later than from")
    errors += entry_errors
    if entry_errors or until is None:
        return None
    texts = {key: entry[key].strip() for key in ("who", "why", *targets)}
    return Silence(until=until, since=since, **texts)


def _parse_moment(value: object, name: str, *, is_end: bool, errors: list[str]) -> datetime | None:
    """Parse a time, or a date as its start or end; return None and add to `errors` if it is invalid."""
    if isinstance(value, str):  # accept a quoted date or time too
        with suppress(ValueError):
            value = (date if len(value.strip()) == len("YYYY-MM-DD") else datetime).fromisoformat(
                value.strip()
            )
    if isinstance(value, datetime):
        if value.tzinfo is None:
            errors.append(
                f"{name}: has no time zone; write {value.isoformat()}Z for UTC, or an offset such as +02:00"
            )
            return None
        return value.astimezone(UTC)
    if isinstance(value, date):
        midnight = datetime.combine(value, time(), UTC)
        return midnight + timedelta(days=1) if is_end else midnight
    errors.append(
        f"{name}: must be a date or a time, such as 2026-10-05T14:00:00Z, not {format_value(value)}"
    )
    return None
