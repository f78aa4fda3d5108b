"""Deadlines of async tools, of async generators and of awaitables; and deadlines that are only observed."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

import otel_tools
from otel_tools import CallTimeout
from tests.hanging import LIMITS, LONG, MESSAGES, SHORT, hanging, nothing_left, span_of, timed_out

__all__ = ["hanging"]  # a fixture


# --- observed only --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", ["sync", "async"])
@pytest.mark.parametrize("limit", ["timeout", "item_timeout"])
async def test_an_observed_deadline(recorder, shape, limit):
    """In observe mode a generator keeps its thread and its time, and is marked when it took too much of it."""
    recorder.instrument(tools={"work": {limit: 0.01, "circuit": {"failures": 1}}})
    pause, threads = threading.Event(), []

    def items():
        threads.append(threading.current_thread())
        pause.wait(0.02)
        yield 1

    async def async_items():
        for item in items():
            yield item

    work = otel_tools.tool("work")(items if shape == "sync" else async_items)
    for _ in range(2):
        assert (list(work()) if shape == "sync" else [item async for item in work()]) == [1]
    assert threads == [threading.current_thread()] * 2
    first, second = (span["attributes"] for span in recorder.spans)
    assert (first["otel_tools.outcome"], first["otel_tools.timeout.exceeded"]) == ("ok", True)
    assert second["otel_tools.circuit_breaker.would_refuse"] == "circuit_open"
    recorder.uninstrument()


# --- async generators -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", LIMITS)
async def test_a_hanging_async_generator(otel, kind):
    """The step that hangs is cancelled in its own task and cleaned up; the reader gets the timeout."""
    tasks = []

    @otel_tools.tool(**LIMITS[kind])
    async def work():
        yield "one"
        try:
            await asyncio.Event().wait()
        finally:
            tasks.append(asyncio.current_task())

    items = work()
    assert await anext(items) == "one"
    with pytest.raises(CallTimeout) as raised:
        await anext(items)
    assert (str(raised.value), raised.value.__cause__) == (MESSAGES[kind], None)
    assert tasks == [asyncio.current_task()]
    assert otel.spans == [timed_out(3, **{kind: SHORT})]
    assert [item async for item in items] == []
    assert asyncio.current_task().cancelling() == 0
    nothing_left(otel)


async def test_the_readers_own_time_is_free_and_its_own(otel):
    """No deadline goes off while the reader works, however long it does."""

    @otel_tools.tool(timeout=0.5, item_timeout=0.5)
    async def work():
        for item in "abc":
            yield item

    async for _ in work():
        await asyncio.sleep(0.3)
    assert otel.span()["attributes"]["otel_tools.outcome"] == "ok"
    assert "otel_tools.timeout.exceeded" not in otel.span()["attributes"]


async def test_an_optional_async_generator(otel):
    """Here, too, a note takes the place of the items that do not come."""

    @otel_tools.tool(item_timeout=SHORT, criticality="optional")
    async def work():
        yield "one"
        await asyncio.Event().wait()

    first, note = [item async for item in work()]
    assert (first, json.loads(note)["error"]["reason"]) == ("one", "timeout")


async def test_outer_cancellation_of_a_step(otel):
    """A deadline of the reader's own around ours is a cancellation, not a timeout."""

    @otel_tools.tool(item_timeout=LONG, timeout=LONG)
    async def work():
        await asyncio.Event().wait()
        yield

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT):
            await anext(work())
    assert otel.span()["attributes"]["otel_tools.outcome"] == "cancelled"


async def test_an_async_generator_that_swallows_its_cancellation(otel):
    """What it gives all the same is given to the reader, late."""

    @otel_tools.tool(item_timeout=SHORT, circuit=otel_tools.Circuit(failures=1))
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield "late"

    assert [item async for item in work()] == ["late"]
    attributes = otel.span()["attributes"]
    assert (attributes["otel_tools.outcome"], attributes["otel_tools.timeout.exceeded"]) == ("ok", True)
    assert otel_tools.circuits()["work"].circuit.state == "open"


