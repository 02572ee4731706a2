"""The settings: `ledger.toml` and `LEDGER_*` variables, read into one frozen, validated model.

The environment overrides the file, and the file overrides the defaults. Each value keeps its origin: relative
paths start there, and errors name it. One exception reports all errors.
"""

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from resources.clock import utc_now
from resources.config.loader import (
    CHECKOUT,
    CONFIG_FILE_NAME,
    CONFIG_VARIABLE,
    SettingsOrigin,
    find_default_folder,
    read_environment,
    read_file,
    variable_name,
)
from resources.config.sections import (
    AlertSettings,
    DagsterSettings,
    EquipmentSettings,
    EventSettings,
    HistorySettings,
    LakeSettings,
    LimitSettings,
    ReportSettings,
    ResultSettings,
    ScheduleSettings,
    Section,
)
from resources.config.types import AccountId, Count, Day, TimeZoneOrOffset, resolve_location
from resources.config.validation_errors import (
    EXAMPLE_SOURCES,
    KnownKeys,
    Loc,
    SettingError,
    build_configuration_error,
    explain_error,
)
from resources.errors import ConfigurationError
from resources.redaction import protect
from resources.scheduler_arns import LOCAL_BUCKET
from resources.storage.open import is_s3

EXAMPLE_TOML = """\
[[sources]]
kind = "archive"
uri = "dumps/"  # saved responses: a folder, a file or an s3:// prefix; relative to this file
"""
"""The shortest useful `ledger.toml`; it can also be appended to a file without sources."""


class ArchiveSettings(Section):
    """Saved responses of the API, read from files."""

    kind: Literal["archive"] = Field(
        default="archive", description="Kind of the source.", examples=["archive"]
    )
    uri: Annotated[str, resolve_location("sources")] = Field(
        description="Folder, file or s3:// prefix of the saved responses.",
        examples=["dumps/"],
    )
    time_zone: TimeZoneOrOffset | None = Field(
        default=None,
        description="IANA name or +HH:MM offset of times that were saved without one.",
        examples=["Europe/Berlin"],
    )
    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the bucket of an s3:// prefix. Other buckets are refused.",
        examples=["111122223333"],
    )


class ApiSettings(Section):
    """The live service, or a compatible one. Other credentials come from boto3's default chain."""

    kind: Literal["api"] = Field(default="api", description="Kind of the source.", examples=["api"])
    region: str | None = Field(
        default=None, description="AWS region. Unset: boto3's default.", examples=["eu-west-1"]
    )
    profile: str | None = Field(
        default=None, description="Profile of ~/.aws. Unset: boto3's default.", examples=["plant-a"]
    )
    role_arn: str | None = Field(
        default=None,
        description="Role to assume, for another account.",
        examples=["arn:aws:iam::111122223333:role/lookout-reader"],
    )
    endpoint_url: str | None = Field(
        default=None,
        description="URL of the service, if not AWS. Unset: AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT, or AWS.",
        examples=["http://127.0.0.1:4610"],
    )
    schedulers: tuple[str, ...] = Field(
        default=("*",), description="Name patterns of schedulers, with * and ?.", examples=[["pump-*"]]
    )
    service_end: Day | None = Field(
        default=None,
        description="Last day of the service. Unset: 2026-10-07 for AWS, none for other endpoints.",
        examples=["2026-10-07"],
    )


