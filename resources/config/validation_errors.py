"""Errors in settings and in the files that they name: the key, its location, the problem and the fix."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from resources.errors import ConfigurationError, format_value, suggest

Loc = tuple[int | str, ...]
"""The path of a setting: ("lake", "uri"), ("sources", 0, "kind"), ..."""

EXAMPLE_SOURCES = '[{"kind": "archive", "uri": "dumps/"}]'
"""The shortest useful list of sources, as JSON."""


@dataclass(frozen=True)
class KnownKeys:
    """The models of all settings, of their sections by name, and of the sources by kind."""

    whole: type[BaseModel]
    sections: Mapping[str, type[BaseModel]]
    kinds: Mapping[str, type[BaseModel]]


@dataclass(frozen=True)
class SettingError:
    """One invalid setting; `location` is a file or an environment variable."""

    key: str
    location: str
    problem: str
    fix: str


def explain_error(
    error: ErrorDetails, known: KnownKeys, file: Path | None, variable: str | None
) -> SettingError:
    """Translate a validation error of pydantic.

    Args:
        error: the error.
        known: all valid keys, for suggestions.
        file: the settings file.
        variable: the environment variable with the value; None: the value is from the file.
    """
    loc, owner = _locate(error, known)
    name = str(loc[-1])
    field = owner.model_fields.get(name)
    example = field.examples[0] if field and field.examples else None
    problem = _explain_problem(error, loc, owner, known)
    if error["type"] == "value_error":  # a validator can add a better example to its message
        example = (*error["ctx"]["error"].args, example)[1]
    fix = _suggest_fix(loc, example, variable)
    if error["type"] == "extra_forbidden":
        fix = f"remove it, or use a known name: {', '.join(owner.model_fields)}"
    location = f"environment variable {variable}" if variable else str(file)
    return SettingError(_join_path(loc), location, problem, fix)


def _locate(error: ErrorDetails, known: KnownKeys) -> tuple[Loc, type[BaseModel]]:
    """Return the path as the user wrote it, and the model that owns its last key."""
    loc = error["loc"]
    any_kind = next(iter(known.kinds.values()))
    owner = known.whole if len(loc) == 1 else known.sections.get(str(loc[0]), any_kind)
    match loc, error["type"]:
        case (_, _), "union_tag_invalid" | "union_tag_not_found":
            return (*loc, "kind"), owner
        case ("sources", index, kind, *keys), _:  # pydantic adds the kind to the path
            return ("sources", index, *keys), known.kinds[str(kind)]
    return loc, owner


def _explain_problem(error: ErrorDetails, loc: Loc, owner: type[BaseModel], known: KnownKeys) -> str:
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing" | "union_tag_not_found":
            problem = "is missing"
        case "union_tag_invalid":
            tag = str(context["tag"])
            problem = f"{format_value(tag)} is not a known kind{suggest(tag, known.kinds)}; known are "
            problem += ", ".join(known.kinds)
        case "extra_forbidden":
            hint = suggest(str(loc[-1]), owner.model_fields) or suggest(_join_path(loc), _list_keys(known))
            problem = f"is not a known {'section' if len(loc) == 1 else 'key'}{hint}"
        case "value_error":
            problem = str(context["error"].args[0])
        case "greater_than_equal":
            problem = f"must be at least {context['ge']}, not {format_value(value)}"
        case "less_than_equal":
            problem = f"must be at most {context['le']}, not {format_value(value)}"
        case other:
            expected = _TYPES.get(other.split("_")[0])
            problem = f"must be {expected}, not {format_value(value)}" if expected else error["msg"]
    return problem


def _list_keys(known: KnownKeys) -> list[str]:
    return [f"{name}.{key}" for name, section in known.sections.items() for key in section.model_fields]


# By the first word of pydantic's error type.
_TYPES = {
    "string": "text",
    "bool": "true or false",
    "int": "a whole number",
    "finite": "a whole number",
    "model": "a table of keys and values",
    "tuple": "a list of tables",
}


def _suggest_fix(loc: Loc, example: object, variable: str | None) -> str:
    if variable and loc[0] == "sources":
        return f"set {variable}='{EXAMPLE_SOURCES}'"
    if variable:
        return f"set {variable}={' '.join(example) if isinstance(example, list) else example}"
    if example is None:
        title = "[[sources]]" if loc[0] == "sources" else f"[{loc[0]}]"
        return f"write {title} on its own line, and the keys below it"
    return f"write {loc[-1]} = {json.dumps(example) if isinstance(example, list) else format_value(example)}"


def _join_path(loc: Loc) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def build_configuration_error(
    errors: list[SettingError], subject: str = "the settings"
) -> ConfigurationError:
    """Build one exception with all errors; `subject` names what has them."""
    if len(errors) == 1:
        (error,) = errors
        return ConfigurationError(f"{error.key}: {error.problem}", where=error.location, next_step=error.fix)
    lines = [f"\n  - {error.key} ({error.location}): {error.problem}; {error.fix}" for error in errors]
    return ConfigurationError(
        f"Cannot use {subject}: {len(errors)} errors{''.join(lines)}",
        where=", ".join(dict.fromkeys(error.location for error in errors)),
        next_step="correct each line as described, then run again",
    )