async def test_an_async_generator_that_ends_at_its_cancellation(otel):
    """Its end is its end, late."""

    @otel_tools.tool(item_timeout=SHORT)
    async def work():
        yield 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    assert [item async for item in work()] == [1]
    assert otel.span()["attributes"]["otel_tools.timeout.exceeded"] is True


# --- async tools ----------------------------------------------------------------------------------------------------
async def test_a_tool_that_swallows_its_cancellation(otel):
    """Its result is the result; for the circuit it came too late."""

    @otel_tools.tool(timeout=SHORT, circuit=otel_tools.Circuit(failures=1))
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"

    assert await work() == "late"
    size = {"otel_tools.tool.result.size": 4, "otel_tools.timeout.duration": SHORT}
    assert otel.spans == [span_of("ok", **size, **{"otel_tools.timeout.exceeded": True})]
    assert otel_tools.circuits()["work"].circuit.state == "open"


async def test_a_tool_that_turns_its_cancellation_into_an_error(otel):
    """It is our timeout all the same, and the tool's error is its cause."""
    theirs = KeyError("interrupted")

    @otel_tools.tool(timeout=SHORT)
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise theirs from None

    with pytest.raises(CallTimeout) as raised:
        await work()
    assert raised.value.__cause__ is theirs
    assert otel.spans == [timed_out(total=SHORT)]


async def test_a_tool_that_blocks_the_event_loop(otel):
    """No timer can go off meanwhile: its result is returned, is marked, and is a failure for the circuit."""

    @otel_tools.tool(timeout=0.01, circuit=otel_tools.Circuit(failures=1))
    async def work():
        threading.Event().wait(0.03)
        return "late"

    assert await work() == "late"
    size = {"otel_tools.tool.result.size": 4, "otel_tools.timeout.duration": 0.01}
    assert otel.spans == [span_of("ok", **size, **{"otel_tools.timeout.exceeded": True})]
    with pytest.raises(otel_tools.CircuitOpen):
        await work()


# --- awaitables from sync tools -------------------------------------------------------------------------------------
@pytest.mark.parametrize("criticality", ["critical", "optional"])
def test_a_coroutine_that_a_sync_tool_returns(otel, criticality):
    """It has what is left of the tool's time once it is awaited; time before that is the caller's own."""
    cleaned = []

    async def inner():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(1)

    @otel_tools.tool("work", timeout=SHORT, criticality=criticality)
    def work():
        return inner()

    async def caller():
        pending = work()
        await asyncio.sleep(2 * SHORT)
        assert cleaned == []
        return await pending

    if criticality == "critical":
        with pytest.raises(CallTimeout):
            asyncio.run(caller())
    else:
        assert json.loads(asyncio.run(caller()))["error"]["reason"] == "timeout"
    assert cleaned == [1]
    assert otel.span()["attributes"]["otel_tools.outcome"] == "timeout"
    nothing_left(otel)


def test_a_coroutine_in_time(otel):
    """A sync tool's coroutine that is in time, after a pause of its caller's, is not late."""

    async def inner():
        return 1

    work = otel_tools.tool("work", timeout=0.2)(lambda: inner())  # noqa: PLW0108  a coroutine function is another shape

    async def caller():
        pending = work()
        await asyncio.sleep(0.3)
        return await pending

    assert asyncio.run(caller()) == 1
    assert "otel_tools.timeout.exceeded" not in otel.span()["attributes"]


def test_a_coroutine_that_comes_too_late(otel, hanging):
    """A coroutine that nobody can await any more is closed, without a warning."""
    made = []

    async def inner():
        return 1

    @otel_tools.tool(timeout=SHORT)
    def work():
        hanging()
        made.append(inner())
        return made[0]

    with pytest.raises(CallTimeout):
        work()
    hanging.release.set()
    nothing_left(otel)
    assert made.pop().cr_frame is None
