"""Plain callables of every shape: whole spans, metrics and log records, and every way a call can end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import json
import pickle
import types

import pytest

import otel_tools
from otel_tools import CallTimeout, Circuit, CircuitOpen, ConfigError, ToolDisabled, errors

SHAPES = ("sync", "async", "generator", "async_generator")


class Broken(Exception):
    """What the test's dependency raises."""


def make(shape, body):
    """A function `work` of this shape that does *body* and gives its value (a generator yields it twice)."""
    if shape == "sync":

        def work(query="q"):
            return body()
    elif shape == "async":

        async def work(query="q"):
            return body()
    elif shape == "generator":

        def work(query="q"):
            yield body()
            yield body()
    else:

        async def work(query="q"):
            yield body()
            yield body()

    return work


async def use(function, *, leave_early=False):
    """Call *function* as its shape wants it; the value, or the items read."""
    value = function("query text")
    if inspect.isawaitable(value):
        return await value
    if hasattr(value, "__anext__"):
        items = []
        async for item in value:
            items.append(item)
            if leave_early:
                break
        await value.aclose()
        return items
    if inspect.isgenerator(value):
        items = []
        for item in value:
            items.append(item)
            if leave_early:
                break
        value.close()
        return items
    return value


def span_of(outcome, *, status="UNSET", circuit="closed", **attributes):
    return {
        "name": "execute_tool work",
        "kind": "INTERNAL",
        "status": status,
        "parent": None,
        "events": [],
        "attributes": {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "work",
            "gen_ai.tool.type": "function",
            "otel_tools.tool.argument_keys": ("query",),
            "otel_tools.circuit_breaker.state": circuit,
            "otel_tools.outcome": outcome,
            **attributes,
        },
    }


@pytest.mark.parametrize("shape", SHAPES)
async def test_ok(otel, shape):
    """A good call is one span without status, with the size of its result."""
    value = await use(otel_tools.tool(make(shape, lambda: "räsult")))
    streamed = "generator" in shape
    assert value == (["räsult", "räsult"] if streamed else "räsult")
    assert otel.spans == [span_of("ok", **{"otel_tools.tool.result.size": 14 if streamed else 7})]
    tool = {"gen_ai.tool.name": "work"}
    [duration] = otel.points("gen_ai.execute_tool.duration")
    assert duration["attributes"] == {**tool, "gen_ai.tool.type": "function"}
    assert duration["count"] == 1
    assert otel.points("otel_tools.tool.calls") == [
        {"attributes": {**tool, "otel_tools.outcome": "ok", "otel_tools.degraded": False}, "value": 1}
    ]
    assert otel.points("otel_tools.tool.in_flight") == [{"attributes": tool, "value": 0}]
    [record] = otel.logs
    assert record["event"] == "otel_tools.tool_call"
    assert record["severity"] == "INFO"
    assert record["attributes"].pop("otel_tools.duration_ms") >= 0
    assert record["attributes"] == {
        **tool,
        "otel_tools.success": True,
        "otel_tools.outcome": "ok",
        "otel_tools.degraded": False,
        "otel_tools.tool.argument_keys": ("query",),
        "otel_tools.tool.result.size": 14 if streamed else 7,
    }


@pytest.mark.parametrize("shape", SHAPES)
async def test_error(otel, shape):
    """An exception reaches the caller as the same object, without anything of ours in its context."""
    error = Broken("secret")

    def fail():
        raise error

    with pytest.raises(Broken) as caught:
        await use(otel_tools.tool(make(shape, fail)))
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert otel.spans == [span_of("error", status="ERROR", **{"error.type": f"{__name__}.Broken"})]
    assert otel.points("otel_tools.tool.calls", otel_tools__outcome="error")[0]["value"] == 1


