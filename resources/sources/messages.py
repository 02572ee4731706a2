"""Requests and responses of Lookout for Equipment: the members that sources need.

- For an unknown scheduler the service returns an empty list and no error. An empty response counts only if
  the service listed the scheduler before and still has it afterwards.
- The service compares the two bounds of a query with different ends of a window, and does not document
  whether they are inclusive. Queries are two hours wider on each side; the caller filters the rows.
- Pages can shift while they are read, so a row can be returned twice.
"""

from datetime import timedelta
from typing import Annotated

import msgspec

from resources.sources.base import ListedScheduler

LIST_EXECUTIONS = "ListInferenceExecutions"
LIST_SCHEDULERS = "ListInferenceSchedulers"
DESCRIBE_SCHEDULER = "DescribeInferenceScheduler"

TARGET_PREFIX = "AWSLookoutEquipmentFrontendService."
"""What precedes the operation in the header `X-Amz-Target` of a request."""

QUERY_PADDING = timedelta(hours=2)
"""Added on each side of a query. A window has at most an hour, so any meaning of the bounds is covered."""

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ExecutionsPage(msgspec.Struct, rename="pascal"):
    """A response of ListInferenceExecutions; the summaries stay JSON."""

    inference_execution_summaries: msgspec.Raw
    next_token: str | None = None


class SchedulersPage(msgspec.Struct, rename="pascal"):
    """A response of ListInferenceSchedulers; the summaries stay JSON."""

    inference_scheduler_summaries: list[msgspec.Raw]
    next_token: str | None = None


class Description(msgspec.Struct, rename="pascal"):
    """A response of DescribeInferenceScheduler."""

    inference_scheduler_arn: Annotated[str, msgspec.Meta(min_length=1)]


class _SchedulerSummary(msgspec.Struct, rename="pascal"):
    inference_scheduler_arn: Annotated[str, msgspec.Meta(min_length=1)]
    inference_scheduler_name: Annotated[str, msgspec.Meta(min_length=1)]
    status: str | None = None
    model_arn: str | None = None
    model_name: str | None = None
    data_upload_frequency: str | None = None
    data_delay_offset_in_minutes: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None


def parse_scheduler(summary: msgspec.Raw) -> ListedScheduler:
    """Parse an entry of the list of schedulers.

    Raises:
        DECODE_ERRORS: the entry is not valid.
    """
    parsed = msgspec.json.decode(summary, type=_SchedulerSummary)
    return ListedScheduler(
        arn=parsed.inference_scheduler_arn,
        name=parsed.inference_scheduler_name,
        status=parsed.status,
        model_arn=parsed.model_arn,
        model_name=parsed.model_name,
        frequency=parsed.data_upload_frequency,
        delay_minutes=parsed.data_delay_offset_in_minutes,
    )
