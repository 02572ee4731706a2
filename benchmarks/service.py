"""A minimal Lookout for Equipment for the benchmark: it lists schedulers and executions of a regular fleet.

`python -m benchmarks.service SCHEDULERS FIRST_DAY DAYS` prints its address and serves until stdin closes.
Each scheduler has an execution every five minutes. A summary has about 1.3 kB, as captured responses have.
Pages are rendered from a template, so the service uses little CPU.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime

PAGE = 500
STEP_SECONDS = 300
ACCOUNT, REGION = "111122223333", "eu-west-1"


def build_name(number: int) -> str:
    """Return the name of a scheduler."""
    return f"pump-{number:04d}-scheduler"


def build_arn(number: int) -> str:
    """Return the ARN of a scheduler."""
    return (
        f"arn:aws:lookoutequipment:{REGION}:{ACCOUNT}:inference-scheduler/{build_name(number)}/{number:032x}"
    )


def build_template(number: int) -> str:
    """Return a summary of one scheduler with four gaps: the three times, and the folder of the result."""
    model = f"arn:aws:lookoutequipment:{REGION}:{ACCOUNT}:model/pump-model-{number:04d}/{number:032x}"
    prefix = f"schedulers/{build_name(number)}/"
    place = {"Bucket": f"plant-sensor-data-{number % 10}-{ACCOUNT}", "Prefix": prefix}
    summary = {
        "ModelName": f"pump-model-{number:04d}",
        "ModelArn": model,
        "InferenceSchedulerName": build_name(number),
        "InferenceSchedulerArn": build_arn(number),
        "ScheduledStartTime": "@0",
        "DataStartTime": "@1",
        "DataEndTime": "@2",
        "DataInputConfiguration": {
            "S3InputConfiguration": {**place, "Prefix": f"{prefix}input/"},
            "InputTimeZoneOffset": "+00:00",
            "InferenceInputNameConfiguration": {
                "TimestampFormat": "yyyyMMddHHmmss",
                "ComponentTimestampDelimiter": "_",
            },
        },
        "DataOutputConfiguration": {
            "S3OutputConfiguration": {**place, "Prefix": f"{prefix}output/"},
            "KmsKeyId": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        },
        "CustomerResultObject": {
            "Bucket": place["Bucket"],
            "Key": f"{prefix}output/@3/results.jsonl",
        },
        "Status": "SUCCESS",
        "ModelVersion": 1,
        "ModelVersionArn": f"{model}/model-version/1",
    }
    text = json.dumps(summary).replace("%", "%%")
    for mark in ("@0", "@1", "@2"):
        text = text.replace(f'"{mark}"', "%s")
    return text.replace("@3", "%s")


class Fleet:
    """The regular executions of some schedulers over some days."""

    def __init__(self, schedulers: int, first: datetime, days: int) -> None:
        self.first = int(first.timestamp())
        self.count = days * 86_400 // STEP_SECONDS
        self.templates = {build_name(number): build_template(number) for number in range(schedulers)}
        self.listing = [
            {
                "ModelName": f"pump-model-{number:04d}",
                "InferenceSchedulerName": build_name(number),
                "InferenceSchedulerArn": build_arn(number),
                "Status": "RUNNING",
                "DataUploadFrequency": "PT5M",
                "DataDelayOffsetInMinutes": 0,
            }
            for number in range(schedulers)
        ]

    def list_schedulers(self, request: dict[str, str]) -> str:
        """Return a page of schedulers."""
        start = int(request.get("NextToken", 0))
        page = {"InferenceSchedulerSummaries": self.listing[start : start + PAGE]}
        more = {"NextToken": str(start + PAGE)} if start + PAGE < len(self.listing) else {}
        return json.dumps({**page, **more})

    def describe_scheduler(self, request: dict[str, str]) -> str:
        """Return one scheduler."""
        name = request["InferenceSchedulerName"]
        return json.dumps(next(entry for entry in self.listing if entry["InferenceSchedulerName"] == name))

    def list_executions(self, request: dict[str, str]) -> str:
        """Return a page of executions, oldest first."""
        template = self.templates[request["InferenceSchedulerName"]]
        after = float(request.get("DataStartTimeAfter", 0))
        before = float(request.get("DataEndTimeBefore", 1e12))
        first = max(0, int(-(-(after - self.first) // STEP_SECONDS)))
        stop = min(self.count, int((before - self.first) // STEP_SECONDS))
        start = int(request.get("NextToken", first))
        numbers = range(start, max(start, min(stop, start + PAGE)))
        rows = ",".join(self._render(template, self.first + number * STEP_SECONDS) for number in numbers)
        more = f',"NextToken":"{start + PAGE}"' if start + PAGE < stop else ""
        return f'{{"InferenceExecutionSummaries":[{rows}]{more}}}'

    def _render(self, template: str, at: int) -> str:
        folder = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        scheduled = at + STEP_SECONDS + 37
        return template % (f"{scheduled}.351", f"{at}.0", f"{at + STEP_SECONDS}.0", folder)


class _Connection(asyncio.Protocol):
    fleet: Fleet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            head, rest = self._unread.split(b"\r\n\r\n", 1)
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            size = int(headers.get(b"content-length", 0))
            if len(rest) < size:
                return
            self._unread = rest[size:]
            request = json.loads(rest[:size] or b"{}")
            respond = {
                b"listinferenceschedulers": self.fleet.list_schedulers,
                b"describeinferencescheduler": self.fleet.describe_scheduler,
                b"listinferenceexecutions": self.fleet.list_executions,
            }[headers[b"x-amz-target"].rpartition(b".")[2]]
            body = respond(request).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )


async def _serve() -> None:
    schedulers, first, days = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _Connection.fleet = Fleet(schedulers, datetime.fromisoformat(f"{first}T00:00:00+00:00"), days)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
