"""The sections of the settings: what each one may say."""

from datetime import date, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from resources.config.loader import SettingsOrigin
from resources.config.types import Count, Cron, Day, TimeZone, resolve_location


class Section(BaseModel):
    """What all sections and sources have in common: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class LakeSettings(Section):
    """Where the tables are kept."""

    uri: Annotated[
        str, resolve_location("lake", "uri"), AfterValidator(lambda uri: uri.rstrip("/") or uri)
    ] = Field(
        default="data/lake",
        validate_default=True,
        description="Folder or s3:// prefix of the lake. Absolute once loaded, without a slash at the end.",
        examples=["data/lake"],
    )
    kms_key_id: str | None = Field(
        default=None,
        description="Id, ARN or alias of the KMS key for a lake in S3. Unset: as its bucket has it.",
        examples=["alias/lookout-ledger"],
    )

    @field_validator("kms_key_id")
    @classmethod
    def _names_a_key(cls, key: str | None) -> str | None:
        if key == "":
            raise ValueError("is empty")
        return key


class HistorySettings(Section):
    """Which days exist, and how long a day may still change."""

    start_date: Day = Field(
        default=date(2025, 1, 1), description="The first daily partition (UTC).", examples=["2025-01-01"]
    )
    end_date: Day | None = Field(
        default=None,
        description="The first day that is no longer a partition (UTC, exclusive). Unset: there is no end.",
        examples=["2026-10-08"],
    )
    lookback_days: Count = Field(
        default=7,
        ge=1,
        le=36_500,
        description="How far back scheduled runs read unsettled days again, in days.",
        examples=[7],
    )
    settle_after_minutes: Count = Field(
        default=180,
        ge=0,
        le=525_600,
        description="How long after its end a day may still change before it can settle, in minutes.",
        examples=[180],
    )

    @field_validator("start_date")
    @classmethod
    def _has_begun(cls, start: date, info: ValidationInfo) -> date:
        today = SettingsOrigin.of(info).today
        if today and start > today:
            raise ValueError(f"{start} lies in the future (today is {today} in UTC)")
        return start

    @field_validator("end_date")
    @classmethod
    def _ends_after_start(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start_date")  # absent when it is itself mistaken
        if end and start and end <= start:
            problem = f"{end} must be later than history.start_date, which is {start}"
            raise ValueError(problem, str(start + timedelta(days=1)))  # with a day that mends it
        return end


class ReportSettings(Section):
    """How reports are shown, and where the pages go."""

    time_zone: TimeZone = Field(
        default="UTC",
        description="IANA name of the time zone that reports show times in; the tables stay in UTC.",
        examples=["Europe/Berlin"],
    )
    folder: Annotated[str, resolve_location("report", "folder")] = Field(
        default="data/reports",
        validate_default=True,
        description="Folder that pages are written to. Absolute once loaded.",
        examples=["data/reports"],
    )


class ScheduleSettings(Section):
    """When scheduled runs read again what is not settled."""

    cron: Cron = Field(
        default="5 * * * *",
        description="When, as five fields of cron in numbers, in UTC.",
        examples=["5 * * * *"],
    )


class LimitSettings(Section):
    """What a run may cost at most."""

    max_calls_per_run: Count | None = Field(
        default=None,
        ge=1,
        description="Calls to the service after which a run stops; what came until then is kept.",
        examples=[1000],
    )


class ResultSettings(Section):
    """How result objects are read; credentials are boto3's to find."""

    profile: str | None = Field(
        default=None, description="Profile of ~/.aws; else what boto3 finds.", examples=["plant-a"]
    )
    role_arn: str | None = Field(
        default=None,
        description="Role to take on first, for another account.",
        examples=["arn:aws:iam::111122223333:role/results-reader"],
    )
    expected_bucket_owner: str | None = Field(
        default=None,
        description="Account that must own the buckets; objects of any other's are refused.",
        examples=["111122223333"],
    )
    concurrency: Count = Field(
        default=32, ge=1, le=512, description="Objects that are fetched at once.", examples=[32]
    )


class EventSettings(Section):
    """When anomalous points are one event."""

    gap_steps: float = Field(
        default=2.0,
        ge=1,
        le=1000,
        description="A gap of more than so many usual steps without a point cuts an event.",
        examples=[2.0],
    )
    min_duration_minutes: Count = Field(
        default=0,
        ge=0,
        le=1440,
        description="Shorter events are no events. AWS's console left out those of 5 minutes and less.",
        examples=[5],
    )


class EquipmentSettings(Section):
    """Which machines there are."""

    registry: Annotated[str, resolve_location("equipment", "registry", beside_the_file=True)] = Field(
        default="equipment.toml",
        validate_default=True,
        description="File that names the equipment behind the schedulers. Absolute once loaded.",
        examples=["equipment.toml"],
    )


class AlertSettings(Section):
    """Who is told of what."""

    webhook_url: str | None = Field(
        default=None,
        description="Where JSON is posted to; best set by the variable, as it is often a secret.",
        examples=["https://hooks.example.com/ledger"],
    )
    min_duration_minutes: Count = Field(
        default=0, ge=0, le=10_080, description="Shorter anomaly events are not told.", examples=[10]
    )
    min_criticality: Literal["low", "medium", "high"] | None = Field(
        default=None,
        description="Events of less critical equipment are not told: low, medium or high.",
        examples=["medium"],
    )
    max_age_days: Count = Field(
        default=7,
        ge=1,
        le=36_500,
        description="Anomaly events that were over for longer when they became known are history: not told.",
        examples=[7],
    )
    repeat_after_hours: Count = Field(
        default=24,
        ge=1,
        le=8_760,
        description="A failure that goes on is told again after so many hours.",
        examples=[24],
    )
    late_after_minutes: Count = Field(
        default=180,
        ge=1,
        le=525_600,
        description="Data are late when the newest window should have come so long ago.",
        examples=[180],
    )
    dagster_url: str | None = Field(
        default=None,
        description="Where people open Dagster; alerts then link to the run or the asset.",
        examples=["https://dagster.example.com"],
    )
    report_url: str | None = Field(
        default=None,
        description="Where people open the pages of report.folder; unset: alerts name the folder.",
        examples=["https://reports.example.com"],
    )
    silences: Annotated[str, resolve_location("alerts", "silences", beside_the_file=True)] = Field(
        default="silences.toml",
        validate_default=True,
        description="File of planned maintenance and acknowledgements. Absolute once loaded.",
        examples=["silences.toml"],
    )

    @field_validator("webhook_url", "dagster_url", "report_url")
    @classmethod
    def _is_a_web_address(cls, url: str | None) -> str | None:
        if url is None or (urlsplit(url).scheme in {"http", "https"} and urlsplit(url).netloc):
            return url
        raise ValueError("must be a web address that begins with https:// or http://")  # without its secret
