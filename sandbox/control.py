"""The control endpoints `/_sandbox/...` for tests and users. Requests and responses are JSON."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sandbox.core import SandboxService
from sandbox.faults import parse_fault
from sandbox.planted_anomalies import get_ground_truth

PREFIX = "/_sandbox/"

JsonObject = dict[str, Any]


def handle_request(core: SandboxService, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Return the status and body of the response. An error is a message."""
    name = path.removeprefix(PREFIX)
    if (method, name) not in _ROUTES:
        endpoints = ", ".join(f"{verb} {PREFIX}{route}" for verb, route in _ROUTES)
        return _build_response(404, {"error": f"No endpoint {method} {path}; the endpoints are {endpoints}"})
    try:
        return _build_response(200, _ROUTES[method, name](core, _parse_body(body)))
    except ValueError as error:
        return _build_response(400, {"error": str(error)})


def _parse_body(body: bytes) -> JsonObject:
    members = json.loads(body or b"{}")
    if not isinstance(members, dict):
        raise ValueError("The body is not a JSON object")  # noqa: TRY004 - reported like the other errors
    return members


def _build_response(status: int, response: JsonObject) -> tuple[int, bytes]:
    return status, json.dumps(response, indent=1).encode() + b"\n"


def _get_clock(core: SandboxService, _: JsonObject) -> JsonObject:
    return {"now": core.clock.now().isoformat(), "rate": core.clock.rate}


def _set_clock(core: SandboxService, body: JsonObject) -> JsonObject:
    now, rate = body.get("now"), body.get("rate")
    _reject_other_keys(body, "now", "rate")
    if rate is not None and (not isinstance(rate, int | float) or rate < 0):
        raise ValueError(f"{rate!r} is not a rate; 0 stops the clock, 1 is real time")
    core.set_clock(None if now is None else _parse_time(now), rate)
    return _get_clock(core, {})


def _get_faults(core: SandboxService, _: JsonObject) -> JsonObject:
    return {"faults": [asdict(fault) for fault in core.injector.faults]}


def _set_faults(core: SandboxService, body: JsonObject) -> JsonObject:
    _reject_other_keys(body, "faults")
    core.injector.set([parse_fault(str(text)) for text in body.get("faults", [])])
    return _get_faults(core, {})


def _get_requests(core: SandboxService, _: JsonObject) -> JsonObject:
    return {
        "requests": [
            asdict(kind) | {"count": count} for kind, count in core.request_counter.get_counts().items()
        ]
    }


def _reset(core: SandboxService, _: JsonObject) -> JsonObject:
    core.reset()
    return _get_clock(core, {})


def _get_fleet(core: SandboxService, _: JsonObject) -> JsonObject:
    """Return all schedulers, also deleted and future ones, with the ground truth of each."""
    now, history = core.clock.now(), core.fleet.history
    return {
        "schedulers": [
            {
                "arn": scheduler.arn,
                "listed": scheduler.is_listed(now),
                "created": scheduler.created_at.isoformat(),
                "deleted": scheduler.deleted_at and scheduler.deleted_at.isoformat(),
                "age": scheduler.get_result_format(now).name,
                "remark": scheduler.remark,
                **_format_ground_truth(asdict(get_ground_truth(scheduler, history.start, now))),
            }
            for scheduler in core.fleet.schedulers
        ]
    }


def _format_ground_truth(ground_truth: JsonObject) -> JsonObject:
    def format_value(value: object) -> object:
        return value.isoformat() if isinstance(value, datetime) else value

    return {
        kind: [{name: format_value(item[name]) for name in item} for item in items]
        for kind, items in ground_truth.items()
    }


def _reject_other_keys(body: JsonObject, *names: str) -> None:
    others = body.keys() - {*names}
    if others:
        raise ValueError(f"{', '.join(sorted(others))}: only {', '.join(names)} can be set")


def _parse_time(text: object) -> datetime:
    now = datetime.fromisoformat(str(text))
    if now.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it like 2026-10-08T00:00:00Z")
    return now


_ROUTES: Mapping[tuple[str, str], Callable[[SandboxService, JsonObject], JsonObject]] = MappingProxyType(
    {
        ("GET", "clock"): _get_clock,
        ("POST", "clock"): _set_clock,
        ("GET", "faults"): _get_faults,
        ("POST", "faults"): _set_faults,
        ("GET", "requests"): _get_requests,
        ("GET", "fleet"): _get_fleet,
        ("POST", "reset"): _reset,
    }
)
