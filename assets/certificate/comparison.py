"""Names what changed in a lake since a certificate, day by day."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assets.certificate.statements import Statement

_MAX_SOURCES = 3


def compare_days(before: Iterable[Statement], now: Iterable[Statement]) -> Iterator[str]:
    """Yield the changes of each day; both have the same days in the same order."""
    for old, new in zip(before, now, strict=True):
        date = new["predicate"]["date"]
        for change in _compare_day(old, new):
            yield f"{date}: {change}"


def compare_files(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Yield each file that was added, removed or changed; both give digests by path."""
    for name in sorted({*before, *now}):
        if name not in now:
            yield f"{name} was removed"
        elif name not in before:
            yield f"{name} was added"
        elif before[name] != now[name]:
            yield f"{name} changed"


def get_files(subject: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the digest of each file of a subject by its path."""
    return {entry["name"]: entry["digest"]["sha256"] for entry in subject}


def _compare_day(old: Statement, new: Statement) -> Iterator[str]:
    yield from compare_files(get_files(old["subject"]), get_files(new["subject"]))
    before, now = _index_schedulers(old), _index_schedulers(new)
    for arn in sorted({*before, *now}):
        name = (now.get(arn) or before[arn])["name"] or arn
        yield from (f"{name}: {change}" for change in _compare_scheduler(before.get(arn), now.get(arn)))
    yield from _compare_sources(old["predicate"]["sources"], new["predicate"]["sources"])
    before_results, results = old["predicate"]["results"], new["predicate"]["results"]
    if before_results != results:
        yield f"result objects: {_list_counts(before_results)}, now {_list_counts(results)}"


def _compare_scheduler(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    if old is None or new is None:
        yield "it is no longer expected" if new is None else f"it is new, with {_list_counts(new['slots'])}"
        return
    if old["slots"] != new["slots"]:
        yield f"{_list_counts(old['slots'])}, now {_list_counts(new['slots'])}"
    elif old.get("gaps") != new.get("gaps"):
        yield "its gaps are at other times"
    if old.get("expectation_not_known") != new.get("expectation_not_known"):
        yield "other periods have no known expectation"
    if old.get("complete_through") != new.get("complete_through"):
        yield f"proven complete through {old.get('complete_through')}, now {new.get('complete_through')}"


def _compare_sources(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[str]:
    before = {source["uri"]: source for source in old}
    now = {source["uri"]: source for source in new}
    kinds: dict[str, list[str]] = {}
    for uri in sorted({*before, *now}):
        if uri not in before or uri not in now or before[uri] != now[uri]:
            kind = "added" if uri not in before else "removed" if uri not in now else "changed"
            kinds.setdefault(kind, []).append(uri)
    for kind, uris in kinds.items():
        more = f" and {len(uris) - _MAX_SOURCES} more" if len(uris) > _MAX_SOURCES else ""
        yield f"sources {kind}: {', '.join(uris[:_MAX_SOURCES])}{more}"


def _index_schedulers(statement: Statement) -> dict[str, dict[str, Any]]:
    return {scheduler["arn"]: scheduler for scheduler in statement["predicate"]["schedulers"]}


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "nothing"
