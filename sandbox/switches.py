"""The switches: whatever nobody knows about the service, and what the sandbox does instead of guessing."""

from dataclasses import dataclass, fields
from typing import Literal, TypedDict, get_args

LARGEST_PAGE = 500


@dataclass(frozen=True)
class Switches:
    """How the service answers where its documentation is silent.

    Attributes:
        bounds: Whether DataStartTimeAfter and DataEndTimeBefore leave out what lies exactly on them.
        order: How executions and events are listed. Captured listings are newest first; nothing promises it.
        page_size: How many come without MaxResults.
        paging: What a token remembers: the last item (`item`), so that nothing shifts, or how many were
            given (`offset`), so that a page repeats items when new ones came in front.
        token_seconds: How long a token lives on the sandbox's clock; 0 is for ever.
        when_expired: Whether an expired token is an error or ignored: then the listing begins again.
        unknown_scheduler: What a listing for an unknown scheduler is: the documentation has both.
    """

    bounds: Literal["strict", "inclusive"] = "strict"
    order: Literal["newest", "oldest", "shuffled"] = "newest"
    page_size: int = 50
    paging: Literal["item", "offset"] = "item"
    token_seconds: float = 0
    when_expired: Literal["error", "ignore"] = "error"
    unknown_scheduler: Literal["empty", "error"] = "empty"

    def __post_init__(self) -> None:
        for field in fields(self):
            choices = get_args(field.type)
            if choices and getattr(self, field.name) not in choices:
                raise ValueError(f"{field.name} is one of {', '.join(choices)}")
        if not 1 <= self.page_size <= LARGEST_PAGE:
            raise ValueError(f"page_size is from 1 to {LARGEST_PAGE}")


class SwitchSettings(TypedDict, total=False):
    """The same as keyword arguments."""

    bounds: Literal["strict", "inclusive"]
    order: Literal["newest", "oldest", "shuffled"]
    page_size: int
    paging: Literal["item", "offset"]
    token_seconds: float
    when_expired: Literal["error", "ignore"]
    unknown_scheduler: Literal["empty", "error"]
