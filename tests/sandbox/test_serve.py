"""`python -m sandbox serve` as a process."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.__main__ import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "sandbox", "serve", "--days", "1"]

SCRIPT = """
import boto3

lookout, s3 = boto3.client("lookoutequipment"), boto3.client("s3")
(one,) = lookout.list_inference_executions(
    InferenceSchedulerName="pump-1", Status="SUCCESS", MaxResults=1
)["InferenceExecutionSummaries"]
print(one["Status"], len(s3.get_object(**one["CustomerResultObject"])["Body"].read()))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `sandbox serve` with arguments; end all started processes after the test."""
    started: list[subprocess.Popen[str]] = []

    def start_process(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        return process

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


def read_exports(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Return the variables that `eval` of the output sets in a shell."""
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        if line.startswith("# regions of AWS_ACCESS_KEY_ID="):  # the last line of the exports
            break
    shell = subprocess.run(
        ["sh", "-euc", f"{lines}\nenv"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    ours = ("AWS_", "SANDBOX=")
    return dict(line.split("=", 1) for line in shell.stdout.splitlines() if line.startswith(ours))


def wait_for_end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


def test_serve_exports_variables_answers_requests_and_ends_at_sigterm(start: Start, tmp_path: Path) -> None:
    exports = tmp_path / "box.env"
    exports.write_text("stale")
    process = start("--exports", str(exports), "--clock", "stop")
    variables = read_exports(process)
    assert set(variables) == {
        "SANDBOX",
        "AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_STS",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
    }
    while exports.exists() and "export" not in exports.read_text():
        time.sleep(0.01)
    assert f"export SANDBOX={variables['SANDBOX']}\n" in exports.read_text()
    script = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"SUCCESS \d{3,}\n", script.stdout)
    assert {host for host, _ in list_listening_addresses(process.pid)} == {"127.0.0.1"}
    process.send_signal(signal.SIGTERM)
    assert wait_for_end(process) == (0, "")


def list_listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Return the host and port of each listening socket of a process."""
    inodes = {
        link.removeprefix("socket:[").removesuffix("]")
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if (link := str(entry.readlink())).startswith("socket:[")
    }
    addresses = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                host, port = fields[1].split(":")
                octets = [str(octet) for octet in bytes.fromhex(host)[::-1]]
                addresses.add((".".join(octets), int(port, 16)))
    return addresses


def test_ctrl_c_ends_the_process_without_an_error(start: Start) -> None:
    process = start("--no-s3")
    assert "AWS_ENDPOINT_URL_S3" not in read_exports(process)
    process.send_signal(signal.SIGINT)
    assert wait_for_end(process) == (0, "")


def test_serve_stops_when_stdin_closes(start: Start) -> None:
    process = start("--no-s3", "--stop-with-stdin")
    read_exports(process)
    assert wait_for_end(process) == (0, "")  # communicate() closes stdin


def test_serve_stops_while_a_request_is_running(start: Start) -> None:
    process = start("--no-s3", "--fault", "slow:seconds=60")
    url = read_exports(process)["SANDBOX"]
    headers = {
        "X-Amz-Target": "AWSLookoutEquipmentFrontendService.ListInferenceSchedulers",
        "Authorization": "Credential=1/20261008/us-east-1/lookoutequipment/aws4_request",
    }
    request = urllib.request.Request(url, b"{}", headers)  # noqa: S310 (a local server)

    def ask() -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            answer.read()

    waiting = threading.Thread(target=ask)
    waiting.start()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert wait_for_end(process) == (0, "")
    waiting.join(5)


def test_arguments_reach_the_service(start: Start) -> None:
    process = start(
        "--no-s3",
        "--clock",
        "2026-10-07T12:00:00+02:00",
        "--fault",
        "deny:count=1",
        "--fault",
        "slow:share=0",
    )
    url = read_exports(process)["SANDBOX"]

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"{url}/_sandbox/{path}", timeout=5) as answer:  # noqa: S310
            return json.load(answer)

    assert ask("clock") == {"now": "2026-10-07T10:00:00+00:00", "rate": 0}
    assert [fault["kind"] for fault in ask("faults")["faults"]] == ["deny", "slow"]


@pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not installed")
def test_the_aws_cli_lists_executions(start: Start) -> None:
    variables = read_exports(start("--no-s3", "--clock", "stop"))
    command = ["aws", "lookoutequipment", "list-inference-executions", "--inference-scheduler-name", "pump-1"]
    done = subprocess.run(
        [*command, "--max-results", "2", "--output", "json"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    page = json.loads(done.stdout)
    assert len(page["InferenceExecutionSummaries"]) == 2
    assert page["NextToken"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "'70000' is not a number from 0 to 65535"),
        (["--page-size", "501"], "'501' is not a number from 1 to 500"),
        (["--clock", "soon"], "'soon' is not a time; write it like"),
        (["--fault", "rain"], "'rain' is not a fault; the faults are throttle,"),
        (["--bounds", "fuzzy"], "invalid choice: 'fuzzy'"),
        (["--account-of", "KEY=1"], "'KEY=1' is not like KEY=111122223333"),
        (["--days", "0"], "'0' is not a number of days"),
        (["--speed", "fast"], "'fast' is not a number from 1"),
    ],
)
def test_an_invalid_argument_is_rejected_with_a_reason(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_port_in_use_is_reported(start: Start) -> None:
    port = read_exports(start("--no-s3"))["SANDBOX"].rpartition(":")[2]
    code, errors = wait_for_end(start("--no-s3", "--port", port))
    assert code == 2
    assert errors == f"sandbox: cannot listen on port {port} of 127.0.0.1: Address already in use\n"


def test_help_contains_examples() -> None:
    help_text = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    for part in ("--exports box.env", "expire-token", "/_sandbox/clock", "--account-of", "examples:"):
        assert part in help_text


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    dump = f"{sys.executable} -m sandbox dump --days 1 --to {tmp_path}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {dump} | head -c 1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert (len(done.stdout), done.stderr) == (1, "")
