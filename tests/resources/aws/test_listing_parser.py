"""Listings of S3 are parsed as botocore parses them."""

from typing import Any
from unittest.mock import Mock
from xml.sax.saxutils import escape

import botocore.parsers
import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.aws.listing_parser import ListingParser

TEXTS = st.text(
    st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")
)
OBJECTS = st.fixed_dictionaries(
    {
        "Key": TEXTS,
        "LastModified": st.sampled_from(["2026-10-06T00:05:00.000Z", "2026-10-06T00:05:00Z"]),
        "ETag": st.just('"0123"'),
        "Size": st.integers(0, 1 << 40),
    },
    optional={
        "StorageClass": st.just("STANDARD"),
        "ChecksumAlgorithm": st.lists(st.sampled_from(["CRC32", "CRC64NVME"]), min_size=1, max_size=2),
        "ChecksumType": st.just("FULL_OBJECT"),
        "Owner": st.just({"ID": "4711", "DisplayName": "plant"}),
    },
)
LISTINGS = st.fixed_dictionaries(
    {
        "Name": st.just("results"),
        "Prefix": TEXTS,
        "KeyCount": st.integers(0, 1000),
        "MaxKeys": st.just(1000),
        "IsTruncated": st.sampled_from(["true", "false"]),
        "Contents": st.lists(OBJECTS, max_size=3),
        "CommonPrefixes": st.lists(st.fixed_dictionaries({"Prefix": TEXTS}), max_size=2),
    },
    optional={"NextContinuationToken": TEXTS, "EncodingType": st.just("url"), "StartAfter": TEXTS},
)


@pytest.fixture(scope="module")
def shape() -> Any:
    model = botocore.session.get_session().get_service_model("s3")
    return model.operation_model("ListObjectsV2").output_shape


@given(listing=LISTINGS)
def test_a_listing_is_what_botocore_returns(shape: Any, listing: dict[str, Any]) -> None:
    response = build_response(render(listing))
    botocores = botocore.parsers.RestXMLParser()
    assert ListingParser(botocores).parse(response, shape) == botocores.parse(response, shape)


def test_botocore_sees_only_the_headers_of_a_listing(shape: Any) -> None:
    inner = Mock(wraps=botocore.parsers.RestXMLParser())
    response = build_response(render({"Contents": [{"Key": "a"}], "IsTruncated": "false"}))
    assert ListingParser(inner).parse(response, shape)["Contents"] == [{"Key": "a"}]
    assert b"Contents" not in inner.parse.call_args.args[0]["body"]


@pytest.mark.parametrize(
    "body", [b"<ListBucketResult>", b"<ListBucketResult><Size>x</Size></ListBucketResult>", b""]
)
def test_other_listings_are_left_to_botocore(shape: Any, body: bytes) -> None:
    inner = Mock()
    response = build_response(body)
    assert ListingParser(inner).parse(response, shape) is inner.parse.return_value
    inner.parse.assert_called_once_with(response, shape)


def build_response(body: bytes) -> dict[str, Any]:
    return {"status_code": 200, "headers": {"x-amz-request-id": "1"}, "body": body}


def render(listing: dict[str, Any]) -> bytes:
    members = "".join(render_member(name, value) for name, value in listing.items())
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{members}</ListBucketResult>'.encode()


def render_member(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(render_member(name, part) for part in value)
    if isinstance(value, dict):
        value = "".join(render_member(below, part) for below, part in value.items())
        return f"<{name}>{value}</{name}>"
    return f"<{name}>{escape(str(value))}</{name}>"
