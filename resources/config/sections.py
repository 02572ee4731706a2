"""The sections of the settings."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from resources.config.apprise_url import describe_url, is_apprise_url
from resources.config.loader import SettingsOrigin
from resources.config.types import (
    AccountId,
    Count,
    Cron,
    DagsterName,
    Day,
    TimeZone,
    check_web_address,
    resolve_location,
)
from resources.read_limits import MEGABYTE, ReadLimits


class Section(BaseModel):
    """The base of all sections and sources: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, defer_build=True)


class LakeSettings(Section):
    """The location of the tables."""

    uri: Annotated[
        str, resolve_location("lake", "uri"), AfterValidator(lambda uri: uri.rstrip("/") or uri)
    ] = Field(
        default="data/lake",
        validate_default=True,
        description="Folder or s3:// prefix of the tables.",
        examples=["data/lake"],
    )
    kms_key_id: str | None = Field(
        default=None,
        description="ID, ARN or alias of the KMS key for a lake in S3. Unset: the default of the bucket.",
        examples=["alias/lookout-ledger"],
    )

    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the bucket of a lake in S3. Other buckets are refused.",
        examples=["111122223333"],
    )
    shards: Annotated[Count, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Number of files into which a new day is split, by scheduler. It applies to tables with a"
        " row per execution or more.",
        examples=[8],
    )

    @field_validator("kms_key_id")
    @classmethod
    def _check_key(cls, key: str | None) -> str | None:
        if key == "":
            raise ValueError("is empty")
        return key


class HistorySettings(Section):
    """The days that exist, and how long a day can change."""

    start_date: Day = Field(
        default=date(2025, 1, 1), description="The first daily partition (UTC).", examples=["2025-01-01"]
    )
    end_date: Day | None = Field(
        default=None,
        description="The day after the last daily partition (UTC). Unset: no end.",
        examples=["2026-10-08"],
    )
    lookback_days: Count = Field(
        default=7,
        ge=1,
        le=36_500,
        description="Scheduled runs extract unsettled days up to this many days before today.",
        examples=[7],
    )
    settle_after_minutes: Count = Field(
        default=180,
        ge=0,
        le=525_600,
        description="A day can settle this many minutes after its end: later answers prove it complete.",
        examples=[180],
    )

    @field_validator("start_date")
    @classmethod
    def _check_start(cls, start: date, info: ValidationInfo) -> date:
        today = SettingsOrigin.from_info(info).today
        if today and start > today:
            raise ValueError(f"{start} is in the future (today is {today} in UTC)")
        return start

    @field_validator("end_date")
    @classmethod
    def _check_end(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start_date")  # absent if it is invalid
        if end and start and end <= start:
            problem = f"{end} must be later than history.start_date, which is {start}"
            raise ValueError(problem, str(start + timedelta(days=1)))  # an example that fixes it
        return end


class ReportSettings(Section):
    """The time zone and the location of reports."""

    time_zone: TimeZone = Field(
        default="UTC",
        description="IANA name of the time zone of reports. The tables stay in UTC.",
        examples=["Europe/Berlin"],
    )
    folder: Annotated[str, resolve_location("report", "folder")] = Field(
        default="data/reports",
        validate_default=True,
        description="Folder or s3:// prefix for the report pages.",
        examples=["data/reports"],
    )
    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the bucket of a folder in S3. Other buckets are refused.",
        examples=["111122223333"],
    )


class ScheduleSettings(Section):
    """The schedule of the runs that refresh unsettled days."""

    cron: Cron = Field(
        default="5 * * * *",
        description="Cron expression with five fields, in UTC.",
        examples=["5 * * * *"],
    )


def _parse_key_prefix(value: object) -> object:
    """Accept text with slashes between the parts, as Dagster shows asset keys."""
    return tuple(value.split("/")) if isinstance(value, str) else value


class DagsterSettings(Section):
    """Names in the Dagster instance. Set them if other code locations use the same ones."""

    key_prefix: Annotated[tuple[DagsterName, ...], BeforeValidator(_parse_key_prefix)] = Field(
        default=(),
        description="Prefix of all asset keys, with slashes between its parts. Tables and stages keep their"
        " names.",
        examples=["plant_a"],
    )
    group_prefix: DagsterName | None = Field(
        default=None,
        description="Prefix of the asset groups: plant_a gives plant_a_executions.",
        examples=["plant_a"],
    )


class LimitSettings(Section):
    """Limits of one run, of one file and of one request. They bound calls, memory and time."""

    max_calls_per_run: Count | None = Field(
        default=None,
        ge=1,
        description="API calls after which a run stops. Recorded days stay. Unset: no limit.",
        examples=[1000],
    )
    max_megabytes_per_file: Count = Field(
        default=200,
        ge=1,
        le=100_000,
        description="Largest unpacked size of a saved response, a result object or a response.",
        examples=[200],
    )
    max_rows_per_file: Count = Field(
        default=500_000,
        ge=1,
        description="Largest number of executions in a saved response, and of lines in a result object.",
        examples=[500_000],
    )
    max_pages_per_query: Count = Field(
        default=10_000,
        ge=1,
        description="Largest number of pages of one query of the service.",
        examples=[10_000],
    )
    max_entries_per_listing: Count = Field(
        default=2_000_000,
        ge=1,
        description="Largest number of files, objects or schedulers that a source lists.",
        examples=[2_000_000],
    )
    max_seconds_per_request: Count = Field(
        default=600,
        ge=1,
        le=86_400,
        description="Longest duration of one request to the service or to S3, in seconds.",
        examples=[600],
    )

    @property
    def read_limits(self) -> ReadLimits:
        """The limits of a reader."""
        return ReadLimits(
            self.max_megabytes_per_file * MEGABYTE,
            self.max_rows_per_file,
            self.max_pages_per_query,
            self.max_entries_per_listing,
            self.max_seconds_per_request,
        )


