"""`python -m sandbox serve`: the service as a process."""

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
from sandbox.arguments import add_fleet, chosen_fleet, instant
from sandbox.clock import Clock
from sandbox.exports import exports, write
from sandbox.faults import KINDS, Fault, fault
from sandbox.switches import LARGEST_PAGE, Switches, SwitchSettings

_PORTS = 65_535

_EPILOG = """\
examples:
  python -m sandbox serve --exports box.env
      a service on a free port, until Ctrl-C; then, in another terminal,
  . ./box.env
  aws lookoutequipment list-inference-schedulers
      the exports point boto3 and the AWS CLI at it

  python -m sandbox serve --clock stand --days 7 --bounds inclusive --order shuffled
      a week that stands still, and listings as nobody expects them

  python -m sandbox serve --fault throttle:ListInferenceExecutions:share=0.2 --fault drop:count=3
      every fifth listing of executions is throttled, and three answers break off

  curl -d '{"now": "2026-10-08T01:00:00Z"}' $SANDBOX/_sandbox/clock
  curl -d '{"faults": ["deny:scheduler=pump-1"]}' $SANDBOX/_sandbox/faults
  curl $SANDBOX/_sandbox/requests
      sets the clock, replaces the faults and tells what was asked; so do GET clock, GET faults,
      GET fleet (who there is, and what really happened to each) and POST reset

accounts and regions:
  A request goes to the region that it is signed for, and to the account that its access key opens:
  a key of twelve digits opens the account of that number; --account-of gives an account to any other
  key; keys that the STS beside the service issued for a role open the role's account; all the rest
  open the first account. Secrets and signatures are not looked at.

S3:
  Holds the buckets of the fleet, with the results of every execution that succeeded, of deleted
  schedulers too. Other buckets can be made. It is moto, and answers as STS as well. What you put into
  it is gone when it stops.

faults:
  KIND[:OPERATION][:NAME=VALUE]..., where NAME is
    scheduler, region, account    only requests for these
    share     of these requests, from 0 to 1 (default: 1)
    count     how many at most
    after     how many are left alone first
    seconds   of `slow`
    items     of `shift`
  and KIND is
"""


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Adds `serve` to the commands."""
    serve = commands.add_parser(
        "serve",
        help="run the service, and the S3 with its results, on this machine",
        epilog=_EPILOG + "\n".join(f"    {kind:<13} {told}" for kind, told in KINDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_fleet(serve)
    _add_clock(serve)
    _add_place(serve)
    _add_switches(serve)
    serve.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="FAULT",
        help="something that goes wrong (see below); may be repeated",
    )
    serve.set_defaults(run=run)


def _add_clock(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--clock",
        type=_clock,
        default="run",
        metavar="run|stand|TIME",
        help="begins at the end of the history and runs or stands; or stands at TIME (default: run)",
    )
    serve.add_argument(
        "--speed", type=_speed, default=1, metavar="N", help="a clock that runs does so N times as fast"
    )


def _add_place(serve: argparse.ArgumentParser) -> None:
    place = serve.add_argument_group("where it is")
    place.add_argument(
        "--port", type=_port, default=0, metavar="N", help="of the service (default: 0, a free one)"
    )
    place.add_argument("--s3-port", type=_port, default=0, metavar="N", help="of S3 (default: 0, a free one)")
    place.add_argument("--no-s3", action="store_true", help="without S3; starts sooner, and needs no moto")
    place.add_argument(
        "--exports", type=Path, metavar="FILE", help="write the exports there too, as soon as all is ready"
    )
    place.add_argument(
        "--account-of",
        type=_account_of,
        action="append",
        default=[],
        metavar="KEY=ACCOUNT",
        help="the account that an access key opens; may be repeated",
    )
    place.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when stdin ends, as it does when whoever started this is gone",
    )


def _add_switches(serve: argparse.ArgumentParser) -> None:
    switches = serve.add_argument_group("what nobody knows about the service")
    told = {
        "bounds": "whether DataStartTimeAfter and DataEndTimeBefore leave out what lies on them",
        "order": "of executions and events",
        "paging": "a page begins after the last item, or after so many: then it shifts with new ones",
        "when_expired": "what an expired token gets: an error, or the first page",
        "unknown_scheduler": "what a listing of an unknown scheduler is",
    }
    choices = {name: get_args(kind) for name, kind in Switches.__annotations__.items()}
    for name, about in told.items():
        switches.add_argument(
            _OPTIONS.get(name, f"--{name.replace('_', '-')}"),
            dest=name,
            choices=choices[name],
            default=getattr(Switches, name),
            help=f"{about} (default: %(default)s)",
        )
    switches.add_argument(
        "--page-size",
        type=_page_size,
        default=Switches.page_size,
        metavar="N",
        help="without MaxResults (default: %(default)s)",
    )
    switches.add_argument(
        "--token-seconds",
        type=float,
        default=Switches.token_seconds,
        metavar="N",
        help="how long a token lives, on the clock of the sandbox (default: for ever)",
    )


_OPTIONS = {"when_expired": "--expired-token"}


def run(options: argparse.Namespace) -> None:
    """Serves until it is told to stop."""
    plants = chosen_fleet(options)
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
        raise SystemExit("sandbox: S3 needs moto: pip install -e '.[dev]'; --no-s3 goes without")
    from sandbox.service import serving  # noqa: PLC0415 - --help needs no botocore

    if options.exports is not None:
        options.exports.unlink(missing_ok=True)
    with (
        _told_to_stop(watch_stdin=options.stop_with_stdin) as stop,
        serving(
            plants,
            clock,
            port=options.port,
            s3=not options.no_s3,
            s3_port=options.s3_port,
            faults=options.fault,
            accounts_of=dict(options.account_of),
            **switches,
        ) as handle,
    ):
        told = exports(plants, handle.url, None if options.no_s3 else handle.s3_url)
        print(told, end="", flush=True)  # noqa: T201 - this is the command line
        if options.exports is not None:
            write(options.exports, told)
        stop.wait()


@contextlib.contextmanager
def _told_to_stop(*, watch_stdin: bool) -> Iterator[threading.Event]:
    """An event that is set by SIGTERM, by Ctrl-C or by the end of stdin."""
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
    # Not by sys.stdin: whoever waits in it holds its lock, and Python could not end.
    while os.read(0, 4_096):
        pass
    stop.set()


def _clock(text: str) -> tuple[Any, float]:
    return (None, 1) if text == "run" else (None, 0) if text == "stand" else (instant(text), 0)


def _fault(text: str) -> Fault:
    try:
        return fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _account_of(text: str) -> tuple[str, str]:
    key, _, account = text.partition("=")
    if not key or len(account) != ACCOUNT_DIGITS or not account.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not like KEY=111122223333")
    return key, account


def _port(text: str) -> int:
    return _number(text, 0, _PORTS)


def _page_size(text: str) -> int:
    return _number(text, 1, LARGEST_PAGE)


def _speed(text: str) -> int:
    return _number(text, 1, 86_400)


def _number(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
    return int(text)
