"""Deadlines for sync callables: worker threads that hide nothing, hold nothing and stop nobody."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from otel_tools import errors, workers
from tests.policy.tools import at_once

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


def test_a_faulty_callback_hurts_nobody(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that raises is our fault, logged; the worker goes on to serve (property 19)."""
    parked = threading.Event()
    monkeypatch.setattr(workers, "_pool", workers._Pool())
    monkeypatch.setattr(workers._pool, "park", lambda _: parked.set())
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    monkeypatch.setattr(errors, "_reported", set())

    def on_late(error: BaseException | None, seconds: float) -> None:
        hanging.on_late(error, seconds)
        raise RuntimeError("exporter is down")

    with pytest.raises(workers.Expired):
        workers.call(hanging, 0.001, on_late)
    hanging.finish()
    assert parked.wait(LONG)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]


def test_an_interrupted_wait_abandons_the_work(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while waiting goes to the caller; the work that goes on was not given up by us, so no end is told (9)."""

    class Interrupted:
        def acquire(self, *, timeout: float) -> bool:
            assert hanging.running.wait(LONG)
            raise KeyboardInterrupt

    parked = threading.Event()
    monkeypatch.setattr(workers, "_pool", workers._Pool())
    monkeypatch.setattr(workers._pool, "park", lambda _: parked.set())
    _replace_lock(monkeypatch, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        workers.call(hanging, LONG, hanging.on_late)
    hanging.release.set()
    assert parked.wait(LONG)
    assert hanging.late == []


def _replace_lock(monkeypatch: pytest.MonkeyPatch, lock: Any) -> None:
    """Let callers wait with *lock* for the end of the work."""
    original = workers._Job.__init__

    def init(self: Any, *args: Any) -> None:
        original(self, *args)
        self.done = lock

    monkeypatch.setattr(workers._Job, "__init__", init)


def test_the_end_of_work_beats_the_end_of_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is done at the moment when time is up counts as done; nothing is told twice (property 9)."""
    go_on, released = threading.Event(), threading.Event()

    def tool() -> str:
        assert go_on.wait(LONG)
        return "just in time"

    class Late:
        def acquire(self, *, timeout: float) -> bool:
            go_on.set()
            assert released.wait(LONG)
            return False

        def release(self) -> None:
            released.set()

    _replace_lock(monkeypatch, Late())
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


def test_many_callers_at_once() -> None:
    """Each of 16 threads gets its own values back, call after call (property 15)."""

    def use(number: int) -> list[int]:
        return [call(lambda it=step: number * 1000 + it) for step in range(100)]

    assert at_once(16, use) == [[number * 1000 + step for step in range(100)] for number in range(16)]


def test_without_threads_the_call_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system gives no thread, the call runs in the caller's, without a deadline (property 10)."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_pool", workers._Pool())
    monkeypatch.setattr(threading.Thread, "start", start)
    assert call(threading.current_thread) is threading.current_thread()
    with pytest.raises(RuntimeError, match="the tool's own"):
        call(partial(_tool, RuntimeError("the tool's own")))


def test_a_long_deadline() -> None:
    """A deadline beyond what the platform's clock can wait for is no error (property 10)."""
    assert call(lambda: 1, 1e300) == 1
