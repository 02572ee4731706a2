"""The settings file of a new project: every setting with its meaning and default, as comments."""

import json
from collections.abc import Iterator
from datetime import date

from pydantic.fields import FieldInfo

from resources.config.sections import Section
from resources.config.settings import KINDS, SECTIONS

_HEAD = """\
# Settings of this lookout-ledger project. Relative paths start at the folder of this file.
# Each commented key shows its default. If it is unset by default, the value is an example.
# Remove the "# " in front of a key to change it, then check the file with: ledger doctor
"""
_SOURCES_HEAD = """\
# Sources of executions. Write one [[sources]] table for each; all of them are read.
# `ledger import FOLDER` adds an archive of saved responses.
"""


def render_template() -> str:
    """Return the text of a settings file in which every key is a comment."""
    parts = [_HEAD]
    parts += ["\n".join(_render_section(name, section)) for name, section in SECTIONS.items()]
    parts.append(_SOURCES_HEAD)
    parts += ["\n".join(_render_source(source)) for source in KINDS.values()]
    return "\n".join(parts)


def _render_section(name: str, section: type[Section]) -> Iterator[str]:
    yield f"# {section.__doc__}"
    yield f"[{name}]"
    for key, field in section.model_fields.items():
        yield f"# {field.description}"
        note = "  # example" if field.default is None else ""
        yield f"# {key} = {_format_example(field)}{note}"
    yield ""


def _render_source(source: type[Section]) -> Iterator[str]:
    yield f"# {source.__doc__}"
    yield "# [[sources]]"
    for key, field in source.model_fields.items():
        is_needed = key == "kind" or field.is_required()
        yield f"# {'' if is_needed else '# '}{key} = {_format_example(field)}  # {field.description}"
    yield ""


def _format_example(field: FieldInfo) -> str:
    """Return the default as TOML, or the example if there is no default."""
    value = field.examples[0] if field.examples and field.get_default() is None else field.get_default()
    if field.is_required() and field.examples:
        value = field.examples[0]
    if isinstance(value, date):
        value = value.isoformat()
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
