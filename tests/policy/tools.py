"""A clock that tests move, and threads that start together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

from otel_tools.policy import Transition

AUTOMATIC: Final = frozenset({"closed", "open", "half_open"})
"""The states in which a circuit decides by itself."""


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


def assert_paths(log: list[Transition], *, observe: bool = False) -> None:
    """The transitions of one tool's circuits, in the order of their sequence, follow one another.

    Each circuit has a path of its own, which goes on under `metrics_only`; those of keys end where an operator puts
    the circuits aside. What operators do has another path, which begins and ends at the common circuit.
    """
    circuits: dict[str | None, str] = {}
    hand: str | None = None
    for number, one in enumerate(sorted(log, key=lambda one: one.sequence), start=1):
        assert one.sequence == number
        assert one.from_ != one.to or one.reason == "probe_lost"
        if {one.from_, one.to} <= AUTOMATIC:
            assert hand not in {"forced_open", "disabled"}
            assert one.from_ == circuits.get(one.key, "closed")
            assert one.shadow == (observe or hand == "metrics_only")
            circuits[one.key] = one.to
            continue
        assert one.from_ == (hand or circuits.get(None, "closed"))
        assert (one.reason in {"manual", "expired"}, one.key, one.shadow) == (True, None, False)
        hand = None if one.to in AUTOMATIC else one.to
        if hand in {"forced_open", "disabled"}:
            assert {state for key, state in circuits.items() if key is not None} <= {"closed"}
            circuits = {}
        assert hand is not None or one.to == circuits.get(None, "closed")