@pytest.mark.parametrize("shape", SHAPES[:2])
async def test_error_as_data(otel, shape):
    """A value that the user's predicate calls a failure is returned as it is, and is an error everywhere else."""
    value = {"error": "no such city"}
    tool = otel_tools.tool(is_failure=lambda result: "error" in result)(make(shape, lambda: value))
    assert await use(tool) is value
    assert otel.spans == [
        span_of("tool_error", status="ERROR", **{"error.type": "tool_error", "otel_tools.tool.result.size": 24})
    ]


@pytest.mark.parametrize("shape", ["async", "async_generator"])
async def test_cancelled(otel, shape):
    """A cancelled call ends its span without an error and leaves the circuit alone."""
    started = asyncio.Event()

    if shape == "async":

        @otel_tools.tool("work")
        async def work(query):
            started.set()
            await asyncio.Event().wait()
    else:

        @otel_tools.tool("work")
        async def work(query):
            started.set()
            await asyncio.Event().wait()
            yield

    task = asyncio.create_task(use(work))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert otel.spans == [span_of("cancelled")]


@pytest.mark.parametrize("shape", SHAPES[2:])
async def test_left_early(otel, shape):
    """A generator that is left early is one finished span, cancelled, with what was read."""
    assert await use(otel_tools.tool(make(shape, lambda: "x")), leave_early=True) == ["x"]
    assert otel.spans == [span_of("cancelled", **{"otel_tools.tool.result.size": 1})]


@pytest.mark.parametrize("shape", SHAPES[2:])
def test_never_read(otel, shape):
    """A generator that is never read was never called."""
    function = otel_tools.tool(make(shape, lambda: "x"))
    function()
    assert otel.spans == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_optional(otel, shape):
    """The failure of an optional tool becomes a note for the model, without any text of the dependency."""

    def fail():
        raise Broken("secret")

    value = await use(otel_tools.tool(criticality="optional")(make(shape, fail)))
    text = value[0] if isinstance(value, list) else value
    assert '"tool":"work"' in text
    assert "secret" not in text
    assert otel.spans == [
        span_of(
            "error",
            status="ERROR",
            **{
                "error.type": f"{__name__}.Broken",
                "otel_tools.degraded": True,
                "otel_tools.tool.criticality": "optional",
            },
        )
    ]
    assert otel.points("otel_tools.tool.calls", otel_tools__outcome="error", otel_tools__degraded=True)


@pytest.mark.parametrize("shape", SHAPES[:2])
async def test_fallback(otel, shape):
    """An optional tool's fallback gets the tool's own arguments; it may be async where the tool is."""

    def fail():
        raise Broken

    def sync_fallback(query):
        return f"cached {query}"

    async def async_fallback(query):
        return f"cached {query}"

    fallback = async_fallback if shape == "async" else sync_fallback
    tool = otel_tools.tool(criticality="optional", fallback=fallback)(make(shape, fail))
    assert await use(tool) == "cached query text"
    assert otel.span()["attributes"]["otel_tools.degraded"] is True


@pytest.mark.parametrize("shape", SHAPES[:2])
async def test_fallback_for_an_error_as_data(otel, shape):
    """A fallback stands in for an error returned as data, too; without one the model sees the tool's own data."""
    data = {"error": "overloaded"}
    for fallback, expected in ((lambda query: "cached", "cached"), (None, data)):
        tool = otel_tools.tool(
            criticality="optional", fallback=fallback, is_failure=lambda value: "error" in value, circuit=None
        )(make(shape, lambda: data))
        assert await use(tool) == expected
    assert [span["attributes"].get("otel_tools.degraded") for span in otel.spans] == [True, None]
    assert {span["attributes"]["otel_tools.outcome"] for span in otel.spans} == {"tool_error"}


