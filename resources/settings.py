"""The settings: `ledger.toml` and `LEDGER_*` variables, read into one frozen, validated model.

Belongs here: what can be set, its unit, its default, and the message for every way to get it wrong.
Does not belong here: opening what the settings point to (each source and the lake do that), and secrets
(AWS credentials come from boto3's default chain alone).

The environment wins over the file, the file over the defaults. Each value remembers which of the three it
came from: relative paths start there, and mistakes are reported there. All mistakes are told at once.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from resources.errors import ConfigurationError

CONFIG_FILE_NAME = "ledger.toml"
CONFIG_VARIABLE = "LEDGER_CONFIG"
SOURCES_VARIABLE = "LEDGER_SOURCES"
CHECKOUT = Path(__file__).resolve().parent.parent

EXAMPLE_TOML = """\
[[sources]]
kind = "archive"
uri = "dumps/"  # saved responses: a folder, a file or an s3:// prefix; relative to this file
"""
"""The least that `ledger.toml` must say; it stands alone, or at the end of a file that has no source yet."""

_EXAMPLE_SOURCES = '[{"kind": "archive", "uri": "dumps/"}]'
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters at least: C:/ is a drive
_S3 = re.compile(r"[sS]3://[A-Za-z0-9._-]+(/.*)?")
_OFFSET = re.compile(r"[+-](0[0-9]|1[0-4]):[0-5][0-9]")

_Loc = tuple[int | str, ...]


@dataclass(frozen=True)
class _Origin:
    """Where the values came from; the validators get it as their context."""

    root: Path = CHECKOUT
    file: Path | None = None
    in_file: frozenset[_Loc] = frozenset()  # ("lake", "uri"), ("sources",), ...
    in_environment: frozenset[_Loc] = frozenset()
    today: date | None = None

    def variable(self, loc: _Loc) -> str | None:
        """The variable that set the value at `loc`, or the list around it."""
        return next((_variable_name(loc[:n]) for n in (1, 2) if loc[:n] in self.in_environment), None)

    def base(self, loc: _Loc) -> Path:
        """The folder that a relative path at `loc` starts from."""
        written = self.file is not None and loc in self.in_file - self.in_environment
        return self.file.parent if self.file and written else self.root

    @classmethod
    def of(cls, info: ValidationInfo) -> "_Origin":
        return info.context if isinstance(info.context, cls) else cls()


@dataclass(frozen=True)
class _Mistake:
    key: str
    place: str
    problem: str
    mend: str


def _day(value: object) -> date:
    """A TOML date or its text; no number and no time of day, of which pydantic would make a day too."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = str(value).strip()
    try:
        if (day := date.fromisoformat(text)).isoformat() == text:
            return day
    except ValueError:
        pass
    raise ValueError(f"must be a day written as YYYY-MM-DD, not {_shown(value)}")


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):  # which Python counts as 0 and 1
        raise ValueError(f"must be a whole number, not {_shown(value)}")  # noqa: TRY004 (pydantic wants it so)
    return value


def _zone(name: str) -> str:
    zones = available_timezones() - {"localtime"}  # a link that some systems keep among the zones
    if name not in zones:
        raise ValueError(f"{_shown(name)} is no IANA time zone{_did_you_mean(name, zones)}")
    return name


def _zone_or_offset(name: str) -> str:
    return name if _OFFSET.fullmatch(name) else _zone(name)


def _located(*loc: str) -> AfterValidator:
    """Make a local path absolute from where it was written; let s3:// pass, and no other scheme."""

    def absolute(text: str, info: ValidationInfo) -> str:
        if not text:
            raise ValueError("is empty")
        scheme = _SCHEME.match(text)
        if scheme is None:
            try:
                return str((_Origin.of(info).base(loc) / Path(text).expanduser()).resolve())
            except RuntimeError as error:  # ~nobody, or links in a circle
                raise ValueError(f"{_shown(text)} is no usable path: {error}") from error
        if scheme[1].lower() != "s3":
            raise ValueError(f"{scheme[1]}:// is not supported; local paths (without file://) and s3:// are")
        if not _S3.fullmatch(text):
            raise ValueError("must name a bucket right after s3://")
        return "s3" + text[2:]

    return AfterValidator(absolute)


