"""Shell exports that point the AWS CLI and SDKs to a running sandbox."""

import os
from pathlib import Path

from sandbox.fleet import Fleet


def build_exports(fleet: Fleet, url: str, s3_url: str | None) -> str:
    """Return shell lines with exports and comments.

    Args:
        fleet: The served fleet.
        url: The endpoint of the service.
        s3_url: The endpoint of S3 and STS, if they run.
    """
    regions: dict[str, set[str]] = {}
    for scheduler in fleet.schedulers:
        regions.setdefault(scheduler.account, set()).add(scheduler.region)
    first, *others = regions
    region, history = fleet.schedulers[0].region, fleet.history
    lines = [
        f"# {len(fleet.schedulers)} schedulers, {history.start:%Y-%m-%d} to {history.end:%Y-%m-%d}",
        f"export SANDBOX={url}",
        f"export AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT={url}",
    ]
    if s3_url is not None:
        lines += [f"export AWS_ENDPOINT_URL_S3={s3_url}", f"export AWS_ENDPOINT_URL_STS={s3_url}"]
    lines += [
        f"export AWS_ACCESS_KEY_ID={first}",
        "export AWS_SECRET_ACCESS_KEY=sandbox",
        f"export AWS_DEFAULT_REGION={region}",
    ]
    lines += [f"# regions of this account: {', '.join(sorted(regions[first]))}"]
    lines += [
        f"# regions of AWS_ACCESS_KEY_ID={other}: {', '.join(sorted(regions[other]))}" for other in others
    ]
    return "\n".join(lines) + "\n"


def write_exports(path: Path, text: str) -> None:
    """Write the exports atomically, because other processes may wait for the file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(path)
