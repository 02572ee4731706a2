"""How others find a running sandbox: exports for a shell."""

import os
from pathlib import Path

from sandbox.fleet import Fleet


def exports(fleet: Fleet, url: str, s3_url: str | None) -> str:
    """Lines for `eval`; those that begin with # are for people.

    Args:
        fleet: What is served.
        url: The service.
        s3_url: The S3 beside it, which is the STS as well, if there is one.
    """
    places: dict[str, set[str]] = {}
    for one in fleet.schedulers:
        places.setdefault(one.account, set()).add(one.region)
    first, *others = places
    region, history = fleet.schedulers[0].region, fleet.history
    told = [
        f"# {len(fleet.schedulers)} schedulers, {history.start:%Y-%m-%d} to {history.end:%Y-%m-%d}",
        f"export SANDBOX={url}",
        f"export AWS_ENDPOINT_URL_LOOKOUTEQUIPMENT={url}",
    ]
    if s3_url is not None:
        told += [f"export AWS_ENDPOINT_URL_S3={s3_url}", f"export AWS_ENDPOINT_URL_STS={s3_url}"]
    told += [
        f"export AWS_ACCESS_KEY_ID={first}",
        "export AWS_SECRET_ACCESS_KEY=sandbox",
        f"export AWS_DEFAULT_REGION={region}",
    ]
    told += [f"# this account is in {', '.join(sorted(places[first]))}"]
    told += [f"# AWS_ACCESS_KEY_ID={other} is in {', '.join(sorted(places[other]))}" for other in others]
    return "\n".join(told) + "\n"


def write(path: Path, told: str) -> None:
    """Puts the exports where someone may be waiting for them: the file is whole as soon as it is there."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(told)
    unfinished.replace(path)
