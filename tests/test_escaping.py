"""External text in outputs that other programs interpret: Markdown and shell commands.

The tests of HTML, SQL, DDL, CSV and terminals are next to their code; SECURITY.md lists them.
"""

import shlex
from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from assets.executions.day_status import DayState
from assets.report.formatting import clean_text, escape_line
from pipelines.cli.commands import backfill
from pipelines.operations import lake_status
from pipelines.runs.backfill import BackfillPlan
from pipelines.runs.launcher import BackfillRequest
from resources.markdown import escape_markdown

DAY = date(2026, 10, 6)
PARTS = [*"<>&[]()!*_`~|#\\:/.@$;\"' ax1-+=\n\t", "http://", "<script>", "](x)", "![", "**", "$(id)"]
hostile = st.lists(st.sampled_from(PARTS), max_size=12).map("".join).filter(str.strip)
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["strikethrough", "table"])


def parse_inline(text: str) -> list[Token]:
    (inline,) = [token for token in PARSER.parse(f"Name: {text}.") if token.type == "inline"]
    return inline.children or []


@pytest.mark.parametrize("escape", [escape_line, escape_markdown])
@given(text=hostile)
def test_a_name_in_markdown_is_plain_text(escape: Callable[[str], str], text: str) -> None:
    name = " ".join(text.split())
    tokens = parse_inline(escape(name))

    assert {token.type for token in tokens} <= {"text", "text_special"}, tokens
    assert "".join(token.content for token in tokens) == f"Name: {clean_text(name)}."


def test_a_name_is_escaped_for_chats_too() -> None:
    assert escape_markdown("*pump*_[7](x) <!channel> `a` | b\\") == (
        r"\*pump\*\_\[7\](x) \<!channel\> \`a\` \| b" + "\\\\"
    )


@given(pattern=hostile)
def test_a_name_in_a_shell_command_is_one_word(pattern: str) -> None:
    request = BackfillRequest(DAY, DAY, (pattern,))
    commands = [
        backfill._build_command(BackfillPlan.from_request(request)),
        lake_status._build_action_item(DayState.stuck, DAY, DAY, (pattern,)).command,
    ]
    for command in commands:
        assert pattern in shlex.split(command)
