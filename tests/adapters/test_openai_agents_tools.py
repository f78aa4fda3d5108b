"""Function tools of the OpenAI Agents SDK are tool calls, whatever the SDK makes of their errors."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runs import (
    CALL_ADD,
    agent_span,
    completion,
    tool_span,
    tree,
    used,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("agents")

from agents import (
    AsyncOpenAI,
    Runner,
    function_tool,
    handoff,
)
from agents.mcp import MCPServerStdio
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext

from tests.adapters.openai_agents_runs import add, helper, llm, no_tracing_of_the_sdk

__all__ = ["llm", "no_tracing_of_the_sdk"]  # fixtures
RUN = "invoke_agent helper"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


async def run_search(
    server: FakeServer, llm: AsyncOpenAI, body: Any, arguments: str = '{"query": "otel"}', **options: Any
) -> Any:
    """Let the model call the tool `search` once; gives what the model was told."""

    @function_tool(**options)
    async def search(query: str) -> str:
        """Search the web."""
        return str(await body(query))

    server.reply(completion(None, ("search", arguments)))
    server.reply(completion("done"))
    await Runner.run(helper(llm, search), "hi")
    return server.requests[-1].body["messages"][-1]["content"]


def fail(error: BaseException) -> Any:
    async def body(query: str) -> Any:
        raise error

    return body


async def upper(query: str) -> str:
    return query.upper()


async def hang(query: str) -> None:
    await asyncio.Event().wait()


async def test_a_tool_call_is_one_span(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The model's call id, the argument keys, the size of what goes back."""
    assert await run_search(server, llm, upper) == "OTEL"
    assert otel.span("execute_tool search") == tool_span(parent=RUN, otel_tools__tool__result__size=4)


