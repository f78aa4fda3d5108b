"""The `anthropic` tool runner: one session with its LLM calls and tool calls, sync and async, streaming or not."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

pytest.importorskip("anthropic")
import anthropic

import otel_tools
from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import CLIENTS, SYNC, TRACES_ITSELF, Connect, listed, settled, tokens
from tests.clients.anthropic_runner import (
    AS_DATA,
    CHAT,
    RUN,
    TOOL,
    results,
    run,
    runner,
    script,
    session,
    tool,
    tool_span,
    tree,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

sync = pytest.mark.parametrize("connect", SYNC, indirect=True)


@pytest.fixture(params=CLIENTS)
async def connect(request: pytest.FixtureRequest, otel: Recorder, server: FakeServer) -> AsyncIterator[Connect]:
    """Makes clients, sync or async, tracing themselves or not, and closes them at the end."""
    connect = Connect(server, otel, *request.param)
    yield connect
    await connect.close()


# --- a run ----------------------------------------------------------------------------------------------------------
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
