"""Responses printed by Python, as notebooks keep them: `{'Status': 'SUCCESS', 'DataStartTime': datetime...}`.

`tzlocal()` says nothing about which zone that was. Where the source's zone is known such times are taken to
be in it; else they are given without a zone, and are of no use until it is set.
"""

import ast
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import msgspec

_PRINTED = re.compile(r"\s*\[?\s*\{'")  # where JSON has other quotes


def parse_repr(text: str, local: tzinfo | None = None) -> list[bytes] | None:
    """Turn printed responses, one after the other, into JSON; None where the text is nothing of the kind.

    Args:
        text: what was printed.
        local: the zone that was local where it was printed.
    """
    if not _PRINTED.match(text):  # to parse whatever else there may be can take gigabytes
        return None
    try:
        printed = [_statement(node) for node in ast.parse(text.strip()).body]
        return [msgspec.json.encode(_value(node, local)) for node in printed]
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None


def _statement(node: ast.stmt) -> ast.expr:
    if isinstance(node, ast.Expr):
        return node.value
    raise ValueError(f"no data: {ast.dump(node)[:80]}")


def _value(node: ast.expr, local: tzinfo | None) -> Any:  # noqa: ANN401
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, local) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value, local) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Call(func=function, args=args, keywords=keywords) if _name(function) == "datetime":
            return _moment(args, {keyword.arg: keyword.value for keyword in keywords}, local)
    raise ValueError(f"no data: {ast.dump(node)[:80]}")


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("a key that is no text")


def _moment(args: list[ast.expr], keywords: dict[str | None, ast.expr], local: tzinfo | None) -> str:
    moment: datetime = datetime(*(_value(arg, None) for arg in args))  # noqa: DTZ001
    zone = _zone(keywords["tzinfo"], local) if "tzinfo" in keywords else None
    # the hour that the clocks repeat is told apart by `fold`, which no ISO 8601 has: only its offset does
    fold = _value(keywords["fold"], None) if "fold" in keywords else 0
    return moment.replace(tzinfo=zone, fold=fold).isoformat()


def _zone(node: ast.expr, local: tzinfo | None) -> tzinfo | None:
    match node:
        case ast.Call(func=function, args=[]) if _name(function) == "tzutc":
            return UTC
        case ast.Attribute(attr="utc" | "UTC"):
            return UTC
        case ast.Call(func=function, args=[_, seconds]) if _name(function) == "tzoffset":
            return timezone(timedelta(seconds=_value(seconds, None)))
        case ast.Call(func=function, args=[ast.Call(keywords=parts), *_]) if _name(function) == "timezone":
            return timezone(timedelta(**{str(part.arg): _value(part.value, None) for part in parts}))
        case ast.Call(func=function, args=[]) if _name(function) == "tzlocal":
            return local
    raise ValueError("a zone that is not known")


def _name(function: ast.expr) -> str | None:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None
