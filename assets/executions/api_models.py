"""The JSON structure of an InferenceExecutionSummary.

It follows botocore's service model `lookoutequipment/2020-12-15`; a test compares both.
"""

from typing import Annotated

from msgspec import Meta, Struct

from assets.executions.timestamps import RawTimestamp

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _Structure(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of all structures. Every member is optional; a missing one is None or an empty structure."""


class S3Location(_Structure, frozen=True):  # noqa: D101
    Bucket: str | None = None
    Prefix: str | None = None


class S3Object(_Structure, frozen=True):  # noqa: D101
    Bucket: str | None = None
    Key: str | None = None


class InputNames(_Structure, frozen=True):  # noqa: D101
    TimestampFormat: str | None = None
    ComponentTimestampDelimiter: str | None = None


class InputConfiguration(_Structure, frozen=True):  # noqa: D101
    S3InputConfiguration: S3Location = S3Location()
    InputTimeZoneOffset: str | None = None
    InferenceInputNameConfiguration: InputNames = InputNames()


class OutputConfiguration(_Structure, frozen=True):  # noqa: D101
    S3OutputConfiguration: S3Location = S3Location()
    KmsKeyId: str | None = None


class Summary(_Structure, frozen=True):
    """One inference execution."""

    ModelName: str | None = None
    ModelArn: str | None = None
    InferenceSchedulerName: str | None = None
    InferenceSchedulerArn: str | None = None
    ScheduledStartTime: RawTimestamp = None
    DataStartTime: RawTimestamp = None
    DataEndTime: RawTimestamp = None
    DataInputConfiguration: InputConfiguration = InputConfiguration()
    DataOutputConfiguration: OutputConfiguration = OutputConfiguration()
    CustomerResultObject: S3Object = S3Object()
    Status: str | None = None
    FailedReason: str | None = None
    ModelVersion: Int64 | None = None
    ModelVersionArn: str | None = None