async def test_an_error_that_the_sdk_makes_a_sentence_of_is_a_tool_error(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """By default the model gets a general sentence, which is no good result."""
    told = await run_search(server, llm, fail(ConnectionError("secret")))

    assert told.startswith("An error occurred while running the tool")
    assert otel.span("execute_tool search") == tool_span(
        "tool_error", "ERROR", parent=RUN, error__type="tool_error", otel_tools__tool__result__size=len(told)
    )
    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.tool_errors"] == 1


async def test_an_error_that_a_function_makes_a_sentence_of_is_a_tool_error(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """Nothing in the SDK's result shows that the sentence of a `failure_error_function` is one."""
    told = await run_search(server, llm, fail(ConnectionError("secret")), failure_error_function=lambda *_: "sorry")

    assert told == "sorry"
    assert otel.span("execute_tool search") == tool_span(
        "tool_error", "ERROR", parent=RUN, error__type="tool_error", otel_tools__tool__result__size=5
    )


async def test_an_error_without_a_failure_function_ends_the_run(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """Then the exception goes on, and is the tool's and the run's error."""
    with pytest.raises(Exception, match="secret"):
        await run_search(server, llm, fail(ConnectionError("secret")), failure_error_function=None)

    assert otel.span("execute_tool search") == tool_span("error", "ERROR", parent=RUN, error__type="ConnectionError")
    assert otel.span("invoke_agent helper")["status"] == "ERROR"


@pytest.mark.parametrize("arguments", ['{"nonsense": 1}', "{nonsense"], ids=["schema", "json"])
async def test_bad_arguments_do_not_speak_against_the_tool(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI, arguments: str
) -> None:
    """What the model got wrong is a tool error, but the circuit stays closed."""
    otel.instrument(mode="enforce", tools={"search": {"circuit": {"failures": 1}}})

    for _ in range(2):
        await run_search(server, llm, upper, arguments)

    spans = [span for span in otel.spans if span["name"] == "execute_tool search"]
    assert [span["attributes"]["otel_tools.outcome"] for span in spans] == ["tool_error"] * 2
    assert [span["attributes"]["otel_tools.circuit_breaker.state"] for span in spans] == ["closed"] * 2


@pytest.mark.parametrize("sentence", [None, "too slow"], ids=["default", "function"])
async def test_the_sdks_own_timeout_is_a_timeout(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI, sentence: str | None
) -> None:
    """The SDK makes a sentence for the model of it, by default or with a function."""
    options = {"timeout_error_function": lambda *_: sentence} if sentence else {}

    told = await run_search(server, llm, hang, timeout=0.001, **options)

    assert told == (sentence or "Tool 'search' timed out after 0.001 seconds.")
    assert otel.span("execute_tool search") == tool_span(
        "timeout", "ERROR", parent=RUN, error__type="timeout", otel_tools__tool__result__size=len(told)
    )


async def test_the_sdks_own_timeout_may_be_raised(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """With `timeout_behavior="raise_exception"` it ends the run, and is a timeout all the same."""
    with pytest.raises(Exception, match="timed out"):
        await run_search(server, llm, hang, timeout=0.001, timeout_behavior="raise_exception")

    assert otel.span("execute_tool search") == tool_span("timeout", "ERROR", parent=RUN, error__type="timeout")


async def test_a_tool_called_without_a_run(otel: Recorder) -> None:
    """Realtime sessions call tools through `invoke_function_tool`."""
    context = ToolContext(None, tool_name="add", tool_call_id="call_1", tool_arguments=CALL_ADD[1])

    assert await invoke_function_tool(function_tool=add, context=context, arguments=CALL_ADD[1]) == 5

    span = otel.span("execute_tool add")
    assert (span["attributes"]["gen_ai.tool.call.id"], span["parent"]) == ("call_1", None)


async def test_an_agent_as_a_tool_is_a_run_inside_a_tool_call(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """The inner run is part of the outer session."""
    expert = helper(llm, add, name="expert").as_tool("ask_expert", "Ask the expert.")
    server.reply(completion(None, ("ask_expert", '{"input": "2+3"}')))
    server.reply(completion(None, CALL_ADD))
    server.reply(completion("5"))
    server.reply(completion("it is 5"))

    await Runner.run(helper(llm, expert), "hi")

    assert tree(otel) == [
        ("chat test-model", "invoke_agent expert", "ok"),
        ("chat test-model", "invoke_agent expert", "ok"),
        ("chat test-model", "invoke_agent helper", "ok"),
        ("chat test-model", "invoke_agent helper", "ok"),
        ("execute_tool add", "invoke_agent expert", "ok"),
        ("execute_tool ask_expert", "invoke_agent helper", "ok"),
        ("invoke_agent expert", "execute_tool ask_expert", "ok"),
        ("invoke_agent helper", None, "ok"),
    ]
    assert otel.span("invoke_agent helper") == agent_span(**used(4, 2))


async def test_a_handoff_is_no_tool_call(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """Handing the conversation over looks like a tool to the model only."""
    server.reply(completion(None, ("transfer_to_expert", "{}")))
    server.reply(completion("5"))

    await Runner.run(helper(llm, handoffs=[handoff(helper(llm, name="expert"))]), "hi")

    assert tree(otel) == [
        ("chat test-model", "invoke_agent helper", "ok"),
        ("chat test-model", "invoke_agent helper", "ok"),
        ("invoke_agent helper", None, "ok"),
    ]


# --- policy ---------------------------------------------------------------------------------------------------------
async def test_a_refusal_is_told_to_the_model(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The SDK gives errors to the model, so the refusal of a critical tool is told to it, too, and the run goes on."""
    otel.instrument(mode="enforce", tools={"search": {"circuit": {"failures": 1}}})

    await run_search(server, llm, fail(ConnectionError("secret")))
    told = await run_search(server, llm, upper)

    assert "circuit_open" in told
    assert otel.spans[-2]["attributes"]["otel_tools.outcome"] == "ok"
    attributes = [span["attributes"] for span in otel.spans if span["name"] == "execute_tool search"]
    assert [one["otel_tools.outcome"] for one in attributes] == ["tool_error", "circuit_open"]


async def test_the_model_reads_the_note_of_an_optional_tool(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """A failure that would have ended the run becomes a note; the outcome stays what it was."""
    otel.instrument(mode="enforce", tools={"search": {"criticality": "optional"}})

    told = await run_search(server, llm, fail(ConnectionError("secret")), failure_error_function=None)

    assert "search" in told
    assert "secret" not in told
    attributes = otel.span("execute_tool search")["attributes"]
    assert (attributes["otel_tools.outcome"], attributes["otel_tools.degraded"]) == ("error", True)


# --- tools of MCP servers -------------------------------------------------------------------------------------------
async def test_an_mcp_tool_is_one_call(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The SDK's function tool calls an MCP client, which is instrumented, too: one span, with what both know."""
    program = {"command": sys.executable, "args": ["-m", "tests.adapters.mcp_program"], "cwd": ROOT, "env": ENVIRONMENT}
    server.reply(completion(None, CALL_ADD, ("unhappy", "{}"), ("fail", '{"reason": "secret"}')))
    server.reply(completion("done"))

    async with MCPServerStdio(program, client_session_timeout_seconds=60) as mcp_server:
        await Runner.run(helper(llm, mcp_servers=[mcp_server]), "hi")

    tools = [span["attributes"] for span in otel.spans if span["name"].startswith("execute_tool")]
    assert {
        (tool["gen_ai.tool.name"], tool["gen_ai.tool.call.id"], tool["mcp.method.name"], tool["otel_tools.outcome"])
        for tool in tools
    } == {
        ("add", "call_1", "tools/call", "ok"),
        ("unhappy", "call_2", "tools/call", "tool_error"),
        ("fail", "call_3", "tools/call", "tool_error"),
    }
    assert otel.span("invoke_agent helper") == agent_span(**used(2, 3, 2))
