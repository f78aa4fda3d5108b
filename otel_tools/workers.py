"""Deadlines for sync callables: they run in reusable daemon threads, which are left behind when time is up.

A thread cannot be stopped, so a call that hangs keeps its worker until it returns; the caller goes on. How many may
hang is bounded per tool (by its pipeline), not here: with a common bound one hung tool would starve the others, and
nested calls would deadlock. Daemon threads, because an executor's are joined when the interpreter exits.

What is left behind goes on in the context that it was given. The span that is current there has ended, and the SDK
warns of each attribute that is set on it all the same: nobody can take a span out of another thread's context.

`threading` and `queue` are looked up at each use: gevent may replace what is in them after this module's import.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

from otel_tools.errors import internal_error

T = TypeVar("T")
OnLate: TypeAlias = Callable[[BaseException | None, float], None]

_IDLE_SECONDS: Final = 30.0


class Expired(Exception):  # noqa: N818  not an error of its own: the caller turns it into `CallTimeout`
    """The deadline is over and the callable has not returned. Raised by `call` only, never by what it runs."""


def call(function: Callable[[], T], timeout: float, on_late: OnLate) -> T:
    """Run *function* in a worker thread and wait for it, for at most *timeout* seconds.

    Args:
        function: Runs in a copy of the caller's context.
        timeout: Seconds.
        on_late: When `Expired` was raised and *function* returns after all, called by the worker with what it raised
            (or `None`) and the seconds it took.

    Returns:
        What *function* returns; what it raises is raised.

    Raises:
        Expired: It has not returned in time.
    """
    job = _Job(function, on_late)
    try:
        if not _hand_over(job):
            return function()
        try:
            in_time = job.done.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)) or not job.claim()
        except BaseException:  # Ctrl-C: the work is left behind, too, but nobody counts it as hung
            job.on_late = _unnoticed
            job.claim()
            raise
        if not in_time:
            raise Expired
        return job.result()
    finally:
        del job  # the traceback of what was raised holds this frame


def _unnoticed(_error: BaseException | None, _seconds: float) -> None:
    """The end of work that nobody waits for."""


class _Job(Generic[T]):
    """One call: what to run, in which context, and what came of it."""

    def __init__(self, function: Callable[[], T], on_late: OnLate) -> None:
        self.function = function
        self.on_late = on_late
        self.context = contextvars.copy_context()
        self.started = time.monotonic()
        self.value: T
        self.error: BaseException | None = None
        self.claimed = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()

    def claim(self) -> bool:
        """Settle who is first, the end of the work or the end of the wait; true for the first to ask."""
        return self.claimed.acquire(blocking=False)

    def run(self) -> None:
        """Do the work."""
        try:
            self.value = self.context.run(self.function)
        except BaseException as error:
            self.error = error

    def result(self) -> T:
        """Return or raise what the work did."""
        error, self.error = self.error, None  # its traceback holds frames that hold this job
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error

    def report_late(self) -> None:
        """Tell that the work is done after all."""
        error, self.error = self.error, None
        try:
            self.on_late(error, time.monotonic() - self.started)
        except Exception:
            internal_error("noting a late result")
        finally:
            del error


class _Worker:
    """A daemon thread that runs one job after the other."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[_Job[Any]] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._serve, name="otel-tools-worker", daemon=True).start()

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            late = not job.claim()
            if late:
                job.report_late()
            _pool.park(self)  # before the caller goes on, who may want a worker again at once
            if not late:
                job.done.release()
            del job  # or an idle worker would keep arguments and results alive

    def _next(self) -> _Job[Any] | None:
        try:
            return self.inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            return None if _pool.retire(self) else self.inbox.get()


class _Pool:
    """The idle workers. The one that became idle last is taken first, so that the others can retire."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; a forked child has none of its parent's threads."""
        self._idle: list[_Worker] = []
        self._lock = threading.RLock()  # re-entrant: a finaliser or signal handler may make a call

    def take(self) -> _Worker | None:
        """An idle worker, which the caller must give a job."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def park(self, worker: _Worker) -> None:
        """*worker* is idle."""
        with self._lock:
            self._idle.append(worker)

    def retire(self, worker: _Worker) -> bool:
        """Take *worker* out; false when a caller took it already and a job is on its way."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            return True


def _hand_over(job: _Job[Any]) -> bool:
    """Give *job* to a worker; false when no thread can be started (at exit, or as many run as the system allows)."""
    worker = _pool.take()
    if worker is not None:
        worker.inbox.put(job)
        return True
    worker = _Worker()
    worker.inbox.put(job)
    try:
        worker.start()
    except RuntimeError:
        return False
    return True


_pool: Final = _Pool()
if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_pool.reset)
