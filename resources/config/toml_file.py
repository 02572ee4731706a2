"""Files that people write beside the settings: read as TOML, refused in words."""

import tomllib
from pathlib import Path
from typing import Any

from resources.errors import ConfigurationError

_S3 = "s3://"


def read_toml(uri: str, setting: str) -> dict[str, Any] | None:
    """Read a file that a setting names; None where there is no such file.

    Args:
        uri: a path of this machine, or `s3://bucket/key`.
        setting: the key of the settings that names it, for messages.

    Raises:
        ConfigurationError: it cannot be read, or is not TOML.
        LedgerError: S3 refuses, or cannot be reached.
    """
    data = _bytes(uri, setting)
    if data is None:
        return None
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what, mend = f"is not UTF-8 text: line {line} holds other bytes", "save the file as UTF-8"
    except ValueError as error:
        what = f"is not TOML: {error}"
        mend = "mend that line: text stands in quotes, text with a backslash in single ones"
    raise ConfigurationError(f"the file of {setting} {what}", where=uri, next_step=mend)


def _bytes(uri: str, setting: str) -> bytes | None:
    if uri.startswith(_S3):
        from resources.aws.s3_bucket import Bucket, split_uri  # noqa: PLC0415 (imports boto3)

        bucket, key = split_uri(uri)
        content = Bucket(bucket, setting).get(key)
        return None if content is None else content.data
    try:
        return Path(uri).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"the file of {setting} cannot be read: {error.strerror}",
            where=uri,
            next_step=f"name a file in {setting} that this user may read",
        ) from None
