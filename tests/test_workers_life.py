"""The life of worker threads: reuse, retirement, memory, forks, the end of the interpreter."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import otel_tools
from otel_tools import workers
from tests.policy.tools import held, in_child
from tests.recorder import Recorder

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


def run(code: str, *options: str) -> str:
    """What a new interpreter prints; it has 50 s."""
    command = [sys.executable, "-W", "error", *options, "-c", code]
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


GEVENT = """
late = []
try:
    workers.call(lambda: time.sleep(0.05), 0.001, lambda error, seconds: late.append(error))
except workers.Expired:
    print(workers.call(lambda: "served", 5, print))
while not late:
    time.sleep(0.01)
print(late)

@otel_tools.tool(item_timeout=0.01)
def work():
    try:
        yield 1
        time.sleep(0.05)
        yield 2
    finally:
        print("closed")

try:
    for item in work():
        print(item)
except otel_tools.CallTimeout as error:
    print(error)
while otel_tools.circuits()["work"].in_flight:
    time.sleep(0.01)
"""
IMPORTS = {
    "patched after our import": "import otel_tools, time\nfrom otel_tools import workers\n{patch}",
    "patched before our import": "{patch}\nimport otel_tools, time\nfrom otel_tools import workers",
}


@pytest.mark.parametrize("order", IMPORTS)
def test_gevent(order: str) -> None:
    """With gevent's patches a deadline frees the caller and nothing hangs, in a call or a generator (property 17)."""
    pytest.importorskip("gevent")
    begin = IMPORTS[order].format(patch="from gevent import monkey\nmonkey.patch_all()")
    lines = run(begin + GEVENT).splitlines()
    assert lines == ["served", "[None]", "1", "work did not give its next item within 0.01 s", "closed"]


HUNG_STEP = """
import time, otel_tools

@otel_tools.tool(item_timeout=0.05)
def work():
    time.sleep(3600)
    yield

try:
    next(work())
except otel_tools.CallTimeout as error:
    print(error)
"""


def test_a_hung_step_does_not_delay_exit() -> None:
    """Nor does a generator that hangs in one of its steps (property 18)."""
    assert run(HUNG_STEP) == "work did not give its next item within 0.05 s"


HUNG_STREAM = """
import socket, threading, openai, otel_tools

server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\n\\r\\n")
    threading.Event().wait()
threading.Thread(target=serve, daemon=True).start()
otel_tools.instrument(settings={"mode": "enforce", "clients": {"openai": {"item_timeout": 0.3}}})
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.getsockname()[1]}", api_key="x", max_retries=0)
try:
    for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
        print(chunk)
except otel_tools.CallTimeout as error:
    print(error)
"""


def test_a_hung_stream_does_not_delay_exit() -> None:
    """Nor does a streamed answer that stops (property 18)."""
    pytest.importorskip("openai")
    output = run(HUNG_STREAM, "-W", "ignore::ResourceWarning")  # the server of this program is never closed
    assert output == "openai did not give its next item within 0.3 s"


def test_fork_with_a_hung_step(otel: Recorder) -> None:
    """A forked child goes on with its own steps, while its parent's hang, and its accounts begin anew (property 18)."""
    hanging = Hanging()

    @otel_tools.tool("forking", item_timeout=0.01)
    def work() -> Iterator[int]:
        hanging()
        yield 1

    @otel_tools.tool("forked", item_timeout=LONG)
    def child_work() -> Iterator[int]:
        yield 1

    with pytest.raises(otel_tools.CallTimeout):
        next(work())
    assert list(child_work()) == [1]

    def in_the_child() -> bool:
        return otel_tools.circuits()["forking"].in_flight == 0 and list(child_work()) == [1]

    with held(workers._pool._lock):
        assert in_child(in_the_child)
    assert otel_tools.circuits()["forking"].abandoned == 1
    assert otel.points("otel_tools.tool.abandoned")[0]["value"] == 1
    hanging.release.set()