@pytest.mark.parametrize("shape", SHAPES)
async def test_circuit(otel, shape):
    """Three failures in a row open the circuit; a refused call is a short span that runs nothing."""
    calls = []

    def fail():
        calls.append(1)
        raise Broken

    function = otel_tools.tool(circuit=Circuit(failures=3, reset_after=60))(make(shape, fail))
    for _ in range(3):
        with pytest.raises(Broken):
            await use(function)
    with pytest.raises(CircuitOpen) as refused:
        await use(function)
    assert len(calls) == 3
    assert 59 < refused.value.retry_after <= 66
    span = otel.spans[-1]
    assert span["attributes"].pop("otel_tools.retry_after") == pytest.approx(refused.value.retry_after)
    assert span == span_of(
        "circuit_open",
        status="ERROR",
        circuit="open",
        **{"error.type": "circuit_open"},
    )
    assert sum(point["count"] for point in otel.points("gen_ai.execute_tool.duration")) == 3  # none for the refusal
    states = otel.points("otel_tools.circuit_breaker.state")
    assert {point["attributes"]["otel_tools.circuit_breaker.state"]: point["value"] for point in states} == {
        "closed": 0,
        "open": 1,
        "half_open": 0,
        "forced_open": 0,
        "disabled": 0,
        "metrics_only": 0,
    }
    [transition] = [record for record in otel.logs if record["event"] == "otel_tools.circuit_breaker.transition"]
    assert transition["attributes"]["otel_tools.circuit_breaker.to"] == "open"


@pytest.mark.parametrize("shape", SHAPES)
async def test_observe_mode_refuses_nothing(otel, shape):
    """Without a policy in code or configuration the breaker runs in shadow and says what it would have done."""

    def fail():
        raise Broken

    function = otel_tools.tool(make(shape, fail))
    for _ in range(4):
        with pytest.raises(Broken):
            await use(function)
    assert otel.spans[-1] == span_of(
        "error",
        status="ERROR",
        circuit="open",
        **{"error.type": f"{__name__}.Broken", "otel_tools.circuit_breaker.would_refuse": "circuit_open"},
    )


@pytest.mark.parametrize("shape", SHAPES)
async def test_disabled(otel, shape):
    """The kill switch works in observe mode, too, and says who threw it and why."""
    function = otel_tools.tool(make(shape, lambda: "x"))
    otel_tools.disable_tool("work", "leaks data", actor="ops")
    with pytest.raises(ToolDisabled) as refused:
        await use(function)
    assert refused.value.detail == "leaks data"  # for people; what a framework may show the model does not say it
    assert (str(refused.value), repr(refused.value)) == ("work is disabled", "ToolDisabled('work is disabled')")
    assert otel.spans == [
        span_of("disabled", status="ERROR", **{"error.type": "disabled", "otel_tools.refusal.detail": "leaks data"})
    ]
    assert otel_tools.circuits()["work"].disabled.actor == "ops"
    otel_tools.enable_tool("work")
    assert await use(function) in ("x", ["x", "x"])


async def test_async_timeout(otel):
    """An async tool is cancelled at its deadline, in its own task, and the error says it may have happened."""
    seen = []

    @otel_tools.tool(timeout=0.01)
    async def work(query):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(asyncio.current_task())
            raise

    with pytest.raises(CallTimeout, match=r"work did not finish within 0\.01 s; it may still have taken effect"):
        await work("q")
    assert seen == [asyncio.current_task()]
    assert otel.spans == [
        span_of("timeout", status="ERROR", **{"error.type": "timeout", "otel_tools.timeout.duration": 0.01})
    ]


async def test_timeout_error_of_the_tool_is_not_ours(otel):
    """A `TimeoutError` that the tool raises before the deadline is the tool's own error."""

    @otel_tools.tool(timeout=30)
    async def work(query):
        raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs"):
        await work("q")
    assert otel.span()["attributes"]["otel_tools.outcome"] == "error"
    assert otel.span()["attributes"]["error.type"] == "TimeoutError"


async def test_outer_cancellation_is_not_a_timeout(otel):
    """The caller's own deadline around ours is a cancellation."""

    @otel_tools.tool(timeout=30)
    async def work(query):
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await work("q")
    assert otel.span()["attributes"]["otel_tools.outcome"] == "cancelled"


