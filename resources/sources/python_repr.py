"""Parses responses that Python printed: `{'Status': 'SUCCESS', 'DataStartTime': datetime...}` in notebooks.

`tzlocal()` does not name its time zone. Such times get the zone of the source. Without one they stay without
an offset and are rejected until the zone is set.
"""

import ast
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import msgspec

_PRINTED = re.compile(r"\s*\[?\s*\{'")  # JSON has other quotes


def parse_repr(text: str, local: tzinfo | None = None) -> list[bytes] | None:
    """Convert printed responses to JSON; None: the text has another format.

    Args:
        text: the printed responses, one after the other.
        local: the time zone of `tzlocal()`.
    """
    if not _PRINTED.match(text):  # parsing of other text can take gigabytes of memory
        return None
    try:
        expressions = [_get_expression(node) for node in ast.parse(text.strip()).body]
        return [msgspec.json.encode(_evaluate(node, local)) for node in expressions]
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None


def _get_expression(node: ast.stmt) -> ast.expr:
    if isinstance(node, ast.Expr):
        return node.value
    raise ValueError(f"not a literal: {ast.dump(node)[:80]}")


def _evaluate(node: ast.expr, local: tzinfo | None) -> Any:  # noqa: ANN401
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_evaluate(item, local) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_get_key(key): _evaluate(value, local) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Call(func=function, args=args, keywords=keywords) if _get_name(function) == "datetime":
            return _format_datetime(args, {keyword.arg: keyword.value for keyword in keywords}, local)
    raise ValueError(f"not a literal: {ast.dump(node)[:80]}")


def _get_key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("a key is not a string")


def _format_datetime(args: list[ast.expr], keywords: dict[str | None, ast.expr], local: tzinfo | None) -> str:
    moment: datetime = datetime(*(_evaluate(arg, None) for arg in args))  # noqa: DTZ001
    zone = _parse_zone(keywords["tzinfo"], local) if "tzinfo" in keywords else None
    # `fold` selects one of two repeated hours; ISO 8601 lacks it and expresses it by the offset
    fold = _evaluate(keywords["fold"], None) if "fold" in keywords else 0
    return moment.replace(tzinfo=zone, fold=fold).isoformat()


def _parse_zone(node: ast.expr, local: tzinfo | None) -> tzinfo | None:
    match node:
        case ast.Call(func=function, args=[]) if _get_name(function) == "tzutc":
            return UTC
        case ast.Attribute(attr="utc" | "UTC"):
            return UTC
        case ast.Call(func=function, args=[_, seconds]) if _get_name(function) == "tzoffset":
            return timezone(timedelta(seconds=_evaluate(seconds, None)))
        case ast.Call(func=function, args=[ast.Call(keywords=parts), *_]) if (
            _get_name(function) == "timezone"
        ):
            return timezone(timedelta(**{str(part.arg): _evaluate(part.value, None) for part in parts}))
        case ast.Call(func=function, args=[]) if _get_name(function) == "tzlocal":
            return local
    raise ValueError("an unknown time zone")


def _get_name(function: ast.expr) -> str | None:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None