def _split_names(value: object) -> object:
    """Accept text with spaces between the names, as in the environment."""
    return tuple(value.split()) if isinstance(value, str) else value


class ResultSettings(Section):
    """Access to result objects. Other credentials come from boto3's default chain."""

    allowed_buckets: Annotated[tuple[str, ...] | None, BeforeValidator(_split_names)] = Field(
        default=None,
        description="Buckets from which objects may be read: names, or patterns with * and ?. Unset: those of"
        " the lake and of the sources, and those that the service itself names. In the environment, write"
        " spaces between names.",
        examples=[["plant-a-results"]],
    )

    profile: str | None = Field(
        default=None, description="Profile of ~/.aws. Unset: boto3's default.", examples=["plant-a"]
    )
    role_arn: str | None = Field(
        default=None,
        description="Role to assume, for another account.",
        examples=["arn:aws:iam::111122223333:role/results-reader"],
    )
    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the buckets. Objects in buckets of other accounts are refused.",
        examples=["111122223333"],
    )
    concurrency: Count = Field(
        default=32, ge=1, le=512, description="Number of objects to fetch concurrently.", examples=[32]
    )


class EventSettings(Section):
    """The rule that joins anomalous points into events."""

    gap_steps: float = Field(
        default=2.0,
        ge=1,
        le=1000,
        description="A time without points that is longer than this many usual steps cuts an event.",
        examples=[2.0],
    )
    min_duration_minutes: Count = Field(
        default=0,
        ge=0,
        le=1440,
        description="Shorter events are dropped. The console of the service hid events of 5 minutes or less.",
        examples=[5],
    )


class EquipmentSettings(Section):
    """The equipment registry."""

    registry: Annotated[str, resolve_location("equipment", "registry")] = Field(
        default="equipment.toml",
        validate_default=True,
        description="File or s3:// object that names the machines of the schedulers.",
        examples=["equipment.toml"],
    )
    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the bucket of a registry in S3. Other buckets are refused.",
        examples=["111122223333"],
    )


def _parse_urls(value: object) -> tuple[str, ...]:
    """Accept a list, or text with spaces between the URLs, as in the environment. Messages show no URL."""
    urls = value.split() if isinstance(value, str) else value
    if not isinstance(urls, list | tuple) or not all(isinstance(url, str) for url in urls):
        raise ValueError("must be a list of Apprise URLs")
    invalid = [describe_url(url, number) for number, url in enumerate(urls) if not is_apprise_url(url)]
    if invalid:
        raise ValueError(
            f"{', '.join(invalid)}: not an Apprise URL, or parts of it are missing; the Apprise wiki lists"
            " the URL of each service. For JSON by POST, use webhook_url"
        )
    return tuple(urls)


class AlertSettings(Section):
    """Notifications, their targets and their thresholds."""

    webhook_url: str | None = Field(
        default=None,
        description="URL to which JSON is posted. Often a secret: prefer the environment variable.",
        examples=["https://hooks.example.com/ledger"],
    )
    urls: Annotated[tuple[str, ...], BeforeValidator(_parse_urls)] = Field(
        default=(),
        description="Apprise URLs of chats, mail and other services. Often secrets: prefer the environment"
        " variable, with spaces between URLs.",
        examples=[["slack://TokenA/TokenB/TokenC/#plant"]],
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Whether notifications may be sent to private, link-local and loopback addresses.",
        examples=[True],
    )
    min_duration_minutes: Count = Field(
        default=10,
        ge=0,
        le=10_080,
        description="Shorter events are not notified.",
        examples=[10],
    )
    min_criticality: Literal["low", "medium", "high"] | None = Field(
        default=None,
        description="Events of less critical machines are not notified. Unset: events of all machines are.",
        examples=["medium"],
    )
    max_age_days: Count = Field(
        default=7,
        ge=1,
        le=36_500,
        description="Events that ended more than this many days before they became known are not notified.",
        examples=[7],
    )
    repeat_after_hours: Count = Field(
        default=24,
        ge=1,
        le=8_760,
        description="A continuing failure is notified again after this many hours.",
        examples=[24],
    )
    late_after_minutes: Count = Field(
        default=180,
        ge=1,
        le=525_600,
        description="Data is late if it is overdue by more than this many minutes.",
        examples=[180],
    )
    dagster_url: str | None = Field(
        default=None,
        description="URL of the Dagster UI, for links to the run or the asset. Unset: no such links.",
        examples=["https://dagster.example.com"],
    )
    report_url: str | None = Field(
        default=None,
        description="URL at which report.folder is served. Notifications of events link to its latest.html.",
        examples=["https://reports.example.com"],
    )
    silences: Annotated[str, resolve_location("alerts", "silences")] = Field(
        default="silences.toml",
        validate_default=True,
        description="File or s3:// object with planned maintenance and acknowledgements.",
        examples=["silences.toml"],
    )
    expected_bucket_owner: AccountId | None = Field(
        default=None,
        description="Account that must own the bucket of silences in S3. Other buckets are refused.",
        examples=["111122223333"],
    )

    @field_validator("webhook_url", "dagster_url", "report_url")
    @classmethod
    def _check_web_address(cls, url: str | None) -> str | None:
        return None if url is None else check_web_address(url)