def test_sync_timeout(otel):
    """A sync tool is left behind at its deadline; what it does afterwards is counted and changes nothing."""
    import threading

    go, done = threading.Event(), threading.Event()

    @otel_tools.tool(timeout=0.01)
    def work(query):
        go.wait(30)
        done.set()

    with pytest.raises(CallTimeout):
        work("q")
    assert otel.span()["attributes"]["otel_tools.outcome"] == "timeout"
    assert otel.points("otel_tools.tool.abandoned")[0]["value"] == 1
    assert otel_tools.circuits()["work"].abandoned == 1
    go.set()
    assert done.wait(30)
    for _ in range(1000):
        if otel_tools.circuits()["work"].abandoned == 0 and len(otel.logs) == 2:
            break
        threading.Event().wait(0.005)
    assert otel.points("otel_tools.tool.abandoned")[0]["value"] == 0
    assert [record["event"] for record in otel.logs] == ["otel_tools.tool_call", "otel_tools.late_result"]
    assert len(otel.spans) == 1


def test_sync_function_that_returns_an_awaitable(otel):
    """A plain function that hands out a coroutine is called when that is awaited."""

    async def inner():
        raise Broken

    work = otel_tools.tool("work")(lambda query: inner())
    with pytest.raises(Broken):
        asyncio.run(work("q"))
    assert otel.spans == [span_of("error", status="ERROR", **{"error.type": f"{__name__}.Broken"})]


def test_observed_deadline(recorder):
    """In observe mode a call past its deadline goes on, is marked, and counts towards opening the shadow circuit."""
    import threading

    recorder.instrument(tools={"work": {"timeout": 0.001, "circuit": {"failures": 1}}})
    work = otel_tools.tool("work")(lambda query: threading.Event().wait(0.01))
    assert [work("a"), work("b")] == [False, False]
    first, second = (span["attributes"] for span in recorder.spans)
    assert first["otel_tools.timeout.exceeded"] is True
    assert first["otel_tools.outcome"] == "ok"
    assert second["otel_tools.circuit_breaker.would_refuse"] == "circuit_open"
    recorder.uninstrument()


def test_argument_error_says_nothing_about_the_dependency(otel):
    """Arguments that do not fit are the model's fault: an error, but the circuit stays closed."""

    @otel_tools.tool(circuit=Circuit(failures=1))
    def work(query):
        return query

    for _ in range(3):
        with pytest.raises(TypeError):
            work(wrong=1)
    assert work("q") == "q"


def tool_at_module_level(query):
    """Find things.

    More about it.
    """
    return query


decorated = otel_tools.tool(tool_at_module_level)


def test_decorated_functions_stay_functions():
    """Frameworks inspect, copy and pickle what they are given."""
    assert inspect.isfunction(decorated)
    assert inspect.signature(decorated) == inspect.signature(tool_at_module_level)
    assert decorated.__doc__ == tool_at_module_level.__doc__
    assert copy.deepcopy(decorated) is decorated
    for shape, test in zip(
        SHAPES,
        (inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction),
        strict=True,
    ):
        assert test(otel_tools.tool(make(shape, int)))
    assert otel_tools.tool(decorated) is decorated


def test_decorated_function_can_be_pickled(monkeypatch):
    """Pickle finds the decorated function under its name."""
    import sys

    monkeypatch.setattr(sys.modules[__name__], "tool_at_module_level", decorated)
    assert pickle.loads(pickle.dumps(decorated)) is decorated


def test_description_and_method(otel):
    """The first paragraph of the docstring is the description; `self` is no argument."""

    class Tools:
        @otel_tools.tool
        def search(self, query, limit=3):
            """Search the index.

            With care.
            """
            return query

    assert Tools().search("q", limit=1) == "q"
    attributes = otel.span()["attributes"]
    assert attributes["gen_ai.tool.description"] == "Search the index."
    assert attributes["otel_tools.tool.argument_keys"] == ("query", "limit")


