"""The settings file of a new project."""

import re
from datetime import date
from pathlib import Path

from resources.config.settings import KINDS, SECTIONS, Settings, load_settings
from resources.config.template import render_template

TODAY = date(2026, 10, 8)


def load(folder: Path, text: str) -> Settings:
    (folder / "ledger.toml").write_text(text)
    return load_settings({}, folder, TODAY)


def test_the_template_as_written_sets_nothing(tmp_path: Path) -> None:
    defaults = load(tmp_path, "")

    assert load(tmp_path, render_template()).model_dump() == defaults.model_dump()


def test_the_template_shows_the_defaults_and_valid_examples(tmp_path: Path) -> None:
    defaults = load(tmp_path, "")
    text = re.sub(r"^# (\w+ = )", r"\1", render_template(), flags=re.MULTILINE)
    settings = load(tmp_path, text.replace("# [[sources]]", "[[sources]]"))

    for name, section in SECTIONS.items():
        for key, field in section.model_fields.items():
            actual, default = getattr(getattr(settings, name), key), getattr(getattr(defaults, name), key)
            assert (actual is not None) if field.default is None else actual == default
    assert [type(source) for source in settings.sources] == list(KINDS.values())


def test_the_template_has_every_setting() -> None:
    text = render_template()

    for name, section in SECTIONS.items():
        lines = text.partition(f"[{name}]\n")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[1] for line in lines[1::2]] == list(section.model_fields)
