"""The S3 server fixtures of the tests of resources."""

from tests.resources.conftest import _client, bucket, s3, s3_server

__all__ = ["_client", "bucket", "s3", "s3_server"]  # fixtures