def test_registry(otel):
    """A registry is instrumented in place under its own names; what is no plain callable stays."""

    class Client:
        pass

    registry = {
        "find": tool_at_module_level,
        "double": functools.partial(lambda factor, x: factor * x, 2),
        "Client": Client,
        "note": "text",
    }
    assert otel_tools.instrument_registry(registry) is registry
    assert registry["Client"] is Client
    assert registry["note"] == "text"
    assert registry["find"]("q") == "q"
    assert registry["double"](4) == 8
    assert [span["name"] for span in otel.spans] == ["execute_tool find", "execute_tool double"]
    again = dict(registry)
    otel_tools.instrument_registry(registry)
    assert registry == again


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": -1}, "timeout must be greater than 0, not -1"),
        ({"max_in_flight": 0}, "max_in_flight must be greater than 0, not 0"),
        ({"criticality": "maybe"}, "criticality must be one of 'critical', 'optional', not 'maybe'"),
    ],
)
def test_wrong_options(options, message):
    """A wrong option is refused where it is written."""
    with pytest.raises(ConfigError) as refused:
        otel_tools.tool(**options)
    assert str(refused.value) == message


def test_uninstrumented_functions_pass_through(recorder):
    """Without instrumentation a decorated function just runs."""
    recorder.instrument()
    otel_tools.uninstrument()
    assert otel_tools.tool(make("sync", lambda: 1))() == 1
    assert list(otel_tools.tool(make("generator", lambda: 1))()) == [1, 1]
    assert asyncio.run(otel_tools.tool(make("async", lambda: 1))()) == 1
    with otel_tools.session("s") as run:
        assert run.totals.tool_calls == 0
    assert recorder.spans == []


@pytest.mark.parametrize("shape", ["generator", "async_generator"])
async def test_wrong_arguments_of_a_generator(otel, shape):
    """The call of a generator that cannot even start ends, too."""
    work = otel_tools.tool(make(shape, lambda: 1))
    with pytest.raises(TypeError):
        next(work(unknown=1)) if shape == "generator" else await anext(work(unknown=1))
    assert otel.span("execute_tool work")["attributes"]["error.type"] == "TypeError"


async def test_async_generator_is_sent_to_and_thrown_into():
    """What a caller sends or throws into a decorated async generator arrives in the function."""

    @otel_tools.tool
    async def work():
        try:
            yield (yield 1)
        except Broken:
            yield "handled"

    items = work()
    assert [await anext(items), await items.asend(5), await items.athrow(Broken())] == [1, 5, "handled"]
    await items.aclose()


async def test_function_that_returns_a_task(otel):
    """A task stays a task, and is the call until it is done; a lazy awaitable stays what it is."""

    class Query:
        def __await__(self):
            return iter(())

    async def inner():
        raise Broken

    work = otel_tools.tool("work")(lambda query: asyncio.create_task(inner()))
    task = work("q")
    done, _ = await asyncio.wait({task})
    assert done == {task}
    assert task._log_traceback  # nobody has seen its exception yet
    assert isinstance(task.exception(), Broken)
    assert otel.spans == [span_of("error", status="ERROR", **{"error.type": f"{__name__}.Broken"})]
    assert isinstance(otel_tools.tool(Query)(), Query)


@pytest.mark.filterwarnings("ignore:coroutine")
def test_awaitable_that_is_never_awaited(otel):
    """A coroutine that is handed out and dropped ends its call as cancelled."""

    async def inner():
        return 1

    otel_tools.tool("work")(lambda _: inner())("q")
    gc.collect()
    assert otel.span()["attributes"]["otel_tools.outcome"] == "cancelled"


def test_fallback_that_is_interrupted(otel):
    """Ctrl-C in a fallback reaches the caller, and the call has ended."""

    def fallback():
        raise KeyboardInterrupt

    def work():
        raise Broken

    with pytest.raises(KeyboardInterrupt):
        otel_tools.tool(criticality="optional", fallback=fallback)(work)()
    assert otel.span()["status"] == "ERROR"


