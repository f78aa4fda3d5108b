"""A clock that tests move, and threads that start together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any


class Clock:
    """Monotonic seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


def at_once(count: int, function: Callable[[int], Any]) -> list[Any]:
    """What *function* gives (or raises) for 0 ... *count* - 1, each in a thread of its own, released together."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = function(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@contextlib.contextmanager
def held(lock: Any) -> Iterator[None]:
    """Another thread holds *lock*."""
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            holds.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(60)
    try:
        yield
    finally:
        release.set()
        holder.join()


def in_child(function: Callable[[], bool]) -> bool:
    """Whether *function* is true in a forked child; a deadlock there counts as false."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # newer Pythons warn of forking with threads: the point here
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
