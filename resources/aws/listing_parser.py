"""Parses the listings of S3 as botocore does, at a tenth of the CPU time of an object.

botocore walks its model for each value, and parses each date with dateutil. Here, the members of a listing
are known. A listing with other members is left to botocore.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

LISTING = "ListObjectsV2Output"
"""botocore's name of the response."""

_NO_BODY = b"<ListBucketResult/>"
_Convert = Callable[[str], Any]
_Converters = Mapping[str, tuple[str, _Convert]]


def _parse_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_OBJECT: dict[str, _Convert] = {
    "Key": str,
    "LastModified": _parse_time,
    "ETag": str,
    "Size": int,
    "StorageClass": str,
    "ChecksumType": str,
    "ChecksumAlgorithm": str,
}
_REPEATED = {"ChecksumAlgorithm"}
_PREFIX: dict[str, _Convert] = {"Prefix": str}
_LISTING: dict[str, _Convert] = {
    "Name": str,
    "Prefix": str,
    "Delimiter": str,
    "MaxKeys": int,
    "EncodingType": str,
    "KeyCount": int,
    "ContinuationToken": str,
    "NextContinuationToken": str,
    "StartAfter": str,
    "IsTruncated": "true".__eq__,
}


class ListingParser:
    """Parses listings; botocore's parser of the protocol parses everything else, and all headers."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 (botocore has no types)
        """Take botocore's parser."""
        self._inner = inner

    def parse(self, response: dict[str, Any], shape: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the response as botocore does."""
        is_listing = shape is not None and shape.name == LISTING and response["status_code"] < 300  # noqa: PLR2004
        members = _parse_listing(response["body"]) if is_listing else None
        if members is None:
            return self._inner.parse(response, shape)  # type: ignore[no-any-return]
        parsed: dict[str, Any] = self._inner.parse({**response, "body": _NO_BODY}, shape)
        return parsed | members


def _parse_listing(body: bytes) -> dict[str, Any] | None:
    """Return the members of a listing; None: it has others, or is invalid."""
    try:
        root = fromstring(body)  # noqa: S314 (as botocore does; the size is limited)
        space = root.tag.removesuffix("ListBucketResult")
        if space == root.tag:
            return None
        members: dict[str, Any] = {}
        listing, prefix, entry = (_qualify(space, names) for names in (_LISTING, _PREFIX, _OBJECT))
        for node in root:
            name = node.tag.removeprefix(space)
            if name == "Contents":
                members.setdefault(name, []).append(_parse_members(node, entry))
            elif name == "CommonPrefixes":
                members.setdefault(name, []).append(_parse_members(node, prefix))
            else:
                members[name] = listing[node.tag][1](node.text or "")
    except (KeyError, ParseError, ValueError):
        return None
    return members


def _qualify(space: str, converters: Mapping[str, _Convert]) -> _Converters:
    """Return the name and the converter of each tag with its namespace."""
    return {f"{space}{name}": (name, convert) for name, convert in converters.items()}


def _parse_members(node: Element, converters: _Converters) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for child in node:
        name, convert = converters[child.tag]
        value = convert(child.text or "")
        members[name] = [*members.get(name, ()), value] if name in _REPEATED else value
    return members
