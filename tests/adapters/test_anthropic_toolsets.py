"""What the `anthropic` tool runner runs beside plain functions: memory tools, toolsets, tools before a reply ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("anthropic")
from anthropic.lib.tools import ToolError

import otel_tools
from tests.clients import anthropic_bodies as bodies
from tests.clients.anthropic_client import SYNC, TRACES_ITSELF, Connect
from tests.clients.anthropic_runner import CHAT, RUN, TOOL, results, run, script, tool_span, tree
from tests.fake_server import FakeServer
from tests.recorder import Recorder

since_2 = pytest.mark.skipif(not TRACES_ITSELF, reason="anthropic < 2 has none of it")


@pytest.fixture(params=SYNC)
async def connect(request: pytest.FixtureRequest, otel: Recorder, server: FakeServer) -> AsyncIterator[Connect]:
    """Makes clients, tracing themselves or not, and closes them at the end."""
    connect = Connect(server, otel, *request.param)
    yield connect
    await connect.close()


async def test_memory_tool(otel: Recorder, server: FakeServer, connect: Connect, tmp_path: Any) -> None:
    """The memory tool, which is a class of its own, is a tool like any other."""
    tools = pytest.importorskip("anthropic.tools")
    view = bodies.tool_use("memory", command="view", path="/memories")
    script(server, (view,))

    await run(connect, tools=[tools.BetaLocalFilesystemMemoryTool(base_path=str(tmp_path))])

    name = "execute_tool memory"
    assert tree(otel) == [CHAT, (name, "invoke_agent"), CHAT, RUN]
    assert otel.span(name)["attributes"]["otel_tools.tool.argument_keys"] == ("command", "path")


@since_2
async def test_tool_run_while_the_reply_goes_on(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """A tool that runs before the reply is complete is one tool call, below the run, as any other."""
    script(server, (bodies.tool_use(city="Paris"), bodies.text("I am looking.")), stream=True)

    await run(connect, stream=True, run_tools_eagerly=True)

    assert sorted(tree(otel), key=str) == sorted([CHAT, TOOL, CHAT, RUN], key=str)
    assert results(server) == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]


def browser() -> Any:
    """A toolset with one member that works."""
    toolsets = pytest.importorskip("anthropic.lib.tools._toolsets._runnable")

    class Browser(toolsets.BetaRunnableToolset):
        toolset_name = "browser"

        def to_dict(self) -> Any:
            return {"type": "browser_toolset_20260801"}

        def call(self, context: Any, name: str, input: Any) -> str:  # noqa: A002  the library's name
            if name != "navigate":
                raise ToolError("There is no such member.")
            return "a page"

    return Browser()


@since_2
@pytest.mark.parametrize(("member", "failed"), [("navigate", False), ("fly", True)])
async def test_toolset(otel: Recorder, server: FakeServer, connect: Connect, member: str, failed: bool) -> None:
    """A member of a toolset is a tool; what the toolset says of an error is data."""
    script(server, ({**bodies.tool_use(member, url="https://example.com"), "toolset_name": "browser"},))

    await run(connect, tools=[browser()])

    (span,) = [span for span in otel.spans if span["name"] == f"execute_tool {member}"]
    outcome = {"outcome": "tool_error", "error_type": "tool_error"} if failed else {}
    size = {"otel_tools.tool.result.size": len(results(server)[0]["content"])}
    described = {"gen_ai.tool.name": member, "gen_ai.tool.description": None}
    described |= {"gen_ai.tool.call.id": "toolu_1", "anthropic.toolset.name": "browser" if connect.native else None}
    keys = {"otel_tools.tool.argument_keys": ("url",)}
    assert span == {**tool_span(**outcome, **described, **keys, **size), "name": f"execute_tool {member}"}
    assert len(tree(otel)) == 4


@since_2
async def test_toolset_refused(otel: Recorder, server: FakeServer, connect: Connect) -> None:
    """The note for the model names the toolset, as the API demands."""
    otel_tools.disable_tool("navigate", "test")
    script(server, ({**bodies.tool_use("navigate"), "toolset_name": "browser"},))

    await run(connect, tools=[browser()])

    (result,) = results(server)
    assert (result["toolset_name"], result["is_error"]) == ("browser", True)
    assert otel.span("execute_tool navigate")["attributes"]["otel_tools.outcome"] == "disabled"
