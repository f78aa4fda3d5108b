"""Deadlines of sync generator tools: whole spans, and nothing left behind at the end."""

from __future__ import annotations

import contextvars
import gc
import json
import threading
from typing import Any

import pytest
from opentelemetry import trace

import otel_tools
from otel_tools import BulkheadFull, CallTimeout
from tests.hanging import LIMITS, LONG, MESSAGES, SHORT, TOOL, Hanging, hanging, nothing_left, span_of, timed_out, until

__all__ = ["hanging"]  # a fixture
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("kind", LIMITS)
def test_a_hanging_generator(otel, hanging, kind):
    """The reader goes on at the deadline; the step that hangs is counted until it returns, then the tool is closed."""

    @otel_tools.tool(**LIMITS[kind])
    def work():
        try:
            yield "one"
            hanging()
            yield "too late"
        finally:
            hanging.closed.set()

    items = work()
    assert next(items) == "one"
    with pytest.raises(CallTimeout) as raised:
        next(items)
    assert (str(raised.value), raised.value.__cause__, raised.value.__context__) == (MESSAGES[kind], None, None)
    assert otel.spans == [timed_out(3, **{kind: SHORT})]
    assert otel.points("otel_tools.tool.abandoned") == [{"attributes": TOOL, "value": 1}]
    assert (otel_tools.circuits()["work"].in_flight, otel_tools.circuits()["work"].abandoned) == (1, 1)
    assert not hanging.closed.is_set()
    assert list(items) == []
    hanging.release.set()
    assert hanging.closed.wait(LONG)
    nothing_left(otel)
    until(lambda: len(otel.logs) == 2)
    assert [record["event"] for record in otel.logs] == ["otel_tools.tool_call", "otel_tools.late_result"]
    assert len(otel.spans) == 1
    assert otel.points("otel_tools.tool.calls", otel_tools__outcome="timeout")[0]["value"] == 1


def test_a_generator_that_hangs_before_its_first_item(otel, hanging):
    """The wait for the first item counts as any other; an error of the late step is told of and goes no further."""

    @otel_tools.tool(item_timeout=SHORT)
    def work():
        hanging()
        raise KeyError
        yield

    with pytest.raises(CallTimeout):
        next(work())
    assert otel.spans == [timed_out(item=SHORT)]
    hanging.release.set()
    nothing_left(otel)
    until(lambda: len(otel.logs) == 2)
    assert otel.logs[1]["attributes"]["error.type"] == "KeyError"


def test_the_total_is_for_all_items(otel):
    """Items that each come in time are too late in the end, when their waits add up."""
    pause = threading.Event()

    @otel_tools.tool(timeout=0.2, item_timeout=LONG)
    def work():
        while True:
            pause.wait(0.02)
            yield "x"

    items = []
    with pytest.raises(CallTimeout, match=r"did not finish within 0\.2 s"):
        items.extend(work())
    nothing_left(otel)
    assert otel.span()["attributes"]["otel_tools.outcome"] == "timeout"


def test_the_readers_time_is_free(otel):
    """A slow reader is no fault of the tool's: only waits count, for either deadline."""

    @otel_tools.tool(timeout=0.5, item_timeout=0.5)
    def work():
        yield from ("a", "b", "c")

    pause = threading.Event()
    for _ in work():
        pause.wait(0.3)
    limits = {"otel_tools.timeout.duration": 0.5, "otel_tools.timeout.item_duration": 0.5}
    assert otel.spans == [span_of("ok", **{"otel_tools.tool.result.size": 3}, **limits)]


def test_steps_share_a_context(otel):
    """A generator finds what it has set, and its own span, in its next step; the reader does not see them."""
    seen = []
    tracer = otel.tracer_provider.get_tracer("program")

    @otel_tools.tool(timeout=LONG)
    def work():
        seen.append(trace.get_current_span().name)
        variable.set("inner")
        with tracer.start_as_current_span("inside"):
            yield 1
            seen.append((variable.get(), trace.get_current_span().name))
        yield 2

    outer = trace.get_current_span()
    variable.set("outer")
    for _ in work():
        assert (variable.get(), trace.get_current_span()) == ("outer", outer)
    assert seen == ["execute_tool work", ("inner", "inside")]
    assert [(span["name"], span["parent"]) for span in otel.spans] == [
        ("inside", "execute_tool work"),
        ("execute_tool work", None),
    ]


