"""The formats of result lines, which gained members over the years."""

from dataclasses import dataclass
from enum import StrEnum


class Diagnostics(StrEnum):
    """Which lines have the contributions of sensors."""

    NEVER = "never"
    ON_ANOMALIES = "on anomalies"
    EMPTY_WHEN_NORMAL = "an empty list when normal"
    ALWAYS = "always, except when the machine is off"


@dataclass(frozen=True)
class ResultFormat:
    """The members of a line in addition to `timestamp` and `prediction`.

    Attributes:
        name: The display name.
        diagnostics: Which lines have `diagnostics`.
        has_reason: `prediction_reason`. Without it, lines do not show that the machine was off.
        has_score: `anomaly_score` on all lines, except when the machine is off.
        has_start: The window includes its start and excludes its end. This was so in the first months only.
    """

    name: str
    diagnostics: Diagnostics
    has_reason: bool = True
    has_score: bool = True
    has_start: bool = False


BARE = ResultFormat("bare", Diagnostics.NEVER, has_reason=False, has_score=False, has_start=True)
"""Before general availability: 0 or 1."""
FIRST = ResultFormat("first", Diagnostics.ON_ANOMALIES, has_reason=False, has_score=False, has_start=True)
"""April 2021."""
REASONED = ResultFormat("reasoned", Diagnostics.ON_ANOMALIES, has_score=False)
"""From August 2021, and of models trained before 28 March 2022."""
SCORED = ResultFormat("scored", Diagnostics.ON_ANOMALIES)
"""Since then."""
EMPTY = ResultFormat("empty", Diagnostics.EMPTY_WHEN_NORMAL)
"""As `SCORED`, with `diagnostics` on every line."""
LATEST = ResultFormat("latest", Diagnostics.ALWAYS)
"""As documented last."""

RESULT_FORMATS = (BARE, FIRST, REASONED, SCORED, EMPTY, LATEST)
