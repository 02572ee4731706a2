"""Switches for behavior of the service that is not documented."""

from dataclasses import dataclass, fields
from typing import Literal, TypedDict, get_args

LARGEST_PAGE = 500


@dataclass(frozen=True)
class Switches:
    """The undocumented behavior of the service.

    Attributes:
        bounds: Whether DataStartTimeAfter and DataEndTimeBefore exclude times equal to them.
        order: The order of executions and events. Captured listings are newest first.
        page_size: The page size without MaxResults.
        paging: What a token contains: the last item (`item`), or the number of returned items (`offset`).
            With `offset`, new items in front make a page repeat items.
        token_seconds: The lifetime of a token in sandbox seconds. 0 means no limit.
        when_expired: Whether an expired token is an error or restarts the listing.
        unknown_scheduler: The response for an unknown scheduler. The documentation has both.
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
                raise ValueError(f"{field.name} must be one of {', '.join(choices)}")
        if not 1 <= self.page_size <= LARGEST_PAGE:
            raise ValueError(f"page_size must be from 1 to {LARGEST_PAGE}")


class SwitchSettings(TypedDict, total=False):
    """`Switches` as keyword arguments."""

    bounds: Literal["strict", "inclusive"]
    order: Literal["newest", "oldest", "shuffled"]
    page_size: int
    paging: Literal["item", "offset"]
    token_seconds: float
    when_expired: Literal["error", "ignore"]
    unknown_scheduler: Literal["empty", "error"]
