"""The automation condition of all downstream assets: recompute exactly the partitions whose input changed."""

from collections.abc import Collection
from typing import Any

import dagster as dg

from assets.framework.metadata import HIDDEN_PREFIX, PREFIX

TABLE_TAG = f"{PREFIX}table"
"""Tag of an asset: the name of its table."""

BACKFILL_TAG = f"{PREFIX}backfill"
"""Tag of the runs of a backfill, which executes its stages one after the other."""

EXCLUSIVE_TAG = f"{HIDDEN_PREFIX}exclusive"
"""Tag of a run of a backfill: no other backfill had active runs over its days when it was requested."""

CONTINUED_TAG = f"{HIDDEN_PREFIX}continued"
"""Tag of such a run of a stage after which the same backfill executes all later stages."""

_On = dg.AutomationCondition
_Condition = dg.AutomationCondition[Any]


def upstream_content_changed(required: Collection[str] | None = None) -> _Condition:
    """Request each partition whose upstream data version changed, whatever its age.

    The data version is a hash of values, so a rerun that changes nothing requests nothing. A change stays
    pending until a run is *requested*; a change during a run is not lost. A partition that a backfill
    materializes is not requested, unless its upstream changed while the run was queued or active. Changes of
    earlier stages do not count, because these end before the run is queued. Runs of a backfill that began
    beside another one over the same days are like any other run. A partition that is missing while
    its upstream exists is requested too, by the second evaluation that finds it. A failed run is requested
    once more. After that it waits for new upstream content or a manual run. While a blocking check of an
    upstream asset fails, changes stay pending.

    Each change is requested once if the daemon has the variables of `pipelines.runs.instance.TUNING`. Without
    them, Dagster sees a change that arrives during an evaluation twice, or can miss it.

    Args:
        required: the upstream assets of which every partition must be materialized; None: all of them. Leave
            out assets of which a range of days is read, because some of these days may never be extracted.
    """
    upstream_changed: _Condition = _On.any_deps_match(_On.data_version_changed())
    # A change that the evaluation right after a request sees happened after that request.
    is_processed = (_On.newly_requested() & ~upstream_changed) | _is_in_backfill()
    changed = upstream_changed.since(is_processed | _On.initial_evaluation())
    is_complete = _has_all(required)
    has_upstream = is_complete & _On.any_deps_match(~_On.missing())
    # The first evaluation finds all days that were in the lake before; the next one requests them in one
    # ranged run. An upstream day that appears during an evaluation is a change for the next one: if both
    # requested it, it would be computed twice.
    newly_missing = (_On.missing() & has_upstream).newly_true()
    missing = newly_missing.since(_On.newly_requested() | _On.newly_updated()) & ~newly_missing
    # A run that writes a table together with its own does not select it, so the upstream of deps counts too.
    is_upstream_busy = _On.any_deps_in_progress() | _On.any_deps_match(_On.any_deps_in_progress())
    # The run of the next stage starts seconds later; otherwise, the next evaluation requests the partition.
    is_next_stage_due = _On.any_deps_match(_On.all_new_updates_have_run_tags(tag_keys={CONTINUED_TAG}))
    idle = ~is_upstream_busy & ~_On.in_progress() & ~_On.any_deps_match(_is_blocked()) & ~is_next_stage_due
    wanted = changed | missing | _is_failed_once(upstream_changed)
    return (wanted & is_complete & idle).with_label("upstream_content_changed")


def _is_in_backfill() -> _Condition:
    """Match a partition that a backfill materialized after all changes of its upstream."""
    is_of_earlier_stage = _On.all_new_updates_have_run_tags(tag_keys={CONTINUED_TAG})
    changed_by_others: _Condition = _On.any_deps_match(_On.data_version_changed() & ~is_of_earlier_stage)
    # a run can end between the reading of events and that of its state
    was_active = _On.in_progress() | (~_On.in_progress()).newly_true()
    # Dagster stores the state of each `since` under the kinds of its two operands, so no two may be equal
    changed_meanwhile = (changed_by_others & was_active).since(_On.newly_requested())
    is_of_backfill = _On.all_new_updates_have_run_tags(tag_keys={EXCLUSIVE_TAG})
    return _On.newly_updated() & is_of_backfill & ~changed_by_others & ~changed_meanwhile


def _has_all(required: Collection[str] | None) -> _Condition:
    """Match a partition whose required upstream partitions all exist."""
    is_missing = _On.any_deps_missing()
    if required is not None:
        is_missing = is_missing.allow(_select_tables(required))
    return (~is_missing).with_label("has_required_upstream")


def _select_tables(names: Collection[str]) -> dg.AssetSelection:
    """Select assets by their tag, because their keys can have a prefix."""
    selection: dg.AssetSelection = dg.AssetSelection.assets()
    for name in names:
        selection |= dg.AssetSelection.tag(TABLE_TAG, name)
    return selection


def _is_blocked() -> _Condition:
    """Match an asset with a blocking check that is running or that failed.

    A check that was skipped does not block. Checks are skipped if a part of the extraction failed, but the
    recorded rows of the other parts are valid.
    """
    failed_or_running = _On.check_failed() | _On.in_progress()
    return _On.any_checks_match(failed_or_running, blocking_only=True).with_label("is_blocked")


def _is_failed_once(upstream_changed: _Condition) -> _Condition:
    """Match a partition that was requested, failed, and was not requested again.

    `execution_failed().newly_true()` is not enough: it is true again after each retry, and it is missed if
    the upstream asset is busy at that moment.
    """
    restarted = upstream_changed | _On.newly_updated()
    requested = _On.newly_requested().since(restarted)
    requested_again = (_On.newly_requested() & ~requested.newly_true()).since(restarted)
    return _On.execution_failed() & requested & ~requested_again & ~_On.newly_requested()
