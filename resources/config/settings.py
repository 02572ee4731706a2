"""The settings: `ledger.toml` and `LEDGER_*` variables, read into one frozen, validated model.

The environment wins over the file, the file over the defaults. Each value remembers which of the three it
came from: relative paths start there, and mistakes are reported there. All mistakes are told at once.
"""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
)

from resources.clock import utc_now
from resources.config.loader import (
    CHECKOUT,
    CONFIG_FILE_NAME,
    CONFIG_VARIABLE,
    SettingsOrigin,
    read_environment,
    read_file,
    variable_name,
)
from resources.config.sections import (
    AlertSettings,
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
from resources.config.types import Day, TimeZoneOrOffset, resolve_location
from resources.config.validation_errors import (
    EXAMPLE_SOURCES,
    KnownKeys,
    Loc,
    SettingError,
    build_configuration_error,
    explain_error,
)
from resources.errors import ConfigurationError

EXAMPLE_TOML = """\
[[sources]]
kind = "archive"
uri = "dumps/"  # saved responses: a folder, a file or an s3:// prefix; relative to this file
"""
"""The least that `ledger.toml` must say; it stands alone, or at the end of a file that has no source yet."""


class ArchiveSettings(Section):
    """Saved responses of the API, read from files."""

    kind: Literal["archive"] = Field(default="archive", description="Its kind.", examples=["archive"])
    uri: Annotated[str, resolve_location("sources")] = Field(
        description="Folder, file or s3:// prefix of the saved responses. Absolute once loaded.",
        examples=["dumps/"],
    )
    time_zone: TimeZoneOrOffset | None = Field(
        default=None,
        description="IANA name or +HH:MM offset: the zone of times that were saved without one.",
        examples=["Europe/Berlin"],
    )


class ApiSettings(Section):
    """The live service, or whatever speaks its protocol; credentials are boto3's to find."""

    kind: Literal["api"] = Field(default="api", description="Its kind.", examples=["api"])
    region: str | None = Field(
        default=None, description="AWS region; else what boto3 finds.", examples=["eu-west-1"]
    )
    profile: str | None = Field(
        default=None, description="Profile of ~/.aws; else what boto3 finds.", examples=["plant-a"]
    )
    role_arn: str | None = Field(
        default=None,
        description="Role to take on first, for another account.",
        examples=["arn:aws:iam::111122223333:role/lookout-reader"],
    )
    endpoint_url: str | None = Field(
        default=None,
        description="Where the service is, if not at AWS; else AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT counts.",
        examples=["http://127.0.0.1:4610"],
    )
    schedulers: tuple[str, ...] = Field(
        default=("*",), description="Names of schedulers, with * and ?.", examples=[["pump-*"]]
    )
    service_end: Day | None = Field(
        default=None,
        description="Last day of the service there; default 2026-10-07 at AWS, none elsewhere.",
        examples=["2026-10-07"],
    )


_AnySource = ArchiveSettings | ApiSettings  # a new kind is one class that joins here
SourceSettings = Annotated[_AnySource, Field(discriminator="kind")]
_KINDS: dict[str, type[Section]] = {
    source.model_fields["kind"].default: source for source in get_args(_AnySource) or (_AnySource,)
}


class Settings(Section):
    """All settings; made by `load_settings`."""

    lake: LakeSettings = Field(default_factory=LakeSettings)
    history: HistorySettings = Field(default_factory=HistorySettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    results: ResultSettings = Field(default_factory=ResultSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    equipment: EquipmentSettings = Field(default_factory=EquipmentSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    sources: tuple[SourceSettings, ...] = Field(
        default=(), description="Where executions come from, all at once."
    )

    _origin: SettingsOrigin = PrivateAttr(default_factory=SettingsOrigin)

    def model_post_init(self, context: object, /) -> None:
        """Keep where the values came from, for `config_file` and `require_sources`."""
        if isinstance(context, SettingsOrigin):
            self._origin = context

    @property
    def config_file(self) -> Path | None:
        """The file that was read; None when there is none."""
        return self._origin.file

    def require_sources(self) -> tuple[SourceSettings, ...]:
        """The sources, of which there is at least one.

        Raises:
            ConfigurationError: there is none; the message says which file to write, and what.
        """
        if self.sources:
            return self.sources
        file = self._origin.root / CONFIG_FILE_NAME
        place, mend = f"{file} (no such file)", f"write {file} with\n\n{EXAMPLE_TOML}"
        if self.config_file:
            place, mend = f"{self.config_file}: sources", f"add to {self.config_file}\n\n{EXAMPLE_TOML}"
        if variable := self._origin.variable(("sources",)):
            place, mend = f"environment variable {variable}", f"set {variable}='{EXAMPLE_SOURCES}'"
        raise ConfigurationError(
            "no sources are set: nothing says where executions come from", where=place, next_step=mend
        )


_SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
_WITH_PATHS = ("lake", "report", "equipment", "alerts")
"""Sections with default paths, which need their validators: these know the root."""

_SETTABLE = [(name, key) for name, section in _SECTIONS.items() for key in section.model_fields]
_VARIABLES: dict[str, tuple[str, ...]] = {variable_name(loc): loc for loc in (*_SETTABLE, ("sources",))}


def load_settings(
    environ: Mapping[str, str] | None = None, root: Path | None = None, today: date | None = None
) -> Settings:
    """Read the file and the environment.

    Args:
        environ: the environment variables; default the process's own.
        root: the folder of the default `ledger.toml`, where paths that stand in no file start; default the
            checkout.
        today: the last day that the history can start on; default the UTC date.

    Raises:
        ConfigurationError: the settings cannot be used; one message lists every mistake and its mend.
    """
    environ = os.environ if environ is None else environ
    root = (root or CHECKOUT).absolute()
    mistakes: list[SettingError] = []
    overrides = read_environment(environ, _VARIABLES, mistakes)
    file, values = read_file(environ.get(CONFIG_VARIABLE), root, mistakes)
    if values is None:  # what the file would have said is unknown: any further complaint would be a guess
        raise build_configuration_error(mistakes)
    written: set[Loc] = {(name,) for name in values}
    written |= {(name, key) for name, table in values.items() if isinstance(table, dict) for key in table}
    for name in _WITH_PATHS:
        values.setdefault(name, {})
    for (section, *key), value in overrides.items():
        table = values.setdefault(section, {}) if key else values
        if isinstance(table, dict):
            table[key[0] if key else section] = value
    origin = SettingsOrigin(root, file, frozenset(written), frozenset(overrides), today or utc_now().date())
    try:
        settings = Settings.model_validate(values, context=origin)
    except ValidationError as error:
        known = KnownKeys(Settings, _SECTIONS, _KINDS)
        mistakes += [
            explain_error(details, known, origin.file, origin.variable(details["loc"]))
            for details in error.errors(include_url=False)
        ]
    else:
        if not mistakes:
            return settings
    raise build_configuration_error(mistakes)
