"""Stops a step at a signal, wherever its code is.

A signal raises an exception in the main thread. A library in C can report it as an error of its own. Code
that translates errors would then record it as the failure of one day. So the signal itself is recorded too.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import dagster as dg
import pyarrow as pa

from resources.clock import monotonic, sleep

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError, pa.ArrowCancelled)
_MESSAGES = ("query interrupted", "operation interrupted")
_STOPPED = (
    "The run was stopped. Everything recorded so far stays."
    " Re-execute this run from failure to process the rest."
)
_ENDED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
_TIMEOUT = "Canceling due to exceeding maximum runtime"
"""The beginning of the message with which run monitoring cancels a run, before it marks the run as failed."""

_MAX_WAIT_SECONDS = 30
_received: list[int] = []
_is_stopping = threading.Event()


@contextmanager
def stop_on_interrupt(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Stop the step and its run at Ctrl-C, SIGTERM, or a termination in the Dagster UI.

    The run ends as CANCELED if a person stopped it: in the UI, or with Ctrl-C. Otherwise, it ends as FAILURE,
    and the daemon may retry it.

    Raises:
        dagster.DagsterExecutionInterruptedError: the step was interrupted.
    """
    with _record_signals():
        try:
            yield
            raise_if_interrupted()
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
            _stop(context, error)
        except Exception as error:
            if not is_interrupt(error):
                raise
            _stop(context, error)


def raise_if_interrupted(context: dg.AssetExecutionContext | None = None) -> None:
    """Raise an exception if this step received a signal, or if its run was ended from outside.

    Dagster cannot send a signal to the process of `dg launch`: a termination only changes the status.
    """
    if _received:
        raise dg.DagsterExecutionInterruptedError(_STOPPED)
    run = context.instance.get_run_by_id(context.run.run_id) if context else None
    if run is not None and run.status in _ENDED:
        raise dg.DagsterExecutionInterruptedError(_STOPPED)


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is the consequence of a signal."""
    if _received:
        return True
    interrupts = _get_interrupt_types()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, interrupts) or any(text in str(cause).lower() for text in _MESSAGES):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _get_interrupt_types() -> tuple[type[BaseException], ...]:
    duckdb = sys.modules.get("duckdb")  # slow to import; without the module, no error is its own
    return (*_INTERRUPTS, duckdb.InterruptException) if duckdb else _INTERRUPTS


def _stop(context: dg.AssetExecutionContext, error: BaseException) -> NoReturn:
    _is_stopping.set()  # a further signal does not interrupt what follows
    _wait_for_run_monitoring(context)
    if signal.SIGINT in _received or isinstance(error, KeyboardInterrupt):
        run = context.instance.get_run_by_id(context.run.run_id)
        # Dagster has already changed the status of a run that it terminates
        if run is not None and run.status is dg.DagsterRunStatus.STARTED:
            context.instance.report_run_canceling(run, "Stopped with Ctrl-C.")
    raise dg.DagsterExecutionInterruptedError(_STOPPED) from error


def _wait_for_run_monitoring(context: dg.AssetExecutionContext) -> None:
    """Wait until run monitoring has marked a run that exceeded its maximum runtime as failed.

    It cancels the run first. If the step ended in between, Dagster would record that a person canceled it.
    """
    instance, run_id = context.instance, context.run.run_id
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.PIPELINE_CANCELING)
    messages = [entry.dagster_event.message or "" for entry in entries if entry.dagster_event]
    if not any(message.startswith(_TIMEOUT) for message in messages):
        return
    deadline = monotonic() + _MAX_WAIT_SECONDS
    while (run := instance.get_run_by_id(run_id)) and monotonic() < deadline:
        if run.status is not dg.DagsterRunStatus.CANCELING:
            return
        sleep(0.1)


@contextmanager
def _record_signals() -> Iterator[None]:
    _received.clear()
    _is_stopping.clear()
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        _received.append(number)
        if not _is_stopping.is_set():
            raise dg.DagsterExecutionInterruptedError(_STOPPED)

    previous = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received.clear()
