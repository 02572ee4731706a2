"""Opens the sources that the settings name."""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from resources.aws.access import AwsAccess
from resources.config.settings import ApiSettings, ArchiveSettings, BucketSettings, Settings, SourceSettings
from resources.read_limits import ReadLimits
from resources.sources import api, bucket, saved_file
from resources.sources.api import ApiSource
from resources.sources.archive import ArchiveSource
from resources.sources.base import Source
from resources.sources.bucket import BucketOptions, BucketSource
from resources.sources.bucket_listings import KeyListing, ListedKeys, LocalKeys, ResultReader, S3Keys
from resources.sources.key_files import KeyFiles
from resources.storage.open import is_s3, open_file_store


def open_sources(settings: Settings) -> list[Source]:
    """Open every source of the settings; no connection is made yet.

    Raises:
        ConfigurationError: the settings have no source, or one whose location is not supported.
    """
    settings.require_sources()
    limits, results = settings.limits.read_limits, settings.results
    access = AwsAccess(profile=results.profile, role_arn=results.role_arn)
    reader = ResultReader(access, results.expected_bucket_owner)
    return [open_source(source, limits, reader) for source in settings.sources]


def open_source(settings: SourceSettings, limits: ReadLimits, reader: ResultReader | None = None) -> Source:
    """Open one source; no connection is made yet.

    Args:
        settings: its table in the settings.
        limits: limits of each file.
        reader: lists buckets; None: with boto3's defaults.

    Raises:
        ConfigurationError: its location is not supported.
    """
    return _OPEN_BY_KIND[settings.kind](settings, limits, reader or ResultReader())


def _open_archive(settings: ArchiveSettings, limits: ReadLimits, _reader: ResultReader) -> Source:
    store = open_file_store(settings.uri, limits, settings.expected_bucket_owner)
    return ArchiveSource(settings.uri, zone=parse_zone(settings.time_zone), store=store, limits=limits)


def _open_api(settings: ApiSettings, limits: ReadLimits, _reader: ResultReader) -> Source:
    access = AwsAccess(settings.region, settings.profile, settings.role_arn, settings.endpoint_url)
    return ApiSource(access, settings.schedulers, service_end=settings.service_end, limits=limits)


def _open_bucket(settings: BucketSettings, limits: ReadLimits, reader: ResultReader) -> Source:
    options = BucketOptions(
        settings.scheduler_name,
        settings.scheduler_arn,
        settings.frequency_minutes,
        settings.delay_minutes,
        parse_zone(settings.time_zone),
    )
    return BucketSource(settings.uri, _open_keys(settings, limits, reader), options)


def _open_keys(settings: BucketSettings, limits: ReadLimits, reader: ResultReader) -> KeyListing:
    bucket, root = settings.location
    if settings.listing:
        store = open_file_store(settings.listing, limits, settings.expected_bucket_owner)
        return ListedKeys(KeyFiles(settings.listing, store, limits), bucket, root)
    if is_s3(settings.uri, "sources.uri"):
        return S3Keys(bucket, root, reader, limits)
    return LocalKeys(settings.uri, bucket, root)


_OPEN_BY_KIND: Mapping[str, Callable[[Any, ReadLimits, ResultReader], Source]] = {
    saved_file.KIND: _open_archive,
    api.KIND: _open_api,
    bucket.KIND: _open_bucket,
}
"""One entry for each kind of source in the settings."""


def parse_zone(name: str | None) -> tzinfo | None:
    """Return the zone of an IANA name or of an offset such as +02:00."""
    if name is None:
        return None
    return datetime.strptime(name, "%z").tzinfo if name[0] in "+-" else ZoneInfo(name)
