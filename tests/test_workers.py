"""Deadlines for sync callables: worker threads that hide nothing, hold nothing and stop nobody."""

from __future__ import annotations

import contextvars
import gc
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from otel_tools import errors, workers
from tests.policy.tools import at_once, held, in_child

LONG = 60.0
"""Seconds; no test waits that long."""


def never(error: BaseException | None, seconds: float) -> None:
    """Work that is not abandoned is not late."""
    raise AssertionError((error, seconds))


def call(function: Callable[[], Any], timeout: float = LONG) -> Any:
    return workers.call(function, timeout, never)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "otel-tools-worker"]


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


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Work that hangs, released at the end."""
    hanging = Hanging()
    yield hanging
    hanging.release.set()


def test_the_value_is_the_same_object() -> None:
    """What the callable returns reaches the caller itself (property 10)."""
    value = object()
    assert call(lambda: value) is value


def _tool(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)])
def test_the_exception_is_the_same_object(error: BaseException) -> None:
    """What it raises reaches the caller itself, with the tool's frames and without a context (property 10)."""
    with pytest.raises(type(error)) as raised:
        call(partial(_tool, error))
    assert raised.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert "_tool" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_its_own_timeout_error_is_not_ours() -> None:
    """A `TimeoutError`, or even an `Expired`, that the callable raises is passed on as it is (property 16)."""
    for error in (TimeoutError(), workers.Expired()):
        with pytest.raises(type(error)) as raised:
            call(partial(_tool, error))
        assert raised.value is error


def test_the_context_is_the_callers() -> None:
    """Context variables are there inside; what is set inside stays there (property 17)."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("outer")

    def tool() -> str:
        seen = variable.get()
        variable.set("inner")
        return seen

    assert (call(tool), variable.get()) == ("outer", "outer")


def test_a_deadline(hanging: Hanging) -> None:
    """When time is up the caller goes on, and is told once when the work is done after all (property 17)."""
    hanging.expire()
    assert hanging.late == []
    hanging.finish()
    assert hanging.late == [(None, True)]


def test_a_late_exception(hanging: Hanging) -> None:
    """What abandoned work raises is told and goes no further (property 17)."""
    error = ValueError("too late")

    def tool() -> None:
        hanging()
        raise error

    with pytest.raises(workers.Expired):
        workers.call(tool, 0.001, hanging.on_late)
    hanging.finish()
    assert hanging.late == [(error, True)]


def test_a_faulty_callback_hurts_nobody(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that raises is our fault, logged; the worker goes on to serve (property 19)."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)

    def on_late(error: BaseException | None, seconds: float) -> None:
        hanging.on_late(error, seconds)
        raise RuntimeError("exporter is down")

    with pytest.raises(workers.Expired):
        workers.call(hanging, 0.001, on_late)
    hanging.finish()
    assert call(lambda: 1) == 1


def test_an_interrupted_wait_abandons_the_work(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while waiting goes to the caller, and the work that goes on is told of when it ends (property 9)."""

    class Interrupted:
        def __init__(self, lock: Any) -> None:
            self.lock, self.release = lock, lock.release

        def acquire(self, *, timeout: float = -1) -> bool:
            if timeout == -1:
                return self.lock.acquire()
            assert hanging.running.wait(LONG)
            raise KeyboardInterrupt

    job = workers._Job.__init__

    def init(self: Any, *args: Any) -> None:
        job(self, *args)
        self.done = Interrupted(self.done)

    monkeypatch.setattr(workers._Job, "__init__", init)
    with pytest.raises(KeyboardInterrupt):
        workers.call(hanging, LONG, hanging.on_late)
    hanging.finish()
    assert hanging.late == [(None, True)]


def test_the_end_of_work_beats_the_end_of_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is done at the moment when time is up counts as done; nothing is told twice (property 9)."""
    monkeypatch.setattr(workers._Job, "claim", lambda job: threading.current_thread() in threads())
    done = threading.Event()

    def tool() -> str:
        assert done.wait(LONG)
        return "just in time"

    class Late:
        def acquire(self, *, timeout: float) -> bool:
            done.set()
            released.wait(LONG)
            return False

        release = staticmethod(lambda: released.set())

    released = threading.Event()
    job = workers._Job.__init__

    def init(self: Any, *args: Any) -> None:
        job(self, *args)
        self.done = Late()

    monkeypatch.setattr(workers._Job, "__init__", init)
    assert call(tool) == "just in time"


def test_nested_calls() -> None:
    """Tools that call tools, 20 deep, do not wait for one another's workers (property 17)."""

    def nested(depth: int) -> int:
        return 1 + call(partial(nested, depth - 1)) if depth else 0

    assert call(partial(nested, 20)) == 20


def test_hung_calls_starve_nobody() -> None:
    """While 100 calls of one tool hang, another tool gets its worker; none is left busy at the end (property 17)."""
    hung = [Hanging() for _ in range(100)]
    for one in hung:
        one.expire(0.0001)
    assert call(lambda: "healthy") == "healthy"
    for one in hung:
        one.finish()
    assert [one.late for one in hung] == [[(None, True)]] * 100


def test_workers_are_reused() -> None:
    """Calls one after the other run in one thread, a daemon (property 18)."""
    used = {call(threading.current_thread) for _ in range(50)}
    assert len(used) == 1
    assert used.pop().daemon


def test_many_callers_at_once() -> None:
    """Each of 16 threads gets its own values back, call after call (property 15)."""

    def use(number: int) -> list[int]:
        return [call(lambda it=step: number * 1000 + it) for step in range(100)]

    assert at_once(16, use) == [[number * 1000 + step for step in range(100)] for number in range(16)]


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


def test_without_threads_the_call_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system gives no thread, the call runs in the caller's, without a deadline (property 10)."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_pool", workers._Pool())
    monkeypatch.setattr(threading.Thread, "start", start)
    assert call(threading.current_thread) is threading.current_thread()
    with pytest.raises(RuntimeError, match="the tool's own"):
        call(partial(_tool, RuntimeError("the tool's own")))


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

            try:
                call(partial(tool, argument))
            except ValueError:
                pass
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


def test_a_long_deadline() -> None:
    """A deadline beyond what the platform's clock can wait for is no error (property 10)."""
    assert call(lambda: 1, 1e300) == 1


def test_fork() -> None:
    """A forked child has none of its parent's workers, and makes its own, whatever was locked (property 18)."""
    call(lambda: 1)
    with held(workers._pool._lock):
        assert in_child(lambda: call(lambda: 2) == 2)
    assert call(lambda: 3) == 3


def run(code: str) -> tuple[str, float]:
    """What a new interpreter prints, and the seconds it takes."""
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=50)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip(), time.monotonic() - started


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
    assert run(code)[0] == "expired"


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
    assert run(code)[0].splitlines() == ["served", "[None]"]
