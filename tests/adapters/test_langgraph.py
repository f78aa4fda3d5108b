"""LangGraph runs, LangChain's `create_agent` among them: a session with its calls, however it is run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.adapters.runs import FULL_RUN_TREE, TWO_CALLS, agent_span, chunks, completion, tree, used
from tests.fake_server import FakeServer
from tests.recorder import Recorder

pytest.importorskip("langgraph")
pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")

from langgraph.pregel import Pregel

from tests.adapters.langgraph_agents import CONFIG, QUESTION, State, add, graph, helper, multiply, multiply_sync

FULL_RUN_SPAN = agent_span(gen_ai__conversation__id="thread-1", user__id="user-1", **used(2, 2))


# --- a whole run, every way -----------------------------------------------------------------------------------------
async def _astream(agent: Any, **options: Any) -> None:
    async for _ in agent.astream(QUESTION, CONFIG, **options):
        pass


async def _astream_events(agent: Any) -> None:
    async for _ in agent.astream_events(QUESTION, CONFIG, version="v2"):
        pass


SYNC_RUNS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda agent: agent.invoke(QUESTION, CONFIG),
    "stream": lambda agent: list(agent.stream(QUESTION, CONFIG)),
    "stream-modes": lambda agent: list(agent.stream(QUESTION, config=CONFIG, stream_mode=["updates", "values"])),
    "batch": lambda agent: agent.batch([QUESTION], CONFIG),
}
ASYNC_RUNS: dict[str, Callable[[Any], Any]] = {
    "ainvoke": lambda agent: agent.ainvoke(QUESTION, CONFIG),
    "astream": _astream,
    "astream-modes": lambda agent: _astream(agent, stream_mode=["updates", "debug"]),
    "astream_events": _astream_events,
}


@pytest.mark.parametrize("way", SYNC_RUNS)
def test_a_run_is_one_session_with_its_calls_below_it(otel: Recorder, server: FakeServer, way: str) -> None:
    """Two tools in one step run in threads; LLM and tool calls are children of the run, whose totals are right."""
    server.reply(completion(None, *TWO_CALLS))
    server.reply(completion("5 and 6"))

    SYNC_RUNS[way](helper(server, [add, multiply_sync]))

    assert tree(otel) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == FULL_RUN_SPAN


@pytest.mark.parametrize("way", [*ASYNC_RUNS, "astream-messages"])
async def test_an_async_run_is_one_session_with_its_calls_below_it(
    otel: Recorder, server: FakeServer, way: str
) -> None:
    """The same on an event loop, with a sync tool in an executor next to an async one."""
    if way in ("astream-messages", "astream_events"):  # then LangChain streams from the model, too
        server.reply(events=chunks(None, *TWO_CALLS))
        server.reply(events=chunks("5 and 6"))
    else:
        server.reply(completion(None, *TWO_CALLS))
        server.reply(completion("5 and 6"))

    agent = helper(server, [add, multiply])
    await (_astream(agent, stream_mode="messages") if way == "astream-messages" else ASYNC_RUNS[way](agent))

    assert tree(otel) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == FULL_RUN_SPAN


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_a_run_read_through_its_projections_is_one_session(otel: Recorder, server: FakeServer) -> None:
    """The newest way to stream a run iterates the same generator, as far as its reader asks for more."""
    server.reply(events=chunks(None, *TWO_CALLS))
    server.reply(events=chunks("5 and 6"))
    agent = helper(server, [add, multiply_sync])
    if "stream_events" not in vars(Pregel):
        pytest.skip("this version of langgraph has no `stream_events`")

    run = agent.stream_events(QUESTION, CONFIG, version="v3")
    assert run.output["messages"][-1].text == "5 and 6"

    assert tree(otel) == FULL_RUN_TREE
    assert otel.span("invoke_agent helper") == FULL_RUN_SPAN


def test_a_tool_span_of_an_agent_is_complete(otel: Recorder, server: FakeServer) -> None:
    """The tool span has the model's call id, and the agent and conversation it belongs to."""
    server.reply(completion(None, TWO_CALLS[0]))
    server.reply(completion("5"))

    helper(server, [add]).invoke(QUESTION, CONFIG)

    assert otel.span("execute_tool add") == {
        "name": "execute_tool add",
        "kind": "INTERNAL",
        "status": "UNSET",
        "parent": "invoke_agent helper",
        "attributes": {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "add",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.description": "Add two numbers.",
            "gen_ai.agent.name": "helper",
            "gen_ai.conversation.id": "thread-1",
            "otel_tools.tool.argument_keys": ("a", "b"),
            "otel_tools.circuit_breaker.state": "closed",
            "otel_tools.outcome": "ok",
            "otel_tools.tool.result.size": 1,
        },
        "events": [],
    }


# --- left early -----------------------------------------------------------------------------------------------------
LEFT_AFTER_THE_FIRST_STEP = agent_span(
    **{**used(1), "otel_tools__outcome": "cancelled", "otel_tools__session__outcome": "cancelled"}
)


def test_a_stream_left_early_ends_its_run(otel: Recorder, server: FakeServer) -> None:
    """A `break` after the first step: the run ends there, cancelled, which is no failure."""
    server.reply(completion(None, *TWO_CALLS))

    for _ in helper(server, [add, multiply_sync]).stream(QUESTION):
        break

    assert otel.span("invoke_agent helper") == LEFT_AFTER_THE_FIRST_STEP


async def test_an_async_stream_may_be_closed_in_another_task(otel: Recorder, server: FakeServer) -> None:
    """One task reads, another closes; no context is detached where it was not attached (the fixture checks)."""
    server.reply(completion(None, *TWO_CALLS))
    stream = helper(server, [add, multiply]).astream(QUESTION)
    await asyncio.create_task(anext(stream))

    await asyncio.create_task(stream.aclose())

    assert otel.span("invoke_agent helper") == LEFT_AFTER_THE_FIRST_STEP


def test_an_async_stream_that_is_dropped_ends_with_its_loop(otel: Recorder, server: FakeServer) -> None:
    """Nobody closes the stream after a `break`; the event loop does, in a task of its own."""
    server.reply(completion(None, *TWO_CALLS))

    async def main() -> None:
        async for _ in helper(server, [add, multiply]).astream(QUESTION):
            break

    asyncio.run(main())

    assert otel.span("invoke_agent helper") == LEFT_AFTER_THE_FIRST_STEP


async def test_a_cancelled_run_is_no_failure(otel: Recorder) -> None:
    """The task that awaits the run is cancelled while a node waits."""
    entered = asyncio.Event()

    async def wait(_: State) -> State:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(graph(wait).ainvoke({"n": 1}))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert otel.spans == [
        agent_span("counter", otel_tools__outcome="cancelled", otel_tools__session__outcome="cancelled")
    ]


# --- names ----------------------------------------------------------------------------------------------------------
def test_a_graph_without_a_name_is_named_by_its_configuration_or_not_at_all(otel: Recorder) -> None:
    """LangGraph's own default name says nothing, so it is not used; nor is the name of a single run."""
    nameless = graph(lambda state: state, None)

    nameless.invoke({"n": 1}, {"run_name": "run of 9:15"})
    nameless.with_config(run_name="nightly").invoke({"n": 1})

    assert otel.spans == [agent_span(None), agent_span("nightly")]
