"""The OpenAI Agents SDK: runs are sessions, function tools are tool calls, whatever the SDK makes of their errors."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("agents")

from agents import (
    Agent,
    AsyncOpenAI,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    handoff,
    set_tracing_disabled,
)
from agents.mcp import MCPServerStdio
from agents.tool import invoke_function_tool
from agents.tool_context import ToolContext

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def _no_tracing_of_the_sdk() -> Iterator[None]:
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


# --- a scripted model -----------------------------------------------------------------------------------------------
def completion(text: str | None, *calls: tuple[str, str], first: int = 1) -> dict[str, Any]:
    """A chat completion that says *text* or calls these tools (name, arguments), with ids from `call_{first}` on."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [_called(number, call) for number, call in enumerate(calls, first)]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _called(number: int, call: tuple[str, str]) -> dict[str, Any]:
    name, arguments = call
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def chunks(text: str | None, *calls: tuple[str, str]) -> list[Any]:
    """The same as a stream."""
    whole = completion(text, *calls)
    choice = whole["choices"][0]
    for number, called in enumerate(choice["message"].get("tool_calls", ())):
        called["index"] = number
    common = {"id": whole["id"], "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    return [
        {**common, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
        {**common, "choices": [], "usage": whole["usage"]},
        "[DONE]",
    ]


def response(*output: dict[str, Any]) -> dict[str, Any]:
    """A response of the Responses API."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "test-model",
        "status": "completed",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def said(text: str) -> dict[str, Any]:
    """An output item: a message."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def client(server: FakeServer) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="sk-test", max_retries=0)


@pytest.fixture
async def llm(server: FakeServer) -> AsyncIterator[AsyncOpenAI]:
    """A client of the scripted server."""
    async with client(server) as llm:
        yield llm


def helper(llm: AsyncOpenAI, *tools: Any, **options: Any) -> Agent:
    """An agent `helper` whose model is the scripted one."""
    model = OpenAIChatCompletionsModel("test-model", llm)
    return Agent(**{"name": "helper", "tools": list(tools), "model": model, **options})


CALL_ADD = ("add", '{"a": 2, "b": 3}')


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool
async def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


# --- what is expected -----------------------------------------------------------------------------------------------
def agent_span(name: str = "helper", **attributes: Any) -> dict[str, Any]:
    """The whole span of a run without calls (dots in names are double underscores; `None` takes one away)."""
    expected = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": name,
        "otel_tools.outcome": "ok",
        "otel_tools.session.outcome": "completed",
        "otel_tools.session.cost.usd": 0.0,
        "otel_tools.session.input_tokens": 0,
        "otel_tools.session.output_tokens": 0,
        "otel_tools.session.inference_calls": 0,
        "otel_tools.session.tool_calls": 0,
        "otel_tools.session.tool_errors": 0,
        **{key.replace("__", "."): value for key, value in attributes.items() if key not in ("status", "parent")},
    }
    return {
        "name": f"invoke_agent {name}",
        "kind": "INTERNAL",
        "status": attributes.get("status", "UNSET"),
        "parent": attributes.get("parent"),
        "attributes": {key: value for key, value in expected.items() if value is not None},
        "events": [],
    }


def used(calls: int, tools: int = 0, errors: int = 0) -> dict[str, Any]:
    """What a session has used after so many calls of the scripted model and of tools."""
    return {
        "otel_tools__session__input_tokens": 10 * calls,
        "otel_tools__session__output_tokens": 5 * calls,
        "otel_tools__session__unpriced_tokens": 15 * calls,
        "otel_tools__session__inference_calls": calls,
        "otel_tools__session__tool_calls": tools,
        "otel_tools__session__tool_errors": errors,
    }


def tool_span(outcome: str = "ok", status: str = "UNSET", **attributes: Any) -> dict[str, Any]:
    """The whole span of the model's call of the tool `search` in a run of `helper`."""
    expected = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_1",
        "gen_ai.tool.description": "Search the web.",
        "gen_ai.agent.name": "helper",
        "otel_tools.tool.argument_keys": ("query",),
        "otel_tools.circuit_breaker.state": "closed",
        "otel_tools.outcome": outcome,
        **{key.replace("__", "."): value for key, value in attributes.items()},
    }
    return {
        "name": "execute_tool search",
        "kind": "INTERNAL",
        "status": status,
        "parent": "invoke_agent helper",
        "attributes": {key: value for key, value in expected.items() if value is not None},
        "events": [],
    }


def tree(otel: Recorder) -> list[tuple[str, str | None, str]]:
    """Every span with its parent and outcome, sorted."""
    assert len({span.context.trace_id for span in otel.finished}) == 1
    return sorted((span["name"], span["parent"], span["attributes"]["otel_tools.outcome"]) for span in otel.spans)