class BucketSettings(Section):
    """The results in S3, or a local copy of them: executions are found by the keys of result objects."""

    kind: Literal["bucket"] = Field(default="bucket", description="Kind of the source.", examples=["bucket"])
    uri: Annotated[str, resolve_location("sources")] = Field(
        description="Output prefix of a scheduler, or a prefix or local folder above several of them.",
        examples=["s3://plant-a/inference/output/"],
    )
    scheduler_name: str | None = Field(
        default=None, description="Name of the scheduler. Unset: the prefix.", examples=["pump-1"]
    )
    scheduler_arn: str | None = Field(
        default=None,
        description="ARN of the scheduler. Unset: a placeholder, until another source names it.",
        examples=["arn:aws:lookoutequipment:eu-west-1:111122223333:inference-scheduler/pump-1/0f6b"],
    )
    frequency: Literal["PT5M", "PT10M", "PT15M", "PT30M", "PT1H"] | None = Field(
        default=None, description="Length of a data window. Unset: inferred.", examples=["PT5M"]
    )
    delay_minutes: Count | None = Field(
        default=None,
        ge=0,
        le=60,
        description="Delay between the end of a data window and its execution. Unset: unknown.",
        examples=[0],
    )
    time_zone: TimeZoneOrOffset | None = Field(
        default=None,
        description="IANA name or +HH:MM offset of folder names without Z.",
        examples=["Europe/Berlin"],
    )
    copy_of: str | None = Field(
        default=None,
        description="s3:// prefix that a local folder is a copy of. Results are then read from the copy.",
        examples=["s3://plant-a/inference/output/"],
    )

    listing: Annotated[str, resolve_location("sources")] | None = Field(
        default=None,
        description="File or folder with the keys, read instead of listing the bucket: output of"
        " `aws s3 ls --recursive`, or S3 Inventory as CSV or Parquet.",
        examples=["listing.txt"],
    )
    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the bucket of a listing in S3. That of the results is"
        " results.expected_bucket_owner.",
        examples=["111122223333"],
    )

    @field_validator("copy_of")
    @classmethod
    def _check_copy(cls, uri: str | None) -> str | None:
        if uri is not None and not uri.startswith("s3://"):
            raise ValueError("must begin with s3://")
        return uri

    @field_validator("scheduler_arn")
    @classmethod
    def _check_arn(cls, arn: str | None) -> str | None:
        if arn is not None and not _SCHEDULER_ARN.fullmatch(arn):
            raise ValueError("must be the ARN of an inference scheduler")
        return arn

    @property
    def frequency_minutes(self) -> int | None:
        """The frequency in minutes; None: it is unset."""
        return _FREQUENCY_MINUTES[self.frequency] if self.frequency else None

    @property
    def location(self) -> tuple[str, str]:
        """The bucket and the prefix of all keys, of a local folder those that it is a copy of."""
        uri = self.copy_of or self.uri
        if not is_s3(uri, "sources.uri"):
            return LOCAL_BUCKET, f"{uri.rstrip('/')}/"
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bucket, f"{key.rstrip('/')}/" if key.rstrip("/") else ""


_SCHEDULER_ARN = re.compile(r"arn:[^:]+:lookoutequipment:[^:]+:[^:]+:inference-scheduler/[^/]+(/.+)?")
_FREQUENCY_MINUTES = {"PT5M": 5, "PT10M": 10, "PT15M": 15, "PT30M": 30, "PT1H": 60}

_AnySource = ArchiveSettings | ApiSettings | BucketSettings  # add a new kind of source here
SourceSettings = Annotated[_AnySource, Field(discriminator="kind")]
KINDS: dict[str, type[Section]] = {
    source.model_fields["kind"].default: source for source in get_args(_AnySource) or (_AnySource,)
}


