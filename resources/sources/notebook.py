"""Responses printed by Python, as notebooks keep them: `{'Status': 'SUCCESS', 'DataStartTime': datetime...}`.

Belongs here: reading such a text as data. It is parsed and never run.
Does not belong here: anything that was saved as JSON.

`tzlocal()` says nothing about which zone that was: such times are given without a zone, and what that means
is for the source's `time_zone` to say.
"""

import ast
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import msgspec


def from_repr(text: str) -> bytes | None:
    """Turn a printed response into JSON; None where the text is nothing of the kind."""
    try:
        return msgspec.json.encode(_value(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Any:  # noqa: ANN401
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Call(func=function, args=args, keywords=keywords) if _name(function) == "datetime":
            moment: datetime = datetime(*map(_value, args))  # noqa: DTZ001
            zones = [_zone(keyword.value) for keyword in keywords if keyword.arg == "tzinfo"]
            return moment.replace(tzinfo=zones[0] if zones else None).isoformat()
    raise ValueError(f"no data: {ast.dump(node)[:80]}")


def _zone(node: ast.expr) -> tzinfo | None:
    match node:
        case ast.Call(func=function) if _name(function) == "tzutc":
            return UTC
        case ast.Attribute(attr="utc" | "UTC"):
            return UTC
        case ast.Call(func=function, args=[_, seconds]) if _name(function) == "tzoffset":
            return timezone(timedelta(seconds=_value(seconds)))
        case ast.Call(func=function) if _name(function) == "tzlocal":
            return None
    raise ValueError("a zone that is not known")


def _name(function: ast.expr) -> str | None:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None
