"""Names and ARNs as people write them: `*` stands for any text and `?` for one character.

Settings, silences, the registry and the command line all name schedulers by this one rule. A pattern that
begins with `arn:` is about ARNs and any other about names, so that no account is taken for a name.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

ARN = "arn:"


def matches(pattern: str, name: str | None, arn: str) -> bool:
    """Tell whether a pattern means what has this name and ARN."""
    text = arn if pattern.startswith(ARN) else name
    return text is not None and _compiled(pattern).fullmatch(text) is not None


def matches_any(patterns: Iterable[str], name: str | None, arn: str) -> bool:
    """Tell whether one of the patterns does."""
    return any(matches(pattern, name, arn) for pattern in patterns)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
