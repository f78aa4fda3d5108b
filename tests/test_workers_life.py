"""The life of worker threads: reuse, retirement, memory, forks, the end of the interpreter."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from otel_tools import workers
from tests.policy.tools import held, in_child

LONG = 60.0
"""Seconds; no test waits that long."""


def never(error: BaseException | None, seconds: float) -> None:
    """Work that is not abandoned is not late."""
    raise AssertionError((error, seconds))


def call(function: Callable[[], Any], timeout: float = LONG) -> Any:
    return workers.call(function, timeout, never)


class Hanging:
    """Work that goes on until the test releases it, and what was told of its end."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.release = threading.Event()
        self.told = threading.Event()
        self.late: list[tuple[BaseException | None, bool]] = []

    def __call__(self) -> str:
        self.running.set()
        assert self.release.wait(LONG)
        return "late"

    def on_late(self, error: BaseException | None, seconds: float) -> None:
        self.late.append((error, seconds > 0))
        self.told.set()

    def expire(self, timeout: float = 0.001) -> None:
        with pytest.raises(workers.Expired):
            workers.call(self, timeout, self.on_late)
        assert self.running.wait(LONG)

    def finish(self) -> None:
        self.release.set()
        assert self.told.wait(LONG)


def test_workers_are_reused() -> None:
    """Calls one after the other run in one thread, a daemon (property 18)."""
    used = {call(threading.current_thread) for _ in range(50)}
    assert len(used) == 1
    assert used.pop().daemon


def test_idle_workers_retire(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without work ends its thread, and the next call starts another one (property 18)."""
    monkeypatch.setattr(workers, "_pool", workers._Pool())
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.001)
    first = call(threading.current_thread)
    first.join(LONG)
    assert not first.is_alive()
    monkeypatch.setattr(workers, "_IDLE_SECONDS", LONG)
    assert call(threading.current_thread) is not first


def test_a_worker_taken_at_the_last_moment_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose idle time is over just as a caller takes it does that caller's job first (property 15)."""
    pool = workers._Pool()
    monkeypatch.setattr(workers, "_pool", pool)
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.001)
    asked, answered = threading.Event(), threading.Event()

    def retire(worker: Any) -> bool:
        asked.set()
        assert answered.wait(LONG)
        return workers._Pool.retire(pool, worker)

    monkeypatch.setattr(pool, "retire", retire)
    first = call(threading.current_thread)
    assert asked.wait(LONG)
    taken = pool.take()
    assert taken is not None
    pool.take = lambda: taken  # type: ignore[method-assign]  # the caller that came just before
    answered.set()
    assert call(threading.current_thread) is first


class _Big:
    """Something that can be watched."""


def test_nothing_of_a_call_is_kept() -> None:
    """Arguments, results and exceptions are freed by reference counting alone once the caller drops them (11)."""
    gc.collect()
    gc.disable()
    try:
        for fails in (False, True):
            argument = _Big()
            watched = weakref.ref(argument)

            def tool(it: _Big, fails: bool = fails) -> _Big:
                if fails:
                    raise ValueError
                return it

            with contextlib.suppress(ValueError):
                call(partial(tool, argument))
            del argument
            call(lambda: None)  # the worker has let go of the job before
            assert watched() is None
    finally:
        gc.enable()


def test_nothing_of_an_abandoned_call_is_kept() -> None:
    """The same holds for work that was abandoned and raised in the end (property 11)."""
    gc.collect()
    gc.disable()
    try:
        hanging, argument = Hanging(), _Big()
        watched = weakref.ref(argument)
        freed = threading.Event()
        weakref.finalize(argument, freed.set)

        def tool(it: _Big) -> None:
            hanging()
            raise ValueError(it)

        with pytest.raises(workers.Expired) as raised:
            workers.call(partial(tool, argument), 0.001, lambda *_: hanging.told.set())
        del argument, raised
        hanging.finish()
        assert freed.wait(LONG)
        assert watched() is None
    finally:
        gc.enable()


def test_fork() -> None:
    """A forked child has none of its parent's workers, and makes its own, whatever was locked (property 18)."""
    call(lambda: 1)
    with held(workers._pool._lock):
        assert in_child(lambda: call(lambda: 2) == 2)
    assert call(lambda: 3) == 3


def run(code: str) -> str:
    """What a new interpreter prints; it has 50 s."""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_a_hung_worker_does_not_delay_exit() -> None:
    """The interpreter ends although a worker hangs for far longer than this test may take (property 18)."""
    code = """
import threading, time
from otel_tools import workers
assert threading.active_count() == 1, threading.enumerate()
try:
    workers.call(lambda: time.sleep(3600), 0.01, print)
except workers.Expired:
    print("expired")
"""
    assert run(code) == "expired"


def test_gevent_patched_after_import() -> None:
    """With gevent's patches applied after our import, a deadline frees the caller all the same (property 17)."""
    pytest.importorskip("gevent")
    code = """
from otel_tools import workers
from gevent import monkey
monkey.patch_all()
import time
late = []
try:
    workers.call(lambda: time.sleep(0.05), 0.001, lambda error, seconds: late.append(error))
except workers.Expired:
    print(workers.call(lambda: "served", 5, print))
time.sleep(0.2)
print(late)
"""
    assert run(code).splitlines() == ["served", "[None]"]
