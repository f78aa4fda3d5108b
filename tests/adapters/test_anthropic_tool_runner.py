"""The `anthropic` tool runner: one session with its LLM calls and tool calls, sync and async, streaming or not."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("anthropic")
import anthropic
from anthropic.lib.tools import ToolError

import otel_tools
from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import ASK, CLIENTS, SYNC, TRACES_ITSELF, Connect, listed, settled, tokens
from tests.fake_server import FakeServer
from tests.recorder import Recorder

sync = pytest.mark.parametrize("connect", SYNC, indirect=True)
AS_DATA = "tool_error" if TRACES_ITSELF else "error"
"""Since 2.0 an error is seen as the data that the runner makes of it, before as what the tool raises."""


@pytest.fixture(params=CLIENTS)
async def connect(request: pytest.FixtureRequest, otel: Recorder, server: FakeServer) -> AsyncIterator[Connect]:
    """Makes clients, sync or async, tracing themselves or not, and closes them at the end."""
    connect = Connect(server, otel, *request.param)
    yield connect
    await connect.close()


# --- a run ----------------------------------------------------------------------------------------------------------
def forecast(city: str) -> str:
    """The weather, for a city that there is."""
    if city == "Atlantis":
        raise LookupError("secret")
    if city == "Avalon":
        raise ToolError("Avalon has no weather.")
    return "sunny"


def tool(connect: Connect, function: Callable[[str], str] = forecast) -> Any:
    """*function* as a tool of the runner."""

    def get_weather(city: str) -> str:
        return function(city)

    async def get_weather_later(city: str) -> str:
        return function(city)

    described = {"name": "get_weather", "description": "The weather of a city."}
    if connect.asynchronous:
        return anthropic.beta_async_tool(get_weather_later, **described)
    return anthropic.beta_tool(get_weather, **described)


def runner(connect: Connect, **options: Any) -> Any:
    """A tool runner with the one tool."""
    return connect().beta.messages.tool_runner(**{**ASK, "tools": [tool(connect)], **options})


async def run(connect: Connect, **options: Any) -> Any:
    """Run to the end; gives the last message."""
    return await settled(runner(connect, **options).until_done())


def script(server: FakeServer, *turns: tuple[dict[str, Any], ...], stream: bool = False) -> None:
    """Let the model call these tools in turn, then answer."""
    for turn in turns:
        end = {"stop_reason": "tool_use"}
        server.reply(events=bodies.stream(*turn, **end)) if stream else server.reply(bodies.message(*turn, **end))
    server.reply(events=bodies.stream()) if stream else server.reply(bodies.message())


def tool_span(outcome: str = "ok", error_type: str | None = None, **changes: Any) -> dict[str, Any]:
    """The span of a call of the tool."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "The weather of a city.",
        "gen_ai.tool.call.id": "toolu_1" if TRACES_ITSELF else None,
        "otel_tools.tool.argument_keys": ("city",),
        "otel_tools.tool.result.size": 5,
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": outcome,
        "error.type": error_type,
        **changes,
    }
    return {
        "name": "execute_tool get_weather",
        "kind": "INTERNAL",
        "status": "ERROR" if error_type else "UNSET",
        "parent": "invoke_agent",
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "events": [],
    }


def session(outcome: str, calls: int, tools: int, errors: int = 0, **changes: Any) -> dict[str, Any]:
    """The span of a run."""
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": bodies.MODEL,
        "otel_tools.outcome": "cancelled" if outcome == "cancelled" else "ok",
        "otel_tools.session.outcome": outcome,
        "otel_tools.session.cost.usd": 0.0,
        "otel_tools.session.inference_calls": calls,
        "otel_tools.session.input_tokens": 104 * calls,
        "otel_tools.session.output_tokens": 25 * calls,
        "otel_tools.session.unpriced_tokens": 129 * calls,
        "otel_tools.session.tool_calls": tools,
        "otel_tools.session.tool_errors": errors,
        **changes,
    }
    kept = {name: value for name, value in attributes.items() if value is not None}
    return {
        "name": "invoke_agent",
        "kind": "INTERNAL",
        "status": "UNSET",
        "parent": None,
        "attributes": kept,
        "events": [],
    }