FULL_RUN_TREE = [
    ("chat test-model", "invoke_agent helper", "ok"),
    ("chat test-model", "invoke_agent helper", "ok"),
    ("execute_tool add", "invoke_agent helper", "ok"),
    ("execute_tool multiply", "invoke_agent helper", "ok"),
    ("invoke_agent helper", None, "ok"),
]
TWO_CALLS = (CALL_ADD, ("multiply", '{"a": 2, "b": 3}'))


# --- runs -----------------------------------------------------------------------------------------------------------
async def test_a_run_is_one_session_with_its_calls_below_it(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """Two tools in one turn: LLM and tool calls are children of the run, whose totals are right."""
    server.reply(completion(None, *TWO_CALLS))
    server.reply(completion("5 and 6"))

    result = await Runner.run(helper(llm, add, multiply), "hi")

    assert result.final_output == "5 and 6"
    assert tree(otel) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == agent_span(**used(2, 2))


def test_a_sync_run_is_one_session_too(otel: Recorder, server: FakeServer) -> None:
    """`run_sync` goes through `run` and is not counted twice."""
    server.reply(completion("hello"))

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    llm = client(server)
    try:
        assert Runner.run_sync(helper(llm), "hi").final_output == "hello"
        loop.run_until_complete(llm.close())
    finally:
        asyncio.set_event_loop(None)
        loop.close()

    assert [span["name"] for span in otel.spans] == ["chat test-model", "invoke_agent helper"]
    assert otel.span("invoke_agent helper") == agent_span(**used(1))


async def test_a_run_on_the_responses_api(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The model is asked through the Responses API; the session's id is the conversation's."""
    server.reply(response(said("hello")))
    agent = helper(llm, model=OpenAIResponsesModel("test-model", llm), handoff_description="Helps.")

    result = await Runner.run(agent, "hi", session=SQLiteSession("session-1"))

    assert result.final_output == "hello"
    assert otel.span("invoke_agent helper") == agent_span(
        gen_ai__conversation__id="session-1", gen_ai__agent__description="Helps.", **used(1)
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"run_config": RunConfig(group_id="group-1")}, "group-1"),
        ({"run_config": RunConfig(group_id="group-1"), "session": SQLiteSession("session-1")}, "session-1"),
        ({}, None),
    ],
    ids=["group", "session", "none"],
)
async def test_the_conversation_of_a_run(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI, options: dict[str, Any], expected: str | None
) -> None:
    """A session's id, a conversation's or the group of traces ties runs together."""
    server.reply(completion("hello"))

    await Runner.run(helper(llm), "hi", **options)

    assert otel.span("invoke_agent helper")["attributes"].get("gen_ai.conversation.id") == expected


async def test_max_turns_is_how_the_session_ended(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The SDK raises, and the session ended at its maximum of iterations."""
    server.reply(completion(None, CALL_ADD))
    server.reply(completion(None, CALL_ADD, first=2))

    with pytest.raises(MaxTurnsExceeded):
        await Runner.run(helper(llm, add), "hi", max_turns=2)

    assert otel.span("invoke_agent helper") == agent_span(
        status="ERROR",
        error__type="agents.exceptions.MaxTurnsExceeded",
        otel_tools__outcome="error",
        otel_tools__session__outcome="max_iterations",
        **used(2, 2),
    )


async def test_a_guardrail_that_trips_is_an_error(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The run did not do what it was asked."""
    server.default = server.reply(completion("hello"))

    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(helper(llm, input_guardrails=[_tripping()]), "hi")

    attributes = otel.span("invoke_agent helper")["attributes"]
    assert attributes["error.type"] == "agents.exceptions.InputGuardrailTripwireTriggered"
    assert attributes["otel_tools.session.outcome"] == "error"


def _tripping(**options: Any) -> InputGuardrail[Any]:
    async def trip(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    return InputGuardrail(trip, **options)


async def test_an_error_of_the_model_is_the_runs_error(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The client's exception goes on to the caller."""
    server.reply({"error": {"message": "secret"}}, status=500)

    with pytest.raises(openai.InternalServerError):
        await Runner.run(helper(llm), "hi")

    assert otel.span("invoke_agent helper")["attributes"]["error.type"] == "openai.InternalServerError"


# --- streamed runs --------------------------------------------------------------------------------------------------
async def test_a_streamed_run_that_is_read_to_its_end(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The caller gets the SDK's own result object; the calls are below the run."""
    server.reply(events=chunks(None, *TWO_CALLS))
    server.reply(events=chunks("5 and 6"))

    result = Runner.run_streamed(helper(llm, add, multiply), "hi")
    events = [event.type async for event in result.stream_events()]

    assert type(result).__module__ == "agents.result"
    assert result.final_output == "5 and 6"
    assert "run_item_stream_event" in events
    assert tree(otel) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == agent_span(**used(2, 2))


async def test_a_streamed_run_that_nobody_reads_ends_with_its_work(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """The run goes on in the background; its span ends when it does."""
    server.reply(events=chunks("hello"))

    result = Runner.run_streamed(helper(llm), "hi")
    await result.run_loop_task
    await asyncio.sleep(0)

    assert otel.span("invoke_agent helper") == agent_span(**used(1))


@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
async def test_a_streamed_run_may_exceed_its_turns(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI, *, read: bool
) -> None:
    """The SDK raises only while events are read; the session ended at its maximum of iterations either way."""
    server.reply(events=chunks(None, CALL_ADD))

    result = Runner.run_streamed(helper(llm, add), "hi", max_turns=1)
    if read:
        with pytest.raises(MaxTurnsExceeded):
            await _read(result)
    else:
        await result.run_loop_task
        await asyncio.sleep(0)

    assert otel.span("invoke_agent helper") == agent_span(
        status="ERROR",
        error__type="agents.exceptions.MaxTurnsExceeded",
        otel_tools__outcome="error",
        otel_tools__session__outcome="max_iterations",
        **used(1, 1),
    )


async def _read(result: Any) -> None:
    async for _ in result.stream_events():
        pass


async def test_a_streamed_run_whose_guardrail_trips_is_an_error(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """The guardrail runs next to the model; whoever reads the events learns of it, and so does the span."""
    server.reply(events=chunks("hello"))

    result = Runner.run_streamed(helper(llm, input_guardrails=[_tripping()]), "hi")
    with pytest.raises(InputGuardrailTripwireTriggered):
        await _read(result)

    attributes = otel.span("invoke_agent helper")["attributes"]
    assert attributes["error.type"] == "agents.exceptions.InputGuardrailTripwireTriggered"


async def test_a_cancelled_streamed_run_is_no_failure(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """The caller cancels the run while a tool waits."""
    entered = asyncio.Event()

    @function_tool
    async def search(query: str) -> None:
        """Search the web."""
        entered.set()
        await asyncio.Event().wait()

    server.reply(events=chunks(None, ("search", '{"query": "otel"}')))
    result = Runner.run_streamed(helper(llm, search), "hi")
    await entered.wait()
    result.cancel()
    await _read(result)

    assert tree(otel) == [
        ("chat test-model", "invoke_agent helper", "ok"),
        ("execute_tool search", "invoke_agent helper", "cancelled"),
        ("invoke_agent helper", None, "cancelled"),
    ]
    assert otel.span("invoke_agent helper") == agent_span(
        otel_tools__outcome="cancelled", otel_tools__session__outcome="cancelled", **used(1, 1)
    )


# --- tools ----------------------------------------------------------------------------------------------------------
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
    assert otel.span("execute_tool search") == tool_span(otel_tools__tool__result__size=4)


async def test_an_error_that_the_sdk_makes_a_sentence_of_is_a_tool_error(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """By default the model gets a general sentence, which is no good result."""
    told = await run_search(server, llm, fail(ConnectionError("secret")))

    assert told.startswith("An error occurred while running the tool")
    assert otel.span("execute_tool search") == tool_span(
        "tool_error", "ERROR", error__type="tool_error", otel_tools__tool__result__size=len(told)
    )
    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.tool_errors"] == 1


async def test_an_error_that_a_function_makes_a_sentence_of_is_a_tool_error(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """Nothing in the SDK's result shows that the sentence of a `failure_error_function` is one."""
    told = await run_search(server, llm, fail(ConnectionError("secret")), failure_error_function=lambda *_: "sorry")

    assert told == "sorry"
    assert otel.span("execute_tool search") == tool_span(
        "tool_error", "ERROR", error__type="tool_error", otel_tools__tool__result__size=5
    )


async def test_an_error_without_a_failure_function_ends_the_run(
    otel: Recorder, server: FakeServer, llm: AsyncOpenAI
) -> None:
    """Then the exception goes on, and is the tool's and the run's error."""
    with pytest.raises(Exception, match="secret"):
        await run_search(server, llm, fail(ConnectionError("secret")), failure_error_function=None)

    assert otel.span("execute_tool search") == tool_span("error", "ERROR", error__type="ConnectionError")
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
        "timeout", "ERROR", error__type="timeout", otel_tools__tool__result__size=len(told)
    )


async def test_the_sdks_own_timeout_may_be_raised(otel: Recorder, server: FakeServer, llm: AsyncOpenAI) -> None:
    """With `timeout_behavior="raise_exception"` it ends the run, and is a timeout all the same."""
    with pytest.raises(Exception, match="timed out"):
        await run_search(server, llm, hang, timeout=0.001, timeout_behavior="raise_exception")

    assert otel.span("execute_tool search") == tool_span("timeout", "ERROR", error__type="timeout")


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


def test_no_run_is_left_behind(otel: Recorder, server: FakeServer) -> None:
    """An event loop that ends before a streamed run does cancels it; its span ends, too."""
    server.reply(events=chunks("hello"))

    async def main() -> None:
        async with client(server) as llm:
            Runner.run_streamed(helper(llm), "hi")

    asyncio.run(main())

    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.outcome"] == "cancelled"


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
