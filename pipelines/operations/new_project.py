"""The settings of a new project, from what the user has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from resources.aws.access import SERVICE_END
from resources.config.settings import BucketSettings
from resources.config.template import render_template
from resources.config.toml_file import extend_toml
from resources.errors import LedgerError
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.factory import open_source
from resources.storage.open import parse_scheme


@dataclass(frozen=True)
class NewSource:
    """A source of a new project.

    Attributes:
        values: its keys and values, as in the settings.
        history: the values of [history].
        notice: a problem that does not prevent the project; "": none.
        commands: the next commands.
    """

    values: Mapping[str, str]
    history: Mapping[str, date] = field(default_factory=dict)
    notice: str = ""
    commands: tuple[str, ...] = ("ledger doctor",)


def describe_api(region: str) -> NewSource:
    """Describe the live service in a region."""
    commands = ("ledger doctor", "ledger record --to recording/", "ledger plan --from DAY")
    return NewSource({"kind": "api", "region": region}, commands=commands)


def describe_bucket(uri: str, copy_of: str | None, today: date) -> NewSource:
    """Describe an output bucket or a copy of it, with the days of its results.

    Args:
        uri: a local folder or an `s3://` prefix.
        copy_of: the `s3://` prefix that a local folder is a copy of.
        today: the current date (UTC).
    """
    location = uri if parse_scheme(uri) else str(Path(uri).expanduser().absolute())
    values = {"kind": "bucket", "uri": location, **({"copy_of": copy_of} if copy_of else {})}
    bucket = open_source(BucketSettings(uri=location, copy_of=copy_of), DEFAULT_LIMITS).days
    assert bucket is not None  # noqa: S101 (every bucket is read by day)
    try:
        first, last = bucket.find_span()
    except LedgerError as error:
        return NewSource(values, notice=f"Cannot find the days of the results: {error}")
    history = {"start_date": first}
    if today > SERVICE_END:
        history["end_date"] = last + timedelta(days=1)
    commands = tuple(f"ledger {name} --from {first} --to {last}" for name in ("plan", "backfill"))
    return NewSource(values, history, commands=commands)


def render_settings(source: NewSource | None) -> bytes:
    """Return the content of a new `ledger.toml`: the commented template, with a source."""
    template = render_template().encode()
    if source is None:
        return template
    lines = "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in source.values.items()
    )
    history = {key: day.isoformat() for key, day in source.history.items()}
    return extend_toml(template, {"history": history} if history else {}, f"[[sources]]\n{lines}")
