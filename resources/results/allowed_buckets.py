"""The buckets from which result objects may be read.

An execution names the bucket of its result. A saved response can name any bucket. A person who can only add
files to an archive must not read other objects with the credentials of this process.
"""

from dataclasses import dataclass

from resources.aws.s3_objects import split_uri
from resources.config.settings import ApiSettings, Settings
from resources.name_patterns import matches_text
from resources.storage.open import is_s3


@dataclass(frozen=True)
class AllowedBuckets:
    """A rule for the buckets of result objects.

    Attributes:
        patterns: names, or patterns with * and ?.
        trusts_service: also allow the buckets that the service itself named.
    """

    patterns: tuple[str, ...] = ()
    trusts_service: bool = True

    def allow(self, bucket: str, *, is_named_by_service: bool = False) -> bool:
        """Return whether objects of the bucket may be read."""
        if self.trusts_service and is_named_by_service:
            return True
        return any(matches_text(pattern, bucket) for pattern in self.patterns)


ANY_BUCKET = AllowedBuckets(("*",))


def find_allowed_buckets(settings: Settings) -> AllowedBuckets:
    """Return the rule of `results.allowed_buckets`.

    Unset, it allows the buckets of the lake and of the sources, and those that the service itself names.
    """
    explicit = settings.results.allowed_buckets
    if explicit is not None:
        return AllowedBuckets(explicit, trusts_service=False)
    places = [("lake.uri", settings.lake.uri)]
    places += [
        ("sources.uri", source.uri) for source in settings.sources if not isinstance(source, ApiSettings)
    ]
    return AllowedBuckets(tuple(split_uri(uri)[0] for setting, uri in places if is_s3(uri, setting)))
