"""Recompute what changed, and nothing else: the one condition of all downstream assets."""

from typing import Any

import dagster as dg

_On = dg.AutomationCondition
_Condition = dg.AutomationCondition[Any]


def upstream_content_changed(*, needs_all: bool = True) -> _Condition:
    """Ask for exactly those partitions whose upstream content changed, at any age.

    What counts is the data version, which is a hash of values. A change is kept until a run is *requested*,
    so one that lands while a run is under way is not lost. A run that fails is asked for once more, not again
    and again: after that a person, or new content upstream, has to come first. Where a blocking check
    upstream fails, all waits for its mend, and is kept.

    Args:
        needs_all: wait until every partition upstream is there; not for what looks back over days that may
            never have been asked for.
    """
    news: _Condition = _On.any_deps_match(_On.data_version_changed())
    # news that come with the look right after a request came after the request
    changed = news.since((_On.newly_requested() & ~news) | _On.initial_evaluation())
    missing = _On.newly_missing().since(
        _On.newly_requested() | _On.newly_updated() | _On.initial_evaluation()
    )
    at_rest = ~_On.any_deps_in_progress() & ~_On.in_progress() & ~_On.any_deps_match(_is_blocked())
    if needs_all:
        at_rest = ~_On.any_deps_missing() & at_rest
    return ((changed | missing | _failed_once(news)) & at_rest).with_label("upstream_content_changed")


def _is_blocked() -> _Condition:
    """Tell of an asset whose blocking checks are being made, or found that using it would be wrong.

    A check that could not be made at all blocks nothing: it is skipped when a part of an extraction fails,
    and what the other parts recorded is right.
    """
    bad = _On.check_failed() | _On.in_progress()
    return _On.any_checks_match(bad, blocking_only=True).with_label("is_blocked")


def _failed_once(news: _Condition) -> _Condition:
    """Tell of what was requested, failed, and was not requested again since.

    That a partition has failed just now (`newly_true`) would not do: it is so again after each retry, and
    where the upstream is busy at that moment it passes unseen.
    """
    begun_anew = news | _On.newly_updated()
    requested = _On.newly_requested().since(begun_anew)
    requested_again = (_On.newly_requested() & ~requested.newly_true()).since(begun_anew)
    return _On.execution_failed() & requested & ~requested_again & ~_On.newly_requested()
