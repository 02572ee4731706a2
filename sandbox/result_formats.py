"""The ages of the result line: which members it had when, as the service grew."""

from dataclasses import dataclass
from enum import StrEnum


class Diagnostics(StrEnum):
    """Which lines name the contribution of each sensor."""

    NEVER = "never"
    ON_ANOMALIES = "on anomalies"
    EMPTY_WHEN_NORMAL = "an empty list when normal"
    ALWAYS = "always, but when the machine is off"


@dataclass(frozen=True)
class Age:
    """The members of a line, beside `timestamp` and `prediction`.

    Attributes:
        name: For people.
        diagnostics: Which lines have them.
        has_reason: `prediction_reason`; without one nobody can say that the machine was off.
        has_score: `anomaly_score`, on all lines but those of a machine that is off.
        has_start: The row at the start of the window belongs to it, and the one at its end does not. It was
            so in the service's first months only.
    """

    name: str
    diagnostics: Diagnostics
    has_reason: bool = True
    has_score: bool = True
    has_start: bool = False


BARE = Age("bare", Diagnostics.NEVER, has_reason=False, has_score=False, has_start=True)
"""Before the service was generally available: 0 or 1."""
FIRST = Age("first", Diagnostics.ON_ANOMALIES, has_reason=False, has_score=False, has_start=True)
"""April 2021."""
REASONED = Age("reasoned", Diagnostics.ON_ANOMALIES, has_score=False)
"""From August 2021, and of models trained before 28 March 2022."""
SCORED = Age("scored", Diagnostics.ON_ANOMALIES)
"""Since then."""
EMPTY = Age("empty", Diagnostics.EMPTY_WHEN_NORMAL)
"""The same, with a list on every line."""
LATEST = Age("latest", Diagnostics.ALWAYS)
"""As it is documented last."""

AGES = (BARE, FIRST, REASONED, SCORED, EMPTY, LATEST)
