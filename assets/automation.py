"""Recompute what changed, and nothing else: the one condition of all downstream assets.

Belongs here: when a partition of a downstream asset is to be computed again.
Does not belong here: when extraction runs (see `pipelines.schedules`).
"""

import dagster as dg

_On = dg.AutomationCondition


def upstream_content_changed(
    *, needs_all: bool = True
) -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """Ask for exactly those partitions whose upstream content changed, at any age.

    What counts is the data version, which is a hash of values. A change is kept until a run is *requested*,
    so one that lands while a run is under way is not lost. A failed partition is asked for once more, not
    again and again.

    Args:
        needs_all: wait until every partition upstream is there; not for what looks back over days that may
            never have been asked for.
    """
    changed = _On.any_deps_match(_On.data_version_changed()).since(
        _On.newly_requested() | _On.initial_evaluation()
    )
    missing = _On.newly_missing().since(
        _On.newly_requested() | _On.newly_updated() | _On.initial_evaluation()
    )
    failed_just_now = _On.execution_failed().newly_true()
    at_rest = ~_On.any_deps_in_progress() & ~_On.in_progress()
    if needs_all:
        at_rest = ~_On.any_deps_missing() & at_rest
    return ((changed | missing | failed_just_now) & at_rest).with_label("upstream_content_changed")
