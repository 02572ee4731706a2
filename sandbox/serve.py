"""The command `python -m sandbox serve`."""

import argparse
import contextlib
import importlib.util
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from sandbox.accounts import ACCOUNT_DIGITS
from sandbox.arguments import add_fleet_options, build_chosen_fleet, parse_time
from sandbox.clock import Clock
from sandbox.exports import build_exports, write_exports
from sandbox.faults import KINDS, Fault, parse_fault
from sandbox.switches import LARGEST_PAGE, Switches, SwitchSettings

_PORTS = 65_535

_EPILOG = """\
examples:
  python -m sandbox serve --exports box.env
      run the service on a free port until Ctrl-C; then, in another terminal,
  . ./box.env
  aws lookoutequipment list-inference-schedulers
      the exports point boto3 and the AWS CLI to it

  python -m sandbox serve --clock stop --days 7 --bounds inclusive --order shuffled
      a week with a stopped clock, inclusive bounds and random order

  python -m sandbox serve --fault throttle:ListInferenceExecutions:share=0.2 --fault drop:count=3
      throttle a fifth of the execution listings, and break off three responses

  curl -d '{"now": "2026-10-08T01:00:00Z"}' $SANDBOX/_sandbox/clock
  curl -d '{"faults": ["deny:scheduler=pump-1"]}' $SANDBOX/_sandbox/faults
  curl $SANDBOX/_sandbox/requests
      set the clock, replace the faults, and list the requests; other endpoints are GET clock,
      GET faults, GET fleet (schedulers and their ground truth) and POST reset

accounts and regions:
  The signature of a request selects the region, and its access key selects the account: a key of
  twelve digits is the account; --account-of sets the account of any other key; keys that the
  sandbox's STS issued for a role have the account of the role; all other keys have the first
  account. Secrets and signatures are not verified.

S3:
  S3 has the buckets of the fleet, with the results of all successful executions, also of deleted
  schedulers. You can create other buckets. It is moto and also serves STS. Its content is deleted
  when it stops.

faults:
  KIND[:OPERATION][:NAME=VALUE]..., where NAME is
    scheduler, region, account    only requests for these
    share     the share of these requests, from 0 to 1 (default: 1)
    count     the maximum number of affected requests
    after     the number of requests to skip first
    seconds   the delay of `slow`
    items     the repeated items of `shift`
  and KIND is
"""


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Add `serve` to the commands."""
    serve = commands.add_parser(
        "serve",
        help="run the service, and the S3 with its results, on this machine",
        epilog=_EPILOG + "\n".join(f"    {kind:<13} {description}" for kind, description in KINDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_fleet_options(serve)
    _add_clock(serve)
    _add_endpoints(serve)
    _add_switches(serve)
    serve.add_argument(
        "--fault",
        type=_parse_fault,
        action="append",
        default=[],
        metavar="FAULT",
        help="a fault (see below); may be repeated",
    )
    serve.set_defaults(run=run_serve)


def _add_clock(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--clock",
        type=_parse_clock,
        default="run",
        metavar="run|stop|TIME",
        help="run or stop at the end of the history, or stop at TIME (default: run)",
    )
    serve.add_argument(
        "--speed", type=_parse_speed, default=1, metavar="N", help="the speed of a running clock (default: 1)"
    )


def _add_endpoints(serve: argparse.ArgumentParser) -> None:
    place = serve.add_argument_group("endpoints")
    place.add_argument(
        "--port",
        type=_parse_port,
        default=0,
        metavar="N",
        help="port of the service (default: a free one)",
    )
    place.add_argument(
        "--s3-port", type=_parse_port, default=0, metavar="N", help="the port of S3 (default: a free one)"
    )
    place.add_argument("--no-s3", action="store_true", help="run without S3 and moto, which starts faster")
    place.add_argument(
        "--exports",
        type=Path,
        metavar="FILE",
        help="write the exports to FILE when the service is ready",
    )
    place.add_argument(
        "--account-of",
        type=_parse_account,
        action="append",
        default=[],
        metavar="KEY=ACCOUNT",
        help="the account of an access key; may be repeated",
    )
    place.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when stdin ends, for example when the parent process ends",
    )


def _add_switches(serve: argparse.ArgumentParser) -> None:
    switches = serve.add_argument_group("undocumented behavior of the service")
    descriptions = {
        "bounds": "whether DataStartTimeAfter and DataEndTimeBefore exclude times equal to them",
        "order": "the order of executions and events",
        "paging": "continue after the last item, or at an offset that shifts with new items",
        "when_expired": "the response to an expired token: an error, or the first page",
        "unknown_scheduler": "the response for an unknown scheduler",
    }
    choices = {name: get_args(kind) for name, kind in Switches.__annotations__.items()}
    for name, description in descriptions.items():
        switches.add_argument(
            _OPTIONS.get(name, f"--{name.replace('_', '-')}"),
            dest=name,
            choices=choices[name],
            default=getattr(Switches, name),
            help=f"{description} (default: %(default)s)",
        )
    switches.add_argument(
        "--page-size",
        type=_parse_page_size,
        default=Switches.page_size,
        metavar="N",
        help="the page size without MaxResults (default: %(default)s)",
    )
    switches.add_argument(
        "--token-seconds",
        type=float,
        default=Switches.token_seconds,
        metavar="N",
        help="the lifetime of a token in sandbox seconds (default: no limit)",
    )


_OPTIONS = {"when_expired": "--expired-token"}


def run_serve(options: argparse.Namespace) -> None:
    """Serve until a signal or the end of stdin."""
    plants = build_chosen_fleet(options)
    now, rate = options.clock
    clock = Clock(now or options.until, rate * options.speed)
    switches: SwitchSettings = {
        "bounds": options.bounds,
        "order": options.order,
        "page_size": options.page_size,
        "paging": options.paging,
        "token_seconds": options.token_seconds,
        "when_expired": options.when_expired,
        "unknown_scheduler": options.unknown_scheduler,
    }
    if not options.no_s3 and importlib.util.find_spec("moto") is None:
        raise SystemExit("sandbox: S3 needs moto: run make sandbox, which installs it, or use --no-s3")
    from sandbox.service import run_sandbox  # noqa: PLC0415 - --help needs no botocore

    if options.exports is not None:
        options.exports.unlink(missing_ok=True)
    with (
        _handle_stop_signals(watch_stdin=options.stop_with_stdin) as stop,
        run_sandbox(
            plants,
            clock,
            port=options.port,
            s3=not options.no_s3,
            s3_port=options.s3_port,
            faults=options.fault,
            accounts_by_key=dict(options.account_of),
            **switches,
        ) as handle,
    ):
        lines = build_exports(plants, handle.url, None if options.no_s3 else handle.s3_url)
        print(lines, end="", flush=True)  # noqa: T201 - this is the command line
        if options.exports is not None:
            write_exports(options.exports, lines)
        stop.wait()


@contextlib.contextmanager
def _handle_stop_signals(*, watch_stdin: bool) -> Iterator[threading.Event]:
    """Yield an event that SIGTERM, Ctrl-C or the end of stdin sets."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    if watch_stdin:
        threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_end(stop: threading.Event) -> None:
    # not with sys.stdin: a thread that reads it holds a lock, which blocks the exit of Python
    while os.read(0, 4_096):
        pass
    stop.set()


def _parse_clock(text: str) -> tuple[Any, float]:
    return (None, 1) if text == "run" else (None, 0) if text == "stop" else (parse_time(text), 0)


def _parse_fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parse_account(text: str) -> tuple[str, str]:
    key, _, account = text.partition("=")
    if not key or len(account) != ACCOUNT_DIGITS or not account.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not like KEY=111122223333")
    return key, account


def _parse_port(text: str) -> int:
    return _parse_number(text, 0, _PORTS)


def _parse_page_size(text: str) -> int:
    return _parse_number(text, 1, LARGEST_PAGE)


def _parse_speed(text: str) -> int:
    return _parse_number(text, 1, 86_400)


def _parse_number(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
    return int(text)
