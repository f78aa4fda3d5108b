"""Runs of the OpenAI Agents SDK are sessions, however they are started, read and ended."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.adapters.runs import (
    CALL_ADD,
    FULL_RUN_TREE,
    TWO_CALLS,
    agent_span,
    chunks,
    completion,
    tree,
    used,
)
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("agents")

from agents import (
    AsyncOpenAI,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
)

from tests.adapters.openai_agents_runs import add, client, helper, llm, multiply, no_tracing_of_the_sdk, tripping

__all__ = ["llm", "no_tracing_of_the_sdk"]  # fixtures


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
        await Runner.run(helper(llm, input_guardrails=[tripping()]), "hi")

    attributes = otel.span("invoke_agent helper")["attributes"]
    assert attributes["error.type"] == "agents.exceptions.InputGuardrailTripwireTriggered"
    assert attributes["otel_tools.session.outcome"] == "error"


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

    result = Runner.run_streamed(helper(llm, input_guardrails=[tripping()]), "hi")
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


def test_no_run_is_left_behind(otel: Recorder, server: FakeServer) -> None:
    """An event loop that ends before a streamed run does cancels it; its span ends, too."""
    server.reply(events=chunks("hello"))

    async def main() -> None:
        async with client(server) as llm:
            Runner.run_streamed(helper(llm), "hi")

    asyncio.run(main())

    assert otel.span("invoke_agent helper")["attributes"]["otel_tools.session.outcome"] == "cancelled"
