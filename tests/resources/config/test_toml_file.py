"""Changes to TOML files that keep the text of the user."""

import os
from pathlib import Path

import pytest

from resources.config.toml_file import decode_toml, explain_toml_error, extend_toml, read_toml
from resources.errors import ConfigurationError

SOURCE = '[[sources]]\nkind = "archive"\nuri = "dumps/"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '[history]\nstart_date = "2026-10-05"\n'),
        ('[lake]\nuri = "x"', '[lake]\nuri = "x"\n\n[history]\nstart_date = "2026-10-05"\n'),
        ("[history]", '[history]\nstart_date = "2026-10-05"\n'),
        (
            "[history] # ours\n\n# about sources\n[[sources]]\n",
            '[history] # ours\nstart_date = "2026-10-05"\n\n# about sources\n[[sources]]\n',
        ),
        (
            '[history]\n# start_date = "2025-01-01"\n# end_date = "2026-10-08"\n',
            '[history]\n# start_date = "2025-01-01"\nstart_date = "2026-10-05"\n# end_date = "2026-10-08"\n',
        ),
        (
            "[history]\nstart_date   =  '2025-01-01'   # of the plant\nlookback_days = 3\n",
            '[history]\nstart_date   =  "2026-10-05"   # of the plant\nlookback_days = 3\n',
        ),
        ("[history]\nstart_date = 2025-01-01\n", '[history]\nstart_date = "2026-10-05"\n'),
        (
            "[history]\nlookback_days = 3\n\n# the lake\n[lake]\n",
            '[history]\nlookback_days = 3\nstart_date = "2026-10-05"\n\n# the lake\n[lake]\n',
        ),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_value_is_set_and_every_other_character_stays(
    text: str, expected: str, newline: str, mark: str
) -> None:
    before, after = ((mark + line).replace("\n", newline).encode() for line in (text, expected))
    if "\n" not in text:  # such a file does not say how its lines end
        after = (mark + expected).encode()

    assert extend_toml(before, {"history": {"start_date": "2026-10-05"}}) == after


def test_lines_are_appended_with_the_line_ends_of_the_file() -> None:
    before = b'# mine\r\n[lake]\r\nuri = "x"   \r\n\r\n\r\n'

    assert extend_toml(before, {}, SOURCE) == before + SOURCE.replace("\n", "\r\n").encode()
    assert extend_toml(b"[lake]", {}, SOURCE) == b"[lake]\n\n" + SOURCE.encode()


@pytest.mark.parametrize(
    "text",
    [
        "history = { lookback_days = 3 }\n",
        "history.lookback_days = 3\n",
        'note = """\n[history]\n"""\n',
        "sources = []\n",
        "not TOML",
    ],
)
def test_a_file_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (tomllib and our own)
        extend_toml(text.encode(), {"history": {"start_date": "2026-10-05"}}, SOURCE)


def test_a_deeply_nested_file_is_rejected_by_name(tmp_path: Path) -> None:
    file = tmp_path / "equipment.toml"
    file.write_text("x = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigurationError, match=r"equipment\.registry: it is nested too deeply") as caught:
        read_toml(str(file), "equipment.registry")
    assert caught.value.where == str(file)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="it is a named pipe, not a file"):
        read_toml(str(tmp_path / "pipe"), "equipment.registry")


def test_a_list_of_texts_is_set_and_replaced() -> None:
    text = b'[results]\nprofile = "a"\n'
    for value in (["a"], ["a", "b-*"]):
        text = extend_toml(text, {"results": {"allowed_buckets": value}})
    assert text == b'[results]\nprofile = "a"\nallowed_buckets = ["a", "b-*"]\n'


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("[alerts]\n\n[alerts]\n", "declares [alerts] twice, again in line 3", "first [alerts]"),
        ("[a.b]\n[a.b]\n", "declares [a.b] twice, again in line 2", "first [a.b]"),
        ("x = 1\nx = 2\n", "the key is set twice", "remove one of the two lines"),
        ("x = y\n", "is not TOML", "put text in quotes"),
    ],
    ids=["section", "nested section", "key", "no quotes"],
)
def test_an_error_names_what_to_change(text: str, problem: str, fix: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        decode_toml(text.encode())

    explained = explain_toml_error(raised.value, text.encode())

    assert problem in explained[0]
    assert fix in explained[1]