class Settings(Section):
    """All settings; created by `load_settings`."""

    lake: LakeSettings = Field(default_factory=LakeSettings)
    history: HistorySettings = Field(default_factory=HistorySettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    dagster: DagsterSettings = Field(default_factory=DagsterSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    results: ResultSettings = Field(default_factory=ResultSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    equipment: EquipmentSettings = Field(default_factory=EquipmentSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    sources: tuple[SourceSettings, ...] = Field(
        default=(), description="Sources of executions. All of them are read."
    )

    _origin: SettingsOrigin = PrivateAttr(default_factory=SettingsOrigin)

    def model_post_init(self, context: object, /) -> None:
        """Keep the origin of the values, which properties and messages need."""
        if isinstance(context, SettingsOrigin):
            self._origin = context

    @property
    def config_file(self) -> Path | None:
        """The settings file; None without a file."""
        return self._origin.file

    def find_variable(self, *loc: str) -> str | None:
        """Return the environment variable that sets the value at `loc`, or None."""
        return self._origin.find_variable(loc)

    def require_sources(self) -> tuple[SourceSettings, ...]:
        """Return the sources.

        Raises:
            ConfigurationError: no source is set; the message says what to write where.
        """
        if self.sources:
            return self.sources
        file = self._origin.root / CONFIG_FILE_NAME
        where, fix = (
            f"{file} (no such file)",
            f"run ledger init FOLDER, or write {file} with\n\n{EXAMPLE_TOML}",
        )
        if self.config_file:
            where, fix = (
                f"{self.config_file}: sources",
                f"run ledger import, or add to {self.config_file}\n\n{EXAMPLE_TOML}",
            )
        if variable := self._origin.find_variable(("sources",)):
            where, fix = f"environment variable {variable}", f"set {variable}='{EXAMPLE_SOURCES}'"
        raise ConfigurationError("Cannot read executions: no sources are set", where=where, next_step=fix)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
_SECRET_ADDRESSES = ("webhook_url", "urls")

_SETTABLE = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields]
_VARIABLES: dict[str, tuple[str, ...]] = {variable_name(loc): loc for loc in (*_SETTABLE, ("sources",))}


def _protect_secrets(alerts: object) -> None:
    """Redact the addresses of notifications in every message, also if the settings are invalid."""
    values = [alerts.get(key) for key in _SECRET_ADDRESSES] if isinstance(alerts, dict) else []
    for value in values:
        addresses = value if isinstance(value, list | tuple) else [value]
        protect(*(address for address in addresses if isinstance(address, str)))


def load_settings(
    environ: Mapping[str, str] | None = None, root: Path | None = None, today: date | None = None
) -> Settings:
    """Read the file and the environment.

    Args:
        environ: the environment variables; default: those of the process.
        root: the folder of the default `ledger.toml`, and the start of relative paths outside of the file.
            Default: `ledger.toml` is searched in the current folder, then in the checkout; the paths start
            at the checkout.
        today: the last day on which the history can start; default: the UTC date.

    Raises:
        ConfigurationError: the settings are invalid; one message lists all errors and their fixes.
    """
    environ = os.environ if environ is None else environ
    folder = find_default_folder() if root is None else root.absolute()
    root = (root or CHECKOUT).absolute()
    errors: list[SettingError] = []
    overrides = read_environment(environ, _VARIABLES, errors)
    file, values = read_file(environ.get(CONFIG_VARIABLE), folder, errors)
    if values is None:  # errors about missing values would be guesses
        raise build_configuration_error(errors)
    in_file: set[Loc] = {(name,) for name in values}
    in_file |= {(name, key) for name, table in values.items() if isinstance(table, dict) for key in table}
    for name in SECTIONS:  # resolves default paths, and pydantic builds no validator of each section
        values.setdefault(name, {})
    for (section, *key), value in overrides.items():
        table = values.setdefault(section, {}) if key else values
        if isinstance(table, dict):
            table[key[0] if key else section] = value
    _protect_secrets(values.get("alerts"))
    origin = SettingsOrigin(root, file, frozenset(in_file), frozenset(overrides), today or utc_now().date())
    try:
        settings = Settings.model_validate(values, context=origin)
    except ValidationError as invalid:
        known = KnownKeys(Settings, SECTIONS, KINDS)
        errors += [
            explain_error(details, known, origin.file, origin.find_variable(details["loc"]))
            for details in invalid.errors(include_url=False)
        ]
    else:
        if not errors:
            return settings
    raise build_configuration_error(errors)
