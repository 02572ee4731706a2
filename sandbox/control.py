"""The way in for tests and people, beside the service: `/_sandbox/...`, JSON both ways."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sandbox.box import Box
from sandbox.faults import fault
from sandbox.results import truth

PREFIX = "/_sandbox/"

Told = dict[str, Any]


def answer(box: Box, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; a mistake is told in a sentence."""
    name = path.removeprefix(PREFIX)
    if (method, name) not in _ROUTES:
        ways = ", ".join(f"{verb} {PREFIX}{route}" for verb, route in _ROUTES)
        return _told(404, {"error": f"there is no {method} {path}; there are {ways}"})
    try:
        return _told(200, _ROUTES[method, name](box, _asked(body)))
    except ValueError as error:
        return _told(400, {"error": str(error)})


def _asked(body: bytes) -> Told:
    asked = json.loads(body or b"{}")
    if not isinstance(asked, dict):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 - told like the others
    return asked


def _told(status: int, told: Told) -> tuple[int, bytes]:
    return status, json.dumps(told, indent=1).encode() + b"\n"


def _clock(box: Box, _: Told) -> Told:
    return {"now": box.clock.now().isoformat(), "rate": box.clock.rate}


def _set_clock(box: Box, asked: Told) -> Told:
    now, rate = asked.get("now"), asked.get("rate")
    _only(asked, "now", "rate")
    if rate is not None and (not isinstance(rate, int | float) or rate < 0):
        raise ValueError(f"{rate!r} is no rate; 0 stands, 1 is real time")
    box.set_clock(None if now is None else _instant(now), rate)
    return _clock(box, {})


def _faults(box: Box, _: Told) -> Told:
    return {"faults": [asdict(one) for one in box.injector.faults]}


def _set_faults(box: Box, asked: Told) -> Told:
    _only(asked, "faults")
    box.injector.set([fault(str(text)) for text in asked.get("faults", [])])
    return _faults(box, {})


def _requests(box: Box, _: Told) -> Told:
    return {"requests": [asdict(kind) | {"count": count} for kind, count in box.tally.counts().items()]}


def _reset(box: Box, _: Told) -> Told:
    box.reset()
    return _clock(box, {})


def _fleet(box: Box, _: Told) -> Told:
    """All schedulers, those deleted by now and those not created yet included, with what happened to each."""
    now, history = box.clock.now(), box.fleet.history
    return {
        "schedulers": [
            {
                "arn": one.arn,
                "listed": one.is_listed(now),
                "created": one.created_at.isoformat(),
                "deleted": one.deleted_at and one.deleted_at.isoformat(),
                "age": one.age(now).name,
                "remark": one.remark,
                **_happenings(asdict(truth(one, history.start, now))),
            }
            for one in box.fleet.schedulers
        ]
    }


def _happenings(found: Told) -> Told:
    def written(value: object) -> object:
        return value.isoformat() if isinstance(value, datetime) else value

    return {
        kind: [{name: written(one[name]) for name in one} for one in some] for kind, some in found.items()
    }


def _only(asked: Told, *names: str) -> None:
    others = asked.keys() - {*names}
    if others:
        raise ValueError(f"{', '.join(sorted(others))}: only {', '.join(names)} can be set here")


def _instant(text: object) -> datetime:
    now = datetime.fromisoformat(str(text))
    if now.tzinfo is None:
        raise ValueError(f"{text!r} has no zone; write it like 2026-10-08T00:00:00Z")
    return now


_ROUTES: Mapping[tuple[str, str], Callable[[Box, Told], Told]] = MappingProxyType(
    {
        ("GET", "clock"): _clock,
        ("POST", "clock"): _set_clock,
        ("GET", "faults"): _faults,
        ("POST", "faults"): _set_faults,
        ("GET", "requests"): _requests,
        ("GET", "fleet"): _fleet,
        ("POST", "reset"): _reset,
    }
)