async def test_async_fallback_that_fails(otel, monkeypatch):
    """As with a sync one, the note takes its place."""
    monkeypatch.setattr(errors, "raise_internal_errors", False)

    async def fallback():
        raise KeyError

    async def work():
        raise Broken

    note = await otel_tools.tool(criticality="optional", fallback=fallback)(work)()
    assert json.loads(note)["error"]["tool"] == "work"


def test_partial_of_a_tool(otel):
    """A registry that holds a partial of a tool holds a tool already."""
    work = otel_tools.tool(make("sync", lambda: 1))
    registry = otel_tools.instrument_registry({"work": functools.partial(work, "q")})
    assert registry["work"]() == 1
    assert len(otel.spans) == 1


async def test_async_generator_that_takes_its_end_for_an_answer(otel):
    """Left early is left early, also when the function catches `GeneratorExit` and returns."""

    @otel_tools.tool
    async def work():
        with contextlib.suppress(GeneratorExit):
            yield 1

    items = work()
    await anext(items)
    await items.aclose()
    assert otel.span()["attributes"]["otel_tools.outcome"] == "cancelled"


@pytest.mark.parametrize("shape", SHAPES)
async def test_argument_names_are_the_programs_own(otel, shape):
    """No name of an argument collides with one of ours."""
    names = ("limit", "function", "context", "call", "target", "wrapped", "instance", "items", "error")
    given = dict.fromkeys(names, 1)
    if shape == "sync":

        def work(**kwargs):
            return kwargs

        assert otel_tools.tool(work)(**given) == given
    elif shape == "async":

        async def work(**kwargs):
            return kwargs

        assert await otel_tools.tool(work)(**given) == given
    elif shape == "generator":

        def work(**kwargs):
            yield kwargs

        assert list(otel_tools.tool(work)(**given)) == [given]
    else:

        async def work(**kwargs):
            yield kwargs

        assert [item async for item in otel_tools.tool(work)(**given)] == [given]


@pytest.mark.parametrize("later", [False, True])
def test_closed_in_another_context(otel, later):
    """A coroutine that is closed where it did not run (its loop is gone) is a cancelled call, and nobody complains."""

    @types.coroutine
    def suspended():
        yield

    async def body():
        await suspended()

    @otel_tools.tool("work")
    async def work(query="q"):
        await body()

    @otel_tools.tool("work")
    def work_later(query="q"):
        return body()

    coroutine = work_later() if later else work()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
    assert [(span["name"], span["attributes"]["otel_tools.outcome"]) for span in otel.spans] == [
        ("execute_tool work", "cancelled")
    ]


@pytest.mark.parametrize("shape", SHAPES)
async def test_results_that_cannot_be_shown(otel, shape):
    """An object whose text cannot be had (a row of a closed database session) is a result like any, of no size."""

    class Row:
        def __repr__(self):
            raise Broken

    value = await use(otel_tools.tool(make(shape, Row)))
    assert {type(item) for item in (value if isinstance(value, list) else [value])} == {Row}
    assert otel.spans == [span_of("ok", **({"otel_tools.tool.result.size": 0} if isinstance(value, list) else {}))]
    assert [point["value"] for point in otel.points("otel_tools.tool.in_flight")] == [0]
    assert [point["value"] for point in otel.points("otel_tools.tool.calls")] == [1]


async def test_a_future_that_is_never_done(otel):
    """A future that is dropped before it is done is a cancelled call, and its place is free again."""

    @otel_tools.tool(max_in_flight=1)
    def work(query="q"):
        return asyncio.get_running_loop().create_future()

    work("q")
    gc.collect()
    assert otel.spans == [span_of("cancelled")]
    future = work()
    future.set_result("x")
    assert await future == "x"