_Day = Annotated[date, BeforeValidator(_day)]
_Count = Annotated[int, BeforeValidator(_no_truth_value)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class LakeSettings(_Model):
    """Where the tables are kept."""

    uri: Annotated[str, _located("lake", "uri"), AfterValidator(lambda uri: uri.rstrip("/") or uri)] = Field(
        default="data/lake",
        validate_default=True,
        description="Folder or s3:// prefix of the lake. Absolute once loaded, without a slash at the end.",
        examples=["data/lake"],
    )


class HistorySettings(_Model):
    """Which days exist, and how long a day may still change."""

    start_date: _Day = Field(
        default=date(2025, 1, 1), description="The first daily partition (UTC).", examples=["2025-01-01"]
    )
    end_date: _Day | None = Field(
        default=None,
        description="The first day that is no longer a partition (UTC, exclusive). Unset: there is no end.",
        examples=["2026-10-08"],
    )
    lookback_days: _Count = Field(
        default=7,
        ge=1,
        le=36_500,
        description="How far back scheduled runs read unsettled days again, in days.",
        examples=[7],
    )
    settle_after_minutes: _Count = Field(
        default=180,
        ge=0,
        le=525_600,
        description="How long after its end a day may still change before it can settle, in minutes.",
        examples=[180],
    )

    @field_validator("start_date")
    @classmethod
    def _has_begun(cls, start: date, info: ValidationInfo) -> date:
        today = _Origin.of(info).today
        if today and start > today:
            raise ValueError(f"{start} lies in the future (today is {today} in UTC)")
        return start

    @field_validator("end_date")
    @classmethod
    def _ends_after_start(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start_date")  # absent when it is itself mistaken
        if end and start and end <= start:
            problem = f"{end} must be later than history.start_date, which is {start}"
            raise ValueError(problem, str(start + timedelta(days=1)))  # with a day that mends it
        return end


class ReportSettings(_Model):
    """How reports are shown."""

    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC",
        description="IANA name of the time zone that reports show times in; the tables stay in UTC.",
        examples=["Europe/Berlin"],
    )


class ArchiveSource(_Model):
    """Saved responses of the API, read from files."""

    kind: Literal["archive"] = Field(default="archive", description="Its kind.", examples=["archive"])
    uri: Annotated[str, _located("sources")] = Field(
        description="Folder, file or s3:// prefix of the saved responses. Absolute once loaded.",
        examples=["dumps/"],
    )
    time_zone: Annotated[str, AfterValidator(_zone_or_offset)] | None = Field(
        default=None,
        description="IANA name or +HH:MM offset: the zone of times that were saved without one.",
        examples=["Europe/Berlin"],
    )


_AnySource = ArchiveSource  # a new kind is one class that joins here: ArchiveSource | ...
Source = Annotated[_AnySource, Field(discriminator="kind")]
_KINDS: dict[str, type[_Model]] = {
    source.model_fields["kind"].default: source for source in get_args(_AnySource) or (_AnySource,)
}


class Settings(_Model):
    """All settings; made by `load_settings`."""

    lake: LakeSettings = Field(default_factory=LakeSettings)
    history: HistorySettings = Field(default_factory=HistorySettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    sources: tuple[Source, ...] = Field(default=(), description="Where executions come from, all at once.")

    _origin: _Origin = PrivateAttr(default_factory=_Origin)

    def model_post_init(self, context: object, /) -> None:
        """Keep where the values came from, for `config_file` and `require_sources`."""
        if isinstance(context, _Origin):
            self._origin = context

    @property
    def config_file(self) -> Path | None:
        """The file that was read; None when there is none."""
        return self._origin.file

    def require_sources(self) -> tuple[Source, ...]:
        """The sources, of which there is at least one.

        Raises:
            ConfigurationError: there is none; the message says which file to write, and what.
        """
        if self.sources:
            return self.sources
        file = self._origin.root / CONFIG_FILE_NAME
        place, mend = f"{file} (no such file)", f"write {file} with\n\n{EXAMPLE_TOML}"
        if self.config_file:
            place, mend = f"{self.config_file}: sources", f"add to {self.config_file}\n\n{EXAMPLE_TOML}"
        if variable := self._origin.variable(("sources",)):
            place, mend = f"environment variable {variable}", f"set {variable}='{_EXAMPLE_SOURCES}'"
        raise ConfigurationError(
            "no sources are set: nothing says where executions come from", where=place, next_step=mend
        )


_SECTIONS: dict[str, type[_Model]] = {
    "lake": LakeSettings,
    "history": HistorySettings,
    "report": ReportSettings,
}


def _variable_name(loc: _Loc) -> str:
    return "LEDGER_" + "__".join(map(str, loc)).upper()


_KEYS = {f"{name}.{key}": (name, key) for name, model in _SECTIONS.items() for key in model.model_fields}
_VARIABLES: dict[str, tuple[str, ...]] = {_variable_name(loc): loc for loc in (*_KEYS.values(), ("sources",))}


def load_settings(
    environ: Mapping[str, str] | None = None, root: Path | None = None, today: date | None = None
) -> Settings:
    """Read the file and the environment.

    Args:
        environ: the environment variables; default the process's own.
        root: the folder of the default `ledger.toml`, where paths that stand in no file start; default the
            checkout.
        today: the last day that the history can start on; default the UTC date.

    Raises:
        ConfigurationError: the settings cannot be used; one message lists every mistake and its mend.
    """
    environ = os.environ if environ is None else environ
    root = (root or CHECKOUT).absolute()
    mistakes: list[_Mistake] = []
    overrides = _read_environment(environ, mistakes)
    file, values = _read_file(environ.get(CONFIG_VARIABLE), root, mistakes)
    if values is None:  # what the file would have said is unknown: any further complaint would be a guess
        raise _as_error(mistakes)
    written: set[_Loc] = {(name,) for name in values}
    written |= {(name, key) for name, table in values.items() if isinstance(table, dict) for key in table}
    values.setdefault("lake", {})  # the default path needs its validator, which knows the root
    for (section, *key), value in overrides.items():
        table = values.setdefault(section, {}) if key else values
        if isinstance(table, dict):
            table[key[0] if key else section] = value
    origin = _Origin(root, file, frozenset(written), frozenset(overrides), today or datetime.now(UTC).date())
    try:
        settings = Settings.model_validate(values, context=origin)
    except ValidationError as error:
        mistakes += [_mistake(details, origin) for details in error.errors(include_url=False)]
    else:
        if not mistakes:
            return settings
    raise _as_error(mistakes)


def _read_environment(environ: Mapping[str, str], mistakes: list[_Mistake]) -> dict[tuple[str, ...], Any]:
    """The overrides by the place they override; a name without "__" may be someone else's."""
    overrides: dict[tuple[str, ...], Any] = {}
    slips = {name.replace("__", "_") for name in _VARIABLES}  # LEDGER_LAKE_URI can be nobody else's
    for name in sorted(name for name in environ if name.startswith("LEDGER_")):
        if name == SOURCES_VARIABLE:
            overrides["sources",] = []  # unreadable, it still means that the file's sources are not wanted
            try:
                overrides["sources",] = json.loads(environ[name])
            except (ValueError, RecursionError) as error:
                mend = f"set {name}='{_EXAMPLE_SOURCES}'"
                mistakes.append(_Mistake(name, "environment", f"is not JSON: {error}", mend))
        elif name in _VARIABLES:
            overrides[_VARIABLES[name]] = environ[name]
        elif "__" in name or name in slips:
            problem = "is not a known setting" + _did_you_mean(name, _VARIABLES, cutoff=0.75)
            mistakes.append(_Mistake(name, "environment", problem, f"known are {', '.join(_VARIABLES)}"))
    return overrides


def _read_file(
    given: str | None, root: Path, mistakes: list[_Mistake]
) -> tuple[Path | None, dict[str, Any] | None]:
    """The file and what it says: (None, {}) where there is none, None for contents that cannot be read."""
    file, key, data = root / CONFIG_FILE_NAME, CONFIG_FILE_NAME, b""
    try:
        if given is not None:
            file, key = Path(given), f"the file that {CONFIG_VARIABLE} names"
            file = file.expanduser().absolute()
        data = file.read_bytes()
        return file, tomllib.loads(data.decode("utf-8-sig"))
    except FileNotFoundError:
        if given is None:
            return None, {}
        problem, mend = "there is no such file", f"write the file, or unset {CONFIG_VARIABLE}"
    except IsADirectoryError:
        problem, mend = "is a directory, not a file", f"name a file, such as {file / CONFIG_FILE_NAME}"
    except (OSError, RuntimeError) as error:
        problem, mend = f"cannot be read: {error}", "name a file that this user may read"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem, mend = f"is not UTF-8 text: line {line} holds other bytes", "save the file as UTF-8"
    except ValueError as error:
        problem = f"is not TOML: {error}"
        mend = "mend that line: text stands in quotes, a Windows path in single ones (uri = 'D:\\dumps')"
    mistakes.append(_Mistake(key, str(file), problem, mend))
    return file, None


def _mistake(error: ErrorDetails, origin: _Origin) -> _Mistake:
    """A complaint of pydantic's, in this project's words."""
    loc, given, context = error["loc"], error["input"], error.get("ctx", {})
    owner: type[_Model] = Settings if len(loc) == 1 else _SECTIONS.get(str(loc[0]), ArchiveSource)
    match loc, error["type"]:
        case (_, _), "union_tag_invalid" | "union_tag_not_found":
            loc = (*loc, "kind")
        case ("sources", index, kind, *keys), _:  # the kind is no part of the path that the user wrote
            loc, owner = ("sources", index, *keys), _KINDS[str(kind)]
    name = str(loc[-1])
    field = owner.model_fields.get(name)
    example = field.examples[0] if field and field.examples else None
    match error["type"]:
        case "missing" | "union_tag_not_found":
            problem = "is missing"
        case "union_tag_invalid":
            tag = str(context["tag"])
            problem = f"{_shown(tag)} is not a known kind{_did_you_mean(tag, _KINDS)}; known are "
            problem += ", ".join(_KINDS)
        case "extra_forbidden":
            hint = _did_you_mean(name, owner.model_fields) or _did_you_mean(_dotted(loc), _KEYS)
            problem = f"is not a known {'section' if len(loc) == 1 else 'key'}{hint}"
        case "value_error":
            problem, example = (*context["error"].args, example)[:2]
        case "greater_than_equal":
            problem = f"must be at least {context['ge']}, not {_shown(given)}"
        case "less_than_equal":
            problem = f"must be at most {context['le']}, not {_shown(given)}"
        case other:
            expected = _TYPES.get(other.split("_")[0])
            problem = f"must be {expected}, not {_shown(given)}" if expected else error["msg"]
    variable = origin.variable(loc)
    place = f"environment variable {variable}" if variable else str(origin.file)
    mend = _mend(loc, example, variable)
    if error["type"] == "extra_forbidden":
        mend = f"remove it, or write what is known here: {', '.join(owner.model_fields)}"
    return _Mistake(_dotted(loc), place, problem, mend)


# By the first word of pydantic's error type.
_TYPES = {
    "string": "text",
    "int": "a whole number",
    "finite": "a whole number",
    "model": "a table of keys and values",
    "tuple": "a list of tables",
}


def _mend(loc: _Loc, example: object, variable: str | None) -> str:
    if variable == SOURCES_VARIABLE:
        return f"set {variable}='{_EXAMPLE_SOURCES}'"
    if variable:
        return f"set {variable}={example}"
    if example is None:
        title = "[[sources]]" if loc[0] == "sources" else f"[{loc[0]}]"
        return f"write {title} on a line of its own, and the keys below it"
    return f"write {loc[-1]} = {_shown(example)}"


def _dotted(loc: _Loc) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _shown(value: object) -> str:
    """A value as the file would have it, cut short; of a table or list no content, which may be a secret."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode()
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004 (as much as fits a line)


def _did_you_mean(word: str, options: Iterable[str], cutoff: float = 0.6) -> str:
    folded = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return f" (did you mean {_shown(folded[close[0]])}?)" if close else ""


def _as_error(mistakes: list[_Mistake]) -> ConfigurationError:
    if len(mistakes) == 1:
        (one,) = mistakes
        return ConfigurationError(f"{one.key}: {one.problem}", where=one.place, next_step=one.mend)
    lines = [f"\n  - {one.key} ({one.place}): {one.problem}; {one.mend}" for one in mistakes]
    return ConfigurationError(
        f"the settings have {len(mistakes)} mistakes:{''.join(lines)}",
        where=", ".join(dict.fromkeys(one.place for one in mistakes)),
        next_step="mend each of these lines as it says, then run again",
    )
