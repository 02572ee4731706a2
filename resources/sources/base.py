"""Where executions come from: one protocol, one module a kind of source."""

from dataclasses import dataclass
from datetime import datetime, tzinfo


@dataclass(frozen=True)
class Page:
    """Some summaries of executions, as bytes.

    `body` is JSON: a response of ListInferenceExecutions, or a list of summaries.
    `kind` is the kind of source (`api`, `archive` or `bucket`); `origin` says where exactly: a file's uri or
    a scheduler's ARN. `read_at` is when the source gave it.
    `zone` is the zone of times written without one, or None where such times mean nothing.
    """

    body: bytes
    kind: str
    origin: str
    read_at: datetime
    zone: tzinfo | None = None
