"""What the sources say about the live service: whether there is one, and when it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from resources.sources.base import Source

_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ServiceState:
    """Whether a live service is among the sources, and its last day (None: no end is known)."""

    exists: bool
    last_day: date | None = None

    def get_last_expected_day(self, history_end: date | None) -> date | None:
        """Return the last day for which data is expected; None: there is no end."""
        if not self.exists:
            return date.min
        ends = [self.last_day, history_end and history_end - _A_DAY]
        return min((end for end in ends if end is not None), default=None)


def get_service_state(sources: Sequence[Source]) -> ServiceState:
    """Combine the live sources into one state; the latest end counts.

    Raises:
        ConfigurationError: A source cannot be opened.
    """
    ends = [source.service.service_end for source in sources if source.service]
    dated_ends = [end for end in ends if end is not None]
    return ServiceState(bool(ends), max(dated_ends) if ends and len(dated_ends) == len(ends) else None)