def tree(otel: Recorder) -> list[tuple[str, str | None]]:
    """Name and parent of every span, in the order they ended."""
    return [(span["name"], span["parent"]) for span in otel.spans]


CHAT = ("chat claude-test", "invoke_agent")
TOOL = ("execute_tool get_weather", "invoke_agent")
RUN = ("invoke_agent", None)


def results(server: FakeServer) -> list[dict[str, Any]]:
    """What the model was told of its tool calls, in the second request."""
    return [block for block in server.requests[1].body["messages"][-1]["content"] if block["type"] == "tool_result"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_run(otel: Recorder, server: FakeServer, connect: Connect, stream: bool) -> None:
    """A run is one session: two LLM calls and a tool call below it, each one span, usage counted once."""
    script(server, (bodies.tool_use(city="Paris"),), stream=stream)

    message = await run(connect, stream=stream)

    assert message.content[0].text == "It is sunny."
    assert tree(otel) == [CHAT, TOOL, CHAT, RUN]
    assert otel.span(TOOL[0]) == tool_span()
    assert otel.span(RUN[0]) == session("completed", calls=2, tools=1)
    assert tokens(otel) == {"input": (2, 208), "output": (2, 50)}
    assert results(server) == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]


async def test_read_by_the_caller(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A caller who reads the streams of a run, each in its own way, changes nothing."""
    script(server, (bodies.tool_use(city="Paris"),), stream=True)

    texts = []
    for turn in await turns(runner(connect, stream=True)):
        texts.append(turn)

    assert texts == [[], ["It is ", "sunny."]]
    assert tree(otel) == [CHAT, TOOL, CHAT, RUN]


async def turns(runs: Any) -> list[list[str]]:
    """The texts of each turn of a streaming run."""
    if hasattr(runs, "__aiter__"):
        return [await listed(stream.text_stream) async for stream in runs]
    return [list(stream.text_stream) for stream in runs]


async def test_never_iterated(otel: Recorder, connect: Connect) -> None:
    """A runner that nobody iterates has run nothing."""
    runner(connect)
    gc.collect()

    assert otel.spans == []


# --- failing tools --------------------------------------------------------------------------------------------------
async def test_raising_tool(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """What a tool raises becomes data for the model; the call failed all the same, with the exception's name."""
    script(server, (bodies.tool_use(city="Atlantis"),))

    await run(connect)

    (result,) = results(server)
    size = len(result["content"]) if TRACES_ITSELF else None
    assert result["is_error"] is True
    assert otel.span(TOOL[0]) == tool_span(AS_DATA, "LookupError", **{"otel_tools.tool.result.size": size})
    assert otel.span(RUN[0]) == session("completed", calls=2, tools=1, errors=1)


async def test_tool_error(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """`ToolError` is an error as data, whoever sees it."""
    script(server, (bodies.tool_use(city="Avalon"),))

    await run(connect)

    assert results(server)[0]["content"] == "Avalon has no weather."
    assert otel.span(TOOL[0]) == tool_span("tool_error", "tool_error", **{"otel_tools.tool.result.size": 22})


@sync
async def test_arguments_that_do_not_fit(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Arguments that the model got wrong are an error, but say nothing about the tool: its circuit stays closed."""
    otel.instrument(mode="enforce", tools={"get_weather": {"circuit": {"failures": 1}}})
    script(server, (bodies.tool_use(town="Paris"), bodies.tool_use(city="Paris", call_id="toolu_2")))

    await run(connect)

    wrong, right = (span["attributes"] for span in otel.spans if span["name"] == TOOL[0])
    assert (wrong["otel_tools.outcome"], wrong["error.type"]) == (AS_DATA, "ValueError")
    assert right["otel_tools.outcome"] == "ok"


async def test_unknown_tool(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A tool that the model made up is never called: the model is told so, and there is no span and no metric of it."""
    script(server, (bodies.tool_use("get_moon"),))

    with pytest.warns(UserWarning, match="get_moon"):
        await run(connect)

    assert results(server)[0]["is_error"] is True
    assert tree(otel) == [CHAT, CHAT, RUN]
    assert otel.points("otel_tools.tool.calls") == []


async def test_called_by_hand(otel: Recorder, connect: Connect) -> None:
    """A tool that a program's own loop calls is a tool call, too; it raises what it raises."""
    get_weather = tool(connect)

    assert await settled(get_weather.call({"city": "Paris"})) == "sunny"
    with pytest.raises(LookupError):
        await settled(get_weather.call({"city": "Atlantis"}))

    unknown = {"gen_ai.tool.call.id": None}
    failed = tool_span("error", "LookupError", **unknown, **{"otel_tools.tool.result.size": None})
    assert otel.spans == [{**tool_span(**unknown), "parent": None}, {**failed, "parent": None}]


# --- policy ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def switched_off(otel: Recorder) -> Iterator[None]:
    """The tool is switched off."""
    otel_tools.disable_tool("get_weather", "test")
    yield
    otel_tools.enable_tool("get_weather")


@pytest.mark.usefixtures("switched_off")
async def test_refused(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A refused call is an error that the model is told about, in the runner's own type; the tool does not run."""
    script(server, (bodies.tool_use(city="Paris"),))

    await run(connect)

    (result,) = results(server)
    assert (result["type"], result["tool_use_id"], result["is_error"]) == ("tool_result", "toolu_1", True)
    if TRACES_ITSELF:
        assert json.loads(result["content"])["error"]["reason"] == "disabled"
    attributes = otel.span(TOOL[0])["attributes"]
    assert (attributes["otel_tools.outcome"], attributes["error.type"]) == ("disabled", "disabled")
    assert otel.span(RUN[0]) == session("completed", calls=2, tools=1, errors=1)


@pytest.mark.usefixtures("switched_off")
async def test_optional_tool_refused(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """Of an optional tool the model gets a note instead, which is no error."""
    otel.instrument(tools={"get_weather": {"criticality": "optional"}})
    otel_tools.disable_tool("get_weather", "test")
    script(server, (bodies.tool_use(city="Paris"),))

    await run(connect)

    (result,) = results(server)
    assert result.keys() == {"type", "tool_use_id", "content"}
    assert "get_weather" in result["content"]
    assert otel.span(TOOL[0])["attributes"]["otel_tools.degraded"] is True


# --- how a run ends -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_iterations_used_up(otel: Recorder, server: FakeServer, connect: Connect, stream: bool) -> None:
    """A run that ends because it may not go on says so: its last message still asks for a tool."""
    script(server, (bodies.tool_use(city="Paris"),), stream=stream)

    await run(connect, max_iterations=1, stream=stream)

    assert tree(otel) == [CHAT, TOOL, RUN]
    assert otel.span(RUN[0]) == session("max_iterations", calls=1, tools=1)


async def test_left(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A run whose caller leaves the loop is cancelled, when the runner is closed or dropped."""
    script(server, (bodies.tool_use(city="Paris"),))

    items = runner(connect)
    message = await anext(items) if connect.asynchronous else next(items)
    assert message.stop_reason == "tool_use"
    await settled(items._iterator.aclose() if connect.asynchronous else items._iterator.close())

    assert tree(otel) == [CHAT, RUN]
    assert otel.span(RUN[0]) == session("cancelled", calls=1, tools=0)


@pytest.mark.skipif(not TRACES_ITSELF, reason="anthropic < 2 cannot close a runner")
async def test_closed(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """`close` ends a run that has begun, whatever state it is in, and can be repeated."""
    script(server, (bodies.tool_use(city="Paris"),))

    items = runner(connect)
    await settled(items.close())
    assert otel.spans == []

    items = runner(connect)
    await (anext(items) if connect.asynchronous else settled(next(items)))
    await settled(items.close())
    await settled(items.close())

    assert tree(otel) == [CHAT, RUN]
    assert otel.span(RUN[0])["attributes"]["otel_tools.session.outcome"] == "cancelled"


async def test_failed_request(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """An LLM call that fails ends the run with its error."""
    server.reply(bodies.error(), status=401)

    with pytest.raises(anthropic.AuthenticationError):
        await run(connect)

    chat, agent = otel.spans
    assert (chat["status"], agent["status"]) == ("ERROR", "ERROR")
    assert agent["attributes"]["error.type"] == "anthropic.AuthenticationError"
    assert agent["attributes"]["otel_tools.session.outcome"] == "error"
