"""Mistakes in the settings, told so that whoever made one can mend it."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from resources.errors import ConfigurationError

Loc = tuple[int | str, ...]
"""The path of a setting: ("lake", "uri"), ("sources", 0, "kind"), ..."""

EXAMPLE_SOURCES = '[{"kind": "archive", "uri": "dumps/"}]'
"""The least that a list of sources must say, as JSON."""


@dataclass(frozen=True)
class KnownKeys:
    """What can be set: the whole, its sections, and the kinds of sources."""

    whole: type[BaseModel]
    sections: Mapping[str, type[BaseModel]]
    kinds: Mapping[str, type[BaseModel]]


@dataclass(frozen=True)
class SettingError:
    """One of them: of which setting, where it was written, what is wrong, and how to mend it."""

    key: str
    location: str
    problem: str
    fix: str


def explain_error(
    error: ErrorDetails, known: KnownKeys, file: Path | None, variable: str | None
) -> SettingError:
    """Put a complaint of pydantic's into this project's words.

    Args:
        error: the complaint.
        known: what could have been meant.
        file: the file that was read.
        variable: the environment variable that the value came from; None: it came from the file.
    """
    loc, given, context = error["loc"], error["input"], error.get("ctx", {})
    any_kind = next(iter(known.kinds.values()))
    owner = known.whole if len(loc) == 1 else known.sections.get(str(loc[0]), any_kind)
    match loc, error["type"]:
        case (_, _), "union_tag_invalid" | "union_tag_not_found":
            loc = (*loc, "kind")
        case ("sources", index, kind, *keys), _:  # the kind is no part of the path that the user wrote
            loc, owner = ("sources", index, *keys), known.kinds[str(kind)]
    name = str(loc[-1])
    field = owner.model_fields.get(name)
    example = field.examples[0] if field and field.examples else None
    match error["type"]:
        case "missing" | "union_tag_not_found":
            problem = "is missing"
        case "union_tag_invalid":
            tag = str(context["tag"])
            problem = f"{format_value(tag)} is not a known kind{suggest(tag, known.kinds)}; known are "
            problem += ", ".join(known.kinds)
        case "extra_forbidden":
            hint = suggest(name, owner.model_fields) or suggest(_dotted(loc), _keys(known))
            problem = f"is not a known {'section' if len(loc) == 1 else 'key'}{hint}"
        case "value_error":
            problem, example = (*context["error"].args, example)[:2]
        case "greater_than_equal":
            problem = f"must be at least {context['ge']}, not {format_value(given)}"
        case "less_than_equal":
            problem = f"must be at most {context['le']}, not {format_value(given)}"
        case other:
            expected = _TYPES.get(other.split("_")[0])
            problem = f"must be {expected}, not {format_value(given)}" if expected else error["msg"]
    place = f"environment variable {variable}" if variable else str(file)
    mend = _mend(loc, example, variable)
    if error["type"] == "extra_forbidden":
        mend = f"remove it, or write what is known here: {', '.join(owner.model_fields)}"
    return SettingError(_dotted(loc), place, problem, mend)


def _keys(known: KnownKeys) -> list[str]:
    return [f"{name}.{key}" for name, section in known.sections.items() for key in section.model_fields]


# By the first word of pydantic's error type.
_TYPES = {
    "string": "text",
    "int": "a whole number",
    "finite": "a whole number",
    "model": "a table of keys and values",
    "tuple": "a list of tables",
}


def _mend(loc: Loc, example: object, variable: str | None) -> str:
    if variable and loc[0] == "sources":
        return f"set {variable}='{EXAMPLE_SOURCES}'"
    if variable:
        return f"set {variable}={example}"
    if example is None:
        title = "[[sources]]" if loc[0] == "sources" else f"[{loc[0]}]"
        return f"write {title} on a line of its own, and the keys below it"
    return f"write {loc[-1]} = {format_value(example)}"


def _dotted(loc: Loc) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def format_value(value: object) -> str:
    """A value as the file would have it, cut short; of a table or list no content, which may be a secret."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode()
    return text if len(text) <= 60 else text[:59] + "…"  # noqa: PLR2004 (as much as fits a line)


def suggest(word: str, options: Iterable[str], cutoff: float = 0.6) -> str:
    """Ask for the option that a word is a slip of; say nothing where there is none."""
    folded = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return f" (did you mean {format_value(folded[close[0]])}?)" if close else ""


def build_configuration_error(
    mistakes: list[SettingError], has: str = "the settings have"
) -> ConfigurationError:
    """Tell all mistakes at once; `has` says what has them."""
    if len(mistakes) == 1:
        (one,) = mistakes
        return ConfigurationError(f"{one.key}: {one.problem}", where=one.location, next_step=one.fix)
    lines = [f"\n  - {one.key} ({one.location}): {one.problem}; {one.fix}" for one in mistakes]
    return ConfigurationError(
        f"{has} {len(mistakes)} mistakes:{''.join(lines)}",
        where=", ".join(dict.fromkeys(one.location for one in mistakes)),
        next_step="mend each of these lines as it says, then run again",
    )
