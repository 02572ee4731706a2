"""The benchmark of buckets: its S3 answers like moto, and its figures that do not depend on the machine."""

from xml.etree import ElementTree as ET

import boto3
import pytest

from benchmarks.bucket import measure_bucket
from benchmarks.bucket_service import list_keys, list_page
from tests.support.s3_server import Bucket


@pytest.mark.parametrize("start_after", ["", "pump-000/output/2026-08-01T12", "pump-000/output/~", "q"])
@pytest.mark.parametrize(("prefix", "delimiter"), [("", "/"), ("pump-001/output/", ""), ("pump-00", "")])
def test_pages_equal_those_of_moto(bucket: Bucket, prefix: str, delimiter: str, start_after: str) -> None:
    keys = list_keys(2, 1)
    bucket.add(*keys)
    options = {"Prefix": prefix, "StartAfter": start_after, "Delimiter": delimiter, "MaxKeys": 200}
    expected = boto3.client("s3").list_objects_v2(Bucket=bucket.name, **options)

    names = {"Prefix": "prefix", "StartAfter": "start-after", "Delimiter": "delimiter", "MaxKeys": "max-keys"}
    query = {names[name]: str(value) for name, value in options.items() if value}
    page = ET.fromstring(list_page(keys, query))  # noqa: S314 (our own)

    assert [key.text for key in page.iter("Key")] == [row["Key"] for row in expected.get("Contents", ())]
    folders = [folder.findtext("Prefix") for folder in page.iter("CommonPrefixes")]
    if not start_after:  # moto omits folders that S3 returns, because not all of their keys are listed yet
        assert folders == [row["Prefix"] for row in expected.get("CommonPrefixes", ())]
    assert page.findtext("IsTruncated") == str(expected["IsTruncated"]).lower()


@pytest.mark.slow
def test_each_object_is_recorded_with_the_predicted_requests() -> None:
    figures = measure_bucket(schedulers=2, days=3)

    assert figures["objects"] == 2 * 3 * 288
    assert figures["requests"] <= figures["requests_predicted"] <= figures["requests"] + 2
    assert figures["peak_megabytes"] < 400
