"""Sync tools that an async framework calls, on its event loop or in a thread of its own: their callers are freed."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

import otel_tools
from otel_tools import CallTimeout
from tests.hanging import LONG, Hanging, nothing_left
from tests.recorder import Recorder

SHORT = 0.5
"""Seconds; a tool that hangs is given up after that."""


@pytest.fixture
def hanging(recorder: Recorder):
    """A place to hang in the tool `work`, which has a deadline; whatever hangs there is gone at the end."""
    recorder.instrument(mode="enforce", tools={"work": {"timeout": SHORT}})
    hanging = Hanging()
    yield hanging
    hanging.release.set()
    nothing_left(recorder)
    recorder.uninstrument()


def outcome(recorder: Recorder) -> tuple[str, Any]:
    attributes = recorder.span("execute_tool work")["attributes"]
    return attributes["otel_tools.outcome"], attributes["otel_tools.timeout.duration"]


async def test_langchain(recorder, hanging):
    """LangChain calls a sync-only tool in a thread of its own, which the deadline frees, too."""
    tools = pytest.importorskip("langchain_core.tools")
    threads: list[threading.Thread] = []

    def work(query: str) -> str:
        """Work."""
        threads.append(threading.current_thread())
        hanging()
        return query

    with pytest.raises(CallTimeout):
        await tools.StructuredTool.from_function(work).ainvoke({"query": "q"})
    assert outcome(recorder) == ("timeout", SHORT)
    assert hanging.reached.wait(LONG)
    assert [thread.name for thread in threads] == ["otel-tools-worker"]
    assert otel_tools.circuits()["work"].abandoned == 1


async def test_openai_agents(recorder, hanging):
    """The Agents SDK calls a sync function in a thread; the model is told of the timeout."""
    agents = pytest.importorskip("agents")
    from agents.tool import invoke_function_tool
    from agents.tool_context import ToolContext

    @agents.function_tool
    def work(query: str) -> str:
        """Work."""
        hanging()
        return query

    arguments = '{"query": "q"}'
    context = ToolContext(context=None, tool_name="work", tool_call_id="1", tool_arguments=arguments)
    told = await invoke_function_tool(function_tool=work, context=context, arguments=arguments)
    assert json.loads(told)["error"]["reason"] == "timeout"
    assert outcome(recorder) == ("timeout", SHORT)
    hanging.release.set()


async def test_mcp_server(recorder, hanging):
    """An MCP server serves others again after the deadline at the latest, also where 1.x blocks its event loop."""
    pytest.importorskip("mcp")
    from tests.adapters.mcp_program import MAJOR, Server
    from tests.adapters.mcp_sessions import is_error, told

    server, seen = Server("fixture"), []

    @server.tool()
    def work(query: str) -> str:
        """Work."""
        seen.append((query, threading.current_thread().name))
        hanging()
        return query

    result = await server.call_tool("work", {"query": "q"})
    assert is_error(result)
    assert told(result)["reason"] == "timeout"
    assert outcome(recorder) == ("timeout", SHORT)
    if MAJOR == 1:
        assert seen == [("q", "otel-tools-worker")]
        assert recorder.points("otel_tools.tool.abandoned")[0]["value"] == 1
    hanging.release.set()
    nothing_left(recorder)
    result = await server.call_tool("work", {"query": "again"})
    assert not is_error(result)
    assert [query for query, _ in seen] == ["q", "again"]


async def test_mcp_server_tool_that_fails_in_time(recorder, hanging):
    """What a bounded tool raises is what the server makes of it without a deadline."""
    pytest.importorskip("mcp")
    from tests.adapters.mcp_program import Server

    recorder.instrument(mode="enforce", tools={"work": {"timeout": LONG}})
    server = Server("fixture")

    @server.tool()
    def work(query: str) -> str:
        """Work."""
        raise ValueError(query)

    with pytest.raises(Exception, match="Error executing tool work") as raised:
        await server.call_tool("work", {"query": "q"})
    assert isinstance(raised.value.__cause__, ValueError)
    assert recorder.span("execute_tool work")["attributes"]["otel_tools.outcome"] == "tool_error"
