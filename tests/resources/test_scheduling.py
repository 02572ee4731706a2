"""On Linux, the threads of a run do not interrupt those of another run when they wake."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from resources.scheduling import batch_scheduling

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this policy")


def read_policy_of_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(os.sched_getscheduler, 0).result()


def test_threads_of_the_block_are_batch_work_and_later_ones_are_not() -> None:
    before = read_policy_of_new_thread()
    with batch_scheduling():
        within = read_policy_of_new_thread()

    assert (before, within, read_policy_of_new_thread()) == (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_OTHER)


def test_another_policy_of_the_user_stays() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        with batch_scheduling():
            assert read_policy_of_new_thread() == os.SCHED_IDLE
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_a_system_that_forbids_the_policy_runs_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with batch_scheduling():
        assert read_policy_of_new_thread() == os.SCHED_OTHER
