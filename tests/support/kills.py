"""Kills of a writer at each of its steps: changes of folders and flushes on disk, and writes in S3.

A step is an operation that another process can see, or that a power loss can undo. After the kill, the writer
can do nothing more: each further step raises too, so that its cleanup has no effect.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from resources.aws.s3_bucket import Bucket

DISK, BEFORE_S3, AFTER_S3 = "on disk", "in S3, before the request", "in S3, after the request"
_OPERATIONS = ("mkdir", "replace", "link", "unlink", "fsync", "rmdir")


class KilledError(BaseException):
    """The process ends at once; nothing after it is executed."""


@dataclass
class Steps:
    """Counts steps, and kills at one of them; None: at none."""

    kill_at: int | None
    count: int = 0

    def take(self) -> None:
        """Take a step."""
        self.count += 1
        if self.kill_at is not None and self.count > self.kill_at:
            raise KilledError


@contextmanager
def count_steps(place: str, kill_at: int | None = None) -> Iterator[Steps]:
    """Count the steps of the code inside; the step with the number `kill_at`, from 0, is not executed."""
    steps = Steps(kill_at)

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if place != AFTER_S3:
                steps.take()
                return original(*args, **options)
            result = original(*args, **options)
            steps.take()
            return result

        return call

    owner, names = (os, _OPERATIONS) if place == DISK else (Bucket, ("put", "delete"))
    with ExitStack() as patches:
        for name in names:
            patches.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))
        yield steps


def run_killed(place: str, kill_at: int, run: Callable[[], object]) -> bool:
    """Run a writer that is killed at a step; return whether it was."""
    with count_steps(place, kill_at) as steps, suppress(KilledError):
        run()
    return steps.count > kill_at