def test_a_generator_in_workers_is_a_generator(otel):
    """What is sent, thrown and returned passes through the workers; so do closing and errors."""

    @otel_tools.tool(timeout=LONG)
    def work():
        try:
            got = yield 1
        except KeyError as error:
            got = error
        yield got
        return "end"

    def whole(items):
        return (yield from items)

    first, second, error = work(), work(), KeyError("mine")
    assert (next(first), first.send("sent")) == (1, "sent")
    assert (next(second), second.throw(error)) == (1, error)
    first.close()
    with pytest.raises(StopIteration) as stop:
        next(second)
    assert stop.value.value == "end"
    assert [span["attributes"]["otel_tools.outcome"] for span in otel.spans] == ["cancelled", "ok"]
    nothing_left(otel)


def test_a_generator_left_early(otel):
    """Leaving early closes the tool at once, in the context of its steps, in the reader's thread."""
    closed = []

    @otel_tools.tool(timeout=LONG)
    def work():
        variable.set("inner")
        try:
            yield 1
        finally:
            closed.append((variable.get(), threading.current_thread()))

    items = work()
    assert next(items) == 1
    items.close()
    assert closed == [("inner", threading.current_thread())]
    assert otel.span()["attributes"]["otel_tools.outcome"] == "cancelled"


def test_an_optional_generator(otel, hanging):
    """A note for the model takes the place of the items that do not come; it does not name a limit of the whole."""

    @otel_tools.tool(item_timeout=SHORT, timeout=LONG, criticality="optional")
    def work():
        yield "one"
        hanging()
        yield "too late"

    first, note = work()
    assert first == "one"
    error = json.loads(note)["error"]
    assert (error["reason"], error["outcome"]) == ("timeout", "unknown")
    assert error["message"].startswith("work did not finish.")
    hanging.release.set()
    nothing_left(otel)
    assert otel.span()["attributes"]["otel_tools.degraded"] is True


def test_hung_generators_are_bounded(otel):
    """As many hung steps hold a thread as the policy allows; a further call is refused until one is back."""
    hung = [Hanging() for _ in range(2)]
    calls = iter(hung)

    @otel_tools.tool(item_timeout=SHORT, max_in_flight=2, circuit=None)
    def work():
        next(calls)()
        yield

    for _ in hung:
        with pytest.raises(CallTimeout):
            next(work())
    with pytest.raises(BulkheadFull):
        next(work())
    for one in hung:
        one.release.set()
    nothing_left(otel)


def test_hung_generators_are_bounded_by_default(otel):
    """A generator with a deadline has the same bound as a sync tool: 16 threads."""
    release = threading.Event()

    @otel_tools.tool(item_timeout=0.001, circuit=None)
    def work():
        release.wait(LONG)
        yield

    for _ in range(16):
        with pytest.raises(CallTimeout):
            next(work())
    with pytest.raises(BulkheadFull):
        next(work())
    release.set()
    nothing_left(otel)


def test_a_timeout_of_a_generator_counts_for_the_circuit(otel, hanging):
    """A generator that was given up is a failure of its dependency."""

    @otel_tools.tool(item_timeout=SHORT, circuit=otel_tools.Circuit(failures=1))
    def work():
        hanging()
        yield

    with pytest.raises(CallTimeout):
        next(work())
    with pytest.raises(otel_tools.CircuitOpen):
        next(work())


def test_an_abandoned_generator_is_freed(otel, hanging):
    """Nothing keeps a generator that was given up, once its step has returned."""
    freed = threading.Event()

    class Big:
        def __del__(self):
            freed.set()

    @otel_tools.tool(item_timeout=SHORT)
    def work(it):
        hanging()
        yield it

    with pytest.raises(CallTimeout) as raised:
        next(work(Big()))
    del raised
    gc.collect()
    assert not freed.is_set()
    hanging.release.set()
    assert freed.wait(LONG)


def test_an_interrupted_reader(otel, hanging, monkeypatch):
    """Ctrl-C while waiting for an item reaches the reader; the call was cancelled and no worker is counted as hung."""
    from otel_tools import workers

    class Interrupted:
        def acquire(self, *, timeout: float) -> bool:
            assert hanging.reached.wait(LONG)
            raise KeyboardInterrupt

    original = workers._Job.__init__

    def init(self: Any, *args: Any) -> None:
        original(self, *args)
        self.done = Interrupted()

    monkeypatch.setattr(workers, "_pool", workers._Pool())

    @otel_tools.tool(item_timeout=LONG)
    def work():
        try:
            hanging()
            yield
        finally:
            hanging.closed.set()

    with monkeypatch.context() as patched:
        patched.setattr(workers._Job, "__init__", init)
        with pytest.raises(KeyboardInterrupt):
            next(work())
    assert otel.span()["attributes"]["otel_tools.outcome"] == "cancelled"
    nothing_left(otel)
    monkeypatch.setattr(workers._pool, "park", lambda _: None)
    hanging.release.set()
    assert hanging.closed.wait(LONG)
